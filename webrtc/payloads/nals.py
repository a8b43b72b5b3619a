"""What H.264 and HEVC share in RTP: NAL units, fragments and parameter sets."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from media.bitstream import BitstreamError
from media.bitstream.nal import MAX_NALS, MAX_PARAMETER_SET
from webrtc.payloads.assembly import MAX_UNIT_BYTES, Depacketizer
from webrtc.payloads.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SETS = 32
"""Parameter sets in force; encoders have three to ten."""
MAX_SETS_BYTES = 32_768
"""What all parameter sets in force may hold; a configuration record must stay below 64 KiB."""
DEFAULT_MAX_PAYLOAD = 1200
"""Bytes of an RTP payload that fit every path with headers, SRTP and TURN around them."""
MIN_MAX_PAYLOAD = 16


def check_max_payload(max_payload: int) -> int:
    """Refuse a payload size in which headers leave no room."""
    if max_payload < MIN_MAX_PAYLOAD:
        raise ValueError(f"A payload of {max_payload} bytes is too small; {MIN_MAX_PAYLOAD} do.")
    return max_payload


class ParameterSets:
    """The parameter sets in force, by kind and id."""

    def __init__(self) -> None:
        self.units: tuple[bytes, ...] = ()
        """In the order of their kinds, then ids."""
        self._by_id: dict[tuple[int, int], bytes] = {}

    def put(self, kind: int, number: int, unit: bytes) -> None:
        """Keep a set, in place of the one with its id. Raises `PayloadError` beyond the bound."""
        # A new SPS takes effect at once, and the PPS that refer to it are sent again behind it.
        sets = {**self._by_id, (kind, number): unit}
        if len(sets) > MAX_SETS:
            raise PayloadError(f"More than {MAX_SETS} parameter sets are in force.")
        held = sum(map(len, sets.values()))
        if held > MAX_SETS_BYTES:
            raise PayloadError(
                f"The parameter sets hold {held} bytes; at most {MAX_SETS_BYTES} are accepted."
            )
        self._by_id = sets
        self.units = tuple(sets[place] for place in sorted(sets))

    def has(self, kinds: Iterable[int]) -> bool:
        """Whether at least one set of each kind is known."""
        return {kind for kind, _ in self._by_id}.issuperset(kinds)


class NalDepacketizer(Depacketizer):
    """Collects NAL units behind four-byte lengths."""

    _codec: str
    _set_kinds: frozenset[int]

    def __init__(
        self, *, max_unit_bytes: int = MAX_UNIT_BYTES, parameter_sets: Iterable[bytes] = ()
    ) -> None:
        """`parameter_sets`: what the SDP says (sprop), without prefixes."""
        super().__init__(max_unit_bytes=max_unit_bytes)
        self._sets = ParameterSets()
        self._nals = 0
        self._starts_decoding = False
        self._fragment_at = -1
        self._fragment_kind = -1
        for unit in parameter_sets:
            if not unit:
                raise PayloadError(
                    f"The {self._codec} parameter sets of the SDP hold an empty one."
                )
            kind = self._kind(unit)
            if kind in self._set_kinds:
                self._keep_set(kind, unit)

    @abstractmethod
    def _kind(self, unit: bytes) -> int:
        """Say what kind of NAL unit this is, by its header."""

    @abstractmethod
    def _set_id(self, kind: int, unit: bytes) -> int:
        """Return a parameter set's own id; raises `BitstreamError`."""

    @abstractmethod
    def _note(self, kind: int, second: int) -> bool:
        """Take note of a NAL unit's kind and first byte behind its header; False to drop it."""

    def _whole_nal(self, kind: int, unit: bytes, header: int) -> None:
        if len(unit) <= header:
            raise PayloadError(f"The {self._codec} payload holds a NAL unit without a body.")
        if not self._note(kind, unit[header]):
            return
        if self._fragment_at >= 0:
            raise PayloadError(f"A fragmented {self._codec} NAL unit was not ended.")
        self._count()
        self._buffer += len(unit).to_bytes(4, "big")
        self._buffer += unit
        if kind in self._set_kinds:
            self._keep_set(kind, unit)

    def _aggregate(self, payload: bytes, pos: int, header: int) -> None:
        """Take the NAL units of an aggregation packet from behind its header."""
        end = len(payload)
        if pos == end:
            raise PayloadError(f"The {self._codec} aggregation packet is empty.")
        while pos < end:
            start = pos + 2
            pos = start + int.from_bytes(payload[pos:start], "big")
            if pos > end or start > end:
                raise PayloadError(
                    f"A NAL unit is longer than its {self._codec} aggregation packet."
                )
            unit = payload[start:pos]
            if len(unit) <= header:
                raise PayloadError(f"The {self._codec} payload holds a NAL unit without a body.")
            self._aggregated(unit)

    @abstractmethod
    def _aggregated(self, unit: bytes) -> None:
        """Take one NAL unit of an aggregation packet."""

    def _fragment(
        self, payload: bytes, pos: int, kind: int, nal_header: bytes, *, start: bool, end: bool
    ) -> None:
        """Take a fragment whose piece of the NAL unit begins at `pos`."""
        if len(payload) <= pos:
            raise PayloadError(f"The {self._codec} fragment is empty.")
        buffer = self._buffer
        if start:
            if self._fragment_at >= 0:
                raise PayloadError(f"A fragmented {self._codec} NAL unit was not ended.")
            if not self._note(kind, payload[pos]):
                raise PayloadError(f"An {self._codec} fragment is of an access unit delimiter.")
            self._count()
            self._fragment_at = len(buffer)
            self._fragment_kind = kind
            buffer += bytes(4)
            buffer += nal_header
        elif self._fragment_at < 0:
            raise PayloadError(f"A fragmented {self._codec} NAL unit lacks its beginning.")
        elif kind != self._fragment_kind:
            raise PayloadError(f"The fragments of an {self._codec} NAL unit differ in their type.")
        buffer += payload[pos:]
        if end:
            at, self._fragment_at = self._fragment_at, -1
            buffer[at : at + 4] = (len(buffer) - at - 4).to_bytes(4, "big")
            if kind in self._set_kinds:
                self._keep_set(kind, bytes(buffer[at + 4 :]))

    def _count(self) -> None:
        self._nals += 1
        if self._nals > MAX_NALS:
            raise PayloadError(f"The access unit holds more than {MAX_NALS} NAL units.")

    def _picture_begun(self, first: bool) -> None:
        """Take note of a slice; `first`: it is the first of its picture.

        Raises `PayloadError` where a marker bit tore a picture apart; it is not believed again.
        """
        if not self._picture:
            self._picture = True
            if not first and self._trusts_marker and self._timestamp == self._last_timestamp:
                self._trusts_marker = False
                self._marked = False
                raise PayloadError(
                    f"The {self._codec} sender sets the marker bit before a picture's last slice; "
                    "from now on pictures end when their timestamp does."
                )

    def _keep_set(self, kind: int, unit: bytes) -> None:
        if unit in self._sets.units:
            return
        if len(unit) > MAX_PARAMETER_SET:
            raise PayloadError(
                f"An {self._codec} parameter set has {len(unit)} bytes; "
                f"at most {MAX_PARAMETER_SET} are accepted."
            )
        try:
            number = self._set_id(kind, unit)
        except BitstreamError as err:
            raise PayloadError(str(err)) from err
        self._sets.put(kind, number, unit)

    def _discard(self) -> None:
        super()._discard()
        self._nals = 0
        self._starts_decoding = False
        self._fragment_at = -1

    def _whole(self) -> bool:
        return self._fragment_at < 0

    def _is_key(self, payload: bytes) -> bool:
        return self._starts_decoding and self._sets.has(self._set_kinds)

    def _parameter_sets(self) -> tuple[bytes, ...]:
        return self._sets.units
