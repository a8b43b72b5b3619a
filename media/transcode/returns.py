"""What comes back from a worker, as formats and packets of its rungs: no I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from media.bitstream import describe
from media.bitstream.h264 import annexb_to_avcc
from media.model import Codec, Kind, Packet
from media.transcode.plan import AUDIO, OPUS
from media.transcode.replay import Arrivals
from media.transcode.wire import WireError

if TYPE_CHECKING:
    from media.model import TrackFormat
    from media.transcode.messages import Coded, Opened
    from media.transcode.plan import Plan


_SOUND = {AUDIO: Codec.AAC, OPUS: Codec.OPUS}


class Returns:
    """Lets every access unit through once, also where a restarted worker makes it again."""

    def __init__(self) -> None:
        self._arrivals = {Kind.VIDEO: Arrivals(), Kind.AUDIO: Arrivals()}
        self._heard = Arrivals()
        self._known = {AUDIO, OPUS}
        self._last_dts: dict[str, int] = {}
        self.audio_end: int | None = None
        """Show time up to which sound has come back."""

    def plan(self, plan: Plan) -> None:
        """Expect the rungs of this plan too."""
        self._known |= {rung.name for rung in plan.rungs}

    def sent(self, packet: Packet) -> None:
        """Note when a source unit arrived."""
        self._arrivals[packet.kind].note(packet.pts, packet.arrived_ns)

    def heard(self, packet: Packet) -> None:
        """Note when a unit of the sound that becomes Opus arrived."""
        self._heard.note(packet.pts, packet.arrived_ns)

    def opened(self, opened: Opened) -> TrackFormat:
        """Return a rung's format. Raises `WireError` or `BitstreamError`."""
        self._check(opened.rung)
        if opened.rung == AUDIO:
            return describe(Codec.AAC, opened.extradata)
        if opened.rung == OPUS:
            return describe(Codec.OPUS, opened.extradata)
        fmt = describe(Codec.H264, annexb_to_avcc(opened.extradata))
        # x264 writes the pixel shape only where it is not square.
        return replace(fmt, sar=(1, 1))

    def coded(self, coded: Coded, now_ns: int) -> Packet | None:
        """Return the packet; None where it came before. Raises `WireError`.

        `now_ns` is its arrival where that of its source is forgotten.
        """
        self._check(coded.rung)
        codec = _SOUND.get(coded.rung, Codec.H264)
        last = self._last_dts.get(coded.rung)
        if last is not None and coded.dts <= last:
            return None
        self._last_dts[coded.rung] = coded.dts
        if codec is Codec.AAC:
            if self.audio_end is not None and coded.dts < self.audio_end:
                return None
            self.audio_end = coded.dts + coded.duration
        arrivals = self._heard if codec is Codec.OPUS else self._arrivals[codec.kind]
        arrived = arrivals.at(coded.pts)
        return Packet(
            track=0,
            codec=codec,
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
