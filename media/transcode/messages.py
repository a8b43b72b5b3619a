"""What server and worker tell each other. Times are ticks of the show clock unless named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from media.model import Codec, Kind
    from media.slate.loop import SlateOrder, SlateUnit
    from media.transcode.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrack:
    """What the worker's decoder must know of a track."""

    codec: Codec
    config: bytes
    frame_rate: tuple[int, int]
    """Nominal pictures a second; (0, 1) where unknown or for sound."""
    sample_rate: int = 0
    channels: int = 0
    pixels: int = 0
    """Size of a picture, width times height."""
    colour: tuple[int, int, int] | None = None
    """Primaries, transfer and matrix (H.273), for pictures that do not say them."""
    slate: bool = False
    """No encoder's pictures: a slate is not made of a slate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """Start, or change the plan; effective for the packets that follow."""

    plan: Plan
    video: SourceTrack | None
    audio: SourceTrack | None
    max_pixels: int
    """Decoders refuse larger pictures, also those announced in band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One access unit of the encoder."""

    kind: Kind
    dts: int
    pts: int
    duration: int
    key: bool
    sent_ns: int
    """Monotonic clock of the machine when it entered the pipe: the worker tells its age."""
    replay: bool
    """Sent again to a restarted worker, as decoder state."""
    payload: bytes
    realtime: bool = False
    """Sound for `plan.OPUS`, of the track that `Listen` named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Somebody listens without a segment's delay: encode this sound to Opus; None: nobody does."""

    track: SourceTrack | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """The first picture at or after `ticks` becomes an IDR on every rung."""

    ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWanted:
    """The next picture of a rung becomes an IDR, wherever it lies: a viewer cannot decode."""

    rung: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """What the rungs give up for now; empty is full quality."""

    faster: bool = False
    """A cheaper encoder preset, from the next boundary."""
    paused: tuple[str, ...] = ()
    """Rungs that produce nothing until they are taken off this list and a boundary follows."""
    halved: tuple[str, ...] = ()
    """Rungs that encode every second picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeSlate:
    """Make a slate, of the newest picture unless `order.image` names a file.

    A ladder's worker answers after everything it was sent before; only a slate process reads
    files.
    """

    order: SlateOrder
    font: Path | None
    """Font file for `order.text` where the built-in ones lack its script."""
    video: SourceTrack | None
    """To decode the `Source` packets that came before, in a slate process; else None."""
    max_pixels: int
    """Files with larger pictures are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """No more input: flush and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An encoder opened: packets of `rung` follow."""

    rung: str
    extradata: bytes
    """Annex B parameter sets (video), AudioSpecificConfig or OpusHead (audio)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """One access unit of a rung."""

    rung: str
    dts: int
    pts: int
    duration: int
    key: bool
    payload: bytes
    """Length-prefixed NAL units, a raw AAC access unit or an Opus packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReport:
    """One rung since the last report."""

    rung: str
    frames: int
    dropped: int
    busy_ns: int
    """Time spent scaling and encoding."""
    media_ticks: int
    """Media time encoded."""
    queue_age_ms: int
    """Age of the oldest picture that waits for this rung."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The worker's heartbeat, twice a second."""

    consumed: int
    """Access units handed to decoders since the start of the worker."""
    decode_errors: int
    skipped: int
    """Access units not decoded because the decoder was behind or had no key frame."""
    decode_age_ms: int
    """Age of the oldest access unit that waits for a decoder."""
    catching_up: bool
    """The backlog of a (re)start is still being worked off."""
    rungs: tuple[RungReport, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateMade:
    """A slate is ready. Times are ticks from its start."""

    serial: int
    avcc: bytes
    """avcC (ISO 14496-15 5.3.3.1)."""
    asc: bytes
    """AudioSpecificConfig; empty without sound."""
    duration: int
    pictures: tuple[SlateUnit, ...]
    sounds: tuple[SlateUnit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateFailed:
    """A slate cannot be made; the text says why, for a producer."""

    serial: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The worker cannot do what it was asked, and ends."""

    text: str


ToWorker = Configure | Source | Listen | Boundary | KeyWanted | Relief | MakeSlate | Finish
FromWorker = Opened | Coded | Report | SlateMade | SlateFailed | Fault
