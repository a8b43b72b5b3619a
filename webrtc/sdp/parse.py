"""Reads a session description within bounds (RFC 8866, RFC 8829 section 5.8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from webrtc.sdp import attributes
from webrtc.sdp.candidates import Candidate, parse_candidate
from webrtc.sdp.errors import Refusal, SdpError, malformed
from webrtc.sdp.model import (
    Direction,
    Fingerprint,
    HeaderExtension,
    Media,
    MediaKind,
    Msid,
    PayloadType,
    Rid,
    Session,
    Setup,
    Simulcast,
    Source,
    SourceGroup,
    Transport,
)

MAX_BYTES = 65_536
MAX_LINE = 4096
MAX_MEDIA = 16
MAX_FORMATS = 128
"""There are no more payload types."""
MAX_CANDIDATES = 64
MAX_FEEDBACK = 32
MAX_EXTENSIONS = 64
MAX_SOURCES = 64
MAX_RIDS = 16
MAX_FINGERPRINTS = 8
MAX_GROUPS = 16
MAX_MSIDS = 16
MAX_ADDRESS = 64
_U64 = 2**64 - 1
_KINDS = {
    "audio": MediaKind.AUDIO,
    "video": MediaKind.VIDEO,
    "application": MediaKind.APPLICATION,
}
_ANY = "*"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""All but the tab; some readers take a bare CR for the end of a line."""


class _Level:
    """The attributes that both a session and a section may have, as they are met."""

    def __init__(self) -> None:
        self.ufrag: str | None = None
        self.password: str | None = None
        self.options: tuple[str, ...] = ()
        self.fingerprints: list[Fingerprint] = []
        self.setup: Setup | None = None
        self.direction: Direction | None = None
        self.extensions: list[HeaderExtension] = []
        self.mixed = False
        self.ended = False

    def transport(self) -> Transport:
        """Return what was met of ICE and DTLS."""
        return Transport(
            ufrag=self.ufrag,
            password=self.password,
            options=self.options,
            fingerprints=tuple(self.fingerprints),
            setup=self.setup,
        )

    def take(self, name: str, value: str) -> bool:
        """Take an attribute of either level; False when it is none."""
        match name:
            case "ice-ufrag":
                self.ufrag = attributes.ufrag(value)
            case "ice-pwd":
                self.password = attributes.password(value)
            case "ice-options":
                words = value.replace(",", " ").split()[:MAX_FEEDBACK]
                self.options = tuple(
                    attributes.token(each, "A word of a=ice-options") for each in words
                )
            case "fingerprint":
                if (found := attributes.fingerprint(value)) is not None:
                    _add(self.fingerprints, found, MAX_FINGERPRINTS, "fingerprints")
            case "setup":
                self.setup = attributes.setup(value)
            case "sendrecv" | "sendonly" | "recvonly" | "inactive":
                self.direction = Direction(name)
            case "extmap":
                if (extension := attributes.extmap(value)) is not None:
                    _add(self.extensions, extension, MAX_EXTENSIONS, "header extensions")
            case "extmap-allow-mixed":
                self.mixed = True
            case "end-of-candidates":
                self.ended = True
            case _:
                return False
        return True


class _SessionLevel(_Level):
    """What stands before the first m-line."""

    def __init__(self) -> None:
        super().__init__()
        self.id = 0
        self.version = 0
        self.bundles: list[tuple[str, ...]] = []
        self.lite = False
        self.msid_semantic: str | None = None

    def line(self, kind: str, value: str) -> None:
        """Take one line."""
        if kind == "o":
            words = value.split(maxsplit=3)
            if len(words) > 2:
                self.id = attributes.number(words[1], 0, _U64) or 0
                self.version = attributes.number(words[2], 0, _U64) or 0
        elif kind == "a":
            name, _, rest = value.partition(":")
            if self.take(name, rest):
                return
            if name == "group":
                if (mids := attributes.group(rest)) is not None:
                    _add(self.bundles, mids, MAX_GROUPS, "BUNDLE groups")
            elif name == "ice-lite":
                self.lite = True
            elif name == "msid-semantic":
                self.msid_semantic = rest.strip()


