"""What comes back from a worker, as formats and packets of its rungs: no I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from media.bitstream import describe
from media.bitstream.h264 import annexb_to_avcc
from media.model import Codec, Kind, Packet
from media.transcode.plan import AUDIO
from media.transcode.replay import Arrivals
from media.transcode.wire import WireError

if TYPE_CHECKING:
    from media.model import TrackFormat
    from media.transcode.messages import Coded, Opened
    from media.transcode.plan import Plan


class Returns:
    """Lets every access unit through once, also where a restarted worker makes it again."""

    def __init__(self) -> None:
        self._arrivals = {Kind.VIDEO: Arrivals(), Kind.AUDIO: Arrivals()}
        self._known = {AUDIO}
        self._last_dts: dict[str, int] = {}
        self.audio_end: int | None = None
        """Show time up to which sound has come back."""

    def plan(self, plan: Plan) -> None:
        """Expect the rungs of this plan too."""
        self._known |= {rung.name for rung in plan.rungs}

    def sent(self, packet: Packet) -> None:
        """Note when a source unit arrived."""
        self._arrivals[packet.kind].note(packet.pts, packet.arrived_ns)

    def opened(self, opened: Opened) -> TrackFormat:
        """Return a rung's format. Raises `WireError` or `BitstreamError`."""
        self._check(opened.rung)
        if opened.rung == AUDIO:
            return describe(Codec.AAC, opened.extradata)
        fmt = describe(Codec.H264, annexb_to_avcc(opened.extradata))
        # x264 writes the pixel shape only where it is not square.
        return replace(fmt, sar=(1, 1))

    def coded(self, coded: Coded, now_ns: int) -> Packet | None:
        """Return the packet; None where it came before. Raises `WireError`.

        `now_ns` is its arrival where that of its source is forgotten.
        """
        self._check(coded.rung)
        audio = coded.rung == AUDIO
        last = self._last_dts.get(coded.rung)
        if last is not None and coded.dts <= last:
            return None
        self._last_dts[coded.rung] = coded.dts
        if audio:
            if self.audio_end is not None and coded.dts < self.audio_end:
                return None
            self.audio_end = coded.dts + coded.duration
        arrived = self._arrivals[Kind.AUDIO if audio else Kind.VIDEO].at(coded.pts)
        return Packet(
            track=0,
            codec=Codec.AAC if audio else Codec.H264,
            dts=coded.dts,
            pts=coded.pts,
            key=coded.key,
            payload=coded.payload,
            arrived_ns=now_ns if arrived is None else arrived,
            duration=coded.duration,
        )

    def _check(self, rung: str) -> None:
        if rung not in self._known:
            raise WireError(f"nothing named {rung[:20]!r} was planned")
