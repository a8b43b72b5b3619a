"""A real ffmpeg pushes; what the gate receives equals what ffmpeg wrote to a file beside it."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from media.model import Codec, Kind, Packet
from tests.ingest.rtmp.support import RecordingPublication, Running, running

pytestmark = pytest.mark.component

VIDEO = ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=2")
AUDIO = ("-f", "lavfi", "-i", "sine=d=2:r=48000")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30")
AAC = ("-c:a", "aac", "-ac", "2")


async def ffmpeg(*arguments: str) -> tuple[int, str]:
    """Run ffmpeg; return its status and what it said."""
    process = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-v", "error", "-y", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def push(
    server: Running, path: Path, *arguments: str, name: str = "good"
) -> RecordingPublication:
    """Push to the server and write the very same packets to `path`."""
    status, said = await ffmpeg(
        *arguments,
        "-flags",
        "+global_header",
        "-f",
        "tee",
        f"[f=flv]{path}|[f=flv]{server.url(name)}",
    )
    assert status == 0, said
    publication = server.gate.publications[0]
    await server.until(lambda: bool(publication.closed))
    assert publication.closed == ["bye"]
    assert server.meter.rejections == {}
    return publication


Flat = tuple[str, int, int, int, bool, bytes]


def written(path: Path) -> list[Flat]:
    """What FFmpeg's own demuxer reads from the file: kind, track, ms, payload."""
    flat = []
    with av.open(str(path)) as container:
        numbers = {
            stream.index: [s.index for s in container.streams if s.type == stream.type].index(
                stream.index
            )
            for stream in container.streams
        }
        for packet in container.demux():
            if not packet.size or packet.dts is None or packet.pts is None:
                continue
            assert packet.time_base == Fraction(1, 1000)
            kind = packet.stream.type
            key = kind == "audio" or packet.is_keyframe
            number = numbers[packet.stream.index]
            payload = bytes(packet)
            if packet.stream.codec_context.name in ("libdav1d", "av1"):
                # FFmpeg's demuxer puts the temporal delimiter back that ISO BMFF leaves out.
                payload = payload.removeprefix(b"\x12\x00")
            flat.append((kind, number, packet.dts, packet.pts, key, payload))
    return sorted(flat)


def received(packets: list[Packet]) -> list[Flat]:
    return sorted(
        (p.kind.value, p.track, p.dts // 90, p.pts // 90, p.key, p.payload) for p in packets
    )


@pytest.mark.parametrize(
    ("codecs", "arguments"),
    [
        ((Codec.H264, Codec.AAC), (*X264, *AAC)),
        (
            (Codec.HEVC, Codec.AAC),
            ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", *AAC),
        ),
        (
            (Codec.AV1, Codec.OPUS),
            ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "30",
             "-c:a", "libopus"),
        ),
        (
            (Codec.VP9, Codec.MP3),
            ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30",
             "-c:a", "libmp3lame", "-ar", "44100"),
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value[0], Codec) else "",
)  # fmt: skip
async def test_every_packet_arrives_as_ffmpeg_wrote_it(
    tmp_path: Path, codecs: tuple[Codec, Codec], arguments: tuple[str, ...]
) -> None:
    path = tmp_path / "beside.flv"
    async with running() as server:
        publication = await push(
            server, path, *VIDEO, *AUDIO, "-map", "0:v", "-map", "1:a", *arguments
        )
    expected = written(path)
    assert len([flat for flat in expected if flat[0] == "video"]) == 60
    assert received(publication.packets) == expected
    formats = {track_format.codec: track_format for _, track_format in publication.formats}
    assert set(formats) == set(codecs)
    assert (formats[codecs[0]].width, formats[codecs[0]].height) == (320, 180)
    assert formats[codecs[1]].sample_rate == (44100 if codecs[1] is Codec.MP3 else 48000)
    assert all(packet.arrived_ns > 0 for packet in publication.packets)


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
@pytest.mark.parametrize("codec", [Codec.FLAC, Codec.AC3, Codec.EAC3])
async def test_sound_of_enhanced_rtmp(tmp_path: Path, codec: Codec, layout: str) -> None:
    path = tmp_path / "beside.flv"
    async with running() as server:
        publication = await push(
            server,
            path,
            *AUDIO,
            "-map",
            "0:a",
            "-c:a",
            codec.value,
            "-af",
            f"aformat=channel_layouts={layout}",
        )
    ((track, fmt),) = publication.formats
    assert (track, fmt.codec, fmt.sample_rate) == (0, codec, 48_000)
    assert fmt.channels == (2 if layout == "stereo" else 6)
    assert received(publication.packets) == written(path)


