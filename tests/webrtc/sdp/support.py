"""Offers in the shape in which real clients write them, and our side of every answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from webrtc.sdp.candidates import Candidate
from webrtc.sdp.errors import SdpError
from webrtc.sdp.fragment import Fragment
from webrtc.sdp.model import Fingerprint, Session
from webrtc.sdp.negotiate import Local
from webrtc.sdp.parse import parse
from webrtc.sdp.whep import Programme, Sources

T = TypeVar("T")
OFFERS = sorted(Path(__file__).with_name("offers").glob("*.sdp"))
PUBLISHERS = [each.stem for each in OFFERS if "view" not in each.stem]
VIEWERS = [each.stem for each in OFFERS if "view" in each.stem]

LOCAL = Local(
    ufrag="ours",
    password="a-password-of-22-chars",
    fingerprint=Fingerprint(algorithm="sha-256", digest=bytes(range(32))),
    candidates=(
        Candidate(foundation="1", priority=2130706431, address="203.0.113.5", port=40_000),
        Candidate(foundation="2", priority=2130706175, address="2001:db8::5", port=40_000),
    ),
    session_id=1_234,
)
HIGH = Programme(profile_level_id="640028", audio=True)
SOURCES = Sources(video=11, video_rtx=12, audio=13, cname="vitrina", stream_id="show")


def text(name: str) -> str:
    """Return an offer with the line ends of the wire."""
    path = Path(__file__).with_name("offers") / f"{name}.sdp"
    return path.read_text("utf-8").replace("\n", "\r\n")


def offer(name: str, *changes: tuple[str, str]) -> Session:
    """Parse an offer after replacing text in it, each of which must be there."""
    found = text(name)
    for old, new in changes:
        assert old in found, old
        found = found.replace(old, new)
    return parse(found)


def attempt(read: Callable[[bytes | str], T], data: bytes | str) -> tuple[T | None, str]:
    """Return what is read and "", or None and the refusal."""
    try:
        return read(data), ""
    except SdpError as error:
        return None, str(error)


def serialise_fragment(fragment: Fragment) -> str:
    """Return a fragment's text, as a client's PATCH has it."""
    lines = []
    if fragment.ufrag is not None:
        lines.append(f"a=ice-ufrag:{fragment.ufrag}")
    if fragment.password is not None:
        lines.append(f"a=ice-pwd:{fragment.password}")
    for section in fragment.sections:
        lines.append("m=audio 9 UDP/TLS/RTP/SAVPF 0")  # RFC 8840 section 9.2: a mere placeholder
        if section.mid is not None:
            lines.append(f"a=mid:{section.mid}")
        lines += [f"a={each.text}" for each in section.candidates]
        if section.end_of_candidates:
            lines.append("a=end-of-candidates")
    return "".join(f"{line}\r\n" for line in lines)
