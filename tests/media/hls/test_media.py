"""Real encoders in, independent readers out: m3u8 and PyAV."""

from __future__ import annotations

import asyncio
import io
from itertools import pairwise

import av
import m3u8
import pytest

from media.hls.seams import NoMetadata
from media.model import Kind
from tests.media.hls.support import SECOND, FixedGrid, Rig, encoded_audio, encoded_video

pytestmark = pytest.mark.component

URL = "http://origin/live/show/720p/index.m3u8"


def run(fmt, packets, *, kind=Kind.VIDEO, **options):
    rig = Rig(kind=kind, fmt=fmt, grid=FixedGrid(starts=[SECOND]), **options)
    for packet in packets:
        rig.rendition.push(packet)
    return rig


def listing(rig):
    text = asyncio.run(rig.rendition.playlist()).body.decode()
    return m3u8.loads(text, uri=URL)


def decode(*bodies):
    with av.open(io.BytesIO(b"".join(bodies))) as container:
        return [frame for frame in container.decode(container.streams[0])]  # noqa: C416


def demux(*bodies):
    with av.open(io.BytesIO(b"".join(bodies))) as container:
        return [packet for packet in container.demux() if packet.size]


def name(uri):
    return uri.rsplit("/", 1)[-1]


@pytest.mark.parametrize("bframes", [0, 2])
def test_every_picture_of_real_video_comes_out(bframes):
    fmt, packets = encoded_video(bframes=bframes)
    rig = run(fmt, packets)
    rig.rendition.end()
    playlist = listing(rig)
    init = rig.rendition.resource(name(playlist.segments[0].init_section.uri)).body
    bodies = [rig.rendition.resource(name(s.uri)).body for s in playlist.segments]
    assert len(decode(init, *bodies)) == 180
    read = demux(init, *bodies)
    assert [(p.dts, p.pts, p.is_keyframe) for p in read] == [(p.dts, p.pts, p.key) for p in packets]
    for segment, body in zip(playlist.segments, bodies, strict=True):
        frames = decode(init, body)
        assert len(frames) == round(segment.duration * 30)
        assert frames[0].time * 1000 == pytest.approx(
            segment.program_date_time.timestamp() * 1000 - 1_795_363_200_000, abs=1.1
        )


def test_every_sample_of_real_audio_comes_out_without_holes():
    fmt, packets = encoded_audio(seconds=6, rate=44_100)
    rig = run(fmt, packets, kind=Kind.AUDIO, name="audio")
    rig.rendition.end()
    playlist = listing(rig)
    init = rig.rendition.resource("r1-init-0.mp4").body
    bodies = [rig.rendition.resource(name(s.uri)).body for s in playlist.segments]
    read = demux(init, *bodies)
    assert len(read) == len(packets)
    assert {b.dts - a.dts for a, b in pairwise(read)} == {1024}
    assert len(decode(init, *bodies)) == len(packets)
    total = sum(segment.duration for segment in playlist.segments)
    assert total == pytest.approx(len(packets) * 1024 / 44_100, abs=0.002)


def test_parts_decode_and_are_the_segment():
    fmt, packets = encoded_video()
    rig = run(fmt, packets)
    playlist = listing(rig)
    init = rig.rendition.resource("r1-init-0.mp4").body
    for segment in playlist.segments:
        bodies = [rig.rendition.resource(name(part.uri)).body for part in segment.parts]
        if not segment.uri or not bodies:
            continue
        assert rig.rendition.resource(name(segment.uri)).body == b"".join(bodies)
        assert sum(part.duration for part in segment.parts) == pytest.approx(
            segment.duration, abs=1e-4
        )
        for part, body in zip(segment.parts, bodies, strict=True):
            read = demux(init, body)
            assert sum(p.duration for p in read) / SECOND == pytest.approx(part.duration, abs=1e-4)
            assert (part.independent == "YES") == any(p.is_keyframe for p in read)


def test_m3u8_reads_what_the_server_promises():
    fmt, packets = encoded_video()
    playlist = listing(run(fmt, packets))
    control = playlist.server_control
    assert control.can_block_reload == "YES"
    assert control.part_hold_back == pytest.approx(1.02)
    assert control.hold_back == 6
    assert control.can_skip_until == 12
    assert playlist.part_inf.part_target == pytest.approx(0.34)
    assert playlist.target_duration == 2
    assert playlist.is_independent_segments
    assert [hint.hint_type for hint in [playlist.preload_hint]] == ["PART"]


def test_events_ride_before_the_media_of_their_part():
    box = (16).to_bytes(4, "big") + b"emsg" + b"testtest"

    class Cues(NoMetadata):
        def take_events(self, rendition, *, start, end, timescale, msn, part):
            return box if start <= SECOND + 60_000 < end else b""

    fmt, packets = encoded_video()
    rig = run(fmt, packets, metadata=Cues())
    playlist = listing(rig)
    bodies = [
        rig.rendition.resource(name(part.uri)).body
        for segment in playlist.segments
        for part in segment.parts
    ]
    assert [body.startswith(box) for body in bodies].count(True) == 1
    assert bodies[2].startswith(box)
    assert rig.rendition.resource("r1-0.m4s").body == b"".join(bodies[:6])


def test_bit_rates_are_measured():
    fmt, packets = encoded_video()
    rig = Rig(fmt=fmt, grid=FixedGrid(starts=[SECOND]))
    assert rig.rendition.bandwidth() == (0, 0)
    for packet in packets[:11]:
        rig.rendition.push(packet)
    first = len(rig.rendition.resource("r1-0.0.m4s").body)
    peak, average = rig.rendition.bandwidth()
    assert peak == average == pytest.approx(first * 8 * 3, rel=0.05)
    rig.rendition.set_format(fmt, declared_bps=2_000_000)
    assert rig.rendition.bandwidth() == (2_000_000, 2_000_000)
    for packet in packets[11:]:
        rig.rendition.push(packet)
    rig.rendition.end()
    sizes = [len(rig.rendition.resource(f"r1-{msn}.m4s").body) for msn in range(3)]
    peak, average = rig.rendition.bandwidth()
    assert peak == max(max(sizes) * 4, 2_000_000)
    assert average == pytest.approx(sum(sizes) * 8 / 6, rel=0.001)


def test_renditions_report_on_each_other():
    fmt, packets = encoded_video()
    sound, units = encoded_audio()
    video = run(fmt, packets)
    audio = run(sound, units, kind=Kind.AUDIO, name="audio")
    both = [video.rendition, audio.rendition]
    video.rendition.set_siblings(lambda: both)
    report = listing(video).rendition_reports
    assert [(r.uri, r.last_msn, r.last_part) for r in report] == [
        ("../audio/index.m3u8", audio.rendition.last_part.msn, audio.rendition.last_part.part)
    ]


def test_latency_is_reported_for_every_access_unit():
    fmt, packets = encoded_video()
    rig = run(fmt, packets)
    assert sum(len(latencies) for _name, _jitter, latencies in rig.meter.parts) == 180
