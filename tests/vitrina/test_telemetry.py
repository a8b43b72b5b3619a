from __future__ import annotations

import asyncio
import inspect
import shutil
import subprocess

import pytest

from delivery.meter import DeliveryMeter
from delivery.whep.meter import WhepMeter
from ingest.source import IngestMeter
from media.meter import MediaMeter
from overlay.meter import OverlayMeter
from restream.meter import RestreamMeter
from vitrina.hook import HookMeter
from vitrina.supervise import SuperviseMeter
from vitrina.telemetry import CONTENT_TYPE, Telemetry, families
from vitrina.telemetry.families import OTHER
from webrtc.meter import RtpCounts, SessionMeter

pytestmark = pytest.mark.unit


def exercise(meter: Telemetry, stream: str) -> None:
    """Give every family at least one series."""
    meter.connection_opened("rtmp")
    meter.connection_closed("rtmp", "bye")
    meter.rejected("rtmp", "bad_key")
    meter.hook_asked("allowed", 0.1)
    meter.bytes_in("rtmp", 10)
    meter.media_in(stream, "rtmp", "video", 3, 1000)
    meter.repaired(stream, "backwards")
    meter.keyframe_interval(stream, 2.0)
    meter.av_offset(stream, -0.02)
    meter.part_published(stream, "720p", -0.004, [0.2, 0.25])
    meter.gap(stream, "720p")
    meter.discontinuity(stream)
    meter.playlist_held(0.3)
    meter.rung(stream, "720p", frames=15, speed=2.5, queue_age_s=0.01)
    meter.dropped(stream, "rung", 2)
    meter.worker_restarted(stream, "hang")
    meter.slate(stream, 1.5)
    meter.pressure(stream, 1)
    meter.switched(stream, "silent")
    meter.taken_over(stream, "primary")
    meter.source(stream, "backup", health=0.5, on_air=True)
    meter.finding(stream, "keyframe_interval", "opened")
    meter.restream_state(stream, "other", 3)
    meter.restream_sent(stream, "other", 100)
    meter.restream_dropped(stream, "other", 1)
    meter.restream_reconnected(stream, "other")
    meter.restream_delay(stream, "other", 0.1)
    meter.cue_written(stream, "pin", "fire")
    meter.cue_listed(stream, 0.1)
    meter.cue_refused("invalid")
    meter.subscriber_dropped(stream)
    meter.request("media", 200, 0.002)
    meter.bytes_out(stream, 1000)
    meter.viewers(stream, "hls", 7)
    meter.webrtc.whep_dropped(stream, 2)
    meter.webrtc.whep_switched(stream, 1)
    meter.webrtc.whep_keys_asked(stream, 1)
    meter.open_now(30, 20, 5)
    meter.refused("waiters")
    meter.webrtc.session_opened("whip")
    meter.webrtc.session_connected("whip", 0.2)
    meter.webrtc.session_closed("whip", "bye")
    meter.webrtc.session_refused("whip", 401)
    counts = RtpCounts(packets=650, lost=2, nacks=5, key_requests=1, rtx=3)
    meter.webrtc.rtp_counted(stream, "whip", "video", counts)
    meter.webrtc.rtp_jitter(stream, "whip", "video", 0.004)
    meter.webrtc.rtp_discarded(stream, "whip", "flooded", 3)
    meter.webrtc.rtp_path(stream, "whip", rtt_s=0.02, bandwidth_bps=2e6)
    meter.component_failed("stream")


def series(meter: Telemetry) -> dict[str, float]:
    text = meter.exposition()[0].decode()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


METERS = (
    *(MediaMeter, IngestMeter, HookMeter, DeliveryMeter),
    *(OverlayMeter, RestreamMeter, SuperviseMeter, SessionMeter, WhepMeter),
)


@pytest.mark.parametrize("meter", METERS)
def test_it_is_every_meter(meter: type) -> None:
    made = Telemetry()
    target = made.webrtc if meter in (SessionMeter, WhepMeter) else made
    asked = [(n, m) for n, m in inspect.getmembers(meter, inspect.isfunction) if n[0] != "_"]
    assert asked
    for name, method in asked:
        _self, *wanted = inspect.signature(method).parameters.values()
        found = list(inspect.signature(getattr(target, name)).parameters.values())
        assert [(p.name, p.kind) for p in found] == [(p.name, p.kind) for p in wanted], name


