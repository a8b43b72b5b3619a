"""What the list promises holds for any source timing."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import HlsSettings
from media.model import Codec, Kind
from tests.media.hls.support import SECOND, FixedGrid, Rig, attributes, packet_of, part_lines

pytestmark = pytest.mark.unit

TARGET_S = 0.34


def segments_of(text):
    """[(msn, pdt seconds, extinf, part durations, gap, discontinuity)] of the closed segments."""
    msn = int(re.search(r"MEDIA-SEQUENCE:(\d+)", text)[1])
    found, pdt, parts, gap, broken, extinf = [], None, [], False, False, None
    for line in text.splitlines():
        if line.startswith("#EXT-X-PROGRAM-DATE-TIME:"):
            hours, minutes, seconds = line.rstrip("Z")[-12:].split(":")
            pdt = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        elif line.startswith("#EXT-X-PART:"):
            parts.append(float(attributes(line)["DURATION"]))
        elif line == "#EXT-X-GAP":
            gap = True
        elif line == "#EXT-X-DISCONTINUITY":
            broken = True
        elif line.startswith("#EXTINF:"):
            extinf = float(line[8:].rstrip(","))
        elif line and not line.startswith("#"):
            found.append((msn, pdt, extinf, parts, gap, broken))
            msn, parts, gap, broken = msn + 1, [], False, False
    return found


def render(rig, **directives):
    return asyncio.run(rig.text(**directives))


def check(rig, text):
    listed = segments_of(text)
    for line in part_lines(text):
        assert float(line["DURATION"]) <= TARGET_S
    for _msn, _pdt, extinf, parts, _gap, _broken in listed:
        assert extinf < 2.5
        if parts:
            assert sum(parts) == pytest.approx(extinf, abs=1e-4)
    for before, after in pairwise(listed):
        assert after[1] - before[1] == pytest.approx(before[2], abs=0.0021)
    check_bytes(rig, text)


def check_bytes(rig, text):
    bodies = b""
    for line in text.splitlines():
        if line.startswith("#EXT-X-PART:"):
            part = attributes(line)
            resource = rig.rendition.resource(part["URI"])
            assert (resource is None) == ("GAP" in part)
            bodies += resource.body if resource else b""
        elif line and not line.startswith("#"):
            resource = rig.rendition.resource(line)
            if bodies:
                assert resource.body == bodies
            bodies = b""


def merge_delta(full, delta):
    """Put a delta update into the playlist that a client holds, by the draft's rule."""
    skipped = int(attributes(re.search(r"#EXT-X-SKIP:.*", delta)[0])["SKIPPED-SEGMENTS"])
    first = int(re.search(r"MEDIA-SEQUENCE:(\d+)", delta)[1])
    held = {msn: rest for msn, *rest in segments_of(full)}
    merged = [(msn, *held[msn]) for msn in range(first, first + skipped)]
    return merged + [(msn + skipped, *rest) for msn, *rest in segments_of(delta)]


STEP = st.one_of(
    st.integers(2900, 3100),  # 30 fps with the millisecond jitter of RTMP
    st.integers(2900, 3100),
    st.integers(2900, 3100),
    st.integers(1, 40_000),  # variable frame rate and lost frames
    st.integers(40_000, 400_000),  # stalls
)


