"""The fMP4 writer: init segments and media fragments of one CMAF track (ISO 23000-19 7.3).

A fragment is one moof and one mdat; a segment is the byte concatenation of its fragments.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING

from media.hls.boxes import box, full_box, sample_entry
from media.model import TICKS_PER_SECOND, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from media.model import TrackFormat

TRACK_ID = 1
SYNC_SAMPLE = 0x0200_0000
"""sample_depends_on 2 (ISO 14496-12 8.8.3.1)."""
NON_SYNC_SAMPLE = 0x0101_0000
"""sample_depends_on 1, sample_is_non_sync_sample."""

_MAX_U32 = 0xFFFF_FFFF
_MAX_S32 = 0x7FFF_FFFF

_UNITY_MATRIX = pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED = 0x55C4
_ENABLED_IN_MOVIE_AND_PREVIEW = 7
_SELF_CONTAINED = 1
_HANDLERS = {
    Kind.VIDEO: (b"vide", b"VideoHandler\0", full_box(b"vmhd", 0, 1, bytes(8))),
    Kind.AUDIO: (b"soun", b"SoundHandler\0", full_box(b"smhd", 0, 0, bytes(4))),
}
_NO_SAMPLES = (
    full_box(b"stts", 0, 0, bytes(4)),
    full_box(b"stsc", 0, 0, bytes(4)),
    full_box(b"stsz", 0, 0, bytes(8)),
    full_box(b"stco", 0, 0, bytes(4)),
)
# Not a segment type but the file's: CMAF, single track, with ID3 in emsg (id3-emsg 1.0, 4).
_FTYP = box(b"ftyp", b"iso6", bytes(4), b"iso6", b"cmfc", b"mp41", b"aid3")

# ISO 14496-12 8.8.7 and 8.8.8.
_TFHD_DURATION, _TFHD_FLAGS, _TFHD_MOOF_IS_BASE = 0x08, 0x20, 0x02_0000
_TRUN_DATA_OFFSET, _TRUN_FIRST_FLAGS = 0x001, 0x004
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_OFFSET = 0x100, 0x200, 0x400, 0x800


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One access unit, in ticks of its track's timescale."""

    dts: int
    pts: int
    duration: int
    key: bool
    payload: bytes


def media_timescale(fmt: TrackFormat) -> int:
    """Return the track's timescale: 90000 for video, the sample rate for audio."""
    return TICKS_PER_SECOND if fmt.kind is Kind.VIDEO else fmt.sample_rate


def init_segment(fmt: TrackFormat, *, timescale: int) -> bytes:
    """Build ftyp and moov of a single live track (ISO 23000-19 7.3.2).

    Raises `ValueError` where the format has no sample entry or the timescale no 32 bits.
    """
    if not 0 < timescale <= _MAX_U32:
        raise ValueError(f"A timescale is 1 to 4294967295, not {timescale}.")
    handler, name, media_header = _HANDLERS[fmt.kind]
    volume = 0x0100 if fmt.kind is Kind.AUDIO else 0
    movie_header = full_box(
        b"mvhd", 0, 0,
        pack(">IIIIIH10x", 0, 0, timescale, 0, 0x10000, 0x0100),
        _UNITY_MATRIX, bytes(24), pack(">I", TRACK_ID + 1),
    )  # fmt: skip
    track_header = full_box(
        b"tkhd", 0, _ENABLED_IN_MOVIE_AND_PREVIEW,
        pack(">III4xI8xHHH2x", 0, 0, TRACK_ID, 0, 0, 0, volume),
        _UNITY_MATRIX, pack(">II", _display_width(fmt), fmt.height << 16),
    )  # fmt: skip
    data_information = box(
        b"dinf",
        full_box(b"dref", 0, 0, pack(">I", 1), full_box(b"url ", 0, _SELF_CONTAINED)),
    )
    sample_table = box(
        b"stbl", full_box(b"stsd", 0, 0, pack(">I", 1), sample_entry(fmt)), *_NO_SAMPLES
    )
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, pack(">IIIIHH", 0, 0, timescale, 0, _UNDETERMINED, 0)),
        full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), name),
        box(b"minf", media_header, data_information, sample_table),
    )
    extends = box(b"mvex", full_box(b"trex", 0, 0, pack(">IIIII", TRACK_ID, 1, 0, 0, 0)))
    return _FTYP + box(b"moov", movie_header, box(b"trak", track_header, media), extends)


