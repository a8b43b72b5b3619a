"""Cues in the real playlists and parts of real coded video."""

from __future__ import annotations

import m3u8
import pytest

from config.settings import HlsSettings
from media.clock import ShowClock
from media.hls.rendition import Rendition
from media.meter import NoMeter
from media.model import Kind
from overlay.times import format_ms, parse_ms
from tests.media.hls.support import FixedGrid, Now, encoded_video
from tests.overlay.readers import events

pytestmark = pytest.mark.component


class RenderedStream:
    """Implements `LiveStream` over one rendition."""

    name = "shop"
    live = True

    def __init__(self, epoch_ms):
        self.clock = ShowClock(epoch_ms=epoch_ms, origin_ns=0)
        self.rendition = None

    def edge(self):
        return self.rendition.edge

    def place(self, ticks):
        found = self.rendition.part_at(ticks)
        return {} if found is None else {self.rendition.name: (found.msn, found.part)}


@pytest.mark.parametrize("bframes", [0, 2])
async def test_a_cue_lies_in_the_part_and_on_the_date_that_the_answer_names(stage, bframes):
    fmt, packets = encoded_video(bframes=bframes)
    stream = stage.streams["shop"] = RenderedStream(1_800_000_000_123)
    feed = stage.service.feed("shop", stream.clock)
    rendition = stream.rendition = Rendition(
        stream="shop",
        name="source",
        kind=Kind.VIDEO,
        settings=HlsSettings(),
        clock=stream.clock,
        grid=FixedGrid(starts=(90_000,)),
        metadata=feed,
        run_id="r",
        meter=NoMeter(),
        now_ns=Now(),
    )
    rendition.set_format(fmt)
    half = len(packets) // 2 + 3
    for packet in packets[:half]:
        rendition.push(packet)
    edge = stream.edge()
    now = await stage.service.fire("shop", {"type": "notice", "data": {"text": "now"}})
    assert 0 <= stream.clock.ticks(parse_ms(now["at"])) - edge < 90
    seen_ms = stream.clock.utc_ms(edge) - 700
    seen = await stage.service.fire(
        "shop", {"type": "notice", "at": f"seen:{format_ms(seen_ms)}", "data": {"text": "seen"}}
    )
    for packet in packets[half:]:
        rendition.push(packet)

    text = (await rendition.playlist()).body.decode()
    playlist = m3u8.loads(text)
    tags = {
        tag.id: tag
        for segment in playlist.segments
        for place in (segment, *segment.parts)
        for tag in place.dateranges
    }
    assert {name: tag.start_date for name, tag in tags.items()} == {
        f"{now['id']}.1": now["at"],
        f"{seen['id']}.1": format_ms(seen_ms),
    }

    found = {}
    msn = playlist.media_sequence or 0
    for segment in playlist.segments:
        whole = rendition.resource(segment.uri).body if segment.uri else b""
        for part, listed in enumerate(segment.parts):
            body = rendition.resource(listed.uri).body
            assert body in whole or not whole
            boxes = b""
            while body[4:8] == b"emsg":
                size = int.from_bytes(body[:4], "big")
                boxes, body = boxes + body[:size], body[size:]
            assert body[4:8] == b"moof"
            for event in events(boxes):
                found[event.cue["id"]] = (msn, part, event, segment)
        msn += 1
    assert set(found) == {now["id"], seen["id"]}
    for fired in (now, seen):
        msn, part, _, _ = found[fired["id"]]
        named = fired["placement"]["rendition_sequence"]["source"]
        assert (named["msn"], named["part"]) == (msn, part)
    # Both carriers name the same millisecond: program date-time plus the parts before.
    _, part, event, segment = found[now["id"]]
    before = sum(p.duration for p in segment.parts[:part])
    begins = parse_ms(segment.program_date_time.isoformat()) + before * 1000
    until = begins + segment.parts[part].duration * 1000
    assert begins - 1 <= parse_ms(now["at"]) < until
    assert event.time * 90_000 // event.timescale == stream.clock.ticks(parse_ms(now["at"]))
