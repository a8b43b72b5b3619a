"""Pages and static files: nothing from outside gets in, nothing outside the folder gets out."""

from __future__ import annotations

import asyncio

import pytest

from delivery.pages import load_static

pytestmark = pytest.mark.component


@pytest.fixture
def built(tmp_path):
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "vitrina-player.js").write_text("export {};\n" * 50)
    (folder / "vitrina-publish.js").write_text("export {};\n")
    (folder / "assets" / "hls-BX3kd9_a.js").write_text("export const a = 1;\n")
    (folder / ".secret").write_text("no")
    (tmp_path / "outside.txt").write_text("outside")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    return folder


async def test_the_watch_page(serve, built):
    async with serve(static=built) as site, site.get("/watch/demo") as response:
        page = await response.text()
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = response.headers["Content-Security-Policy"]
    assert '<vitrina-player src="/live/demo/index.m3u8"' in page
    assert '<script type="module" src="/static/vitrina-player.js"></script>' in page
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


async def test_the_watch_page_in_realtime(serve, built):
    async with serve(static=built) as site:
        async with site.get("/watch/demo?mode=realtime") as response:
            assert 'm3u8" mode="realtime" autoplay>' in await response.text()
        async with site.get("/watch/demo?mode=%22%3E%3Cscript%3E") as response:
            page = await response.text()
    assert "mode=" not in page
    assert page.count("<script") == 1


async def test_the_publish_page(serve, built):
    async with serve(static=built) as site:
        async with site.get("/studio/publish/demo") as response:
            assert response.status == 200
            page = await response.text()
            headers = response.headers
        async with site.get("/watch/demo") as response:
            assert "camera=()" in response.headers["Permissions-Policy"]
    assert '<vitrina-publish stream="demo">' in page
    assert '<script type="module" src="/static/vitrina-publish.js"></script>' in page
    assert "camera=(self), microphone=(self)" in headers["Permissions-Policy"]
    policy = headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert rule in policy.split("; ")


async def test_without_the_front_end_there_is_no_publish_page(serve, tmp_path):
    async with (
        serve(static=tmp_path / "nothing") as site,
        site.get("/studio/publish/demo") as response,
    ):
        assert response.status == 503
        assert "front end was not built" in await response.text()


async def test_without_the_player_it_says_so(serve, tmp_path):
    async with serve(static=tmp_path / "nothing") as site, site.get("/watch/demo") as response:
        page = await response.text()
    assert '<video src="/live/demo/index.m3u8"' in page
    assert "front end was not built" in page
    assert "<script" not in page


@pytest.mark.parametrize("page", ["watch", "studio/publish"])
@pytest.mark.parametrize(
    "name",
    [
        "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "demo%22%20onload%3D%22alert(1)",
        "%7B0.__class__%7D",
        "..%2F..%2Fetc",
        "demo%0d%0aX-Injected:%201",
        "nobody",
    ],
)
async def test_hostile_stream_names(site, name, page):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET /{page}/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 404 ")
    assert "alert(1)" not in answer
    assert "X-Injected" not in answer


async def test_static_files(serve, built):
    async with serve(static=built) as site:
        async with site.get(
            "/static/vitrina-player.js",
            headers={"Origin": "https://shop.example", "Accept-Encoding": "gzip"},
        ) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert response.headers["Content-Encoding"] == "gzip"
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["Cache-Control"] == "public, no-cache"
            tag = response.headers["ETag"]
        async with site.get(
            "/static/vitrina-player.js",
            headers={"If-None-Match": tag, "Accept-Encoding": "gzip"},
        ) as response:
            assert response.status == 304
        async with site.get("/static/assets/hls-BX3kd9_a.js") as response:
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../outside.txt",
        "/static/%2e%2e/outside.txt",
        "/static/..%2foutside.txt",
        "/static//etc/passwd",
        "/static/.secret",
        "/static/link.txt",
        "/static/assets",
        "/static/",
    ],
)
async def test_paths_out_of_the_folder(serve, built, path):
    async with serve(static=built) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_only_files_are_loaded(built):
    assert set(load_static(built)) == {
        "vitrina-player.js",
        "vitrina-publish.js",
        "assets/hls-BX3kd9_a.js",
    }
