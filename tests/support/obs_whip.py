"""An OBS-shaped WHIP publisher with three simulcast layers, in a process of its own.

    python -m tests.support.obs_whip URL KEY

What obs-webrtc and libdatachannel do, on aiortc's transports: the offer of OBS 32 without
candidates, no RTX, one payload type for all layers, consecutive SSRCs of which the offer names the
first alone, mid and rid in every packet, NACKs answered as they were sent, key frames every two
seconds and never on request, first sender reports that are empty with timestamp 0xFFFFFFFF.
Pictures and sound are `clapper`'s. Publishes until SIGTERM, then deletes its session.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import av
import numpy as np
from aioice import Candidate
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceParameters

from media.bitstream import h264
from tests.support import clapper
from webrtc.extensions import ExtensionMap, Extensions
from webrtc.ntp import ntp_time
from webrtc.payloads.h264 import H264Packetizer
from webrtc.rtcp import Nack, PictureLoss, SenderReport, parse_rtcp, serialise_rtcp
from webrtc.rtp import RtpPacket
from webrtc.sdp.parse import parse

OFFER = Path(__file__).parents[1] / "webrtc/sdp/offers/obs-32-simulcast.sdp"
SIZES = ((960, 540), (640, 360), (320, 180))
"""Full, two thirds, one third."""
BITRATES = (900_000, 600_000, 300_000)
GOP = 2 * clapper.FPS
SOUND_SSRC, VIDEO_SSRC = 1872905361, 1872905362
SOUND_TYPE, VIDEO_TYPE = 111, 96
MAX_PAYLOAD = 1188
"""A packet of 1200 bytes."""
REMEMBERED = 4000
"""libdatachannel's packets kept for NACKs."""


