"""A show: one line of media sequence numbers, whatever happens to encoder and worker."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import av
import pytest

from config.settings import LadderSettings
from media.bitstream import describe
from media.clock import START_TICKS
from media.diagnosis.findings import Code
from media.hls.rendition import Rendition
from media.model import Codec
from tests.media.stage import AAC, Clip, Stage, segments

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def clip() -> Clip:
    return Clip()


@pytest.fixture(scope="module")
def small_clip() -> Clip:
    return Clip((128, 72))


@pytest.fixture(scope="module")
def long_gop_clip() -> Clip:
    return Clip(gop=1000)


def decoded(rendition: Rendition, text: str) -> Iterator[float]:
    names = re.findall(r"^(r-\d+\.m4s)$", text, re.M)
    inits = re.findall(r'MAP:URI="([^"]+)"', text)
    parts = [rendition.resource(n) for n in [inits[-1], *names]]
    data = b"".join(p.body for p in parts if p is not None)
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0):
            yield float(frame.pts * frame.time_base)


async def test_source_and_sound_share_their_sequence_numbers(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(180 * 2))
    assert stage.names() == ["source", "audio"]
    assert stage.started == 1
    for name in ("source", "audio"):
        listed = segments(await stage.text(name))
        assert [msn for msn, _, _ in listed] == list(range(5)), name
        assert all(abs(duration - 2) < 0.05 for _, duration, _ in listed), name
        assert not any(gap for _, _, gap in listed), name
    text = await stage.text("source")
    assert len(list(decoded(stage.rendition("source"), text))) == 300


async def test_vp8_is_never_listed_as_it_came(clip: Clip):
    vp8 = describe(Codec.VP8, bytes.fromhex("1002009d012aa0005a00"))
    assert (vp8.width, vp8.height) == (160, 90)
    stage = Stage()
    stage.begin(vp8, AAC)
    for number in range(150):
        stage._push(Codec.VP8, number * 3000, number % 60 == 0, b"\x10")
        if number % 2 == 0:
            stage._push(Codec.AAC, number * 3000, True, bytes([33, 16, 4, 96, 140, 28]))
        stage.now_ns += 1_000_000_000 // 30
        stage.show.tick()
        assert stage.worker is not None
        stage.worker.answer(clip)
    assert stage.names() == ["90p", "audio"]
    assert stage.rendition("90p").format == clip.format
    assert not any(gap for _, _, gap in segments(await stage.text("90p")))
    codes = {finding.code for finding in stage.show.findings.open()}
    assert codes & {Code.CODEC_SUPPORT, Code.SOURCE_REENCODED} == {Code.CODEC_SUPPORT}
    # Pictures that HLS takes are listed as they come, from their first key frame on.
    stage.begin(clip.format, AAC)
    stage.play(clip, range(180), worker=clip)
    assert "source" in stage.names()


async def test_program_date_time_is_the_time_of_arrival(clip: Clip):
    stage = Stage()
    stage.now_ns = 700_000_000
    stage.begin(clip.format, AAC)
    stage.play(clip, range(90))
    assert stage.show.grid.segment_at(0).start == START_TICKS + 63_000
    assert "PROGRAM-DATE-TIME:2026-09-21T14:13:20.700Z" in await stage.text("source")


async def test_a_backlog_at_the_start_does_not_move_the_show(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    # The server was busy: 1.2 s of media are read at once, then it is in time.
    for number in range(36):
        key, payload = clip.units[number]
        stage._push(Codec.H264, number * 3000, key, payload)
    stage.play(clip, range(36, 150), sound=False)
    first = stage.show.grid.segment_at(0).start
    assert first == pytest.approx(START_TICKS - 36 * 3000, abs=90)
    newest = stage.rendition("source").edge
    assert newest is not None
    assert abs(stage.show.now - newest) <= 40_000


async def test_reconnect_continues_the_line_over_listed_gaps(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(100))
    stage.show.end_run()
    stage.wait(7)
    during = segments(await stage.text("source"))
    assert [gap for _, _, gap in during][-2:] == [True, True]
    stage.begin(clip.format, AAC)
    stage.play(clip, range(180))
    for name in ("source", "audio"):
        text = await stage.text(name)
        listed = segments(text)
        assert [msn for msn, _, _ in listed] == list(range(listed[-1][0] + 1)), name
        assert not listed[-1][2], name
        assert "#EXT-X-DISCONTINUITY\n" not in text
        assert all(duration <= 2.5 for _, duration, _ in listed)


async def test_sound_announced_late_after_a_reconnect_is_no_change(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(90))
    stage.show.end_run()
    stage.wait(1)
    stage.begin(clip.format)
    stage.play(clip, range(30))
    stage.show.set_format(AAC)
    stage.play(clip, range(30, 180))
    for name in ("source", "audio"):
        text = await stage.text(name)
        assert "#EXT-X-DISCONTINUITY\n" not in text, name
        assert not segments(text)[-1][2], name


async def test_what_came_before_a_hole_is_a_whole_segment(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(75))
    stage.show.end_run()
    stage.wait(6)
    source, sound = segments(await stage.text("source")), segments(await stage.text("audio"))
    assert [gap for _, _, gap in source][:3] == [False, False, True]
    assert source[1][1] == pytest.approx(0.5, abs=0.01)
    assert [msn for msn, _, _ in source] == [msn for msn, _, _ in sound]
    assert [gap for _, _, gap in source] == [gap for _, _, gap in sound]


async def test_changed_format_is_one_discontinuity_everywhere(clip: Clip, small_clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(90))
    stage.show.end_run()
    stage.wait(1)
    stage.begin(small_clip.format, AAC)
    stage.play(small_clip, range(180))
    numbers = set()
    for name in ("source", "audio"):
        text = await stage.text(name)
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1, name
        numbers.add(text.split("#EXT-X-DISCONTINUITY\n")[0].count("#EXTINF"))
    assert len(numbers) == 1


async def test_format_change_within_a_run_waits_for_the_key_frame(clip: Clip, small_clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(60))
    stage.show.set_format(small_clip.format)
    stage.play(small_clip, range(60, 180))
    text = await stage.text("source")
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert len(set(re.findall(r'MAP:URI="([^"]+)"', text))) == 2


async def test_sound_alone_starts_and_pictures_may_join(clip: Clip):
    stage = Stage()
    stage.begin(AAC)
    stage.play(None, range(120))
    assert stage.names() == ["audio"]
    assert [msn for msn, _, _ in segments(await stage.text("audio"))][:1] == [0]
    stage.show.set_format(clip.format)
    stage.play(clip, range(120, 240))
    assert stage.names() == ["source", "audio"]
    source = re.search(r"MEDIA-SEQUENCE:(\d+)", await stage.text("source"))
    assert source is not None
    assert int(source[1]) > 0


async def test_pictures_alone(clip: Clip):
    stage = Stage()
    stage.begin(clip.format)
    stage.play(clip, range(180), sound=False)
    assert stage.names() == ["source"]
    assert len(segments(await stage.text("source"))) == 2


async def test_inter_frames_before_the_first_key_frame_are_dropped(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(30, 150))
    text = await stage.text("source")
    assert min(decoded(stage.rendition("source"), text)) == pytest.approx(
        START_TICKS / 90_000 + 1, abs=0.01
    )


async def test_rungs_follow_the_source_and_pause_when_the_worker_dies(clip: Clip, small_clip: Clip):
    ladder = LadderSettings.model_validate({"rungs": [{"height": 144, "bitrate_kbps": 100}]})
    big = Clip((320, 180))
    stage = Stage(ladder)
    stage.begin(big.format, AAC)
    stage.play(big, range(9))
    assert stage.worker is not None
    stage.worker.answer(small_clip, formats=True)
    stage.play(big, range(9, 100), worker=small_clip)
    assert stage.names() == ["source", "144p", "audio"]
    stage.show.ladder.worker_lost("killed")
    stage.play(big, range(100, 400))
    stage.worker.packets.clear()
    stage.worker.answer(small_clip, formats=True)
    stage.play(big, range(400, 600), worker=small_clip)
    source = segments(await stage.text("source"))
    rung = segments(await stage.text("144p"))
    assert not any(gap for _, _, gap in source)
    gaps = [msn for msn, _, gap in rung if gap]
    assert gaps
    assert not rung[-1][2]
    assert gaps == list(range(gaps[0], gaps[-1] + 1))
    assert [msn for msn, _, _ in rung] == list(range(rung[0][0], rung[-1][0] + 1))


async def test_a_rung_that_falls_silent_is_listed_as_gaps(clip: Clip, small_clip: Clip):
    ladder = LadderSettings.model_validate({"rungs": [{"height": 144, "bitrate_kbps": 100}]})
    big = Clip((320, 180))
    stage = Stage(ladder)
    stage.begin(big.format, AAC)
    stage.play(big, range(9))
    assert stage.worker is not None
    stage.worker.answer(small_clip, formats=True)
    stage.play(big, range(9, 120), worker=small_clip)
    stage.play(big, range(120, 420))  # ten seconds in which the worker, alive, brings nothing
    rung = segments(await stage.text("144p"))
    gaps = [msn for msn, _, gap in rung if gap]
    assert gaps
    assert segments(await stage.text("source"))[-1][0] - rung[-1][0] <= 1
    stage.worker.packets.clear()
    stage.play(big, range(420, 600), worker=small_clip)
    rung = segments(await stage.text("144p"))
    assert [msn for msn, _, gap in rung if gap] == list(range(gaps[0], rung[-2][0]))


async def test_endless_gop_is_cut_and_then_reencoded(long_gop_clip: Clip, small_clip: Clip):
    stage = Stage(LadderSettings(rungs=()))
    stage.begin(long_gop_clip.format, AAC)
    stage.play(long_gop_clip, range(170), worker=small_clip)
    assert [f.code for f in stage.show.findings.open()] == ["keyframe_interval"]
    assert stage.worker is not None
    assert [r.name for r in stage.worker.plans[-1].rungs] == ["90p"]
    stage.worker.answer(small_clip, formats=True)
    stage.play(long_gop_clip, range(170, 179), worker=small_clip)
    text = await stage.text("source")
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert all(duration <= 2.5 for _, duration, _ in segments(text))


async def test_a_running_rung_of_the_same_size_stands_in_for_the_source(small_clip: Clip):
    big = Clip((256, 144), gop=1000)
    stage = Stage(LadderSettings.model_validate({"rungs": [{"height": 144, "bitrate_kbps": 100}]}))
    stage.begin(big.format, AAC)
    stage.play(big, range(9))
    assert stage.worker is not None
    stage.worker.answer(small_clip, formats=True)
    stage.play(big, range(9, 179), worker=small_clip)
    source, rung = await stage.text("source"), await stage.text("144p")
    assert stage.rendition("source").format == small_clip.format
    assert len(set(re.findall(r'MAP:URI="([^"]+)"', source))) == 2
    assert "GAP" not in rung
    assert not segments(source)[-1][2]
    assert "INDEPENDENT=YES" in source.split("#EXT-X-DISCONTINUITY\n")[1]


async def test_end_ends_every_playlist(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(90))
    stage.show.end()
    stage.show.end()
    for name in ("source", "audio"):
        assert (await stage.text(name)).endswith("#EXT-X-ENDLIST\n")
    stage.play(clip, range(90, 100))
    assert (await stage.text("source")).endswith("#EXT-X-ENDLIST\n")


async def test_place_names_the_part_that_holds_a_moment(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(75))
    edge = stage.show.lineup.edge()
    assert edge is not None
    assert stage.show.lineup.place(START_TICKS + 1)["source"] == (0, 0)
    assert stage.show.lineup.place(START_TICKS + 35_000)["source"] == (0, 1)
    assert set(stage.show.lineup.place(edge)) <= {"source", "audio"}
    assert stage.show.lineup.place(edge + 900_000) == {}


async def test_silent_publisher_does_not_stop_the_line(clip: Clip):
    stage = Stage()
    stage.begin(clip.format, AAC)
    stage.play(clip, range(90))
    before = segments(await stage.text("source"))[-1][0]
    stage.wait(8)
    assert segments(await stage.text("source"))[-1][0] >= before + 3
    assert stage.show.lineup.get("source") is not None
