"""The linter: silent on what is right, exact on what is wrong."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.hls.lint import PlaylistLinter, Severity
from media.hls.lint_rules import check_document
from media.hls.lint_tags import parse
from media.hls.multivariant import RenditionInfo, render_multivariant
from media.model import Codec, Kind
from tests.media.hls.support import (
    AUDIO_FORMAT,
    SECOND,
    VIDEO_FORMAT,
    FixedGrid,
    Rig,
    packet_of,
)

pytestmark = pytest.mark.unit

BASE = "http://origin/live/show/"
HEADERS = {
    "Content-Type": "application/vnd.apple.mpegurl",
    "Content-Encoding": "gzip",
    "Cache-Control": "max-age=1",
    "Access-Control-Allow-Origin": "*",
}
MEDIA = HEADERS | {"Content-Type": "video/iso.segment", "Cache-Control": "max-age=12"}

GOOD = (
    """#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.02,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
#EXT-X-PART-INF:PART-TARGET=0.34
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:1
#EXT-X-DATERANGE:ID="a",CLASS="c",START-DATE="2026-11-22T16:00:01.000Z",DURATION=1.5,X-C-D="ab"
#EXT-X-MAP:URI="i.mp4"
"""
    + "".join(
        f"""#EXT-X-PROGRAM-DATE-TIME:2026-11-22T16:00:{2 * n:02}.000Z
#EXTINF:2.00000,
s{n}.m4s
"""
        for n in range(6)
    )
    + """#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-11-22T16:00:12.000Z
