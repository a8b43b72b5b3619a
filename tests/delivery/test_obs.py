"""The document for OBS's multitrack video, against the shape that OBS reads."""

from __future__ import annotations

import json

import pytest

from config.settings import HttpSettings, LadderSettings, RungSettings
from delivery.obs import MAX_TRACKS, keyframe_seconds, obs_config
from tests.delivery.conftest import serving

pytestmark = pytest.mark.component

PATH = "/api/v1/streams/demo/obs-config.json"
PORTS = {"rtmps": 1936, "rtmp": 1935}

# GoLiveApi: names that must be there, and the enumerations that nlohmann's parser knows.
META = {"service", "schema_version", "config_id"}
AUDIO = {"codec", "track_id", "channels", "settings"}
SCALE_TYPES = {"OBS_SCALE_BICUBIC", "OBS_SCALE_BILINEAR", "OBS_SCALE_LANCZOS", "OBS_SCALE_AREA"}


def made(**options):
    asked = {
        "stream": "demo", "host": "live.example", "ports": PORTS, "ladder": LadderSettings(),
        "segment_ms": 2000, "encoder": "x264", "size": (1920, 1080), "frame_rate": 30,
    }  # fmt: skip
    return obs_config(**asked | options)


@pytest.mark.parametrize("encoder", ["x264", "nvenc"])
def test_it_has_the_shape_that_obs_parses(encoder):
    config = json.loads(json.dumps(made(encoder=encoder)))
    assert config["meta"].keys() == META
    assert config["meta"]["config_id"] == ""  # OBS would append it to the key
    assert config["status"]["result"] == "success"
    for track in config["encoder_configurations"]:
        assert track["type"] == {"x264": "obs_x264", "nvenc": "obs_nvenc_h264_tex"}[encoder]
        assert track["gpu_scale_type"] in SCALE_TYPES
        assert track["framerate"] == {"numerator": 30, "denominator": 1}
        assert track["canvas_index"] == 0
        settings = track["settings"]
        assert settings["rate_control"] == "CBR"
        assert settings["keyint_sec"] == 2
        assert settings.get("bf", 0) == 0
    (audio,) = config["audio_configurations"]["live"]
    assert audio.keys() == AUDIO


def test_the_tracks_are_the_canvas_and_the_rungs_below_it():
    tracks = made()["encoder_configurations"]
    sizes = [(t["width"], t["height"], t["settings"]["bitrate"]) for t in tracks]
    assert [size[:2] for size in sizes] == [(1920, 1080), (1280, 720), (854, 480), (640, 360)]
    assert [size[2] for size in sizes[1:]] == [2800, 1200, 700]
    assert 4000 < sizes[0][2] < 7000
    portrait = made(size=(720, 1280))["encoder_configurations"]
    assert [(t["width"], t["height"]) for t in portrait] == [(720, 1280), (480, 854), (360, 640)]
    alone = made(ladder=LadderSettings(enabled=False))["encoder_configurations"]
    assert len(alone) == 1
    many = tuple(RungSettings(height=144 + 36 * n, bitrate_kbps=500) for n in range(12))
    assert len(made(ladder=LadderSettings(rungs=many))["encoder_configurations"]) == MAX_TRACKS


def test_a_rung_is_not_faster_than_the_ladder_allows():
    tracks = made(frame_rate=60, ladder=LadderSettings(max_frame_rate=30))
    rates = [t["framerate"]["numerator"] for t in tracks["encoder_configurations"]]
    assert rates == [60, 30, 30, 30]


@pytest.mark.parametrize(
    ("segment_ms", "seconds"), [(2000, 2), (4000, 2), (3000, 1), (1000, 1), (1500, 1), (10000, 2)]
)
def test_key_frames_start_every_segment(segment_ms, seconds):
    assert keyframe_seconds(segment_ms) == seconds


def test_endpoints_leave_the_key_to_obs():
    endpoints = made(host="[2001:db8::1]")["ingest_endpoints"]
    assert [e["url_template"] for e in endpoints] == [
        "rtmps://[2001:db8::1]:1936/live/{stream_key}",
        "rtmp://[2001:db8::1]:1935/live/{stream_key}",
    ]
    assert [e["protocol"] for e in endpoints] == ["RTMPS", "RTMP"]
    assert all("authentication" not in endpoint for endpoint in endpoints)


async def test_the_api_answers_with_it(tmp_path):
    async with serving(tmp_path, push_ports=lambda: {"rtmp": 1935}) as site:
        async with site.call("GET", PATH, token="demo-only") as response:
            assert response.status == 200
            config = await response.json()
        assert config["ingest_endpoints"][0]["url_template"].startswith("rtmp://127.0.0.1:1935/")
        assert config["encoder_configurations"][0]["width"] == 1920
        query = "?encoder=nvenc&size=1280x720&fps=60"
        async with site.call("GET", PATH + query) as response:
            first = (await response.json())["encoder_configurations"][0]
        assert (first["type"], first["height"]) == ("obs_nvenc_h264_tex", 720)
        assert first["framerate"]["numerator"] == 60


async def test_the_address_viewers_know_is_the_encoders_too(tmp_path):
    http = HttpSettings(host="127.0.0.1", port=0, public_url="https://live.example:8443/x")
    async with (
        serving(tmp_path, http=http, push_ports=lambda: PORTS) as site,
        site.call("GET", PATH) as response,
    ):
        endpoints = (await response.json())["ingest_endpoints"]
    assert endpoints[0]["url_template"] == "rtmps://live.example:1936/live/{stream_key}"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("encoder=qsv", "encoder is one of x264, nvenc."),
        ("size=1080p", "size is the canvas in pixels, such as 1920x1080."),
        ("size=9999x9999", "size is at most 4096x4096 and 9437184 pixels here."),
        ("fps=0", "fps is a whole number from 1 to 120."),
        ("fps=500", "fps is a whole number from 1 to 120."),
        ("fps=29.97", "fps is a whole number from 1 to 120."),
    ],
)
async def test_what_is_asked_wrongly_is_named(tmp_path, query, detail):
    async with (
        serving(tmp_path, push_ports=lambda: PORTS) as site,
        site.call("GET", f"{PATH}?{query}") as response,
    ):
        assert response.status == 400
        assert (await response.json())["detail"] == detail


async def test_without_a_listener_there_is_nothing_to_say(site):
    async with site.call("GET", PATH) as response:
        assert response.status == 404
        assert "rtmp.enabled" in (await response.json())["detail"]
