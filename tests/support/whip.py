"""A WHIP publisher made of aiortc, in a process of its own: H.264 pictures and a tone.

Also in a test's own loop: `Peer`. Its offer holds no candidates, as OBS's.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from fractions import Fraction
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import urljoin

import aiohttp
import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from media import blockcode
from tests.support.lossy import Network
from tests.support.server import ROOT

RATE = 48_000
SAMPLES = RATE // 50


class Bars(VideoStreamTrack):
    """A bar that walks over a grey picture under the block code, 30 times a second.

    `noisy`: some of it flickers, so that a picture takes several packets.
    """

    def __init__(self, width: int = 640, height: int = 360, *, noisy: bool = False) -> None:
        super().__init__()
        self._size = width, height
        self.count = 0
        luck = np.random.default_rng(1)
        self._noise = luck.integers(100, 156, (height, width), np.uint8) if noisy else None

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        width, height = self._size
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        left = self.count * 8 % (width - 32)
        if self._noise is not None:
            rolled = np.roll(self._noise, self.count * 37, axis=1)
            planes[height // 2 : height, : width // 2] = rolled[height // 2 :, : width // 2]
        planes[:height, left : left + 32] = 235
        stamp = blockcode.Stamp(utc_ms=time.time_ns() // 1_000_000, frame=self.count)
        blockcode.draw(planes[:height], stamp)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = pts, time_base
        self.count += 1
        return frame


class Tone(AudioStreamTrack):
    """440 Hz, a frame of 20 ms after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0
        self._start: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        if self._start is None:
            self._start = loop.time()
        await asyncio.sleep(max(0.0, self._start + self._next / RATE - loop.time()))
        times = (self._next + np.arange(SAMPLES)) / RATE
        tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, self._next
        frame.time_base = Fraction(1, RATE)
        self._next += SAMPLES
        return frame


class Peer:
    """A peer connection that publishes; video is H.264 alone."""

    def __init__(self, *, video: bool = True, audio: bool = True, noisy: bool = False) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.picture = Bars(noisy=noisy)
        if audio:
            self.connection.addTrack(Tone())
        if video:
            self.connection.addTrack(self.picture)
            codecs = RTCRtpSender.getCapabilities("video").codecs
            transceiver = self.connection.getTransceivers()[-1]
            transceiver.setCodecPreferences([c for c in codecs if c.name == "H264"])

    async def offer(self) -> str:
        """Return the offer, without candidates."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp: str = self.connection.localDescription.sdp
        return re.sub(r"a=(candidate|end-of-candidates).*\r\n", "", sdp)

    async def take(self, answer: str) -> None:
        """Take the server's answer, and begin."""
        description = RTCSessionDescription(sdp=answer, type="answer")
        await self.connection.setRemoteDescription(description)

    async def close(self) -> None:
        """Say goodbye by DTLS."""
        await self.connection.close()


async def post(session: aiohttp.ClientSession, url: str, key: str, offer: str) -> tuple[str, str]:
    """Post an offer; return the answer and the session's URL."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
    async with session.post(url, data=offer, headers=headers) as response:
        text = await response.text()
        assert response.status == 201, f"{response.status} {text}"
        return text, urljoin(url, response.headers["Location"])


async def publish(url: str, key: str, network: Network | None = None) -> None:
    """Publish until SIGTERM, then delete the session; SIGKILL leaves it as it is."""
    stop, changed = asyncio.Event(), asyncio.Event()

    def leave() -> None:
        stop.set()
        changed.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    peer = Peer(noisy=network is not None)
    async with aiohttp.ClientSession() as session:
        answer, location = await post(session, url, key, await peer.offer())
        await peer.take(answer if network is None else network.through(answer))
        print(json.dumps({"session": location}), flush=True)
        connection = peer.connection
        connection.on("connectionstatechange", changed.set)
        while not stop.is_set() and connection.connectionState not in ("closed", "failed"):
            changed.clear()
            await changed.wait()
        if stop.is_set():
            headers = {"Authorization": f"Bearer {key}"}
            async with session.delete(location, headers=headers) as response:
                print(json.dumps({"deleted": response.status}), flush=True)
    print(json.dumps({"state": connection.connectionState}), flush=True)
    await peer.close()


@dataclass
class WhipPublisher:
    """`publish` in a process of its own; over a bad network where `loss` or `jitter_s` is set."""

    url: str
    key: str
    loss: float = 0.0
    jitter_s: float = 0.0
    process: subprocess.Popen[bytes] = field(init=False)
    _log: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._log = TemporaryFile()  # noqa: SIM115  # closed with the process
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.whip", self.url, self.key),
                *(str(self.loss), str(self.jitter_s)),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        """Let it delete its session."""
        if not self.ended:
            self.process.terminate()
            self.process.wait(10)

    def kill(self) -> None:
        """Let it vanish."""
        self.process.kill()
        self.process.wait(5)


def main() -> None:
    url, key, loss, jitter_s = sys.argv[1:]
    if float(loss) or float(jitter_s):
        with Network(loss=float(loss), jitter_s=float(jitter_s)) as network:
            asyncio.run(publish(url, key, network))
            print(json.dumps({"passed": network.passed, "dropped": network.dropped}))
    else:
        asyncio.run(publish(url, key))


if __name__ == "__main__":
    main()
