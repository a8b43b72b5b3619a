"""Which rungs a viewer can be sent: H.264 in the order of its display, of a profile it plays.

RTP carries no decoding order of its own, so browsers show pictures as they come: a rung with B
pictures would play them in the wrong order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream import BitstreamError
from media.bitstream.h264 import parse_avcc, profile_level_id
from media.model import TICKS_PER_SECOND, Codec
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.h264 import H264Packetizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from media.model import Packet, TrackFormat

SOURCE = "source"
"""The rung of the encoder's own pictures."""
OPUS = "opus"
"""The rung of the sound."""
FRESH_NS = 1_500_000_000
"""A rung from which nothing came for so long has ended: the ladder dropped it."""
GOP_PACKETS = 4000
GOP_BYTES = 4 * 2**20
"""What a rung keeps from its newest key picture on; in a larger one a viewer cannot begin."""
GOP_TICKS = 6 * TICKS_PER_SECOND
_RATE_SECONDS = 3
_CHEAPER = 0.9
"""A rung that costs as much as a better one is no alternative."""


class Frame:
    """An access unit in packets, made once for all viewers."""

    __slots__ = ("heard_ns", "key", "packets", "pts", "size")

    def __init__(
        self, *, pts: int, key: bool, heard_ns: int, packets: list[tuple[bytes, bool]]
    ) -> None:
        """`packets`: (payload, marker bit) each. `heard_ns`: when it came out of the feed."""
        self.pts = pts
        self.key = key
        self.heard_ns = heard_ns
        self.packets = packets
        self.size = sum(len(payload) for payload, _ in packets)


class Rate:
    """Bits a second over the last whole seconds of a rung."""

    def __init__(self) -> None:
        self._second = -1
        self._bytes = 0
        self._past: list[int] = []

    def add(self, pts: int, size: int) -> None:
        """Count an access unit."""
        second = pts // TICKS_PER_SECOND
        if second != self._second:
            if self._second >= 0:
                self._past = [*self._past, self._bytes][-_RATE_SECONDS:]
            self._second = second
            self._bytes = 0
        self._bytes += size

    @property
    def bps(self) -> int:
        """The mean; 0 until a second has passed, whose first part may be missing."""
        return 8 * sum(self._past) // len(self._past) if self._past else 0


class Lane:
    """One rung of pictures, its packets and its newest group of pictures."""

    def __init__(self, name: str, reorders: Callable[[str], bool]) -> None:
        """`reorders`: whether a rung has B pictures (`media.realtime.RealtimeFeed.reorders`)."""
        self.name = name
        self._reorders = reorders
        self.pixels = 0
        """Of a picture."""
        self.profile_level_id: str | None = None
        """None while nothing of it can be sent: no H.264, or a broken configuration."""
        self.rate = Rate()
        self.gop: list[Frame] = []
        """From the newest key picture on; empty where that grew too large."""
        self.heard_ns = 0
        self.broken = 0
        """Access units that could not be packetised."""
        self._gop_bytes = self._gop_packets = 0
        self._packetizer = H264Packetizer()
        self._config = b""

    def set_format(self, track_format: TrackFormat) -> None:
        """Take the rung's format; what was kept of another one is forgotten."""
        self.pixels = track_format.width * track_format.height
        if track_format.config == self._config and track_format.codec is Codec.H264:
            return
        self._forget_gop()
        self.profile_level_id = None
        self._config = b""
        if track_format.codec is not Codec.H264:
            return
        try:
            config = parse_avcc(track_format.config)
            profile = profile_level_id(config)
        except BitstreamError:
            return
        if config.length_size != 4:
            return
        self._config = track_format.config
        self.profile_level_id = profile
        self._packetizer = H264Packetizer(parameter_sets=(*config.sps, *config.pps))

    def take(self, packet: Packet, now_ns: int) -> Frame | None:
        """Packetise an access unit; None where it is broken or cannot be sent."""
        if self.profile_level_id is None:
            return None
        self.heard_ns = now_ns
        try:
            packets = self._packetizer.packetize(packet.payload)
        except PayloadError:
            self.broken += 1
            self._forget_gop()
            return None
        frame = Frame(pts=packet.pts, key=packet.key, heard_ns=now_ns, packets=packets)
        self.rate.add(packet.dts, frame.size)
        self._keep(frame)
        return frame

    def usable(self, now_ns: int) -> bool:
        """Whether it can be sent now."""
        return self.fresh(now_ns) and self.fits

    def fresh(self, now_ns: int) -> bool:
        """Whether pictures come on it."""
        return self.profile_level_id is not None and now_ns < self.heard_ns + FRESH_NS

    @property
    def fits(self) -> bool:
        """Whether its pictures can be sent."""
        return self.profile_level_id is not None and not self._reorders(self.name)

    def rest(self) -> None:
        """Note that nothing more comes on the rung."""
        self.profile_level_id = None
        self._config = b""
        self._forget_gop()

    def spread(self, now_ns: int) -> None:
        """Say of pictures that were handed over all at once when they will have come."""
        for frame in self.gop:
            behind = max(self.gop[-1].pts - frame.pts, 0)
            frame.heard_ns = now_ns - behind * 1_000_000_000 // TICKS_PER_SECOND

    def _keep(self, frame: Frame) -> None:
        if frame.key:
            self._forget_gop()
        elif not self.gop:
            return
        self.gop.append(frame)
        self._gop_bytes += frame.size
        self._gop_packets += len(frame.packets)
        if (
            self._gop_packets > GOP_PACKETS
            or self._gop_bytes > GOP_BYTES
            or frame.pts - self.gop[0].pts > GOP_TICKS
        ):
            self._forget_gop()

    def _forget_gop(self) -> None:
        # A new list: viewers that are catching up hold on to the old one's frames.
        self.gop = []
        self._gop_bytes = self._gop_packets = 0


def ordered(lanes: list[Lane]) -> list[Lane]:
    """Return the rungs worth having: the best first, each of a lower rate than the one before."""
    found: list[Lane] = []
    for lane in sorted(lanes, key=lambda lane: (-lane.pixels, lane.name != SOURCE, -lane.rate.bps)):
        if not found or lane.rate.bps < _CHEAPER * found[-1].rate.bps or not lane.rate.bps:
            found.append(lane)
    return found
