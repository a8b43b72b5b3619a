"""What slates are asked for, and what a decoder makes of them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from media.model import Codec
from media.slate.loop import SlateLoop, SlateOrder
from tests.media.transcode.clips import read_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from media.slate.loop import SlateUnit


LOOPS = 3


def order(size: tuple[int, int] = (320, 180), **changes: object) -> SlateOrder:
    values: dict[str, object] = {
        "width": size[0],
        "height": size[1],
        "sar": (1, 1),
        "audio": (48_000, 2),
        "text": "",
        "image": None,
        "serial": 1,
    }
    return SlateOrder(**(values | changes))  # type: ignore[arg-type]


def played(codec: str, config: bytes, units: Sequence[SlateUnit], length: int) -> list[av.Frame]:
    """Decode a loop three times in a row; any error raises."""
    context = av.CodecContext.create(codec, "r")
    context.extradata = config
    context.options = {"err_detect": "explode"}
    frames: list[av.Frame] = []
    for loop in range(LOOPS):
        for unit in units:
            packet = av.Packet(unit.payload)
            packet.dts, packet.pts = unit.dts + loop * length, unit.pts + loop * length
            packet.time_base = Fraction(1, 90_000)
            frames += context.decode(packet)
    return [*frames, *context.decode(None)]


def shown(loop: SlateLoop) -> list[av.VideoFrame]:
    return played("h264", loop.video.config, loop.pictures, loop.duration)  # type: ignore[return-value]


def luma(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    array = frame.to_ndarray(format="yuv420p")
    return array[: frame.height]  # type: ignore[return-value]


def check(loop: SlateLoop, wanted: SlateOrder) -> list[av.VideoFrame]:
    """Whatever a slate shows: its form, its times, and that it decodes."""
    assert loop.video.codec is Codec.H264
    assert (loop.video.width, loop.video.height) == wanted.size
    assert loop.video.sar == wanted.sar
    assert (loop.video.bit_depth, loop.video.chroma) == (8, "4:2:0")
    end = 0
    for unit in loop.pictures:
        assert unit.dts == unit.pts == end
        end += unit.duration
    assert end == loop.duration
    assert loop.pictures[0].key
    frames = shown(loop)
    assert len(frames) == LOOPS * len(loop.pictures)
    assert {(f.width, f.height) for f in frames} == {wanted.size}
    assert not any(f.is_corrupt for f in frames)
    if wanted.audio is None:
        assert loop.audio is None
        assert loop.sounds == ()
        return frames
    assert loop.audio is not None
    assert loop.audio.codec_string == "mp4a.40.2"
    assert (loop.audio.sample_rate, loop.audio.channels) == wanted.audio
    end = 0
    for sound in loop.sounds:
        assert sound.dts == sound.pts == end
        end += sound.duration
    unit_ticks = 1024 * 90_000 / wanted.audio[0]
    assert abs(end - loop.duration) <= unit_ticks / 2 + 1
    heard = played("aac", loop.audio.config, loop.sounds, end)
    assert len(heard) == LOOPS * len(loop.sounds)
    assert {f.sample_rate for f in heard} == {wanted.audio[0]}  # type: ignore[attr-defined]
    return frames


def last_number(loop: SlateLoop) -> int:
    """The number of a clip's picture, which says itself in black and white, dimmed."""
    frame = shown(loop)[0]
    bright = np.clip((luma(frame).astype(int) - 16) * 3, 0, 255).astype(np.uint8)
    array = frame.to_ndarray(format="yuv420p")
    array[: frame.height] = bright
    return read_number(av.VideoFrame.from_ndarray(array, "yuv420p"))
