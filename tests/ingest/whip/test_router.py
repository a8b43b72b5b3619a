"""Whose a packet is, whatever its sender says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.whip.router import MAX_GONE, MAX_REPAIRS, STRAGGLERS_NS, Router, Slot
from tests.ingest.whip.publisher import SOUND_SSRC, VIDEO_SSRC, answer
from tests.webrtc.packets import media
from webrtc.extensions import Extensions

pytestmark = pytest.mark.unit

NOTHING = Extensions()


def router(name: str = "obs-30") -> Router:
    return Router(answer(name))


def found(slot: Slot | None) -> tuple[str, int, str | None] | None:
    return None if slot is None else (slot.kind.value, slot.layer, slot.rid)


def test_by_payload_type_alone() -> None:
    made = router()
    assert found(made.media(media(1, payload_type=96, ssrc=5), NOTHING, 0)) == ("video", 0, None)
    assert found(made.media(media(1, payload_type=111, ssrc=5), NOTHING, 0)) == ("audio", 0, None)
    assert made.media(media(1, payload_type=97, ssrc=VIDEO_SSRC), NOTHING, 0) is None


def test_a_mid_that_does_not_fit_its_payload_type_is_nobodys() -> None:
    made = router()
    sound = media(1, payload_type=111, ssrc=SOUND_SSRC)
    assert found(made.media(sound, Extensions(mid="0"), 0)) == ("audio", 0, None)
    assert made.media(sound, Extensions(mid="1"), 0) is None
    assert made.media(sound, Extensions(mid="7"), 0) is None


def test_layers_by_rid_and_the_first_one_not_by_its_ssrc_alone() -> None:
    made = router("obs-32-simulcast")
    for rid in "012":
        packet = media(1, payload_type=96, ssrc=100 + int(rid))
        assert found(made.media(packet, Extensions(mid="1", rid=rid), 0)) == (
            "video",
            int(rid),
            rid,
        )
    assert made.media(media(1, payload_type=96, ssrc=7), Extensions(mid="1"), 0) is None
    assert made.media(media(1, payload_type=96, ssrc=7), Extensions(rid="9"), 0) is None


def test_layers_by_ssrcs_where_the_sdp_names_one_for_each() -> None:
    agreed = answer("obs-32-simulcast")
    sections = tuple(
        replace(each, ssrcs=(10, 20, 30)) if each.rids else each for each in agreed.sections
    )
    made = Router(replace(agreed, sections=sections))
    assert found(made.media(media(1, payload_type=96, ssrc=20), NOTHING, 0)) == ("video", 1, "1")
    assert made.media(media(1, payload_type=96, ssrc=40), NOTHING, 0) is None


def test_retransmissions_by_repaired_rid_and_then_by_their_ssrc() -> None:
    made = router("chromium-simulcast")
    (section,) = {id(each.section): each.section for each in made.slots}.values()
    number = section.rtx_payload_type or 0
    packet = media(1, payload_type=number, ssrc=77)
    assert made.repair(packet, Extensions(mid=section.mid)) is None
    said = Extensions(mid=section.mid, repaired_rid="m")
    assert found(made.repair(packet, said)) == ("video", 1, "m")
    assert found(made.repair(packet, NOTHING)) == ("video", 1, "m")
    assert made.repair(media(1, payload_type=1, ssrc=77), said) is None


def test_retransmissions_of_the_only_stream_need_no_name() -> None:
    made = router("chromium-publish")
    video = next(each.section for each in made.slots if each.kind.value == "video")
    packet = media(1, payload_type=video.rtx_payload_type or 0, ssrc=4242)
    assert found(made.repair(packet, NOTHING)) == ("video", 0, None)


def test_what_is_remembered_is_bounded() -> None:
    made = router("chromium-simulcast")
    number = made.slots[0].section.rtx_payload_type or 0
    for ssrc in range(4 * MAX_REPAIRS):
        made.repair(media(1, payload_type=number, ssrc=ssrc), Extensions(repaired_rid="h"))
    assert made.repair(media(1, payload_type=number, ssrc=0), NOTHING) is None
    last = media(1, payload_type=number, ssrc=4 * MAX_REPAIRS - 1)
    assert found(made.repair(last, NOTHING)) == ("video", 0, "h")


def test_who_said_goodbye_may_come_back_without_its_name() -> None:
    made = router("chromium-simulcast")
    number = made.slots[0].payload_type
    packet = media(1, payload_type=number, ssrc=5)
    slot = made.media(packet, Extensions(rid="m"), 0)
    assert found(slot) == ("video", 1, "m")
    assert slot is not None
    made.bound(5, slot)
    made.left(5, slot, 0)
    assert made.media(packet, NOTHING, STRAGGLERS_NS - 1) is None
    assert made.media(packet, NOTHING, STRAGGLERS_NS) is slot
    made.bound(6, slot)  # unless another one has its place
    assert made.media(packet, Extensions(rid="m"), STRAGGLERS_NS) is None
    for ssrc in range(1000, 1000 + MAX_GONE):
        made.replaced(ssrc, slot)
    assert made.media(packet, Extensions(rid="m"), STRAGGLERS_NS) is slot  # forgotten
