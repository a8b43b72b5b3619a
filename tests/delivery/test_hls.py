"""The media path over a real socket: headers, conditions, ranges, holds."""

from __future__ import annotations

import asyncio
import gzip
import re

import m3u8
import pytest

from config.settings import LimitsSettings
from delivery.deps import PARTS

pytestmark = pytest.mark.component

PLAYLIST = "/live/demo/audio/index.m3u8"


async def text_of(site, path, **options):
    async with site.get(path, **options) as response:
        assert response.status == 200, await response.text()
        body = await response.read()
        if response.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return body.decode()


async def a_segment(site):
    playlist = m3u8.loads(await text_of(site, PLAYLIST))
    return "/live/demo/audio/" + playlist.segments[0].uri


async def hinted(site):
    text = await text_of(site, PLAYLIST)
    return "/live/demo/audio/" + re.search(r'PRELOAD-HINT:TYPE=PART,URI="([^"]+)"', text)[1]


async def test_playlist_headers(site):
    async with site.get(PLAYLIST, headers={"Origin": "https://shop.example"}) as response:
        assert response.status == 200
        headers = response.headers
        assert headers["Content-Type"] == "application/vnd.apple.mpegurl"
        assert headers["Cache-Control"] == "public, max-age=1"
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert {"Age", "Date"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
        assert int(headers["Content-Length"]) == len(await response.read())
        assert headers["ETag"].startswith('"')
        assert headers["Vary"] == "Accept-Encoding"
        assert "Date" in headers


async def test_playlist_is_gzipped_for_who_takes_it(site):
    async with site.get(PLAYLIST, headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        text = await plain.read()
        plain_tag = plain.headers["ETag"]
    async with site.get(PLAYLIST, headers={"Accept-Encoding": "br, gzip"}) as zipped:
        assert zipped.headers["Content-Encoding"] == "gzip"
        body = await zipped.read()
        assert zipped.headers["ETag"] != plain_tag
    assert gzip.decompress(body) == text
    assert len(body) < len(text) / 2
    async with site.get(PLAYLIST, headers={"Accept-Encoding": "gzip;q=0"}) as refused:
        assert "Content-Encoding" not in refused.headers


async def test_conditional_requests(site):
    segment = await a_segment(site)
    for path in (PLAYLIST, segment, "/live/demo/index.m3u8"):
        async with site.get(path) as first:
            tag = first.headers["ETag"]
        async with site.get(path, headers={"If-None-Match": f'"x", W/{tag}'}) as again:
            assert again.status == 304
            assert await again.read() == b""
            assert again.headers["ETag"] == tag
            assert again.headers["Access-Control-Allow-Origin"] == "*"
        async with site.get(path, headers={"If-None-Match": '"another"'}) as changed:
            assert changed.status == 200


async def test_segment_headers_and_bytes(site):
    path = await a_segment(site)
    async with site.get(path) as response:
        assert response.headers["Content-Type"] == "video/iso.segment"
        assert response.headers["Cache-Control"] == "public, max-age=3600, immutable"
        body = await response.read()
    assert body == site.stream.audio.resource(path.rsplit("/", 1)[1]).body
    text = await text_of(site, PLAYLIST)
    init = re.search(r'EXT-X-MAP:URI="([^"]+)"', text)[1]
    async with site.get(f"/live/demo/audio/{init}") as response:
        assert response.headers["Content-Type"] == "video/mp4"
        assert (await response.read())[4:8] == b"ftyp"


async def test_head_says_the_same_without_a_body(site):
    for path in (PLAYLIST, await a_segment(site), "/live/demo/index.m3u8"):
        async with site.get(path) as full:
            length = len(await full.read())
        async with site.session.head(site.url + path) as head:
            assert head.status == 200
            assert int(head.headers["Content-Length"]) == length
            assert head.headers["ETag"] == full.headers["ETag"]
            assert await head.read() == b""


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=5-", 5, None),
        ("bytes=-7", -7, None),
        ("bytes=3-99999999", 3, None),
    ],
)
async def test_a_single_range(site, asked, first, last):
    path = await a_segment(site)
    body = site.stream.audio.resource(path.rsplit("/", 1)[1]).body
    expected = body[first:] if last is None else body[first : last + 1]
    async with site.get(path, headers={"Range": asked}) as response:
        assert response.status == 206
        assert await response.read() == expected
        start = len(body) + first if first < 0 else first
        assert response.headers["Content-Range"] == (
            f"bytes {start}-{start + len(expected) - 1}/{len(body)}"
        )


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "items=0-1", "bytes=9-3", "bytes=a-b", "bytes"])
async def test_ranges_that_are_ignored(site, asked):
    async with site.get(await a_segment(site), headers={"Range": asked}) as response:
        assert response.status == 200


async def test_a_range_behind_the_end(site):
    path = await a_segment(site)
    size = len(site.stream.audio.resource(path.rsplit("/", 1)[1]).body)
    async with site.get(path, headers={"Range": "bytes=9999999-"}) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == f"bytes */{size}"
        # A cache that kept it would refuse everybody else.
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Type"] == "application/problem+json"


