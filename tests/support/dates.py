"""When pictures and tones of a stream are, by its playlists' dates and its media's own times.

Read by `m3u8` and PyAV from the HLS of a server: neither by its own parsers nor by the player.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime

import av
import numpy as np

from media import blockcode
from tests.support.hls import Reader

FRAME_MS = 1000 / 30
LOUD = 0.1
"""Of full scale: where a tone begins."""


def to_ms(moment: str) -> int:
    """RFC 3339 to UTC ms."""
    return round(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1000)


def stamps(
    reader: Reader, rendition: str = "source", *, segments: int = 1
) -> list[tuple[blockcode.Stamp, float]]:
    """Return what each picture of the last segments says of itself, and its date (UTC ms)."""
    found = []
    for frame, date in _frames(reader, rendition, segments):
        assert isinstance(frame, av.VideoFrame)
        stamp = blockcode.decode(frame.to_ndarray()[: frame.height])
        assert stamp is not None, f"no code in the picture of {date}"
        found.append((stamp, date))
    return found


def picture_dates(reader: Reader, *, segments: int = 1) -> dict[int, float]:
    """Return the program date-time (UTC ms) of each picture by its number."""
    return {stamp.frame: date for stamp, date in stamps(reader, segments=segments)}


def date_of(number: float, dates: dict[int, float]) -> float:
    """Date of picture `number` from the nearest known one: the publisher keeps 30 a second."""
    nearest = min(dates, key=lambda known: abs(known - number))
    return dates[nearest] + (number - nearest) * FRAME_MS


def tones(reader: Reader, rendition: str = "audio", *, segments: int = 3) -> list[float]:
    """Return the dates (UTC ms) at which silence ends, in the last segments."""
    found: list[float] = []
    quiet_since: float | None = None
    for frame, date in _frames(reader, rendition, segments):
        assert isinstance(frame, av.AudioFrame)
        samples = np.abs(frame.to_ndarray().astype(np.float32)).max(axis=0)
        if frame.format.name.startswith("s16"):
            samples = samples / 32768
        for index in range(0, len(samples), 16):
            now = date + index * 1000 / frame.sample_rate
            if samples[index : index + 16].max() < LOUD:
                quiet_since = now if quiet_since is None else quiet_since
                continue
            if quiet_since is not None and now - quiet_since > 200:
                found.append(now)
            quiet_since = None
    return found


def _frames(
    reader: Reader, rendition: str, segments: int
) -> Iterator[tuple[av.VideoFrame | av.AudioFrame, float]]:
    playlist = reader.media(rendition)
    chosen = [one for one in playlist.segments if one.uri and not one.gap_tag][-segments:]
    date = chosen[0].program_date_time
    assert date is not None
    data = reader.fetch(rendition, chosen[0].init_section.uri)
    data += b"".join(reader.fetch(rendition, one.uri) for one in chosen)
    with av.open(io.BytesIO(data)) as container:
        first = None
        for frame in container.decode(container.streams[0]):
            assert frame.pts is not None
            assert frame.time_base is not None
            first = frame.pts if first is None else first
            yield (
                frame,
                date.timestamp() * 1000 + float((frame.pts - first) * frame.time_base) * 1000,
            )