class _MediaLevel(_Level):
    """One m-section, from its m-line on."""

    def __init__(self, value: str) -> None:
        super().__init__()
        words = value.split(maxsplit=MAX_FORMATS + 4)
        port, slash, count = words[1].partition("/") if len(words) > 3 else ("", "", "")
        number = attributes.number(port, 0, 65535)
        if number is None or (slash and not attributes.number(count, 1, 65535)):
            raise malformed("An m= line is like m=video 9 UDP/TLS/RTP/SAVPF 96.")
        if len(words) > MAX_FORMATS + 3:
            raise malformed(f"A section has more than {MAX_FORMATS} formats.")
        self.kind = _KINDS.get(words[0], MediaKind.OTHER)
        self.port = number
        self.protocol = attributes.token(words[2].replace("/", "."), "A protocol") and words[2]
        self.formats = tuple(attributes.token(each, "A format") for each in words[3:])
        if len(set(self.formats)) < len(self.formats):
            raise malformed("A section lists a format twice.")
        self.address = "0.0.0.0"  # noqa: S104
        self.mid: str | None = None
        self.bundle_only = self.mux = self.mux_only = self.rsize = False
        self.maps: dict[str, PayloadType] = {}
        self.parameters: dict[str, tuple[tuple[str, str | None], ...]] = {}
        self.feedback: dict[str, list[str]] = {}
        self.msids: list[Msid] = []
        self.sources: dict[int, Source] = {}
        self.source_groups: list[SourceGroup] = []
        self.rids: list[Rid] = []
        self.simulcast: Simulcast | None = None
        self.candidates: list[Candidate] = []
        self.sctp_port: int | None = None
        self.max_message_size: int | None = None

    def line(self, kind: str, value: str) -> None:
        """Take one line."""
        if kind == "c":
            words = value.split()
            if len(words) == 3 and len(words[2]) <= MAX_ADDRESS:
                self.address = attributes.visible(words[2], "The address of a c= line")
        elif kind == "a":
            name, _, rest = value.partition(":")
            if not self.take(name, rest) and (reader := _READERS.get(name)) is not None:
                reader(self, rest)

    def finish(self, session: _SessionLevel) -> Media:
        """Return the section, with what it has of the session."""
        everywhere = self.feedback.get(_ANY, [])
        return Media(
            kind=self.kind,
            port=self.port,
            protocol=self.protocol,
            formats=self.formats,
            address=self.address,
            mid=self.mid,
            direction=self.direction or session.direction or Direction.SENDRECV,
            bundle_only=self.bundle_only,
            transport=self.transport(),
            payload_types=tuple(
                replace(
                    self.maps[each],
                    parameters=self.parameters.get(each, ()),
                    feedback=tuple(dict.fromkeys([*self.feedback.get(each, []), *everywhere])),
                )
                for each in self.formats
                if each in self.maps
            ),
            extensions=tuple(self.extensions or session.extensions),
            extmap_allow_mixed=self.mixed,
            rtcp_mux=self.mux,
            rtcp_mux_only=self.mux_only,
            rtcp_rsize=self.rsize,
            msids=tuple(self.msids),
            sources=tuple(self.sources.values()),
            source_groups=tuple(self.source_groups),
            rids=tuple(self.rids),
            simulcast=self.simulcast,
            candidates=tuple(self.candidates),
            end_of_candidates=self.ended or session.ended,
            sctp_port=self.sctp_port,
            max_message_size=self.max_message_size,
        )

    def read_mid(self, value: str) -> None:
        self.mid = attributes.token(value.strip(), "a=mid")

    def read_rtpmap(self, value: str) -> None:
        format_, encoding, rate, channels = attributes.rtpmap(value)
        number = attributes.number(format_, 0, 127)
        if number is None or str(number) != format_ or format_ not in self.formats:
            return
        if format_ in self.maps:
            raise malformed(f"Payload type {number} has two a=rtpmap lines.")
        self.maps[format_] = PayloadType(
            number=number, encoding=encoding, clock_rate=rate, channels=channels
        )

    def read_fmtp(self, value: str) -> None:
        format_, _, rest = value.partition(" ")
        if format_ in self.formats:
            found = self.parameters.get(format_, ()) + attributes.parameters(rest)
            if len(found) > attributes.MAX_PARAMETERS:
                raise malformed(f"A format has more than {attributes.MAX_PARAMETERS} parameters.")
            self.parameters[format_] = found

    def read_feedback(self, value: str) -> None:
        format_, _, rest = value.partition(" ")
        wanted = " ".join(rest.split()).lower()
        if wanted and (format_ == _ANY or format_ in self.formats):
            _add(self.feedback.setdefault(format_, []), wanted, MAX_FEEDBACK, "a=rtcp-fb lines")

    def read_msid(self, value: str) -> None:
        _add(self.msids, attributes.msid(value), MAX_MSIDS, "a=msid lines")

    def read_ssrc(self, value: str) -> None:
        ssrc, name, rest = attributes.ssrc(value)
        if ssrc not in self.sources and len(self.sources) >= MAX_SOURCES:
            raise malformed(f"A section has more than {MAX_SOURCES} sources.")
        source = self.sources.get(ssrc, Source(ssrc=ssrc))
        if name == "cname":
            source = replace(source, cname=rest)
        elif name == "msid":
            source = replace(source, msid=rest)
        self.sources[ssrc] = source

    def read_ssrc_group(self, value: str) -> None:
        _add(self.source_groups, attributes.ssrc_group(value), MAX_SOURCES, "groups of sources")

    def read_rid(self, value: str) -> None:
        rid = attributes.rid(value)
        if any(each.id == rid.id and each.sends == rid.sends for each in self.rids):
            raise malformed("A section has two a=rid lines of one name.")
        _add(self.rids, rid, MAX_RIDS, "a=rid lines")

    def read_simulcast(self, value: str) -> None:
        if self.simulcast is not None:
            raise malformed("A section has two a=simulcast lines.")
        self.simulcast = attributes.simulcast(value)

    def read_candidate(self, value: str) -> None:
        candidate = parse_candidate(value)
        if candidate is not None and candidate not in self.candidates:
            _add(self.candidates, candidate, MAX_CANDIDATES, "candidates")

    def read_sctp_port(self, value: str) -> None:
        self.sctp_port = attributes.number(value.strip(), 1, 65535)
        if self.sctp_port is None:
            raise malformed("a=sctp-port is a number from 1 to 65535.")

    def read_max_message_size(self, value: str) -> None:
        self.max_message_size = attributes.number(value.strip(), 0, _U64)
        if self.max_message_size is None:
            raise malformed("a=max-message-size is a number of bytes.")

    def read_flag(self, name: str) -> None:
        setattr(self, name, True)