async def test_two_pictures_and_two_sounds(tmp_path: Path) -> None:
    path = tmp_path / "beside.flv"
    maps = ("-map", "0:v", "-map", "0:v", "-map", "1:a", "-map", "1:a")
    async with running() as server:
        publication = await push(server, path, *VIDEO, *AUDIO, *maps, *X264, *AAC)
    tracks = {(f.kind, track) for track, f in publication.formats}
    assert tracks == {(kind, track) for kind in Kind for track in (0, 1)}
    assert received(publication.packets) == written(path)


@pytest.mark.parametrize("chosen", ["0:v", "1:a"])
async def test_picture_only_and_sound_only(tmp_path: Path, chosen: str) -> None:
    path = tmp_path / "beside.flv"
    async with running() as server:
        publication = await push(server, path, *VIDEO, *AUDIO, "-map", chosen, *X264, *AAC)
    assert len(publication.formats) == 1
    assert received(publication.packets) == written(path)


async def test_times_beyond_24_bits_go_on(tmp_path: Path) -> None:
    """Extended timestamps begin after 16,777,215 ms: ffmpeg starts a second before."""
    path = tmp_path / "beside.flv"
    async with running() as server:
        publication = await push(
            server, path, *VIDEO, *AUDIO, "-map", "0:v", "-map", "1:a", *X264, *AAC,
            "-output_ts_offset", "16776.2",
        )  # fmt: skip
    arrived = received(publication.packets)
    assert arrived[0][2] < 2**24 - 1 < arrived[-1][2]
    assert arrived == written(path)


async def test_a_key_with_a_query_and_one_in_the_url(tmp_path: Path) -> None:
    async with running() as server:
        await push(server, tmp_path / "a.flv", *VIDEO, "-map", "0:v", *X264, name="good?user=x")
    assert server.gate.asked == ["good"]


@pytest.mark.parametrize(
    ("arguments", "name", "text", "reason"),
    [
        (X264, "wrong", "The stream key is unknown.", "key"),
        (("-c:v", "flv1"), "good", "The encoder sends Sorenson H.263", "codec"),
    ],
)
async def test_ffmpeg_says_why_it_was_refused(
    arguments: tuple[str, ...], name: str, text: str, reason: str
) -> None:
    async with running() as server:
        status, said = await ffmpeg(*VIDEO, *arguments, "-f", "flv", server.url(name))
        assert status != 0
        assert f"Server error: {text}" in said
        assert name not in said.replace(server.url(name), "") or name == "good"
        assert server.meter.rejections == {reason: 1}


async def test_ffmpeg_killed_in_the_middle_is_an_error_end() -> None:
    async with running() as server:
        process = await asyncio.create_subprocess_exec(
            imageio_ffmpeg.get_ffmpeg_exe(),
            *("-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30", *X264),
            *("-f", "flv", server.url("good")),
            stderr=asyncio.subprocess.DEVNULL,
        )
        await server.until(lambda: bool(server.gate.publications))
        publication = server.gate.publications[0]
        await server.until(lambda: len(publication.packets) > 10)
        process.kill()
        await process.wait()
        await server.until(lambda: bool(publication.closed))
        assert publication.closed == ["error"]