#EXT-X-PART:DURATION=0.33333,URI="p0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33333,URI="p1.m4s"
#EXT-X-PART:DURATION=0.33333,URI="p2.m4s"
#EXTINF:0.99999,
s6.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-22T16:00:13.000Z
#EXT-X-PART:DURATION=0.33333,URI="p3.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33333,URI="p4.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p5.m4s"
#EXT-X-RENDITION-REPORT:URI="../audio/index.m3u8",LAST-MSN=14,LAST-PART=1
"""
)


def play(linter, url, text, at=0.0, **options):
    return linter.observe_playlist(
        url, **{"fetched_at": at, "status": 200, "headers": HEADERS, "text": text} | options
    )


def sentences(findings):
    return [f"{finding.clause}: {finding.sentence}" for finding in findings]


def test_a_good_playlist_is_good():
    assert sentences(check_document(parse(GOOD))) == []


def test_what_our_renditions_publish_is_clean_over_time():
    grid = FixedGrid(starts=[SECOND], discontinuities={4})
    video = Rig(name="720p", grid=grid)
    audio = Rig(kind=Kind.AUDIO, name="audio", grid=grid)
    both = [video.rendition, audio.rendition]
    linter = PlaylistLinter()
    infos = [
        RenditionInfo(
            name="720p", format=VIDEO_FORMAT, peak_bps=2_000_000, average_bps=10**6, frame_rate=30.0
        ),
        RenditionInfo(name="audio", format=AUDIO_FORMAT, peak_bps=140_000, average_bps=128_000),
    ]
    top = render_multivariant(infos, chapters_uri="chapters.json").decode()
    assert linter.playlists(BASE + "index.m3u8", top) == [
        BASE + "audio/index.m3u8",
        BASE + "720p/index.m3u8",
    ]
    assert sentences(play(linter, BASE + "index.m3u8", top)) == []
    for rendition in both:
        rendition.set_siblings(lambda: both)
    sound = SECOND
    for frame in range(30 * 40):
        now = SECOND + 3000 * frame
        if not 600 <= frame < 750:
            video.rendition.push(
                packet_of(Codec.H264, now, key=frame % 60 == 0, payload=b"\0\0\0\1\x65" * 40)
            )
        elif frame % 10 == 0:
            video.rendition.fill_gap(now)
        while sound <= now:
            audio.rendition.push(packet_of(Codec.AAC, sound, key=True))
            sound += 1920
        if frame > 60 and frame % 7 == 0:
            for rendition in both:
                text = asyncio.run(rendition.playlist()).body.decode()
                play(linter, f"{BASE}{rendition.name}/index.m3u8", text, frame / 30)
                delta = asyncio.run(rendition.playlist(skip=True)).body.decode()
                url = f"{BASE}{rendition.name}/index.m3u8?_HLS_skip=YES"
                play(linter, url, delta, frame / 30)
                for name in (word for word in text.replace('"', "\n").split() if ".m4s" in word):
                    resource = rendition.resource(name)
                    if resource is not None:
                        linter.observe_resource(
                            f"{BASE}{rendition.name}/{name}",
                            status=200,
                            headers=MEDIA | {"Content-Length": str(len(resource.body))},
                            size=len(resource.body),
                        )
    linter.finish()
    assert sentences(linter.findings) == []


MUTATIONS = [
    ("#EXTM3U\n", "", "does not begin with #EXTM3U"),
    ("VERSION:6", "VERSION:3", "EXT-X-VERSION is 3, the tags need 6."),
    ("VERSION:6", "VERSION:9", "EXT-X-VERSION is 9, 6 would do."),
    ("#EXT-X-TARGETDURATION:2\n", "", "EXT-X-TARGETDURATION is missing."),
    ("#EXTINF:2.00000,\ns3", "#EXTINF:2.50000,\ns3", "rounds above TARGETDURATION 2."),
    ("#EXTINF:2.00000,\ns3", "s3", "The segment s3.m4s has no EXTINF."),
    ("PART-HOLD-BACK=1.02,", "", "needs PART-HOLD-BACK"),
    ("PART-HOLD-BACK=1.02", "PART-HOLD-BACK=0.5", "under two PART-TARGETs"),
    ("PART-HOLD-BACK=1.02", "PART-HOLD-BACK=0.9", "under three PART-TARGETs"),
    (",HOLD-BACK=6.0", ",HOLD-BACK=5.0", "HOLD-BACK 5 is under three target durations."),
    ("CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=6.0", "under six target durations"),
    ("CAN-SKIP-UNTIL=12.0", "CAN-SKIP-DATERANGES=YES", "needs CAN-SKIP-UNTIL"),
    ("#EXT-X-PART-INF:PART-TARGET=0.34\n", "", "needs EXT-X-PART-INF"),
    ('0.33333,URI="p1', '0.35333,URI="p1', "more than PART-TARGET 0.34."),
    ('0.33333,URI="p1', '0.2,URI="p1', "less than 85 % of PART-TARGET 0.34."),
    ("#EXTINF:0.99999", "#EXTINF:1.50000", "The parts of segment 13 last 1.000 s"),
    (
        '#EXT-X-PART:DURATION=0.33333,URI="p1',
        '#EXT-X-MAP:URI="j.mp4"\n#EXT-X-PART:DURATION=0.33333,URI="p1',
        "EXT-X-MAP stands after the first PART of its segment.",
    ),
    ('#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p5.m4s"\n', "", "hints at 0 parts instead of one"),
    ('URI="p5.m4s"', 'URI="p4.m4s"', "The hinted part p4.m4s is already listed."),
    ("#EXT-X-RENDITION", "#EXT-X-ENDLIST\n#EXT-X-RENDITION", "stands beside EXT-X-ENDLIST"),
    ("#EXT-X-MAP:URI", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI", "PLAYLIST-TYPE is VOD"),
    (
        "#EXT-X-MAP:URI",
        "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MAP:URI",
        "A live playlist that removes segments has a PLAYLIST-TYPE.",
    ),
    ('#EXT-X-MAP:URI="i.mp4"\n', "", "No EXT-X-MAP is in effect for segment 7."),
    ("#EXT-X-DISCONTINUITY-SEQUENCE:1\n", "", "EXT-X-DISCONTINUITY-SEQUENCE is missing."),
    ("16:00:04.000Z\n", "16:00:04Z\n", "lacks milliseconds"),
    ("16:00:04.000Z\n", "16:00:04.000\n", "no date and time with a zone"),
    ("16:00:04.000Z\n", "16:00:07.000Z\n", "+3.000 s off its EXTINFs"),
    ("16:00:04.000Z\n", "16:00:04.300Z\n", "+0.300 s off its EXTINFs"),
    ('ID="a",', "", "has no ID"),
    ('START-DATE="2026-11-22T16:00:01.000Z",', "", "no valid START-DATE"),
    ("DURATION=1.5,", "DURATION=-1,", "DURATION of date range a is no length of time."),
    ("DURATION=1.5,", "END-ON-NEXT=YES,DURATION=1.5,", "needs CLASS and forbids an end"),
    ("DURATION=1.5,", 'END-DATE="2026-11-22T15:00:00.000Z",', "ends before it starts"),
    ('X-C-D="ab"', "X-C-D=ab", "no string, hex or number"),
    ("#EXT-X-MAP:URI", '#EXT-X-DATERANGE:ID="a",CLASS="d"\n#EXT-X-MAP:URI', "disagree on CLASS"),
    ('ID="a",', 'ID="a",ID="b",', "The attribute ID stands twice in one tag."),
    ('CLASS="c"', 'CLASS="c', "is malformed"),
    ("#EXT-X-VERSION", "#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-VERSION", "in one playlist"),
    ("SEQUENCE:7", "SEQUENCE:x", "EXT-X-MEDIA-SEQUENCE is no decimal-integer"),
    ("#EXT-X-VERSION", "#EXT-X-VERSION:6\n#EXT-X-VERSION", "EXT-X-VERSION stands twice."),
]


@pytest.mark.parametrize(("old", "new", "sentence"), MUTATIONS)
def test_every_broken_rule_is_named(old, new, sentence):
    assert old in GOOD
    found = sentences(check_document(parse(GOOD.replace(old, new, 1))))
    assert any(sentence in line for line in found), found


def test_old_parts_are_named():
    text = GOOD.replace(
        "#EXTINF:2.00000,\ns1",
        '#EXT-X-PART:DURATION=2,URI="o.m4s",GAP=YES\n#EXTINF:2.00000,\ns1',
        1,
    )
    assert any("still lists parts" in line for line in sentences(check_document(parse(text))))


HISTORY = [
    (("DURATION:2", "DURATION:3"), "TARGETDURATION went from 2 to 3."),
    (("PART-TARGET=0.34", "PART-TARGET=0.4"), "PART-TARGET went from 0.34 to 0.4."),
    (("HOLD-BACK=6.0", "HOLD-BACK=7.0"), "EXT-X-SERVER-CONTROL changed."),
    (("MEDIA-SEQUENCE:7", "MEDIA-SEQUENCE:6"), "MEDIA-SEQUENCE went back from 7 to 6."),
    (("SEQUENCE:1\n", "SEQUENCE:2\n"), "DISCONTINUITY-SEQUENCE is 2, but 1 after"),
    (("s2.m4s", "t2.m4s"), "The URI of segment 9 changed after it was listed."),
    (("#EXTINF:2.00000,\ns2", "#EXTINF:1.90000,\ns2"), "The EXTINF of segment 9 changed"),
    (("16:00:04.000Z", "16:00:04.050Z"), "The date of segment 9 changed"),
    (('URI="p3.m4s"', 'URI="q3.m4s"'), "Part 0 of segment 14 changed"),
    (
        (
            '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p5.m4s"',
            '#EXT-X-PART:DURATION=0.33333,URI="x.m4s"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p6.m4s"',
        ),
        "After the hint p5.m4s the next part was x.m4s.",
    ),
    (('CLASS="c"', 'CLASS="e"'), "CLASS of date range a changed."),
    (("s5.m4s", "s4.m4s"), "The URI s4.m4s was used before for something else."),
]


@pytest.mark.parametrize(("change", "sentence"), HISTORY)
def test_what_may_not_change_is_named(change, sentence):
    linter = PlaylistLinter()
    url = BASE + "720p/index.m3u8"
    assert sentences(play(linter, url, GOOD)) == []
    found = sentences(play(linter, url, GOOD.replace(*change, 1), 0.3))
    assert any(sentence in line for line in found), found


def test_a_playlist_that_stands_still_is_named():
    linter = PlaylistLinter()
    url = BASE + "720p/index.m3u8"
    for at in (0, 1, 2):
        play(linter, url, GOOD, at)
    assert sentences(play(linter, url, GOOD, 3.5)) == ["6.2.1: Nothing new was listed for 3.5 s."]


def test_a_short_window_is_named_only_where_segments_went():
    linter = PlaylistLinter()
    url = BASE + "720p/index.m3u8"
    short = GOOD[: GOOD.index("#EXT-X-PROGRAM")] + GOOD[GOOD.index("#EXT-X-DISCONTINUITY\n") :]
    sentence = "6.2.2: The live window of 1.7 s is under three target durations."
    assert sentence not in sentences(play(linter, url, short.replace("SEQUENCE:7", "SEQUENCE:13")))
    later = short.replace("SEQUENCE:7", "SEQUENCE:14")
    assert sentence in sentences(play(linter, url, later, 0.3))


def test_missing_reports_and_unlike_renditions_are_named():
    linter = PlaylistLinter()
    top = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=900,CODECS="mp4a.40.2"\n'
    play(linter, BASE + "index.m3u8", top + "720p/index.m3u8\n" + top[8:] + "480p/index.m3u8\n")
    play(linter, BASE + "720p/index.m3u8", GOOD)
    play(linter, BASE + "480p/index.m3u8", GOOD.replace("HOLD-BACK=6.0", "HOLD-BACK=6.5"))
    found = sentences(linter.finish() + linter.findings)
    assert any("There is no rendition report for 480p/index.m3u8." in line for line in found)
    assert any("EXT-X-SERVER-CONTROL differs from that of 720p" in line for line in found)


ANSWERS = [
    ({"Content-Type": "text/plain"}, "A playlist has the type 'text/plain'."),
    ({"Content-Encoding": ""}, "A playlist is not compressed with gzip."),
    ({"Cache-Control": "public"}, "no Cache-Control with a lifetime"),
    ({"Cache-Control": "max-age=60"}, "may be cached for 60 s."),
]


@pytest.mark.parametrize(("headers", "sentence"), ANSWERS)
def test_headers_are_checked(headers, sentence):
    found = play(PlaylistLinter(), BASE + "x/index.m3u8", GOOD, headers=HEADERS | headers)
    assert any(sentence in finding.sentence for finding in found)


def test_cross_origin_and_status_are_checked():
    headers = {name: value for name, value in HEADERS.items() if "Origin" not in name}
    found = play(PlaylistLinter(), BASE + "x/index.m3u8", "", headers=headers, status=404)
    assert [finding.severity for finding in found] == [Severity.WARNING, Severity.ERROR]


def test_media_is_checked_against_the_list():
    linter = PlaylistLinter()
    play(linter, BASE + "720p/index.m3u8", GOOD)
    for name, size in (("p0", 100), ("p1", 100), ("p2", 100)):
        answer = linter.observe_resource(
            f"{BASE}720p/{name}.m4s",
            status=200,
            headers=MEDIA | {"Content-Length": "100"},
            size=size,
        )
        assert answer == []
    get = linter.observe_resource
    found = get(f"{BASE}720p/s6.m4s", status=200, headers=MEDIA, size=299)
    assert "4.4.4.9: Segment 13 has 299 bytes, its parts have 300." in sentences(found)
    found = get(f"{BASE}720p/p4.m4s", status=404, headers=MEDIA, size=0)
    assert any("720p/p4.m4s is listed but answers 404." in line for line in sentences(found))
    found = get(f"{BASE}720p/i.mp4", status=302, headers=MEDIA, size=0)
    assert any("redirected" in line for line in sentences(found))


def test_a_segment_above_bandwidth_is_named():
    linter = PlaylistLinter()
    top = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=900,CODECS="mp4a.40.2"\n'
    play(linter, BASE + "index.m3u8", top + "720p/index.m3u8\n")
    play(linter, BASE + "720p/index.m3u8", GOOD)
    found = linter.observe_resource(
        f"{BASE}720p/s3.m4s", status=200, headers=MEDIA | {"Content-Length": "500"}, size=500
    )
    assert sentences(found) == ["4.4.6.2: Segment 10 has 2 kb/s, BANDWIDTH says 1."]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(GOOD.splitlines()),
            st.text(max_size=40),
            st.builds(
                "#EXT-X-{}:{}".format,
                st.sampled_from(
                    ["PART", "SKIP", "MAP", "DATERANGE", "MEDIA-SEQUENCE", "STREAM-INF", "PART-INF"]
                ),
                st.text(max_size=30),
            ),
        ),
        max_size=40,
    )
)
def test_no_text_breaks_the_linter(lines):
    linter = PlaylistLinter()
    for number, (one, two) in enumerate(pairwise(["", "\n".join(lines), GOOD])):
        play(linter, BASE + "v/index.m3u8", one, number)
        play(linter, BASE + "v/index.m3u8", two, number)
    linter.finish()
