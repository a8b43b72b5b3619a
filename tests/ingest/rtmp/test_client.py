"""The publishing client, against the session and against FFmpeg's own listener."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from ingest.rtmp.client import (
    PublishRefused,
    ReconnectRequested,
    RtmpPublishClient,
)
from ingest.rtmp.errors import RtmpError
from ingest.rtmp.events import (
    FormatChanged,
    MetadataReceived,
    PublishEnded,
)
from media.model import Codec, Packet
from tests.ingest.rtmp.support import ASC, AVCC
from tests.ingest.rtmp.wire import Wire


@pytest.mark.unit
def test_everything_that_is_sent_arrives() -> None:
    wire = Wire()
    wire.publish()
    client = wire.client
    client.metadata({"encoder": "Vitrina"})
    client.video_config(Codec.H264, AVCC)
    client.audio_config(Codec.AAC, ASC)
    client.video(Codec.H264, b"\0\0\0\x02\x65a" * 20_000, key=True, time_ms=2**24 + 5, offset_ms=40)
    client.video(Codec.H264, b"\0\0\0\x02\x41a", key=False, time_ms=2**32 - 1, offset_ms=-40)
    client.audio(Codec.AAC, b"raw", time_ms=7)
    client.stop()
    wire.run()
    metadata, avc, aac, key, inter, audio, end = wire.heard
    assert metadata == MetadataReceived({"encoder": "Vitrina"})
    assert isinstance(avc, FormatChanged)
    assert avc.track_format.config == AVCC
    assert isinstance(aac, FormatChanged)
    assert aac.track_format.config == ASC
    assert isinstance(key, Packet)
    assert (key.dts, key.pts - key.dts, key.key) == ((2**24 + 5) * 90, 3600, True)
    assert key.payload == b"\0\0\0\x02\x65a" * 20_000
    assert isinstance(inter, Packet)
    assert (inter.dts, inter.pts - inter.dts, inter.key) == ((2**32 - 1) * 90, -3600, False)
    assert isinstance(audio, Packet)
    assert audio.payload == b"raw"
    assert isinstance(end, PublishEnded)


@pytest.mark.unit
def test_enhanced_codecs_arrive() -> None:
    wire = Wire()
    wire.publish()
    client = wire.client
    client.video_config(Codec.AV1, bytes.fromhex("81000c000a0b0200000521e7f66017c002"))
    client.video(Codec.AV1, b"\x32\x01\x10", key=True, time_ms=0)
    client.audio_config(Codec.OPUS, b"")
    client.audio(Codec.OPUS, b"opus", time_ms=20)
    client.audio(Codec.MP3, b"\xff\xfb\x90\x64mp3", time_ms=30)
    wire.run()
    formats = [e.track_format.codec for e in wire.heard if isinstance(e, FormatChanged)]
    packets = [(e.codec, e.payload) for e in wire.heard if isinstance(e, Packet)]
    assert formats == [Codec.AV1, Codec.OPUS, Codec.MP3]
    assert packets == [
        (Codec.AV1, b"\x32\x01\x10"),
        (Codec.OPUS, b"opus"),
        (Codec.MP3, b"\xff\xfb\x90\x64mp3"),
    ]


@pytest.mark.unit
def test_a_refusal_is_reported_in_the_servers_words() -> None:
    wire = Wire()
    wire.run()
    wire.session.refuse_publish("No such key.")
    wire.run()
    assert wire.said == [PublishRefused("NetStream.Publish.BadName", "No such key.")]
    assert not wire.client.publishing


@pytest.mark.unit
def test_pings_are_answered() -> None:
    wire = Wire()
    wire.publish()
    received = wire.session.received
    wire.session.ping(5)
    wire.run()
    assert wire.session.received > received


@pytest.mark.unit
def test_a_request_to_reconnect_is_reported_where_it_is_acted_on() -> None:
    for reconnects in (False, True):
        wire = Wire(reconnects=reconnects)
        wire.publish()
        assert wire.session.request_reconnect("The server restarts.") is reconnects
        wire.run()
        assert (ReconnectRequested("") in wire.said) is reconnects
        assert wire.client.publishing


@pytest.mark.unit
def test_misuse_is_loud() -> None:
    wire = Wire()
    with pytest.raises(RuntimeError, match="does not publish"):
        wire.client.audio(Codec.AAC, b"x", time_ms=0)
    wire.publish()
    with pytest.raises(ValueError, match="has no composition offset"):
        wire.client.video(Codec.AV1, b"x", key=True, time_ms=0, offset_ms=1)
    with pytest.raises(ValueError, match="does not fit"):
        wire.client.video(Codec.H264, b"x", key=True, time_ms=0, offset_ms=2**23)
    with pytest.raises(ValueError, match="no sequence header"):
        wire.client.audio_config(Codec.MP3, b"")
    with pytest.raises(RtmpError):
        RtmpPublishClient("a", "b", "c").receive_data(b"HTTP/1.1 400")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_source(path: Path, *codec: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    command += ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=15:d=1"]
    command += ["-f", "lavfi", "-i", "sine=d=1", *codec, str(path)]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.component
async def test_ffmpeg_receives_what_the_client_publishes(tmp_path: Path) -> None:
    source, received = tmp_path / "in.mp4", tmp_path / "out.flv"
    make_source(source, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "aac")
    port = free_port()
    listener = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-v", "error", "-listen", "1", "-i", f"rtmp://127.0.0.1:{port}/live/key"),
        *("-copyts", "-c", "copy", str(received)),
    )
    async with asyncio.timeout(30):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                await asyncio.sleep(0.02)
        client = RtmpPublishClient("live", f"rtmp://127.0.0.1:{port}/live", "key")
        writer.write(client.start())
        while not client.publishing:
            data = await reader.read(65536)
            assert data
            client.receive_data(data)
            writer.write(client.data_to_send())
        sent = push_file(client, source)
        client.stop()
        writer.write(client.data_to_send())
        await writer.drain()
        writer.close()
        assert await listener.wait() == 0
    with av.open(str(received)) as container:
        back = [
            (p.stream.type, int(p.dts or 0), int(p.pts or 0), bytes(p))
            for p in container.demux()
            if p.size
        ]
    assert sorted(back) == sorted(sent)


def push_file(client: RtmpPublishClient, path: Path) -> list[tuple[str, int, int, bytes]]:
    sent = []
    with av.open(str(path)) as container:
        client.metadata({"width": 160, "height": 120})
        for stream in container.streams:
            record = bytes(stream.codec_context.extradata or b"")
            if stream.type == "video":
                client.video_config(Codec.H264, record)
            else:
                client.audio_config(Codec.AAC, record)
        for packet in container.demux():
            if not packet.size or packet.dts is None or packet.pts is None:
                continue
            assert packet.time_base is not None
            start = 200  # FLV has no negative time
            dts = round(packet.dts * packet.time_base * 1000) + start
            pts = round(packet.pts * packet.time_base * 1000) + start
            body = bytes(packet)
            if packet.stream.type == "video":
                client.video(
                    Codec.H264, body, key=packet.is_keyframe, time_ms=dts, offset_ms=pts - dts
                )
            else:
                pts = dts
                client.audio(Codec.AAC, body, time_ms=dts)
            sent.append((packet.stream.type, dts, pts, body))
    return sent
