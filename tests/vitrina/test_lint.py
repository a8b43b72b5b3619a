"""`vitrina lint` against playlists served over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from media.hls.lint import Severity
from media.hls.lint_tags import parse
from vitrina.lint import Unplayable, lint, next_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.component

BROKEN = """#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:0
#EXTINF:7.0,
a.m4s
#EXT-X-ENDLIST
"""
LOW_LATENCY = """#EXTM3U
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.02,CAN-SKIP-UNTIL=12
#EXT-X-PART-INF:PART-TARGET=0.34
#EXT-X-MEDIA-SEQUENCE:7
#EXTINF:2.0,
7.m4s
"""


@pytest.fixture
async def base() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith(".m3u8"):
            text = BROKEN if "broken" in request.path else "hello"
            return web.Response(text=text, content_type="application/vnd.apple.mpegurl")
        return web.Response(body=b"x" * 100, content_type="video/mp4")

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_segment_above_the_target_is_an_error(base: str) -> None:
    linter = await lint(f"{base}/broken.m3u8", 10)
    errors = [finding for finding in linter.findings if finding.severity is Severity.ERROR]
    assert any("TARGETDURATION" in finding.sentence for finding in errors)


async def test_what_is_no_playlist_is_said(base: str) -> None:
    with pytest.raises(Unplayable, match="no HLS playlist"):
        await lint(f"{base}/other.m3u8", 5)
    with pytest.raises(Unplayable, match="could not be fetched"):
        await lint("http://127.0.0.1:9/x.m3u8", 5)


def test_the_next_reload_asks_for_the_next_part() -> None:
    whole = parse(LOW_LATENCY)
    assert next_query(whole, delta=False) == "?_HLS_msn=8&_HLS_part=0"
    open_segment = parse(LOW_LATENCY + '#EXT-X-PART:DURATION=0.33,URI="8.0.m4s"\n')
    assert next_query(open_segment, delta=True) == "?_HLS_msn=8&_HLS_part=1&_HLS_skip=YES"
    assert next_query(parse(BROKEN), delta=True) == ""
