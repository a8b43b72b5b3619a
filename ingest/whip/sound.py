"""From Opus packets to a format and packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream import BitstreamError, describe, opus
from media.model import TICKS_PER_SECOND, Codec, Packet, TrackFormat

if TYPE_CHECKING:
    from ingest.whip.stream import RtpStream
    from webrtc.payloads import AccessUnit


class Sound:
    """Makes the packets of one Opus stream.

    What was lost stays a hole: whoever decodes conceals it, a player by itself.
    """

    def __init__(self) -> None:
        self.format: TrackFormat | None = None
        self.dropped = 0
        """Packets that lie in the time of the one before, or whose header is illegal."""
        self._end: int | None = None

    def restart(self) -> None:
        """Begin anew, as on another SSRC."""
        self._end = None

    def take(
        self, stream: RtpStream, unit: AccessUnit, arrived_ns: int
    ) -> tuple[TrackFormat | None, Packet] | None:
        """Return the format before the first packet, and the packet of track 0."""
        try:
            samples = opus.packet_samples(unit.payload)
        except BitstreamError:
            self.dropped += 1
            return None
        if self._end is not None and -opus.SAMPLE_RATE < unit.timestamp - self._end < 0:
            self.dropped += 1
            return None
        self._end = unit.timestamp + samples
        changed: TrackFormat | None = None
        if self.format is None:
            # Whatever is sent, it decodes to two channels (RFC 7587 section 6.1).
            changed = self.format = describe(Codec.OPUS, opus.default_head(2))
        time = stream.clock.map(unit.timestamp, arrived_ns)
        return changed, Packet(
            track=0,
            codec=Codec.OPUS,
            dts=time,
            pts=time,
            key=True,
            payload=unit.payload,
            arrived_ns=arrived_ns,
            duration=samples * TICKS_PER_SECOND // opus.SAMPLE_RATE,
        )