def _display_width(fmt: TrackFormat) -> int:
    """Return the 16.16 width with square pixels (ISO 14496-12 8.3.2.3)."""
    return min((fmt.width << 16) * fmt.sar[0] // fmt.sar[1], _MAX_U32)


def media_fragment(
    samples: Sequence[Sample],
    *,
    sequence_number: int,
    base_decode_time: int,
    prefix: bytes = b"",
) -> bytes:
    """Build one CMAF chunk: `prefix` (emsg boxes), moof, mdat (ISO 23000-19 7.3.3).

    `base_decode_time` is the tfdt, in the track's timescale. What is the same for all samples
    stands once in tfhd. Raises `ValueError` where a value does not fit its field.
    """
    if not samples:
        raise ValueError("A media fragment needs at least one sample.")
    if not 0 <= sequence_number <= _MAX_U32:
        raise ValueError(f"A sequence number is 0 to 4294967295, not {sequence_number}.")
    if not 0 <= base_decode_time < 1 << 64:
        raise ValueError(f"A base decode time is 0 to 2^64 - 1, not {base_decode_time}.")
    durations = [sample.duration for sample in samples]
    offsets = [sample.pts - sample.dts for sample in samples]
    payloads = [sample.payload for sample in samples]
    sizes = [len(payload) for payload in payloads]
    _check_ranges(durations, offsets)
    data_size = 8 + sum(sizes)
    if data_size > _MAX_U32:
        raise ValueError(f"A media fragment of {data_size} bytes does not fit 32 bits.")

    track_flags, track_defaults = _TFHD_MOOF_IS_BASE | _TFHD_FLAGS, []
    run_flags, columns = _TRUN_DATA_OFFSET | _TRUN_SIZE, [sizes]
    if durations.count(durations[0]) == len(durations):
        track_flags |= _TFHD_DURATION
        track_defaults.append(durations[0])
    else:
        run_flags |= _TRUN_DURATION
        columns.insert(0, durations)
    first, *rest = [SYNC_SAMPLE if sample.key else NON_SYNC_SAMPLE for sample in samples]
    default = rest[0] if rest else first
    run_head: list[int] = []
    if rest.count(default) != len(rest):
        run_flags |= _TRUN_FLAGS
        columns.append([first, *rest])
    elif first != default:
        run_flags |= _TRUN_FIRST_FLAGS
        run_head.append(first)
    track_defaults.append(default)
    if any(offsets):
        run_flags |= _TRUN_OFFSET
        columns.append(offsets)

    count, width = len(samples), len(columns)
    table = [0] * (count * width)
    for index, column in enumerate(columns):
        table[index::width] = column
    run_size = 20 + 4 * len(run_head) + 4 * len(table)
    track_size = 16 + 4 * len(track_defaults)
    fragment_size = 8 + track_size + 20 + run_size
    moof_size = 8 + 16 + fragment_size
    header = pack(
        f">I4sI4sIII4sI4sII{len(track_defaults)}II4sIQI4sIII{len(run_head) + len(table)}II4s",
        moof_size, b"moof",
        16, b"mfhd", 0, sequence_number,
        fragment_size, b"traf",
        track_size, b"tfhd", track_flags, TRACK_ID, *track_defaults,
        20, b"tfdt", 0x0100_0000, base_decode_time,
        run_size, b"trun", 0x0100_0000 | run_flags, count, moof_size + 8, *run_head, *table,
        data_size, b"mdat",
    )  # fmt: skip
    return b"".join((prefix, header, *payloads))


def _check_ranges(durations: Sequence[int], offsets: Sequence[int]) -> None:
    """Refuse what trun cannot hold or no live encoder may send."""
    for duration in durations:
        if not 0 <= duration <= _MAX_U32:
            raise ValueError(f"A sample duration is 0 to 4294967295 ticks, not {duration}.")
    for offset in offsets:
        if not 0 <= offset <= _MAX_S32:
            raise ValueError(f"A composition offset is 0 to 2147483647 ticks, not {offset}.")