@given(
    steps=st.lists(STEP, min_size=40, max_size=250),
    keys=st.integers(1, 90),
    starts=st.lists(st.integers(SECOND // 2, 2 * SECOND), max_size=5),
    reorder=st.sampled_from([0, 6000]),
    gaps=st.dictionaries(st.integers(0, 249), st.integers(1, 5 * SECOND), max_size=4),
    broken=st.sets(st.integers(1, 6), max_size=2),
    kind=st.sampled_from([Kind.VIDEO, Kind.AUDIO]),
)
def test_no_timing_breaks_the_list(steps, keys, starts, reorder, gaps, broken, kind):
    offsets = [0]
    for start in starts:
        offsets.append(offsets[-1] + start)
    grid = FixedGrid(starts=[SECOND + offset for offset in offsets], discontinuities=broken)
    rig = Rig(kind=kind, grid=grid)
    codec = Codec.H264 if kind is Kind.VIDEO else Codec.AAC
    shift = reorder if kind is Kind.VIDEO else 0
    dts, held, promised, edge = SECOND, None, None, 0
    for number, step in enumerate(steps):
        key = kind is Kind.AUDIO or number % keys == 0
        rig.rendition.push(packet_of(codec, dts, pts=dts + shift, key=key))
        dts += step
        if number in gaps:
            rig.rendition.fill_gap(dts + gaps[number])
            dts += gaps[number]
            shift = reorder - shift if kind is Kind.VIDEO else 0
        if number % 20 and number not in gaps:
            continue
        if rig.rendition.edge is None:
            continue
        text = render(rig)
        names = [part["URI"] for part in part_lines(text)]
        if promised is not None and rig.rendition.edge - edge < 3 * SECOND:
            assert promised in text
        edge = rig.rendition.edge
        assert len(names) == len(set(names))
        promised = attributes(re.search("#EXT-X-PRELOAD-HINT:TYPE=PART.*", text)[0])["URI"]
        assert promised not in names
        check(rig, text)
        delta = render(rig, skip=True)
        if "#EXT-X-SKIP" in delta and held is not None:
            try:
                merged = merge_delta(held, delta)
            except KeyError:
                merged = merge_delta(text, delta)  # too much happened since: asks for it all
            whole = segments_of(text)
            assert [entry[:3] for entry in merged] == [entry[:3] for entry in whole]
        held = text
    rig.rendition.end()
    if rig.rendition.edge is not None:
        text = render(rig)
        assert text.endswith("#EXT-X-ENDLIST\n")
        assert "PRELOAD-HINT" not in text
        check(rig, text)


@pytest.mark.parametrize(
    "fps", [4, 5, 7.5, 10, 12, 15, 20, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60]
)
def test_parts_of_common_frame_rates_are_long_enough(fps):
    rig = Rig()
    gop = round(fps * 2)
    for number in range(gop * 4):
        ms = round(number * 1000 / fps)
        rig.rendition.push(packet_of(Codec.H264, SECOND + ms * 90, key=number % gop == 0))
    text = render(rig)
    for _msn, _pdt, _extinf, parts, *_ in segments_of(text):
        assert all(part >= TARGET_S * 0.85 for part in parts[:-1])


@pytest.mark.parametrize("fps", [1.5, 2, 2.5])
def test_segments_of_few_pictures_begin_on_their_boundaries(fps):
    gop = round(fps * 2)
    starts = [SECOND + round(n * gop * SECOND / fps) for n in range(8)]
    rig = Rig(grid=FixedGrid(starts=starts))
    for number in range(gop * 8):
        at = SECOND + round(number * SECOND / fps)
        rig.rendition.push(packet_of(Codec.H264, at, key=number % gop == 0))
    listed = segments_of(render(rig))
    assert len(listed) >= 5
    for _msn, _pdt, extinf, *_ in listed:
        assert extinf == pytest.approx(gop / fps, abs=0.001)


def test_a_part_is_published_with_its_last_packet_not_with_the_next():
    rig = Rig()
    rig.frames(SECOND, 0.3)
    assert rig.rendition.edge is None
    rig.rendition.push(packet_of(Codec.H264, SECOND + 27_000))
    assert rig.rendition.edge == SECOND + 30_000


def test_the_last_part_is_published_before_a_key_frame_that_is_foreseen():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    end = rig.frames(SECOND, 4, fps=25, gop=50)
    # 50 frames of 40 ms: six parts of eight, then two frames.
    assert rig.rendition.edge == end
    assert rig.rendition.next_part == (2, 0, end)


@pytest.mark.parametrize("hole", [2, 3, 6])
@pytest.mark.parametrize("first", [*range(1, 12), 47, 50])
def test_a_picture_shorter_than_foreseen_leaves_no_splinters(first, hole):
    """A rung guesses that a picture lasts as long as the hole behind the one before."""
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    for number in range(180):
        if number % 60 in range(first, first + hole):
            continue
        lasts = (hole + 1) * 3000 if number % 60 == first + hole else 3000
        made = packet_of(Codec.H264, SECOND + number * 3000, key=number % 60 == 0, duration=lasts)
        rig.rendition.push(made)
    listed = [parts for _msn, _pdt, _extinf, parts, *_ in segments_of(render(rig)) if parts]
    assert listed
    for parts in listed:
        assert all(part >= TARGET_S * 0.85 for part in parts[:-1])


def test_without_a_key_frame_the_segment_is_cut_at_the_latest_moment():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 12, gop=10_000)
    text = render(rig)
    assert "#EXT-X-INDEPENDENT-SEGMENTS" not in text
    lengths = [extinf for _msn, _pdt, extinf, *_ in segments_of(text)]
    assert lengths[0] == pytest.approx(2.4, abs=0.1)
    assert lengths[1:] == pytest.approx([2.0] * len(lengths[1:]), abs=0.05)


def test_segments_that_start_with_key_frames_are_promised_independent():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 9)
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in render(rig)


