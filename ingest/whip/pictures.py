"""From the access units of one video layer to its format and packets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from media.bitstream import BitstreamError, describe, h264, hevc, hevc_sps, nal, vp9
from media.model import TICKS_PER_SECOND, Codec, FormatRefused, Packet, TrackFormat
from webrtc.payloads import AccessUnit, PayloadError, configuration

if TYPE_CHECKING:
    from ingest.whip.stream import RtpStream

CODECS = {
    "h264": Codec.H264,
    "h265": Codec.HEVC,
    "av1": Codec.AV1,
    "vp9": Codec.VP9,
    "vp8": Codec.VP8,
}
"""By encoding names in lower case."""


MAX_DISORDER = 60
"""A picture in front of the one before counts 3, one behind it -1: two seconds of B-frames."""


class Pictures:
    """Makes one layer's packets. What a loss has touched does not come out before a key frame."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.format: TrackFormat | None = None
        self.dropped = 0
        """Access units without a key frame before them, or whose parameters are unusable."""
        self._sets: tuple[bytes, ...] | None = None
        self._started = False
        self._newest: int | None = None
        self._disorder = 0

    def restart(self) -> None:
        """Begin with a key frame again, as on another SSRC."""
        self._started = False
        self._sets = None
        self._newest = None

    def take(
        self, stream: RtpStream, unit: AccessUnit, arrived_ns: int, *, broken: bool
    ) -> tuple[TrackFormat | None, Packet] | None:
        """Return the format where it has changed, and the packet, as of track 0.

        `broken`: something before the unit is missing, and no key frame has come since.
        Raises `FormatRefused` for pictures that are not sent in the order in which they are shown.
        """
        changed: TrackFormat | None = None
        if unit.key:
            try:
                found = self._format(unit)
            except (BitstreamError, PayloadError):
                self._started = False
                self.dropped += 1
                return None
            if found is not None and found != self.format:
                changed = self.format = found
            self._started = True
        elif broken:
            self._started = False
        if not self._started:
            self.dropped += 1
            return None
        self._check_order(unit.timestamp)
        time = stream.clock.map(unit.timestamp, arrived_ns)
        return changed, Packet(
            track=0,
            codec=self.codec,
            dts=time,
            pts=time,
            key=unit.key,
            payload=unit.payload,
            arrived_ns=arrived_ns,
        )

    def _check_order(self, timestamp: int) -> None:
        if self._newest is not None:
            back = 0 < self._newest - timestamp < TICKS_PER_SECOND
            self._disorder = max(0, self._disorder + (3 if back else -1))
            if self._disorder > MAX_DISORDER:
                raise FormatRefused(
                    "The encoder sends B-frames, but WebRTC does not say when they are decoded: "
                    "switch them off (x264: bframes=0 or tune zerolatency)."
                )
        self._newest = timestamp

    def _format(self, unit: AccessUnit) -> TrackFormat | None:
        """Return what a key unit says of itself; None where its parameter sets are as before.

        Raises `BitstreamError` or `PayloadError`.
        """
        if self.codec is Codec.VP8:
            return describe(self.codec, configuration(self.codec, unit))
        if self.codec is Codec.VP9:
            config = configuration(self.codec, unit)
            return vp9.with_dimensions(describe(self.codec, config), unit.payload)
        if unit.parameter_sets is self._sets:
            return None
        found = describe(self.codec, configuration(self.codec, self._own(unit)))
        self._sets = unit.parameter_sets
        return found

    def _own(self, unit: AccessUnit) -> AccessUnit:
        """Return the unit with the parameter sets that it brings, where it brings all kinds.

        Others may still be in force under other ids, and would be taken for its own.
        """
        if self.codec is Codec.AV1:
            return unit
        sets = tuple(
            unit.payload[start:stop]
            for start, stop in nal.length_prefixed_spans(unit.payload)
            if _is_set(self.codec, unit.payload[start])
        )
        kinds = {_kind(self.codec, each[0]) for each in sets}
        known = {_kind(self.codec, each[0]) for each in unit.parameter_sets}
        return replace(unit, parameter_sets=sets) if kinds == known else unit


def _kind(codec: Codec, first: int) -> int:
    return first & 0x1F if codec is Codec.H264 else hevc.nal_type(first)


def _is_set(codec: Codec, first: int) -> bool:
    if codec is Codec.H264:
        return _kind(codec, first) in (h264.NAL_SPS, h264.NAL_PPS)
    return _kind(codec, first) in (hevc.NAL_VPS, hevc_sps.NAL_SPS, hevc.NAL_PPS)
