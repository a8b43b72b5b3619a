"""A publisher and the path to the receiver, in virtual time, with real encoders."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import av
import numpy as np

from ingest.whip.receiver import Receiver
from media.bitstream import h264
from media.model import Kind, Packet, TrackFormat
from tests.webrtc.sdp.support import LOCAL, offer
from webrtc.extensions import ExtensionMap, Extensions
from webrtc.ntp import ntp_time
from webrtc.payloads.h264 import H264Packetizer
from webrtc.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    RtcpPacket,
    SenderReport,
    parse_rtcp,
    serialise_rtcp,
)
from webrtc.rtp import RtpPacket
from webrtc.sdp.negotiate import Answer
from webrtc.sdp.whip import PublishPolicy, answer_publisher

MS = 1_000_000
SECOND = 1_000_000_000
START = 5_000 * SECOND
UTC = 1_795_000_000 * SECOND
SOUND_SSRC, VIDEO_SSRC, RTX_SSRC = 1872905361, 1872905362, 77


def answer(name: str = "obs-30", *, video: tuple[str, ...] = ("H264", "VP8")) -> Answer:
    return answer_publisher(offer(name), LOCAL, PublishPolicy(video=video))


class Sink:
    """What the receiver makes, and whether it keeps the rules of the seam."""

    def __init__(self) -> None:
        self.formats: list[tuple[int, TrackFormat]] = []
        self.packets: list[Packet] = []
        self.dropped: list[tuple[int, Kind]] = []
        self._live: dict[tuple[Kind, int], TrackFormat] = {}
        self._last: dict[tuple[Kind, int], int] = {}
        self._fresh: set[tuple[Kind, int]] = set()

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        self.formats.append((track, track_format))
        self._live[track_format.kind, track] = track_format
        self._fresh.add((track_format.kind, track))

    def drop_track(self, track: int, kind: Kind) -> None:
        assert (kind, track) in self._live
        del self._live[kind, track]
        self.dropped.append((track, kind))

    def push(self, packet: Packet) -> None:
        place = packet.kind, packet.track
        assert self._live[place].codec is packet.codec
        assert packet.pts == packet.dts
        assert packet.dts > self._last.get(place, -1)
        if place in self._fresh:
            assert packet.key
            self._fresh.remove(place)
        self._last[place] = packet.dts
        self.packets.append(packet)

    def of(self, kind: Kind, track: int = 0) -> list[Packet]:
        return [each for each in self.packets if each.kind is kind and each.track == track]


class Encoder:
    """H.264 of small moving pictures, a key picture whenever one is wanted."""

    def __init__(self, width: int = 160, height: int = 96, *, fps: int = 30, gop: int = 0) -> None:
        self._context = av.CodecContext.create("libx264", "w")
        context = self._context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate = fps
        context.bit_rate = 4 * width * height * fps // 30
        context.gop_size = gop or 100_000
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "x264-params": "repeat-headers=1:threads=1:scenecut=0",
        }
        self._noise = np.random.default_rng(1)
        self._size = width, height

    def encode(self, number: int, *, key: bool) -> bytes:
        width, height = self._size
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, (number * 4) % width :] = 200
        picture[::4, ::4] = self._noise.integers(0, 255, picture[::4, ::4].shape, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        frame.pict_type = av.video.frame.PictureType.I if key else av.video.frame.PictureType.NONE
        data = b"".join(bytes(each) for each in self._context.encode(frame))
        return h264.annexb_to_length_prefixed(data)


def opus_packets(number: int) -> list[bytes]:
    """Return so many Opus packets of 20 ms, stereo."""
    context = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = 48_000, "stereo", "s16"
    context.bit_rate = 64_000
    found: list[bytes] = []
    at = 0
    while len(found) < number:
        tone = (8000 * np.sin(2 * np.pi * 440 * (np.arange(960) + at) / 48_000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2).reshape(1, -1), "s16", "stereo")
        frame.sample_rate, frame.pts = 48_000, at
        at += 960
        found += [bytes(each) for each in context.encode(frame)]
    return found[:number]


@dataclass(kw_only=True)
class Path:
    """What happens to packets on their way, both ways."""

    delay_ns: int = 20 * MS
    jitter_ns: int = 0
    loss: float = 0.0
    duplicates: float = 0.0
    random: random.Random = field(default_factory=lambda: random.Random(1))

    def arrivals(self) -> list[int]:
        """Return the delays of a packet's copies, none when it is lost."""
        copies = 2 if self.random.random() < self.duplicates else 1
        return [
            self.delay_ns + self.random.randrange(self.jitter_ns + 1)
            for _ in range(copies)
            if self.random.random() >= self.loss
        ]