def test_media_sequence_numbers_are_those_of_the_grid():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND + 10 * SECOND, 3)
    assert "#EXT-X-MEDIA-SEQUENCE:5\n" in render(rig)


def test_a_gap_keeps_the_clock_running():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    end = rig.frames(SECOND, 1)
    rig.rendition.fill_gap(SECOND + 6 * SECOND)
    text = render(rig)
    listed = segments_of(text)
    assert [(msn, extinf, gap) for msn, _pdt, extinf, _parts, gap, _ in listed] == [
        (0, 2.0, False),
        (1, 2.0, True),
        (2, 2.0, True),
    ]
    assert rig.meter.gaps == 2
    assert end == SECOND + SECOND
    rig.frames(SECOND + 6 * SECOND, 1)
    assert rig.rendition.last_part.msn == 3
    check(rig, render(rig))


def test_what_comes_for_time_listed_as_a_gap_is_dropped_until_a_key_frame():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 1)
    rig.rendition.fill_gap(SECOND + 4 * SECOND)
    edge = rig.rendition.edge
    rig.rendition.push(packet_of(Codec.H264, SECOND + 3 * SECOND, key=True))
    rig.rendition.push(packet_of(Codec.H264, SECOND + 4 * SECOND + 100))
    assert rig.rendition.dropped == 2
    assert rig.rendition.edge == edge


def test_a_discontinuity_stands_before_the_map_and_the_first_part():
    rig = Rig(grid=FixedGrid(starts=[SECOND], discontinuities={2}))
    rig.frames(SECOND, 5)
    block = render(rig).split("#EXT-X-DISCONTINUITY\n")[1].splitlines()
    assert block[0] == '#EXT-X-MAP:URI="r1-init-0.mp4"'
    assert block[1].startswith("#EXT-X-PROGRAM-DATE-TIME:")
    assert block[2].startswith("#EXT-X-PART:")


def test_the_discontinuity_sequence_grows_when_the_tag_rolls_off():
    rig = Rig(
        grid=FixedGrid(starts=[SECOND], discontinuities={2}),
        settings=HlsSettings(window_segments=6),
    )
    dts = rig.frames(SECOND, 16)
    assert "DISCONTINUITY-SEQUENCE:0\n" in render(rig)
    rig.frames(dts, 6)
    text = render(rig)
    assert "DISCONTINUITY-SEQUENCE:1\n" in text
    assert "#EXT-X-DISCONTINUITY\n" not in text


def test_a_new_format_starts_with_the_next_segment_and_is_hinted():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 3.7)
    changed = type(rig.rendition.format)(
        **{name: getattr(rig.rendition.format, name) for name in rig.rendition.format.__slots__}
        | {"width": 640, "height": 360}
    )
    rig.rendition.set_format(changed)
    rig.rendition.set_format(changed)
    assert render(rig).count("#EXT-X-MAP") == 1
    assert rig.rendition.resource("r1-init-1.mp4") is not None
    rig.frames(SECOND + round(3.7 * SECOND), 0.3, first=111)
    assert '#EXT-X-PRELOAD-HINT:TYPE=MAP,URI="r1-init-1.mp4"' in render(rig)
    rig.frames(SECOND + 4 * SECOND, 1)
    text = render(rig)
    assert text.count("#EXT-X-MAP") == 2
    assert "r1-init-2" not in text


