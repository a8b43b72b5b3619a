"""Whose an RTP packet is: section and layer by mid, rid, SSRC or payload type.

RFC 8843 section 9.2, RFC 8852, RFC 8853 section 5.5. Publishers need not say their SSRCs in the
SDP, and may change them at any time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.model import Kind
from webrtc.extensions import ExtensionMap, Extensions
from webrtc.sdp.model import MediaKind

if TYPE_CHECKING:
    from webrtc.rtp import RtpPacket
    from webrtc.sdp.negotiate import Agreed, Answer

MAX_REPAIRS = 16
"""RTX streams remembered."""
MAX_GONE = 64
"""SSRCs remembered that said goodbye, or whose place another one has taken."""
STRAGGLERS_NS = 300_000_000
"""After a goodbye, what was sent before it may still arrive (RFC 3550 section 6.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slot:
    """Where one stream's packets go: the only one of its section, or one simulcast layer."""

    kind: Kind
    section: Agreed
    layer: int = 0
    """Index of the layer in the offer's order."""
    rid: str | None = None

    @property
    def payload_type(self) -> int:
        """Of its media packets."""
        assert self.section.payload_type is not None
        return self.section.payload_type.number


class Router:
    """Finds the slot of packets whose SSRC is not known yet. Holds no packets."""

    def __init__(self, answer: Answer) -> None:
        self.slots: list[Slot] = []
        uris: dict[int, str] = {}
        for section in answer.sections:
            if section.payload_type is None or not section.direction.receives:
                continue
            uris |= {each.id: each.uri for each in section.extensions}
            kind = Kind.AUDIO if section.kind is MediaKind.AUDIO else Kind.VIDEO
            for layer, rid in enumerate(section.rids or (None,)):
                self.slots.append(Slot(kind=kind, section=section, layer=layer, rid=rid))
        self.ids = ExtensionMap.from_uris(uris)
        self._repairs: OrderedDict[int, Slot] = OrderedDict()
        self._gone: OrderedDict[int, tuple[Slot, int | None]] = OrderedDict()
        """SSRCs not at work any more: where they were, since when they may be again (None: not)."""

    def bound(self, ssrc: int, slot: Slot) -> None:
        """Note that an SSRC is at work on a slot: those before it there do not come back."""
        self._gone.pop(ssrc, None)
        for each, (where, _) in self._gone.items():
            if where is slot:
                self._gone[each] = slot, None

    def replaced(self, ssrc: int, slot: Slot) -> None:
        """Note that another SSRC takes the place of one."""
        self._note(ssrc, slot, None)

    def left(self, ssrc: int, slot: Slot, now_ns: int) -> None:
        """Note that an SSRC has said goodbye; it may come back."""
        self._note(ssrc, slot, now_ns + STRAGGLERS_NS)

    def _note(self, ssrc: int, slot: Slot, back_ns: int | None) -> None:
        self._gone[ssrc] = slot, back_ns
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)

    def media(self, packet: RtpPacket, said: Extensions, now_ns: int) -> Slot | None:
        """Return the slot of a media packet; None for one that belongs nowhere (yet).

        Browsers say goodbye for a track that is taken out or a layer that is switched off, and go
        on later under the same SSRC, without its mid and rid once these were acknowledged.
        """
        if packet.ssrc in self._gone:
            slot, back_ns = self._gone[packet.ssrc]
            back = back_ns is not None and now_ns >= back_ns
            return slot if back and packet.payload_type == slot.payload_type else None
        found = [each for each in self.slots if each.payload_type == packet.payload_type]
        return self._narrow(found, packet.ssrc, said.mid, said.rid)

    def repair(self, packet: RtpPacket, said: Extensions) -> Slot | None:
        """Return the slot whose packets an RTX packet brings again; None for one of no RTX."""
        found = [
            each for each in self.slots if each.section.rtx_payload_type == packet.payload_type
        ]
        if not found:
            return None
        known = self._repairs.get(packet.ssrc)
        if known in found and said.repaired_rid is None:
            return known
        ssrc = next(
            (
                group.ssrcs[0]
                for group in found[0].section.source_groups
                if group.semantics == "FID" and packet.ssrc in group.ssrcs[1:]
            ),
            0,
        )
        slot = self._narrow(found, ssrc, said.mid, said.repaired_rid or said.rid)
        if slot is not None:
            self._repairs[packet.ssrc] = slot
            if len(self._repairs) > MAX_REPAIRS:
                self._repairs.popitem(last=False)
        return slot

    def _narrow(
        self, found: list[Slot], ssrc: int, mid: str | None, rid: str | None
    ) -> Slot | None:
        if mid is not None:
            found = [each for each in found if each.section.mid in (mid, None)]
        sections = {id(each.section) for each in found}
        if len(sections) > 1:
            found = [each for each in found if ssrc in each.section.ssrcs]
        if rid is not None:
            found = [each for each in found if each.rid in (rid, None)]
        if len(found) == 1:
            return found[0]
        # Layers are told apart by rid alone, but the SDP may name the SSRC of each.
        for each in found:
            sources = _sources(each.section)
            if len(sources) == len(each.section.rids) and sources[each.layer] == ssrc:
                return each
        return None


def _sources(section: Agreed) -> list[int]:
    """Return the SSRCs of a section that are not of retransmissions."""
    repairs = {
        ssrc
        for group in section.source_groups
        if group.semantics == "FID"
        for ssrc in group.ssrcs[1:]
    }
    return [each for each in section.ssrcs if each not in repairs]
