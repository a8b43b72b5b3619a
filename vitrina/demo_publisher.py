"""The demo's encoder process: `python -m vitrina.demo_publisher`, pushing over real RTMP.

A process of its own, so that drawing and encoding never hold the server's interpreter. It reads
one JSON line from standard input (the stream key must not stand in an argument list) and ends
when that input closes, so it cannot outlive its parent.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from config.settings import LogSettings
from ingest.rtmp.client import PublishRefused, PublishStarted, RtmpPublishClient
from ingest.rtmp.errors import RtmpError
from media.model import Codec
from media.transcode.testpicture import HEIGHT, WIDTH
from media.transcode.testsource import FRAME_RATE, TestSource
from vitrina import logs, runner
from vitrina.supervise import Backoff, isolated

if TYPE_CHECKING:
    from media.model import Packet

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 5.0
DRAIN_TIMEOUT_S = 5.0
_READ_BYTES = 65536


class PushFailed(Exception):
    """The server refused or left; the text is its own or says what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to push."""

    host: str
    port: int
    app: str = "live"
    key: str = field(repr=False)

    def to_json(self) -> str:
        """One line for standard input."""
        values = {"host": self.host, "port": self.port, "app": self.app, "key": self.key}
        return json.dumps(values)

    @classmethod
    def from_json(cls, line: str) -> Target:
        """Read what `to_json` wrote; raises ValueError for anything else."""
        try:
            values = json.loads(line)
            return cls(
                host=str(values["host"]),
                port=int(values["port"]),
                app=str(values["app"]),
                key=str(values["key"]),
            )
        except (KeyError, TypeError) as err:
            raise ValueError("standard input must hold one line: host, port, app and key") from err


async def publish_forever(target: Target, backoff: Backoff | None = None) -> None:
    """Push until cancelled; reconnect with back-off."""
    backoff = backoff or Backoff(max_s=5.0, healthy_after_s=10.0)
    failures = 0
    while True:
        began = time.monotonic()
        try:
            await isolated("push", lambda: publish(target))
        except* (OSError, RtmpError, PushFailed) as group:
            failures = 1 if time.monotonic() - began > backoff.healthy_after_s else failures + 1
            reasons = "; ".join(str(error) or type(error).__name__ for error in group.exceptions)
            log.warning("push interrupted", reason=reasons)
        await asyncio.sleep(backoff.delay_s(max(failures, 1), random.random()))


async def publish(target: Target) -> None:
    """Push on one connection until it fails or this is cancelled.

    Raises a group of OSError, `RtmpError` or `PushFailed`.
    """
    source = TestSource()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(target.host, target.port)
    client = RtmpPublishClient(
        target.app, f"rtmp://{target.host}:{target.port}/{target.app}", target.key
    )
    started = asyncio.Event()
    try:
        writer.write(client.start())
        async with asyncio.TaskGroup() as group:
            group.create_task(_receive(client, reader, writer, started), name="receive")
            group.create_task(_send(client, source, writer, started), name="send")
    finally:
        client.stop()
        writer.write(client.data_to_send())
        writer.close()


async def _receive(
    client: RtmpPublishClient,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    started: asyncio.Event,
) -> None:
    while data := await reader.read(_READ_BYTES):
        for event in client.receive_data(data):
            match event:
                case PublishStarted():
                    started.set()
                case PublishRefused(code, text):
                    raise PushFailed(f"the server refused the push: {code} {text}".strip())
        writer.write(client.data_to_send())
    raise PushFailed("the server closed the connection")


async def _send(
    client: RtmpPublishClient,
    source: TestSource,
    writer: asyncio.StreamWriter,
    started: asyncio.Event,
) -> None:
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        await started.wait()
    clock = asyncio.get_running_loop().time
    source.start(time.time_ns() // 1_000_000)
    _announce(client, source)
    log.info("pushing")
    began = clock()
    number = 0
    while True:
        await asyncio.sleep(began + number / FRAME_RATE - clock())
        # A late process skips pictures instead of falling further behind.
        number = max(number, int((clock() - began) * FRAME_RATE))
        for packet in source.packets(number, time.time_ns() // 1_000_000):
            _write(client, packet)
        writer.write(client.data_to_send())
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            await writer.drain()
        number += 1


def _announce(client: RtmpPublishClient, source: TestSource) -> None:
    client.metadata(
        {
            "width": float(WIDTH),
            "height": float(HEIGHT),
            "framerate": float(FRAME_RATE),
            "videocodecid": 7.0,
            "audiocodecid": 10.0,
            "encoder": "Vitrina demo",
        }
    )
    client.video_config(Codec.H264, source.video_format.config)
    client.audio_config(Codec.AAC, source.audio_format.config)


def _write(client: RtmpPublishClient, packet: Packet) -> None:
    time_ms = round(packet.dts / 90)
    if packet.codec is Codec.H264:
        offset_ms = round((packet.pts - packet.dts) / 90)
        client.video(
            packet.codec, packet.payload, key=packet.key, time_ms=time_ms, offset_ms=offset_ms
        )
    else:
        client.audio(packet.codec, packet.payload, time_ms=time_ms)


async def _until_input_closes(target: Target) -> None:
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    descriptor = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(descriptor, _READ_BYTES):
            closed.set()

    loop.add_reader(descriptor, readable)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(publish_forever(target), name="publish")
        await closed.wait()
        task.cancel()


def main() -> int:
    """Push as the first line of standard input says; return the exit code."""
    logs.configure(LogSettings())
    try:
        target = Target.from_json(sys.stdin.readline())
    except ValueError as err:
        log.error("no target", reason=str(err))
        return runner.EXIT_USAGE
    return runner.run(lambda: _until_input_closes(target))


if __name__ == "__main__":
    sys.exit(main())