async def test_a_range_counts_with_get_alone(site):
    path = await a_segment(site)
    async with site.session.head(site.url + path, headers={"Range": "bytes=0-9"}) as response:
        assert response.status == 200
        assert "Content-Range" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/live/nobody/index.m3u8",
        "/live/demo/4320p/index.m3u8",
        "/live/demo/audio/r1-9999.m4s",
        "/live/demo/audio/../../etc/passwd",
        "/live/demo/audio/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/live/demo/audio/..%5c..%5cpyproject.toml",
        "/live/%00/index.m3u8",
        "/live/DEMO/index.m3u8",
        "/live/demo//index.m3u8",
        "/live/" + "a" * 3000 + "/index.m3u8",
        "/live/demo/audio/x/y/z",
        "/live/",
        "/live/demo/audio/",
    ],
)
async def test_unknown_names(site, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    # A raw request: clients would tidy the path up.
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in head
    assert b"Access-Control-Allow-Origin: *" in head
    assert b"max-age=2" in head
    assert b"root:" not in body


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("_HLS_part=1", "_HLS_part needs _HLS_msn."),
        ("_HLS_msn=x", "_HLS_msn is not a decimal integer."),
        ("_HLS_msn=-1", "_HLS_msn is not a decimal integer."),
        ("_HLS_msn=1&_HLS_part=1.5", "_HLS_part is not a decimal integer."),
        ("_HLS_msn=" + "9" * 400, "_HLS_msn is not a decimal integer."),
    ],
)
async def test_directives_that_make_no_sense(site, query, detail):
    async with site.get(f"{PLAYLIST}?{query}") as response:
        assert response.status == 400
        assert (await response.json(content_type=None))["detail"] == detail
        # Draft appendix B.1: failed blocking requests may be kept four target durations.
        assert response.headers["Cache-Control"] in {"public, max-age=8", "public, max-age=2"}


async def test_too_far_ahead_is_refused_at_once(site):
    async with site.get(f"{PLAYLIST}?_HLS_msn=99") as response:
        assert response.status == 400


async def test_a_thousand_waiters_share_one_rendering(site):
    msn, part, _ = site.stream.audio.next_part
    rendered = 0
    original = site.stream.audio._writer.render

    def counted(*args, **options):
        nonlocal rendered
        rendered += 1
        return original(*args, **options)

    site.stream.audio._writer.render = counted
    media = site.app[PARTS].media
    async with asyncio.TaskGroup() as tasks:
        path = f"{PLAYLIST}?_HLS_msn={msn}&_HLS_part={part}"
        waiting = [tasks.create_task(text_of(site, path)) for _ in range(1000)]
        async with asyncio.timeout(30):
            while media.waiting < 1000:
                assert not any(task.done() for task in waiting)
                await asyncio.sleep(0)
        site.stream.feed(0.4)
    texts = {task.result() for task in waiting}
    assert len(texts) == 1
    assert f"r1-{msn}.{part}.m4s" in texts.pop()
    assert rendered == 1
    assert media.waiting == 0


async def test_blocking_playlist_may_be_kept_longer(site):
    msn, part, _ = site.stream.audio.next_part
    site.stream.feed(0.4)
    async with site.get(f"{PLAYLIST}?_HLS_msn={msn}&_HLS_part={part}") as response:
        assert response.headers["Cache-Control"] == "public, max-age=12"


async def test_the_hinted_part_is_held_and_nothing_else(site):
    path = await hinted(site)
    media = site.app[PARTS].media
    async with asyncio.TaskGroup() as tasks:

        async def fetch():
            async with site.get(path) as response:
                return response.status, await response.read()

        held = tasks.create_task(fetch())
        async with asyncio.timeout(10):
            while not media.waiting:
                await asyncio.sleep(0)
        site.stream.feed(0.4)
    status, body = held.result()
    assert status == 200
    assert body == site.stream.audio.resource(path.rsplit("/", 1)[1]).body
    async with site.get(path.replace(".m4s", "9.m4s")) as response:
        assert response.status == 404


async def test_waiters_are_bounded(serve):
    async with serve(limits=LimitsSettings(max_waiters=10)) as site:
        path = await hinted(site)
        media = site.app[PARTS].media
        async with asyncio.TaskGroup() as tasks:
            held = [tasks.create_task(text_status(site, path)) for _ in range(10)]
            async with asyncio.timeout(10):
                while media.waiting < 10:
                    await asyncio.sleep(0)
            async with site.get(path) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert response.headers["Cache-Control"] == "no-store"
            site.stream.feed(0.4)
        assert {task.result() for task in held} == {200}
        assert "waiters" in site.meter.refusals


async def text_status(site, path):
    async with site.get(path) as response:
        await response.read()
        return response.status


async def test_an_idle_stream_says_so(site):
    async with site.get("/live/other/index.m3u8") as response:
        assert response.status == 404
        problem = await response.json(content_type=None)
    assert problem["detail"] == "The stream is idle."


async def test_preflight_and_other_methods(site):
    async with site.session.options(
        site.url + PLAYLIST,
        headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"},
    ) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
        assert "Range" in response.headers["Access-Control-Allow-Headers"]
    async with site.session.post(site.url + PLAYLIST, data=b"x") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_a_fault_inside_stays_inside(site):
    def broken(*_args):
        raise RuntimeError("secret path /var/lib")

    site.stream.audio.resource = broken
    async with site.get("/live/demo/audio/r1-0.m4s") as response:
        assert response.status == 500
        assert "secret" not in await response.text()
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_measured(site):
    before = site.meter.bytes
    body = await text_of(site, PLAYLIST, headers={"Accept-Encoding": "identity"})
    assert site.meter.bytes - before == len(body)
    assert ("playlist", 200) in site.meter.requests


async def test_viewers_are_sessions_not_requests(site):
    for agent in ("one", "two", "one"):
        await text_of(site, PLAYLIST, headers={"User-Agent": agent})
    assert site.app[PARTS].media.viewers("demo") == 2
