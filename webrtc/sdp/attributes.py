"""The values of single SDP attributes; each function reads one, whole, or raises `SdpError`."""

from __future__ import annotations

import re

from webrtc.sdp.errors import malformed, shown
from webrtc.sdp.model import (
    DIGEST_BYTES,
    Direction,
    Fingerprint,
    HeaderExtension,
    Layer,
    Msid,
    Rid,
    Setup,
    Simulcast,
    SourceGroup,
)

MAX_PARAMETERS = 64
MAX_LAYERS = 16
MAX_GROUPED = 64
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~]{1,64}")
_RID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VISIBLE = re.compile(r"[!-~]{1,256}")
_HEX_PAIRS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})*")
_UFRAG = (4, 256)
_PASSWORD = (22, 256)
_IGNORED_IDS = (0, 15)
"""Reserved in the one-byte form (RFC 8285 section 4.2)."""
_MAX_SSRC = 2**32 - 1


def number(text: str, low: int, high: int) -> int | None:
    """Return a decimal number within bounds, else None."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    value = int(text)
    return value if low <= value <= high else None


def token(text: str, what: str) -> str:
    """Return a token (RFC 8866 section 9) of at most 64 characters."""
    if not _TOKEN.fullmatch(text):
        raise malformed(f"{what} is a word of 1 to 64 characters without spaces.")
    return text


def visible(text: str, what: str) -> str:
    """Return 1 to 256 printable characters without spaces."""
    if not _VISIBLE.fullmatch(text):
        raise malformed(f"{what} is 1 to 256 printable characters without spaces.")
    return text


def ufrag(text: str) -> str:
    """Read `a=ice-ufrag`; a character outside of RFC 8839's set is forgiven."""
    if not _VISIBLE.fullmatch(text) or not _UFRAG[0] <= len(text) <= _UFRAG[1]:
        raise malformed("a=ice-ufrag has 4 to 256 characters.")
    return text


def password(text: str) -> str:
    """Read `a=ice-pwd` (RFC 8839 section 5.4)."""
    if not _VISIBLE.fullmatch(text) or not _PASSWORD[0] <= len(text) <= _PASSWORD[1]:
        raise malformed("a=ice-pwd has 22 to 256 characters.")
    return text


def fingerprint(text: str) -> Fingerprint | None:
    """Read `a=fingerprint`; None for a hash function that is not known."""
    words = text.split()
    if len(words) != 2:
        raise malformed("a=fingerprint holds the name of a hash function and its value.")
    algorithm, value = words[0].lower(), words[1]
    size = DIGEST_BYTES.get(algorithm)
    if size is None:
        return None
    if len(value) != 3 * size - 1 or not _HEX_PAIRS.fullmatch(value):
        raise malformed(f"A fingerprint of {algorithm} is {size} hexadecimal pairs and colons.")
    return Fingerprint(algorithm=algorithm, digest=bytes.fromhex(value.replace(":", "")))


def setup(text: str) -> Setup:
    """Read `a=setup`."""
    try:
        return Setup(text)
    except ValueError:
        raise malformed("a=setup is actpass, active, passive or holdconn.") from None


def group(text: str) -> tuple[str, ...] | None:
    """Read `a=group`: the mids of a BUNDLE, None for other semantics."""
    semantics, *mids = text.split()[: MAX_GROUPED + 2] or [""]
    if semantics != "BUNDLE":
        return None
    if len(mids) > MAX_GROUPED:
        raise malformed(f"A group has more than {MAX_GROUPED} sections.")
    if len(set(mids)) != len(mids):
        raise malformed("A group names a section twice.")
    return tuple(token(mid, "A mid in a=group") for mid in mids)


def parameters(text: str) -> tuple[tuple[str, str | None], ...]:
    """Read `name=value;name=value`; what has no `=` is a name of its own."""
    found: list[tuple[str, str | None]] = []
    if text.count(";") > MAX_PARAMETERS:
        raise malformed(f"A format has more than {MAX_PARAMETERS} parameters.")
    for entry in text.split(";"):
        name, equals, value = entry.strip().partition("=")
        if name := name.strip().lower():
            found.append((name, value.strip() if equals else None))
    return tuple(found)


