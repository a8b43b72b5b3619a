"""A viewer without a network, in virtual time: what it is sent is read back as RTP and RTCP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from delivery.whep.fanout import Fanout
from delivery.whep.outgoing import Outgoing, StreamTerms
from delivery.whep.viewer import Viewer
from media.bitstream.formats import describe
from media.bitstream.h264 import build_avcc
from media.clock import START_TICKS, ShowClock
from media.model import Codec, Packet
from media.realtime import OPUS
from tests.delivery.whep.material import SOUND_FORMAT, STEP, picture, sound
from webrtc.extensions import ExtensionMap
from webrtc.payloads import Depacketizer, PayloadError
from webrtc.payloads.h264 import H264Depacketizer
from webrtc.rtcp import RtcpPacket, parse_rtcp, serialise_rtcp
from webrtc.rtp import RtpPacket, parse_rtp, restore_rtx

MS = 1_000_000
SECOND = 1_000_000_000
UTC_MS = 1_795_000_000_000
VIDEO, AUDIO, RTX = 0x11111111, 0x22222222, 0x33333333
IDS = ExtensionMap(mid=1, abs_send_time=2, transport_cc=3)
SPS = bytes.fromhex("6742c01fda014016e9b80808080f162e48")
PPS = bytes.fromhex("68ce3c80")
FORMAT = describe(Codec.H264, build_avcc([SPS], [PPS]))


def unit(size: int, key: bool, number: int = 0) -> bytes:
    """Return an access unit of one slice, of `size` bytes; it says its number."""
    # Seven bits a byte: no emulation of start codes.
    body = bytes(0x80 | number >> shift & 0x7F for shift in (14, 7, 0))
    nal = bytes((0x65 if key else 0x41, 0x80)) + body + b"\x55" * (size - 5)
    return len(nal).to_bytes(4, "big") + nal


def number_of(nal: bytes) -> int:
    """Return the number that a slice says."""
    return (nal[2] & 0x7F) << 14 | (nal[3] & 0x7F) << 7 | nal[4] & 0x7F


class Bench:
    """One fanout with viewers; `now` is set by the test."""

    def __init__(
        self,
        *,
        rtx: bool = True,
        offset: int = 0xFFFFFF00,
        asks_again: bool = True,
        counts_sound: bool = True,
    ) -> None:
        """`counts_sound`: packets of sound carry transport-wide numbers, too."""
        self.now = 50 * SECOND
        self.clock = ShowClock.anchored(utc_ms=UTC_MS, now_ns=self.now)
        self.asked: list[int] = []
        self.asked_of: list[str] = []
        self.reorders: set[str] = set()
        self.ended = 0
        self.busy = 0
        self.rtx, self.offset, self.asks_again = rtx, offset, asks_again
        self.counts_sound = counts_sound
        self.fanout = Fanout(
            now_ns=lambda: self.now,
            reorders=self.reorders.__contains__,
            request_key=self._note_key,
            on_busy=self._note_busy,
            on_ended=self._note_end,
        )

    def _note_key(self, rung: str) -> None:
        self.asked.append(self.now)
        self.asked_of.append(rung)

    def _note_busy(self) -> None:
        self.busy += 1

    def _note_end(self) -> None:
        self.ended += 1

    def viewer(self, *, plays: Callable[[str], bool] = lambda _: True) -> Guest:
        return Guest(self, plays)

    def open(self, *rungs: str, size: tuple[int, int] | None = None) -> None:
        for rung in rungs:
            self.fanout.formats(rung, FORMAT)
        self.fanout.formats(OPUS, SOUND_FORMAT)

    def picture(
        self, number: int, *, size: int = 3000, key: bool = False, rung: str = "source"
    ) -> None:
        pts = START_TICKS + number * STEP
        self.fanout.packet(rung, picture(pts, unit(size, key, number), key))

    def sound(self, number: int, payload: bytes = b"\xfc" + bytes(80)) -> None:
        self.fanout.packet(OPUS, sound(START_TICKS + number * 1800, payload))

    def packet(self, rung: str, packet: Packet) -> None:
        self.fanout.packet(rung, packet)

    def pass_time(self, ms: int) -> None:
        """Let time pass as the door's pulse does."""
        for _ in range(ms // 5):
            self.now += 5 * MS
            for viewer in self.fanout.viewers:
                viewer.pump(self.now)
                if self.now // (100 * MS) != (self.now - 5 * MS) // (100 * MS):
                    viewer.tick(self.now)
            self.fanout.ask()


class Guest:
    """A viewer and what it got."""

    def __init__(self, bench: Bench, plays: Callable[[str], bool]) -> None:
        self.bench = bench
        self.rtp: list[tuple[int, RtpPacket]] = []
        self.rtcp: list[RtcpPacket] = []
        terms = {
            "video": StreamTerms(
                ssrc=VIDEO,
                payload_type=96,
                clock_rate=90_000,
                mid="0",
                ids=IDS,
                first_sequence=65_530,
                offset=bench.offset,
                rtx_ssrc=RTX if bench.rtx else None,
                rtx_payload_type=97 if bench.rtx else None,
                rtx_first_sequence=9,
                asks_again=bench.asks_again,
            ),
            "audio": StreamTerms(
                ssrc=AUDIO,
                payload_type=111,
                clock_rate=48_000,
                mid="1",
                ids=IDS if bench.counts_sound else replace(IDS, transport_cc=None),
                first_sequence=5,
                offset=77,
                red_payload_type=63,
            ),
        }
        self.viewer = Viewer(
            video=Outgoing(terms["video"]),
            audio=Outgoing(terms["audio"]),
            lanes=bench.fanout.lanes,
            plays=plays,
            clock=bench.clock,
            cname=b"vitrina",
            send_rtp=lambda data: self.rtp.append((bench.now, parse_rtp(data))),
            send_rtcp=lambda data: self.rtcp.extend(parse_rtcp(data)),
            key_wanted=bench.fanout.key_wanted,
            now_ns=bench.now,
        )

    def join(self) -> Guest:
        self.bench.fanout.add(self.viewer)
        return self

    def say(self, *packets: RtcpPacket) -> None:
        self.viewer.rtcp(serialise_rtcp(packets), self.bench.now)

    def of(self, ssrc: int) -> list[RtpPacket]:
        return [packet for _, packet in self.rtp if packet.ssrc == ssrc]

    def timestamps(self) -> list[int]:
        """Of the pictures, unwrapped, in ticks of the show."""
        found: dict[int, None] = {}
        for packet in self.of(VIDEO):
            found[(packet.timestamp - self.bench.offset) & 0xFFFFFFFF] = None
        return list(found)

    def units(self, lost: set[int] | None = None) -> list[bytes]:
        """Return the access units that arrive, retransmissions put in where they belong."""
        packets = {p.sequence: p for p in self.of(VIDEO)}
        for number in lost or ():
            packets.pop(number, None)
        for repeated in self.of(RTX):
            restored = restore_rtx(repeated, ssrc=VIDEO, payload_type=96)
            if restored is not None:
                packets.setdefault(restored.sequence, restored)
        order = sorted(packets, key=lambda number: (number - 65_530) & 0xFFFF)
        reader: Depacketizer = H264Depacketizer()
        found: list[bytes] = []
        before = -1
        for number in order:
            packet, at = packets[number], (number - 65_530) & 0xFFFF
            if at != before + 1:
                reader.lost(at - before - 1)
            before = at
            with suppress(PayloadError):
                units = reader.feed(packet.payload, packet.marker, packet.timestamp, at)
                found += [each.payload for each in units]
        return found