@dataclass(kw_only=True)
class Stream:
    """One SSRC as its sender has it."""

    ssrc: int
    payload_type: int
    rate: int
    said: Extensions
    ppm: float = 0.0
    """How fast its clock runs against the sender's NTP time."""
    base: int = 3_000_000_000
    sequence: int = 65_500
    sent: dict[int, RtpPacket] = field(default_factory=dict)
    packets: int = 0
    key_wanted: bool = True

    def timestamp(self, since_ns: int) -> int:
        ticks = since_ns * self.rate / SECOND * (1 + self.ppm / 1e6)
        return (self.base + round(ticks)) & 0xFFFFFFFF


class World:
    """Events in virtual time around one receiver."""

    def __init__(
        self,
        agreed: Answer | None = None,
        *,
        path: Path | None = None,
        back: Path | None = None,
        key_interval_ns: int = 2 * SECOND,
        rtx: tuple[int, int] | None = None,
        tick_ns: int = 20 * MS,
    ) -> None:
        """`rtx`: (payload type, SSRC) of retransmissions; None: packets are sent as they were."""
        self.answer = agreed or answer()
        self.sink = Sink()
        self.path, self.back = path or Path(), back or Path()
        self.now = START
        self.told: list[tuple[int, RtcpPacket]] = []
        """What the receiver said, and when."""
        self.streams: dict[int, Stream] = {}
        self.obeys = True
        self._order = count()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._rtx = rtx
        self._rtx_sequence = 100
        self._counter = 65_000
        sections = self.answer.sections
        uris = {each.id: each.uri for section in sections for each in section.extensions}
        self.ids = ExtensionMap.from_uris(uris)
        self.receiver = Receiver(
            self.answer,
            self.sink,
            self._hear,
            key_interval_ns=key_interval_ns,
            now_ns=START,
        )
        self.at(tick_ns, lambda: self._tick(tick_ns))

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def at(self, after_ns: int, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + after_ns, next(self._order), call))

    def run(self, seconds: float) -> None:
        end = self.now + round(seconds * SECOND)
        while self._events and self._events[0][0] <= end:
            self.now, _, call = heapq.heappop(self._events)
            call()
        self.now = end

    def every(self, period_ns: int, call: Callable[[int], None], *, times: int) -> None:
        for number in range(times):
            self.at(number * period_ns, lambda number=number: call(number))  # type: ignore[misc]

    def _tick(self, period_ns: int) -> None:
        self.receiver.tick(self.now)
        self.at(period_ns, lambda: self._tick(period_ns))

    # ── the publisher ────────────────────────────────────────────────────────────────────────

    def sound(self, seconds: float, *, encode_ns: int = 20 * MS, ppm: float = 0.0) -> Stream:
        """Send a tone, each packet `encode_ns` after its first sample was captured."""
        stream = self._stream(SOUND_SSRC, Kind.AUDIO, 48_000, Extensions(mid="0"), ppm)
        packets = opus_packets(min(round(seconds * 50), 100))

        def send(number: int) -> None:
            captured = self.now - encode_ns
            payload = packets[number % len(packets)]
            self.send(stream, payload, marker=False, captured_ns=captured)

        self.every(round(20 * MS / (1 + ppm / 1e6)), send, times=round(seconds * 50))
        return stream

    def video(
        self,
        seconds: float,
        *,
        encode_ns: int = 30 * MS,
        ppm: float = 0.0,
        ssrc: int = VIDEO_SSRC,
        rid: str | None = None,
        size: tuple[int, int] = (160, 96),
        fps: int = 30,
        gop: int = 0,
    ) -> Stream:
        """Send pictures; each packet of one 0.2 ms after the packet before."""
        said = Extensions(mid="1", rid=rid)
        stream = self._stream(ssrc, Kind.VIDEO, 90_000, said, ppm)
        encoder, packetizer = Encoder(*size, fps=fps, gop=gop), H264Packetizer(max_payload=1100)

        def send(number: int) -> None:
            captured = self.now - encode_ns
            key, stream.key_wanted = stream.key_wanted, False
            payloads = packetizer.packetize(encoder.encode(number, key=key))
            for index, (payload, marker) in enumerate(payloads):
                self.send(
                    stream, payload, marker=marker, captured_ns=captured, after_ns=index * MS // 5
                )

        self.every(SECOND // fps, send, times=round(seconds * fps))
        return stream

    def reports(self, stream: Stream, *, period_ns: int, seconds: float, lag_ns: int = 0) -> None:
        """Send sender reports; `lag_ns`: by how much earlier the stream's capture clock reads."""

        def send(_: int) -> None:
            self.report(stream, lag_ns=lag_ns)

        self.every(period_ns, send, times=round(seconds * SECOND / period_ns))

    def report(self, stream: Stream, *, lag_ns: int = 0) -> None:
        report = SenderReport(
            ssrc=stream.ssrc,
            ntp=ntp_time(UTC + self.now - START),
            rtp_timestamp=stream.timestamp(self.now - START - lag_ns),
            packet_count=stream.packets,
            octet_count=0,
        )
        self.deliver_rtcp(serialise_rtcp([report]))

    def send(
        self,
        stream: Stream,
        payload: bytes,
        *,
        marker: bool,
        captured_ns: int,
        after_ns: int = 0,
    ) -> None:
        self._counter = (self._counter + 1) & 0xFFFF
        said = replace(stream.said, transport_sequence=self._counter)
        profile, extension = self.ids.build(said)
        packet = RtpPacket(
            stream.payload_type,
            marker,
            stream.sequence,
            stream.timestamp(captured_ns - START),
            stream.ssrc,
            payload,
            (),
            profile,
            extension,
        )
        stream.sent[packet.sequence] = packet
        stream.sent.pop((packet.sequence - 2000) & 0xFFFF, None)
        stream.sequence = (stream.sequence + 1) & 0xFFFF
        stream.packets += 1
        self.deliver(packet.serialise(), after_ns)

    def deliver(self, data: bytes, after_ns: int = 0) -> None:
        for delay in self.path.arrivals():
            self.at(after_ns + delay, lambda: self.receiver.rtp(data, self.now))

    def deliver_rtcp(self, data: bytes) -> None:
        for delay in self.path.arrivals():
            self.at(delay, lambda: self.receiver.rtcp(data, self.now))

    def _stream(self, ssrc: int, kind: Kind, rate: int, said: Extensions, ppm: float) -> Stream:
        section = next(each for each in self.answer.sections if each.kind.value == kind.value)
        assert section.payload_type is not None
        said = Extensions(mid=section.mid, rid=said.rid)
        stream = Stream(
            ssrc=ssrc,
            payload_type=section.payload_type.number,
            rate=rate,
            said=said,
            ppm=ppm,
        )
        self.streams[ssrc] = stream
        return stream

    def _hear(self, data: bytes) -> None:
        packets = parse_rtcp(data)
        self.told += [(self.now, each) for each in packets]
        for delay in self.back.arrivals():
            self.at(delay, lambda: self._obey(packets))

    def _obey(self, packets: list[RtcpPacket]) -> None:
        for packet in packets:
            if isinstance(packet, Nack):
                stream = self.streams.get(packet.media_ssrc)
                for each in packet.lost:
                    if stream is not None and each in stream.sent:
                        self._resend(stream, stream.sent[each])
            elif not self.obeys:
                continue
            elif isinstance(packet, PictureLoss) and packet.media_ssrc in self.streams:
                self.streams[packet.media_ssrc].key_wanted = True
            elif isinstance(packet, FullIntraRequest):
                for ssrc, _ in packet.entries:
                    if ssrc in self.streams:
                        self.streams[ssrc].key_wanted = True

    def _resend(self, stream: Stream, packet: RtpPacket) -> None:
        if self._rtx is None:
            self.deliver(packet.serialise())
            return
        profile, extension = self.ids.build(
            Extensions(mid=stream.said.mid, repaired_rid=stream.said.rid)
        )
        again = packet._replace(
            payload_type=self._rtx[0],
            ssrc=self._rtx[1],
            sequence=self._rtx_sequence,
            payload=packet.sequence.to_bytes(2, "big") + packet.payload,
            profile=profile,
            extension=extension,
        )
        self._rtx_sequence += 1
        self.deliver(again.serialise())

    def asked(self, kind: type[RtcpPacket]) -> list[int]:
        """Return when the receiver sent packets of a type, in ns since the start."""
        return [at - START for at, each in self.told if isinstance(each, kind)]
