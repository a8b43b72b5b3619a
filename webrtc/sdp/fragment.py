"""Trickled candidates and ICE restarts: `application/trickle-ice-sdpfrag` (RFC 8840 section 9)."""

from __future__ import annotations

from dataclasses import dataclass, field

from webrtc.sdp import attributes
from webrtc.sdp.candidates import Candidate, parse_candidate
from webrtc.sdp.errors import SdpError, malformed
from webrtc.sdp.parse import MAX_CANDIDATES, MAX_MEDIA, lines_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentSection:
    """What a fragment says of one m-section; those of one bundle all mean its one transport.

    What stands before the first m-line, or without any, is a section, too.
    """

    mid: str | None
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A PATCH of a session (RFC 9725 section 4.3)."""

    ufrag: str | None = None
    password: str | None = field(default=None, repr=False)
    sections: tuple[FragmentSection, ...] = ()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All usable candidates, each once."""
        found = dict.fromkeys(each for part in self.sections for each in part.candidates)
        return tuple(found)

    @property
    def end_of_candidates(self) -> bool:
        """Whether the bundle's transport gets no more."""
        return any(each.end_of_candidates for each in self.sections)

    def restarts(self, ufrag: str, password: str) -> bool:
        """Tell whether this asks for an ICE restart, given the peer's present credentials."""
        if self.ufrag is None or self.password is None:
            return False
        return (self.ufrag, self.password) != (ufrag, password)

    def belongs_to(self, ufrag: str) -> bool:
        """Tell whether candidates are of the present ICE generation (RFC 8838 section 12)."""
        return self.ufrag in (None, ufrag)


class _Part:
    def __init__(self, mid: str | None) -> None:
        self.mid = mid
        self.candidates: list[Candidate] = []
        self.ended = False


def parse_fragment(data: bytes | str) -> Fragment:
    """Read a fragment; candidates that cannot be used, and unknown lines, are skipped.

    Raises `SdpError` (malformed, too large) whose sentence names the line; also when two
    sections bring different credentials, because one transport is bundled here.
    """
    ufrags: dict[str, None] = {}
    passwords: dict[str, None] = {}
    part = _Part(None)
    parts = [part]
    for index, kind, value in lines_of(data, "The fragment"):
        try:
            if kind == "m":
                if len(parts) > MAX_MEDIA:
                    raise malformed(f"There are more than {MAX_MEDIA} m= sections.")
                part = _Part(None)
                parts.append(part)
            elif kind == "a":
                name, _, rest = value.partition(":")
                if name == "ice-ufrag":
                    ufrags[attributes.ufrag(rest)] = None
                elif name == "ice-pwd":
                    passwords[attributes.password(rest)] = None
                else:
                    _take(part, name, rest)
        except SdpError as error:
            raise SdpError(error.refusal, f"Line {index}: {error}") from None
        if max(len(ufrags), len(passwords)) > 1:
            raise malformed(f"Line {index}: The fragment has two different ICE credentials.")
    mids = [each.mid for each in parts if each.mid is not None]
    if len(set(mids)) < len(mids):
        raise malformed("Two sections have the same a=mid.")
    if parts[0].mid is None and not parts[0].candidates and not parts[0].ended:
        del parts[0]
    if len(parts) > MAX_MEDIA:
        raise malformed(f"There are more than {MAX_MEDIA} m= sections.")
    return Fragment(
        ufrag=next(iter(ufrags), None),
        password=next(iter(passwords), None),
        sections=tuple(
            FragmentSection(
                mid=each.mid, candidates=tuple(each.candidates), end_of_candidates=each.ended
            )
            for each in parts
        ),
    )


def _take(part: _Part, name: str, value: str) -> None:
    match name:
        case "mid":
            part.mid = attributes.token(value.strip(), "a=mid")
        case "end-of-candidates":
            part.ended = True
        case "candidate":
            candidate = parse_candidate(value)
            if candidate is None or candidate in part.candidates:
                return
            if len(part.candidates) >= MAX_CANDIDATES:
                raise malformed(f"There are more than {MAX_CANDIDATES} candidates.")
            part.candidates.append(candidate)