def encoder(size: tuple[int, int], bitrate: int) -> av.VideoCodecContext:
    """Return x264 as OBS sets it for WHIP: High profile, no B-frames, repeated headers."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt, context.framerate, context.bit_rate = "yuv420p", clapper.FPS, bitrate
    context.gop_size = GOP
    context.options = {
        "preset": "superfast",
        "tune": "zerolatency",
        "x264-params": f"repeat-headers=1:scenecut=0:keyint={GOP}:min-keyint={GOP}:bframes=0"
        ":threads=1",
    }
    return context


@dataclass(kw_only=True)
class Stream:
    """One SSRC."""

    ssrc: int
    payload_type: int
    rate: int
    said: Extensions
    sequence: int = field(default_factory=lambda: secrets.randbelow(1 << 15))
    base: int = field(default_factory=lambda: secrets.randbits(32))
    packets: int = 0
    octets: int = 0
    sent: OrderedDict[int, bytes] = field(default_factory=OrderedDict)

    def timestamp(self, since_s: float) -> int:
        return (self.base + round(since_s * self.rate)) & 0xFFFFFFFF


class Obs:
    """One session."""

    def __init__(self) -> None:
        certificate = RTCCertificate.generateCertificate()
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._ice = RTCIceTransport(self._gatherer)
        self._ice._connection.ice_controlling = True
        self._dtls = RTCDtlsTransport(self._ice, [certificate])
        self._dtls._set_role("client")
        self._dtls._handle_rtcp_data = self._hear  # type: ignore[method-assign]
        prints = {each.algorithm: each.value for each in certificate.getFingerprints()}
        self._print = prints["sha-256"]
        self._ids = ExtensionMap()
        self.sound = Stream(
            ssrc=SOUND_SSRC, payload_type=SOUND_TYPE, rate=48_000, said=Extensions(mid="0")
        )
        self.layers = [
            Stream(
                ssrc=VIDEO_SSRC + index,
                payload_type=VIDEO_TYPE,
                rate=90_000,
                said=Extensions(mid="1", rid=str(index)),
            )
            for index in range(len(SIZES))
        ]
        self._streams = {each.ssrc: each for each in (self.sound, *self.layers)}
        self.nacks = self.key_requests = 0
        self._start = 0.0

    async def offer(self) -> str:
        """Return OBS's offer with our credentials."""
        await self._gatherer.gather()
        local = self._gatherer.getLocalParameters()
        text = OFFER.read_text("utf-8").replace("\n", "\r\n")
        text = re.sub(r"(?<=a=ice-ufrag:).*?(?=\r)", local.usernameFragment or "", text)
        text = re.sub(r"(?<=a=ice-pwd:).*?(?=\r)", local.password or "", text)
        return re.sub(r"(?<=a=fingerprint:sha-256 ).*?(?=\r)", self._print, text)

    async def take(self, text: str) -> None:
        """Take the answer as OBS does, and connect."""
        for rid in range(len(SIZES)):
            assert f"a=rid:{rid} recv\r\n" in text, "OBS gives up: a layer is not answered"
        assert "a=simulcast:recv 0;1;2\r\n" in text
        answer = parse(text)
        self._ids = ExtensionMap.from_uris(
            {each.id: each.uri for media in answer.media for each in media.extensions}
        )
        for line in re.findall(r"a=candidate:(.*?)\r\n", text):
            candidate = Candidate.from_sdp(line)
            await self._ice._connection.add_remote_candidate(candidate)
        await self._ice._connection.add_remote_candidate(None)
        (ufrag,) = set(re.findall(r"a=ice-ufrag:(\S+)", text))
        (password,) = set(re.findall(r"a=ice-pwd:(\S+)", text))
        prints = re.findall(r"a=fingerprint:(\S+) (\S+)", text)[:1]
        async with asyncio.timeout(8):
            await self._ice.start(RTCIceParameters(usernameFragment=ufrag, password=password))
            assert self._ice.state == "completed", self._ice.state
            await self._dtls.start(
                RTCDtlsParameters(
                    fingerprints=[RTCDtlsFingerprint(algorithm=a, value=v) for a, v in prints]
                )
            )
        assert self._dtls.state == "connected", self._dtls.state

    async def publish(self) -> None:
        """Send pictures, sound and reports for ever."""
        self._start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pictures())
            tasks.create_task(self._sound())
            tasks.create_task(self._reports())

    async def close(self) -> None:
        """Say goodbye by DTLS."""
        await self._dtls.stop()
        await self._ice.stop()

    @property
    def alive(self) -> bool:
        return self._dtls.state == "connected" and self._ice.state == "completed"

    # ── what is sent ─────────────────────────────────────────────────────────────────────────

    async def _pictures(self) -> None:
        encoders = [encoder(*each) for each in zip(SIZES, BITRATES, strict=True)]
        packetizer = H264Packetizer(max_payload=MAX_PAYLOAD)
        number = 0
        while True:
            due = self._start + number / clapper.FPS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            for (width, height), context, layer in zip(SIZES, encoders, self.layers, strict=True):
                planes = np.frombuffer(clapper.picture(width, height, number), np.uint8)
                frame = av.VideoFrame.from_ndarray(planes.reshape(-1, width), format="yuv420p")
                frame.pts = number
                data = b"".join(bytes(each) for each in context.encode(frame))
                unit = h264.annexb_to_length_prefixed(data)
                for payload, marker in packetizer.packetize(unit):
                    await self._send(layer, payload, marker, number / clapper.FPS)
            number += 1

    async def _sound(self) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate, context.layout, context.format = clapper.RATE, "stereo", "s16"
        context.bit_rate = 96_000
        number = 0
        while True:
            due = self._start + (number + 1) * 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            samples = np.frombuffer(clapper.sound(number), np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
            frame.sample_rate, frame.pts = clapper.RATE, number * clapper.SAMPLES
            for packet in context.encode(frame):
                at = packet.pts * float(packet.time_base)
                await self._send(self.sound, bytes(packet), False, at)
            number += 1

    async def _send(self, stream: Stream, payload: bytes, marker: bool, at_s: float) -> None:
        profile, extension = self._ids.build(stream.said)
        packet = RtpPacket(
            stream.payload_type,
            marker,
            stream.sequence,
            stream.timestamp(at_s),
            stream.ssrc,
            payload,
            (),
            profile,
            extension,
        ).serialise()
        stream.sent[stream.sequence] = packet
        if len(stream.sent) > REMEMBERED:
            stream.sent.popitem(last=False)
        stream.sequence = (stream.sequence + 1) & 0xFFFF
        stream.packets += 1
        stream.octets += len(payload)
        await self._dtls._send_rtp(packet)

    async def _reports(self) -> None:
        first = True
        while True:
            now = time.monotonic() - self._start
            reports = [
                SenderReport(
                    ssrc=each.ssrc,
                    ntp=ntp_time(time.time_ns()),
                    rtp_timestamp=0xFFFFFFFF if first else each.timestamp(now),
                    packet_count=0 if first else each.packets,
                    octet_count=0 if first else each.octets,
                )
                for each in self._streams.values()
            ]
            for report in reports:
                await self._dtls._send_rtp(serialise_rtcp([report]))
            first = False
            await asyncio.sleep(1)

    async def _hear(self, data: bytes) -> None:
        for packet in parse_rtcp(data):
            if isinstance(packet, PictureLoss):
                self.key_requests += 1  # and nothing else, as OBS
            elif isinstance(packet, Nack) and packet.media_ssrc in self._streams:
                stream = self._streams[packet.media_ssrc]
                for lost in packet.lost:
                    self.nacks += 1
                    if lost in stream.sent:
                        await self._dtls._send_rtp(stream.sent[lost])


def say(**what: object) -> None:
    """Write a line for the test."""
    print(json.dumps(what), flush=True)


async def publish(url: str, key: str) -> None:
    """Publish until SIGTERM or the end of the connection."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
    obs = Obs()
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=await obs.offer(), headers=headers) as response:
            text = await response.text()
            assert response.status == 201, f"{response.status} {text}"
            location = urljoin(url, response.headers["Location"])
        say(session=location, answer=text)
        await obs.take(text)
        say(state="connected")
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(obs.publish())
            while not stop.is_set() and obs.alive:
                await asyncio.sleep(0.05)
            sending.cancel()
        if stop.is_set():
            async with session.delete(location, headers=headers) as response:
                say(deleted=response.status)
    say(nacks=obs.nacks, key_requests=obs.key_requests)
    await obs.close()


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1], sys.argv[2]))
