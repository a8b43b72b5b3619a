"""Enhanced RTMP v2 as ffmpeg speaks it: surround and lossless sound, HDR pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from m3u8 import Segment

from tests.support.boxes import find
from tests.support.hls import Reader
from tests.support.push import Publisher
from tests.support.rtmp import Pusher, make_clip
from tests.support.server import KEY, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(120)]


def media(reader: Reader, rendition: str, *, segments: int = 2) -> tuple[bytes, bytes]:
    """Return the init segment and the last segments' bytes, once there are as many."""

    def listed() -> list[Segment] | None:
        # Of a segment that is still open `m3u8` knows parts only: no URI and no init segment.
        found = [s for s in reader.media(rendition).segments if s.uri and not s.gap_tag]
        return found[-segments:] if len(found) >= segments else None

    chosen = wait_for(listed, 30, f"{segments} segments of {rendition}")
    init = reader.fetch(rendition, chosen[-1].init_section.uri)
    return init, b"".join(reader.fetch(rendition, segment.uri) for segment in chosen)


def tone(data: bytes) -> tuple[float, float, int]:
    """Return the strongest frequency in Hz, its share of all energy, and the channels."""
    samples = []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            samples.append(frame.to_ndarray())
            rate = frame.sample_rate
    sound = np.concatenate(samples, axis=1)
    spectrum = np.abs(np.fft.rfft(sound[0] * np.hanning(sound.shape[1]))) ** 2
    peak = int(spectrum.argmax())
    share = spectrum[max(0, peak - 3) : peak + 4].sum() / spectrum.sum()
    return peak * rate / sound.shape[1], float(share), sound.shape[0]


@pytest.mark.parametrize(("codec", "channels"), [("eac3", 6), ("flac", 2)])
def test_sound_that_browsers_do_not_play_becomes_aac(
    server: Server, push: Callable[..., Publisher], codec: str, channels: int
) -> None:
    layout = {2: "stereo", 6: "5.1"}[channels]
    spread = "|".join(f"c{n}=c0" for n in range(channels))
    extra = ["-af", f"aformat=channel_layouts=mono,pan={layout}|{spread}", "-ac", str(channels)]
    publisher = push(audio=codec, extra=extra)
    server.wait_live()
    reader = Reader(server)
    init, body = media(reader, "audio")
    frequency, share, heard = tone(init + body)
    assert heard == 2, publisher.log
    assert abs(frequency - 440) < 5
    assert share > 0.9
    (track,) = [t for t in server.stream()["tracks"] if t["kind"] == "audio"]
    assert (track["codec"], track["channels"]) == (codec, channels)
    assert all("mp4a.40.2" in p.stream_info.codecs for p in reader.multivariant().playlists)


def test_hdr_is_signalled_and_its_rungs_are_sdr(
    server: Server, push: Callable[..., Publisher]
) -> None:
    publisher = push(video="hevc_pq", size="640x360")
    server.wait_live()
    reader = Reader(server)
    init, body = media(reader, "source")
    colr = find(init[init.index(b"stsd") - 4 :][16:], b"hvc1")[78:]
    assert find(colr, b"colr") == b"nclx\0\x09\0\x10\0\x09\0", publisher.log
    assert tags(init + body) == {(9, 16, 9)}
    assert tags(b"".join(media(reader, "360p"))) == {(1, 1, 1)}
    ranges = {
        p.uri.split("/")[0]: p.stream_info.video_range for p in reader.multivariant().playlists
    }
    assert ranges == {"source": "PQ", "360p": "SDR"}


def test_a_stop_lets_an_encoder_leave_at_its_key_frame(server: Server, tmp_path: Path) -> None:
    clip = make_clip(tmp_path, seconds=20)
    pusher = Pusher(server, KEY, clip, reconnects=True)
    server.wait_live()
    reader = Reader(server)
    media(reader, "source")
    assert server.stop() == 0
    pusher.join(5)
    assert pusher.asked
    assert pusher.refused is None
    assert pusher.error is None
    (left,) = [line for line in server.log.splitlines() if "encoder left" in line]
    assert '"reason": "bye"' in left
    asked = server.log.index("encoder asked to reconnect")
    assert asked < server.log.index("encoder left") < server.log.index("show ended")


def tags(data: bytes) -> set[tuple[int, int, int]]:
    """Return primaries, transfer and matrix of every picture."""
    with av.open(io.BytesIO(data)) as container:
        return {
            (int(f.color_primaries), int(f.color_trc), int(f.colorspace))
            for f in container.decode(video=0)
        }