_READERS: dict[str, Callable[[_MediaLevel, str], None]] = {
    "mid": _MediaLevel.read_mid,
    "rtpmap": _MediaLevel.read_rtpmap,
    "fmtp": _MediaLevel.read_fmtp,
    "rtcp-fb": _MediaLevel.read_feedback,
    "msid": _MediaLevel.read_msid,
    "ssrc": _MediaLevel.read_ssrc,
    "ssrc-group": _MediaLevel.read_ssrc_group,
    "rid": _MediaLevel.read_rid,
    "simulcast": _MediaLevel.read_simulcast,
    "candidate": _MediaLevel.read_candidate,
    "sctp-port": _MediaLevel.read_sctp_port,
    "max-message-size": _MediaLevel.read_max_message_size,
    "bundle-only": lambda level, _: level.read_flag("bundle_only"),
    "rtcp-mux": lambda level, _: level.read_flag("mux"),
    "rtcp-mux-only": lambda level, _: level.read_flag("mux_only"),
    "rtcp-rsize": lambda level, _: level.read_flag("rsize"),
}


_T = TypeVar("_T")


def _add(items: list[_T], item: _T, most: int, what: str) -> None:
    if len(items) >= most:
        raise malformed(f"There are more than {most} {what}.")
    items.append(item)


def lines_of(data: bytes | str, what: str) -> list[tuple[int, str, str]]:
    """Cut text into its lines: number from 1, letter, value. Empty lines are left out.

    Raises `SdpError` when it is too long, no UTF-8, or a line is not a letter, `=` and a value.
    """
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        raise SdpError(Refusal.TOO_LARGE, f"{what} has {size} bytes; {MAX_BYTES} are allowed.")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError:
        raise malformed(f"{what} is not UTF-8.") from None
    found = []
    for index, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r ")
        if not line:
            continue
        if _CONTROL.search(line):
            raise malformed(f"Line {index} holds a control character.")
        if len(line) > MAX_LINE:
            raise malformed(f"Line {index} is longer than {MAX_LINE} characters.")
        if line[1:2] != "=" or not ("a" <= line[0] <= "z"):
            raise malformed(f"Line {index} is not a letter, an equals sign and a value.")
        found.append((index, line[0], line[2:]))
    return found


def parse(data: bytes | str) -> Session:
    """Read an offer or an answer; lines and attributes that are not known are skipped.

    Raises `SdpError` (malformed, too large) whose sentence names the line. Attributes that both
    levels may have are kept at their own; `Session.transport_of` joins them. A direction, header
    extensions and the end of candidates of the session hold for its sections.
    """
    lines = lines_of(data, "The session description")
    if not lines or lines[0][1:] != ("v", "0"):
        raise malformed("A session description begins with the line v=0.")
    session = _SessionLevel()
    sections: list[_MediaLevel] = []
    level: _SessionLevel | _MediaLevel = session
    for index, kind, value in lines:
        try:
            if kind == "m":
                level = _MediaLevel(value)
                _add(sections, level, MAX_MEDIA, "m= sections")
            else:
                level.line(kind, value)
        except SdpError as error:
            raise SdpError(error.refusal, f"Line {index}: {error}") from None
    media = tuple(each.finish(session) for each in sections)
    mids = [each.mid for each in media if each.mid is not None]
    if len(set(mids)) < len(mids):
        raise malformed("Two sections have the same a=mid.")
    return Session(
        media=media,
        id=session.id,
        version=session.version,
        bundles=tuple(session.bundles),
        transport=session.transport(),
        ice_lite=session.lite,
        extmap_allow_mixed=session.mixed,
        msid_semantic=session.msid_semantic,
    )
