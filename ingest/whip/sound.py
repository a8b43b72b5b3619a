"""From Opus packets to a format and packets without gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream import BitstreamError, describe, opus
from media.model import TICKS_PER_SECOND, Codec, Packet, TrackFormat

if TYPE_CHECKING:
    from ingest.whip.stream import RtpStream
    from webrtc.payloads import AccessUnit

MAX_FILLED = opus.SAMPLE_RATE
"""Samples: a longer gap is no loss and no pause of the encoder, but silence of its own."""


class Sound:
    """Makes the packets of one Opus stream.

    What was lost, or left out in a pause (discontinuous transmission), is filled by packets that
    are empty behind their first byte: every Opus decoder conceals them (RFC 6716 3.2.1: a frame
    of length 0 was lost or is not transmitted).
    """

    codec = Codec.OPUS

    def __init__(self) -> None:
        self.format: TrackFormat | None = None
        self.concealed = 0
        """Packets that were filled in."""
        self.dropped = 0
        """Packets that came too late for their place, or whose header is illegal."""
        self._end: int | None = None
        self._toc = 0

    def restart(self) -> None:
        """Begin anew, as on another SSRC."""
        self._end = None

    def take(
        self, stream: RtpStream, unit: AccessUnit, arrived_ns: int
    ) -> tuple[TrackFormat | None, list[Packet]]:
        """Return the format before the first packet, and the packets of track 0."""
        changed: TrackFormat | None = None
        if self.format is None:
            # Whatever is sent, it decodes to two channels (RFC 7587 section 6.1).
            changed = self.format = describe(Codec.OPUS, opus.default_head(2))
        packets: list[Packet] = []
        try:
            samples = opus.packet_samples(unit.payload)
        except BitstreamError:
            self.dropped += 1
            return changed, packets
        gap = 0 if self._end is None else unit.timestamp - self._end
        if -MAX_FILLED < gap < 0:
            self.dropped += 1
            return changed, packets
        if 0 < gap <= MAX_FILLED:
            filler = bytes((self._toc & 0xFC,))
            each = opus.packet_samples(filler)
            at = unit.timestamp - gap // each * each
            while at < unit.timestamp:
                packets.append(self._packet(stream, at, filler, each, arrived_ns))
                self.concealed += 1
                at += each
        packets.append(self._packet(stream, unit.timestamp, unit.payload, samples, arrived_ns))
        self._end = unit.timestamp + samples
        self._toc = unit.payload[0]
        return changed, packets

    def _packet(
        self, stream: RtpStream, timestamp: int, payload: bytes, samples: int, arrived_ns: int
    ) -> Packet:
        time = stream.clock.map(timestamp, arrived_ns)
        return Packet(
            track=0,
            codec=Codec.OPUS,
            dts=time,
            pts=time,
            key=True,
            payload=payload,
            arrived_ns=arrived_ns,
            duration=samples * TICKS_PER_SECOND // opus.SAMPLE_RATE,
        )
