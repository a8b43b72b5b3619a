"""Blocking playlist reload and held parts, row by row (rfc8216bis 6.2.5.2)."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import HlsSettings
from media.hls.blocking import PlaylistRequestError, parse_directives
from media.model import Codec
from tests.media.hls.support import SECOND, FixedGrid, Rig, attributes, packet_of, part_lines

pytestmark = pytest.mark.component


@pytest.fixture
def rig():
    """Segments 0 and 1 are complete, segment 2 has two parts."""
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.end_of_media = rig.frames(SECOND, 4.7)
    return rig


async def refused(rig, **directives):
    with pytest.raises(PlaylistRequestError) as caught:
        await asyncio.wait_for(rig.rendition.playlist(**directives), 1)
    return caught.value.status, caught.value.detail


async def held(rig, **directives):
    """Start a request and see that it is not answered."""
    request = asyncio.get_running_loop().create_task(rig.rendition.playlist(**directives))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not request.done()
    return request


async def test_part_without_msn_is_400(rig):
    assert await refused(rig, part=0) == (400, "_HLS_part needs _HLS_msn.")


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "٣", "1" * 16, " 1", "+1"])
def test_what_is_no_integer_is_400(value):
    with pytest.raises(PlaylistRequestError) as caught:
        parse_directives({"_HLS_msn": value})
    assert caught.value.status == 400


@given(st.dictionaries(st.sampled_from(["_HLS_msn", "_HLS_part", "_HLS_skip", "x"]), st.text()))
def test_any_query_is_read_or_refused(query):
    try:
        directives = parse_directives(query)
    except PlaylistRequestError as error:
        assert error.status == 400  # noqa: PT017  # either outcome is right, nothing else is
    else:
        assert directives.msn is None or directives.msn >= 0


async def test_msn_more_than_two_ahead_is_400(rig):
    status, detail = await refused(rig, msn=4)
    assert status == 400
    assert detail == "_HLS_msn 4 is more than two after the last segment, 1."
    (await held(rig, msn=3)).cancel()


async def test_part_beyond_the_advance_limit_is_400(rig):
    # 3 s / 0.34 s = 8.8 parts after part 1 of the open segment.
    (await held(rig, msn=2, part=9)).cancel()
    assert (await refused(rig, msn=2, part=10))[0] == 400
    (await held(rig, msn=3, part=7)).cancel()
    assert (await refused(rig, msn=3, part=8))[0] == 400


async def test_a_part_beyond_a_finished_segment_is_part_0_of_the_next(rig):
    assert "r1-2.m4s" not in await rig.text(msn=1, part=6)
    end = rig.frames(rig.end_of_media, 1.3, first=141)
    request = await held(rig, msn=2, part=6)
    rig.frames(end, 0.3, first=180)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not request.done()
    rig.frames(end + 27_000, 0.1, first=189)
    text = (await request).body.decode()
    assert "MEDIA-SEQUENCE:0\n" in text
    assert rig.rendition.last_part.msn == 3


async def test_what_is_present_or_removed_is_answered_at_once():
    rig = Rig(grid=FixedGrid(starts=[SECOND]), settings=HlsSettings(window_segments=6))
    rig.frames(SECOND, 20)
    for directives in ({"msn": 0}, {"msn": 0, "part": 3}, {"msn": 8}, {"msn": 8, "part": 99}):
        await asyncio.wait_for(rig.rendition.playlist(**directives), 1)
    assert rig.meter.held == []


async def test_a_request_for_the_next_part_is_answered_with_it(rig):
    request = await held(rig, msn=2, part=2)
    rig.frames(rig.end_of_media, 0.4, first=141)
    text = (await request).body.decode()
    assert len(part_lines(text.split("r1-1.m4s")[1])) == 3
    assert len(rig.meter.held) == 1


async def test_a_request_for_a_segment_waits_for_the_whole_of_it(rig):
    request = await held(rig, msn=2)
    end = rig.frames(rig.end_of_media, 1.3, first=141)
    await asyncio.sleep(0)
    assert not request.done()
    rig.frames(end, 0.1, first=180)
    assert "r1-2.m4s\n" in (await request).body.decode()


async def test_a_hold_ends_with_503():
    rig = Rig(grid=FixedGrid(starts=[SECOND]), settings=HlsSettings(block_timeout_s=0.02))
    rig.frames(SECOND, 1)
    assert await refused(rig, msn=0, part=5) == (503, "Rendition 720p has no new media for 0.02 s.")
    empty = Rig(settings=HlsSettings(block_timeout_s=0.02))
    assert (await refused(empty))[0] == 503


async def test_before_the_first_part_a_request_waits_for_it():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    request = await held(rig)
    numbered = await held(rig, msn=0, part=0)
    too_far = await held(rig, msn=9)
    rig.frames(SECOND, 0.4)
    assert (await request).body == (await numbered).body
    with pytest.raises(PlaylistRequestError) as caught:
        await too_far
    assert caught.value.status == 400


async def test_endlist_ends_waiting_and_directives(rig):
    request = await held(rig, msn=2, part=5)
    hint = await rig.rendition.playlist()
    uri = attributes(re.search("#EXT-X-PRELOAD-HINT.*", hint.body.decode())[0])["URI"]
    loop = asyncio.get_running_loop()
    part = loop.create_task(rig.rendition.wait_resource(uri))
    await asyncio.sleep(0)
    rig.rendition.end()
    text = (await request).body.decode()
    assert text.endswith("#EXT-X-ENDLIST\n")
    # What was collected when the end came is the hinted part.
    assert (await part) is not None
    assert (await rig.rendition.playlist(part=3, skip=True)).body == text.encode()


async def test_a_rendition_without_media_that_ended_is_404():
    rig = Rig()
    request = asyncio.get_running_loop().create_task(rig.rendition.playlist())
    await asyncio.sleep(0)
    rig.rendition.end()
    with pytest.raises(PlaylistRequestError) as caught:
        await request
    assert caught.value.status == 404


async def test_a_thousand_waiters_share_one_rendering_and_survive_a_hang_up(rig):
    loop = asyncio.get_running_loop()
    requests = [loop.create_task(rig.rendition.playlist(msn=2, part=2)) for _ in range(1000)]
    await asyncio.sleep(0)
    requests[0].cancel()
    await asyncio.sleep(0)
    rig.frames(rig.end_of_media, 0.4, first=141)
    answers = [await request for request in requests[1:]]
    assert len({id(answer) for answer in answers}) == 1
    assert answers[0].gzip_body is answers[0].gzip_body


async def test_the_hinted_part_is_held_and_others_are_unknown_at_once(rig):
    text = await rig.text()
    uri = attributes(re.search("#EXT-X-PRELOAD-HINT.*", text)[0])["URI"]
    request = asyncio.get_running_loop().create_task(rig.rendition.wait_resource(uri))
    await asyncio.sleep(0)
    assert not request.done()
    assert await asyncio.wait_for(rig.rendition.wait_resource("r1-9.9.m4s"), 1) is None
    assert await asyncio.wait_for(rig.rendition.wait_resource("r1-2.m4s"), 1) is None
    rig.frames(rig.end_of_media, 0.4, first=141)
    resource = await request
    assert resource is rig.rendition.resource(uri)
    assert resource.content_type == "video/iso.segment"
    assert uri in await rig.text()


async def test_the_hinted_name_holds_even_where_the_part_belongs_to_the_next_segment():
    # Key frames off the grid: nothing foretells that the hinted part starts a segment.
    rig = Rig(grid=FixedGrid(starts=[SECOND], step=SECOND * 21 // 10))
    for number in range(200):
        at = SECOND + 3000 * number
        if rig.rendition.edge == at:
            text = await rig.text()
            hint = attributes(re.search("#EXT-X-PRELOAD-HINT.*", text)[0])["URI"]
            parts = len(part_lines(text))
            assert hint not in text.split("#EXT-X-PRELOAD-HINT")[0]
            held_name, count = hint, parts
        rig.rendition.push(packet_of(Codec.H264, at, key=number % 61 == 0))
        if number > 10 and rig.rendition.edge == at + 3000:
            assert held_name in await rig.text()
            assert count


async def test_a_new_revision_of_the_cues_is_a_new_state():
    class Cues:
        revision = 1
        seen = []  # noqa: RUF012

        def date_ranges(self, start_ms, end_ms):
            return [f'#EXT-X-DATERANGE:ID="c.{self.revision}",X-A="{start_ms}-{end_ms}"']

        def take_events(self, rendition, **window):
            self.seen.append((rendition, window))
            return b""

        def rendered(self, rendition, revision):
            self.seen.append((rendition, revision))

    cues = Cues()
    rig = Rig(grid=FixedGrid(starts=[SECOND]), metadata=cues)
    rig.frames(SECOND, 1)
    first = await rig.rendition.playlist()
    assert (await rig.rendition.playlist()) is first
    cues.revision = 2
    second = await rig.rendition.playlist()
    assert second.etag != first.etag
    assert 'ID="c.2",X-A="1795363201000-1795363202000"' in second.body.decode()
    windows = [entry[1] for entry in cues.seen if isinstance(entry[1], dict)]
    assert windows[0] == {
        "start": SECOND,
        "end": SECOND + 30_000,
        "timescale": 90_000,
        "msn": 0,
        "part": 0,
    }
    assert [(w["start"], w["part"]) for w in windows[1:]] == [
        (SECOND + 30_000, 1),
        (SECOND + 60_000, 2),
    ]
    assert [entry[1] for entry in cues.seen if not isinstance(entry[1], dict)] == [1, 2]