def test_measurements_arrive_under_their_names() -> None:
    meter = Telemetry()
    exercise(meter, "demo")
    found = series(meter)
    part = 'rendition="720p",stream="demo"'
    assert found['vitrina_viewers{protocol="hls",stream="demo"}'] == 7
    assert found['vitrina_ingest_connections{protocol="rtmp"}'] == 0
    assert (
        found['vitrina_stream_received_frames_total{protocol="rtmp",stream="demo",track="video"}']
        == 3
    )
    assert found[f"vitrina_push_to_part_latency_seconds_count{{{part}}}"] == 2
    assert found[f"vitrina_push_to_part_latency_seconds_sum{{{part}}}"] == pytest.approx(0.45)
    assert found[f'vitrina_part_publish_jitter_seconds_bucket{{le="0.005",{part}}}'] == 1
    assert found["vitrina_playlist_hold_seconds_count"] == 1
    assert found['vitrina_av_offset_seconds{stream="demo"}'] == -0.02


def test_every_family_follows_the_naming_rules() -> None:
    meter = Telemetry()
    exercise(meter, "demo")
    rows = meter.reference()
    names = {name for name, _, _ in rows}
    assert len(rows) > 30
    for name, kind, text in rows:
        assert name.startswith("vitrina_")
        assert text.endswith(".")
        assert (kind == "counter") == name.endswith("_total")
    exposed = {name.partition("{")[0] for name in series(meter)}
    for name in names:
        assert any(found.startswith(name) for found in exposed), f"{name} has no series"
    assert not any(found.endswith("_created") for found in exposed)


def test_forgetting_a_stream_drops_its_series_only() -> None:
    meter = Telemetry()
    exercise(meter, "demo")
    exercise(meter, "other")
    meter.forget("demo")
    left = series(meter)
    assert not [name for name in left if 'stream="demo"' in name]
    assert left['vitrina_viewers{protocol="hls",stream="other"}'] == 7
    meter.forget("never-there")
    meter.viewers("demo", "hls", 1)
    assert series(meter)['vitrina_viewers{protocol="hls",stream="demo"}'] == 1


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "MAX_CHILDREN", 3)
    meter = Telemetry()
    for number in range(10):
        meter.cue_refused(f"reason-{number}")
    found = {name: v for name, v in series(meter).items() if name.startswith("vitrina_cue_refused")}
    assert len(found) == 4
    assert found[f'vitrina_cue_refused_total{{reason="{OTHER}"}}'] == 7


async def test_the_event_loop_s_lag_is_sampled() -> None:
    meter = Telemetry()
    now = 0.0
    wakes = iter([0.1, 0.13, 1.1])

    async def sleep(_seconds: float) -> None:
        nonlocal now
        try:
            now += next(wakes)
        except StopIteration:
            raise asyncio.CancelledError from None

    with pytest.raises(asyncio.CancelledError):
        await meter.run(sleep=sleep, monotonic=lambda: now)
    found = series(meter)
    assert found["vitrina_event_loop_lag_seconds_count"] == 3
    assert found["vitrina_event_loop_lag_seconds_sum"] == pytest.approx(1.03)
    assert found['vitrina_event_loop_lag_seconds_bucket{le="0.001"}'] == 1


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt install prometheus"
)
def test_promtool_finds_nothing_to_say() -> None:
    meter = Telemetry()
    exercise(meter, "demo")
    body, content_type = meter.exposition()
    assert content_type == CONTENT_TYPE
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_findings_are_one_while_open_and_counted_when_they_open() -> None:
    meter = Telemetry()
    name = 'code="uplink_slow",stream="demo"'
    for change, gauge, total in (("opened", 1, 1), ("updated", 1, 1), ("closed", 0, 1)):
        meter.finding("demo", "uplink_slow", change)
        assert series(meter)[f"vitrina_findings{{{name}}}"] == gauge
        assert series(meter)[f"vitrina_findings_opened_total{{{name}}}"] == total
    meter.finding("demo", "whatever", "opened")
    assert series(meter)['vitrina_findings{code="other",stream="demo"}'] == 1