def rtpmap(text: str) -> tuple[str, str, int, int]:
    """Read `a=rtpmap`: format, encoding name, clock rate in Hz, channels."""
    format_, _, mapping = text.partition(" ")
    name, *rest = mapping.strip().split("/", 3)
    rate = number(rest[0], 1, 10_000_000) if rest else None
    channels = number(rest[1], 1, 255) if len(rest) > 1 else 1
    if rate is None or channels is None or len(rest) > 2 or not _TOKEN.fullmatch(name):
        raise malformed("a=rtpmap is like 96 H264/90000 or 111 opus/48000/2.")
    return format_, name, rate, channels


def extmap(text: str) -> HeaderExtension | None:
    """Read `a=extmap`; None for an id that packets cannot carry (RFC 8285 section 7)."""
    words = text.split(maxsplit=2)
    if len(words) < 2:
        raise malformed("a=extmap is like 1 urn:ietf:params:rtp-hdrext:sdes:mid.")
    id_, _, direction = words[0].partition("/")
    value = number(id_, 0, 65535)
    if value is None or (direction and direction not in list(Direction)):
        raise malformed("a=extmap is like 1 urn:ietf:params:rtp-hdrext:sdes:mid.")
    if value in _IGNORED_IDS or value > 255:
        return None
    uri = visible(words[1], "The URI in a=extmap")
    return HeaderExtension(id=value, uri=uri, direction=Direction(direction) if direction else None)


def ssrc(text: str) -> tuple[int, str, str]:
    """Read `a=ssrc`: the SSRC, the attribute's name and its value."""
    id_, _, attribute = text.partition(" ")
    value = number(id_, 0, _MAX_SSRC)
    if value is None:
        raise malformed("a=ssrc begins with a number of 32 bits.")
    name, _, rest = attribute.partition(":")
    return value, name, rest


def ssrc_group(text: str) -> SourceGroup:
    """Read `a=ssrc-group`."""
    semantics, *ids = text.split(maxsplit=MAX_GROUPED + 1) or [""]
    found = [number(each, 0, _MAX_SSRC) for each in ids]
    known = tuple(each for each in found if each is not None)
    if not known or len(known) != len(found) or len(found) > MAX_GROUPED:
        raise malformed("a=ssrc-group is like FID 1111 2222.")
    return SourceGroup(semantics=token(semantics, "The kind in a=ssrc-group"), ssrcs=known)


def msid(text: str) -> Msid:
    """Read `a=msid`."""
    words = text.split()
    if not 1 <= len(words) <= 2:
        raise malformed("a=msid holds the stream's id and perhaps the track's.")
    stream, *track = (visible(word, "An id in a=msid") for word in words)
    return Msid(stream=stream, track=track[0] if track else None)


def rid(text: str) -> Rid:
    """Read `a=rid`."""
    words = text.split(maxsplit=2)
    if len(words) < 2 or words[1] not in ("send", "recv") or not _RID.fullmatch(words[0]):
        raise malformed("a=rid is like h send, its name of letters, digits, - and _.")
    types: tuple[int, ...] = ()
    others: list[tuple[str, str | None]] = []
    for name, value in parameters(words[2]) if len(words) > 2 else ():
        if name == "pt":
            listed = [number(each, 0, 127) for each in (value or "").split(",", 129)]
            types = tuple(dict.fromkeys(each for each in listed if each is not None))
            if len(listed) > 128 or None in listed:
                raise malformed("The list pt= in a=rid holds numbers from 0 to 127.")
        else:
            others.append((name, value))
    return Rid(
        id=words[0], sends=words[1] == "send", payload_types=types, restrictions=tuple(others)
    )


def simulcast(text: str) -> Simulcast:
    """Read `a=simulcast`."""
    words = text.split()
    names = words[::2]
    if len(words) not in (2, 4) or set(names) - {"send", "recv"} or len(set(names)) < len(names):
        raise malformed("a=simulcast is like send h;m;l.")
    found = {name: _streams(value) for name, value in zip(names, words[1::2], strict=True)}
    return Simulcast(send=found.get("send", ()), recv=found.get("recv", ()))


def _streams(text: str) -> tuple[tuple[Layer, ...], ...]:
    streams = []
    total = 0
    for stream in text.split(";", MAX_LAYERS + 1):
        layers = []
        for name in stream.split(",", MAX_LAYERS + 1):
            bare = name.removeprefix("~")
            if not _RID.fullmatch(bare):
                raise malformed(f"a=simulcast names {shown(bare) or 'nothing'}, which is no rid.")
            layers.append(Layer(rid=bare, paused=name != bare))
        total += len(layers)
        if total > MAX_LAYERS:
            raise malformed(f"a=simulcast lists more than {MAX_LAYERS} layers.")
        streams.append(tuple(layers))
    return tuple(streams)
