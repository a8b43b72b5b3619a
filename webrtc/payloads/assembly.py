"""What every depacketizer shares: where access units begin and end, and what a loss breaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from media.bitstream import BitstreamError
from webrtc.payloads.errors import PayloadError

MAX_UNIT_BYTES = 4 * 2**20
"""The largest access unit that is put together where the caller says nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessUnit:
    """One whole access unit, framed as `media.model.TrackFormat` documents it."""

    payload: bytes
    """Length-prefixed NAL units without access unit delimiters (H.264, HEVC), OBUs with size
    fields without temporal delimiters (AV1), a frame or superframe (VP8, VP9), a packet (Opus)."""
    key: bool
    """True where decoding can start, for which the parameter sets must be known, too."""
    timestamp: int
    """RTP timestamp as it was fed, in ticks of the payload type's clock."""
    parameter_sets: tuple[bytes, ...] = ()
    """Those in force: VPS, SPS and PPS units without prefixes, or AV1's sequence header OBU with
    its size field; the same object until one changes. Empty for the other codecs."""


class Depacketizer(ABC):
    """Puts access units together from the payloads of one SSRC, fed in sequence order.

    An access unit ends with the marker bit at once, without it when the timestamp changes. A unit
    that a loss may have touched is dropped: the one under way, and the one behind the loss unless
    its beginning proves itself. What comes out is whole or does not come out.
    Holds at most `max_unit_bytes` and one payload.
    """

    def __init__(self, *, max_unit_bytes: int = MAX_UNIT_BYTES) -> None:
        self.max_unit_bytes = max_unit_bytes
        self.needs_key = True
        """Whether a key frame must come before pictures are right again: at the start and after
        every loss and every broken unit, until the next key unit. Never for sound."""
        self.dropped = 0
        """Access units seen in part and dropped; units lost entirely are not known here."""
        self._buffer = bytearray()
        self._timestamp: int | None = None
        self._last_timestamp: int | None = None
        self._broken = False
        # Whether the unit under way holds (a piece of) a picture; parameter sets alone wait for it.
        self._picture = False
        # What came before the first packet is unknown, as behind a loss.
        self._gap = 1
        self._fresh = True
        self._next: int | None = None
        self._marked: bool | None = None
        self._trusts_marker = True
        self._ready: list[AccessUnit] = []

    def feed(self, payload: bytes, marker: bool, timestamp: int, sequence: int) -> list[AccessUnit]:
        """Take one packet's payload; return the units that it completes: none, one or two.

        `timestamp` and `sequence` are unwrapped; a sequence number that is not the next one counts
        as a loss, `lost()` or not. Empty payloads (padding alone) are passed over.
        Raises `PayloadError`; a unit finished before it is returned by the next call.
        """
        if sequence != self._next and self._next is not None:
            self.lost(max(1, sequence - self._next))
        self._next = sequence + 1
        if payload:
            if self._gap or timestamp != self._timestamp:
                self._turn(payload, timestamp)
            if self._broken:
                self._picture = self._picture or self._pictures(payload)
            else:
                self._take(payload, marker)
            if marker and self._trusts_marker:
                self._end()
        if not self._ready:
            return []
        ready, self._ready = self._ready, []
        return ready

    def lost(self, count: int = 1) -> None:
        """Take note that the next `count` packets will not come."""
        self._gap += count
        if self._next is not None:
            self._next += count
        self.needs_key = True

    def flush(self) -> list[AccessUnit]:
        """Return what is whole at the end of the stream: a unit whose marker never came."""
        if self._picture and not self._broken and not self._gap:
            self._finish_quietly()
        self._reset()
        ready, self._ready = self._ready, []
        return ready

    def _take(self, payload: bytes, marker: bool) -> None:
        try:
            self._add(payload)
            self._check_size(len(self._buffer))
        except PayloadError:
            self._picture = self._picture or self._pictures(payload)
            self._break()
            if marker and self._trusts_marker:
                self._end()
            raise

    def _check_size(self, size: int) -> None:
        if size > self.max_unit_bytes:
            raise PayloadError(
                f"The access unit has more than {self.max_unit_bytes} bytes; "
                "lower the encoder's bitrate or resolution."
            )

    def _turn(self, payload: bytes, timestamp: int) -> None:
        """Go on behind a loss, or from one unit to the next."""
        gap, self._gap = self._gap, 0
        started = self._timestamp is not None
        if started and timestamp == self._timestamp:
            self._break()
            return
        # One packet was lost, and the marker is missing: it was that one.
        known = not gap or (gap == 1 and started and self._picture and self._marked is True)
        if started and gap:
            if self._picture:
                self._break()
                self._reset()
            self._discard()
        elif started and self._picture:
            if not self._broken:
                self._finish_quietly()
            self._marked = False
            self._reset()
        elif self._broken:
            # The parameter sets that were lost under their own timestamp belong to what follows.
            known = False
        fresh, self._fresh = self._fresh and gap == 1, False
        if not known and (self._begins(payload) or (fresh and self._may_begin(payload))):
            known, self._broken = True, False
        self._timestamp = timestamp
        if not known:
            self._break()

    def _end(self) -> None:
        """Close the unit at its marker bit; one without a picture waits for the next."""
        if not self._picture:
            return
        if self._marked is None:
            self._marked = True
        if not self._broken:
            self._finish()
        self._reset()

    def _finish(self) -> None:
        try:
            if not self._whole():
                self._break()
                return
            payload = self._payload()
            key = self._is_key(payload)
        except (BitstreamError, PayloadError) as err:
            self._break()
            self._reset()
            raise PayloadError(str(err)) from err
        assert self._timestamp is not None
        self._last_timestamp = self._timestamp
        if key:
            self.needs_key = False
        self._ready.append(
            AccessUnit(
                payload=payload,
                key=key,
                timestamp=self._timestamp,
                parameter_sets=self._parameter_sets(),
            )
        )

    def _finish_quietly(self) -> None:
        """Finish a unit while a packet of the next one is at hand, which must not suffer."""
        try:
            self._finish()
        except PayloadError:
            return  # counted and told by `needs_key`

    def _break(self) -> None:
        if not self._broken:
            self._broken = True
            self.dropped += 1
        self.needs_key = True
        self._discard()

    def _reset(self) -> None:
        self._timestamp = None
        self._broken = False
        self._picture = False
        self._discard()

    def _discard(self) -> None:
        """Forget what the unit under way holds."""
        self._buffer = bytearray()

    def _whole(self) -> bool:
        """Whether nothing of the unit under way is open."""
        return True

    def _payload(self) -> bytes:
        return bytes(self._buffer)

    def _parameter_sets(self) -> tuple[bytes, ...]:
        return ()

    def _pictures(self, payload: bytes) -> bool:
        """Whether a payload that is not looked into any further may hold a piece of a picture."""
        return True

    def _may_begin(self, payload: bytes) -> bool:
        """Whether the first packet of all can be taken for the beginning of a unit."""
        return self._begins(payload)

    @abstractmethod
    def _begins(self, payload: bytes) -> bool:
        """Whether nothing of a unit can come before this payload. Never raises."""

    @abstractmethod
    def _add(self, payload: bytes) -> None:
        """Add a payload of at least one byte to the unit under way; raises `PayloadError`."""

    @abstractmethod
    def _is_key(self, payload: bytes) -> bool:
        """Whether decoding can start at this unit; raises `PayloadError` or `BitstreamError`."""
