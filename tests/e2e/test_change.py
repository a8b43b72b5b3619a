"""One show, many formats: viewers keep watching whatever the encoder changes to."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.browser import CHROMIUM, Watch, watching
from tests.support.hls import Reader
from tests.support.judge import Judge
from tests.support.push import Publisher
from tests.support.server import STREAM, Server, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt install chromium"),
]

SEGMENT_MS = 2000


def finding(server: Server, code: str) -> str | None:
    """Text of an open finding."""
    found = [f for f in server.stream()["findings"] if f["code"] == code and not f["until"]]
    return found[0]["text"] if found else None


def gap_s(text: str) -> float:
    """Seconds that a playlist lists as missing."""
    return sum(float(seconds) for seconds in re.findall(r"#EXT-X-GAP\n#EXTINF:([\d.]+)", text))


def broken(judge: Judge) -> list[str]:
    """Rules broken, but for two.

    A new rung is reported by a playlist as soon as that changes itself; a worker that starts on
    a busy machine leaves pictures out, and a part is short by them.
    """
    errors = judge.errors(STREAM)
    return [s for s in errors if "no rendition report" not in s and "less than 85 %" not in s]


def wait_pictures(watch: Watch, count: int) -> None:
    """Wait until so many more pictures were presented."""
    seen = watch.pictures()
    wait_for(lambda: watch.pictures() >= seen + count, 30, f"{count} pictures {watch.console}")


def test_h264_hevc_h264_in_one_show(server: Server, push: Callable[..., Publisher]) -> None:
    push(size="640x360")
    server.wait_live()
    judge = Judge(server, [STREAM])
    reader = Reader(server)
    with watching(f"{server.url}/watch/{STREAM}") as watch:
        watch.until("p.state === 'live' && p.playingDate !== null", 40)
        wait_pictures(watch, 60)
        watch.clear()
        push(size="848x480", video="hevc", audio="opus")
        wait_for(lambda: finding(server, "codec_changed"), 15, "the finding")
        # This browser has no HEVC: `source` goes on as H.264, made from it.
        wait_for(lambda: reader.decode("source", segments=1).height == 480, 20, "the new picture")
        assert reader.decode("source", segments=1).codec == "h264"
        wait_pictures(watch, 90)
        push(size="480x270")
        wait_for(lambda: finding(server, "codec_changed") is None, 15, "the end of the finding")
        wait_for(lambda: reader.decode("source", segments=1).height == 270, 20, "the last picture")
        wait_pictures(watch, 90)
        print(f"standstills: {watch.standstills()}")
        assert max(watch.standstills(), default=0) <= SEGMENT_MS
        assert watch.player("p.state") == "live"
        assert not [line for line in watch.console if "pageerror" in line], watch.console
    # Larger than the source by now, and still fed: with the source's own size.
    assert reader.decode("360p", segments=1).height == 270
    assert reader.decode("audio", segments=1).frames > 50
    for name in reader.names():
        # A newer encoder may start before a slate is made; rungs may be late on a busy machine.
        assert gap_s(reader.text(name)) <= (1 if name == "audio" else SEGMENT_MS / 1000), name
    judge.stop()
    assert not broken(judge)


def test_sound_vanishes_and_returns(server: Server, push: Callable[..., Publisher]) -> None:
    push(size="640x360")
    server.wait_live()
    judge = Judge(server, [STREAM])
    reader = Reader(server)
    with watching(f"{server.url}/watch/{STREAM}") as watch:
        watch.until("p.state === 'live' && p.playingDate !== null", 40)
        wait_pictures(watch, 60)
        watch.clear()
        push(size="640x360", audio=None)
        wait_for(lambda: len(server.stream()["tracks"]) == 1, 10, "pictures alone")
        wait_pictures(watch, 120)
        push(size="640x360", audio="mp3")
        wait_for(lambda: len(server.stream()["tracks"]) == 2, 10, "sound again")
        wait_pictures(watch, 120)
        print(f"standstills: {watch.standstills()}")
        assert max(watch.standstills(), default=0) <= SEGMENT_MS
    assert gap_s(reader.text("audio")) <= 1
    judge.stop()
    assert not broken(judge)