def test_a_stalled_part_is_published_when_it_is_due():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 0.2)
    rig.rendition.flush_due(SECOND + SECOND)
    assert rig.rendition.edge is None
    rig.now.ns += 340_000_000
    rig.rendition.flush_due(SECOND + SECOND)
    assert rig.rendition.edge == SECOND + 18_000


def test_part_at_names_published_open_and_unknown_moments():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 1.2)
    at = rig.rendition.part_at
    assert (at(SECOND).msn, at(SECOND).part) == (0, 0)
    assert at(SECOND + 30_000).part == 1
    assert at(rig.rendition.edge).part == 3
    assert at(SECOND - 1) is None
    assert at(SECOND * 10) is None


def test_old_parts_lose_their_tags_first_and_their_bytes_later():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    dts = rig.frames(SECOND, 1)
    first = part_lines(render(rig))[0]["URI"]
    dts = rig.frames(dts, 7.5, first=30)
    assert first not in render(rig)
    assert rig.rendition.resource(first) is not None
    rig.frames(dts, 8, first=255)
    assert rig.rendition.resource(first) is None
    assert rig.rendition.resource("r1-0.m4s") is not None


def test_a_removed_segment_stays_for_itself_and_the_longest_playlist():
    rig = Rig(grid=FixedGrid(starts=[SECOND]), settings=HlsSettings(window_segments=6))
    dts = rig.frames(SECOND, 16)
    assert "r1-0.m4s" not in render(rig)
    assert rig.rendition.resource("r1-0.m4s") is not None
    dts = rig.frames(dts, 10, first=480)
    assert rig.rendition.resource("r1-0.m4s") is not None
    rig.frames(dts, 8, first=780)
    assert rig.rendition.resource("r1-0.m4s") is None


def test_a_delta_update_keeps_can_skip_until_of_whole_segments():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 23.7)
    text = render(rig, skip=True)
    # 11 whole segments and an open one: the last 12 s of whole ones stay.
    assert "#EXT-X-VERSION:9\n" in text
    assert "#EXT-X-SKIP:SKIPPED-SEGMENTS=5\n" in text
    assert [f"r1-{msn}.m4s\n" in text for msn in range(12)] == [False] * 5 + [True] * 6 + [False]


def test_a_run_that_reorders_differently_joins_up_in_presentation_time():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 2.5)
    rig.rendition.fill_gap(SECOND + 4 * SECOND)
    for number in range(90):
        at = SECOND + 4 * SECOND + 3000 * number
        rig.rendition.push(packet_of(Codec.H264, at - 6000, pts=at, key=number % 60 == 0))
    assert rig.rendition.dropped == 0
    text = render(rig)
    check(rig, text)
    listed = segments_of(text)
    assert [entry[0] for entry in listed] == [0, 1, 2]
    assert listed[2][1] == 16 * 3600 + 5
    assert rig.rendition.edge == SECOND + 7 * SECOND


def test_sound_waits_for_a_boundary_that_late_pictures_decide():
    class Undecided(FixedGrid):
        known = 0

        def after(self, msn):
            return self._boundary(msn + 1) if msn < self.known else None

        def segment_at(self, ticks):
            return min(super().segment_at(ticks), self._boundary(self.known), key=lambda b: b.msn)

    grid = Undecided(starts=[SECOND])
    rig = Rig(kind=Kind.AUDIO, grid=grid)
    count = SECOND * 7 // 2 // 1920
    for number in range(count):
        rig.rendition.push(packet_of(Codec.AAC, SECOND + 1920 * number, key=True))
    assert rig.rendition.edge <= SECOND + SECOND * 5 // 2
    check(rig, render(rig))
    grid.known = 1
    rig.rendition.push(packet_of(Codec.AAC, SECOND + 1920 * count, key=True))
    text = render(rig)
    check(rig, text)
    assert [entry[0] for entry in segments_of(text)] == [0]
    assert rig.rendition.edge > SECOND + 3 * SECOND
    assert rig.rendition.dropped == 0


def test_a_hole_beyond_the_window_starts_the_list_anew():
    rig = Rig(grid=FixedGrid(starts=[SECOND]))
    rig.frames(SECOND, 5)
    rig.frames(SECOND + 3600 * SECOND, 3)
    listed = segments_of(render(rig))
    assert len(listed) <= 13
    assert listed[-1][0] == 1800
    check(rig, render(rig))
