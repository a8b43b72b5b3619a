"""What OBS Studio is to be told so that its own encoders make the ladder.

The shape is OBS's `GoLiveApi::Config` (frontend/utility/models/multitrack-video.hpp), which its
field "Config Override (JSON)" takes as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from media.model import Codec, TrackFormat
from media.transcode.plan import plan_ladder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.settings import LadderSettings
    from media.transcode.plan import Rung

Encoder = Literal["x264", "nvenc"]
ENCODERS: tuple[Encoder, ...] = ("x264", "nvenc")

SCHEMA_VERSION = "2025-01-25"
MAX_TRACKS = 6
"""Video tracks: OBS sends ten at most, consumer GPUs encode fewer."""
_STREAM_KEY = "{stream_key}"
"""OBS puts the key of its own settings here: the document holds none."""


def keyframe_seconds(segment_ms: int) -> int:
    """Return whole seconds between key frames of which a segment holds a whole number."""
    return 2 if segment_ms % 2000 == 0 else 1


def obs_config(
    *,
    stream: str,
    host: str,
    ports: Mapping[str, int],
    ladder: LadderSettings,
    segment_ms: int,
    encoder: Encoder,
    size: tuple[int, int],
    frame_rate: int,
) -> dict[str, object]:
    """Return the document for a canvas of `size` pixels at `frame_rate`.

    `ports`: by scheme (`rtmps`, `rtmp`), in the order of preference. The first track has the
    canvas's size, the others are the rungs below it. `host` stands in URLs as it is.
    """
    canvas = TrackFormat(
        codec=Codec.H264, config=b"", codec_string="", width=size[0], height=size[1]
    )
    rungs = plan_ladder(canvas, None, ladder, reencode_source=True).rungs
    return {
        # OBS would append an id to the stream key: none is needed.
        "meta": {"service": stream, "schema_version": SCHEMA_VERSION, "config_id": ""},
        "status": {"result": "success", "html_en_us": None},
        "ingest_endpoints": [
            {
                "protocol": scheme.upper(),
                "url_template": f"{scheme}://{host}:{port}/live/{_STREAM_KEY}",
            }
            for scheme, port in ports.items()
        ],
        "encoder_configurations": _video(
            rungs[:MAX_TRACKS], ladder, encoder, frame_rate, keyframe_seconds(segment_ms)
        ),
        "audio_configurations": {
            # OBS takes every entry from the same mix: a second one would be the first again.
            "live": [
                {
                    "codec": "ffmpeg_aac",
                    "track_id": 1,
                    "channels": 2,
                    "settings": {"bitrate": ladder.audio_kbps},
                }
            ]
        },
    }


def _video(
    rungs: Sequence[Rung], ladder: LadderSettings, encoder: Encoder, frame_rate: int, keyint: int
) -> list[dict[str, object]]:
    rate = min(frame_rate, ladder.max_frame_rate)
    return [
        {
            "type": "obs_x264" if encoder == "x264" else "obs_nvenc_h264_tex",
            "width": rung.width,
            "height": rung.height,
            # The first track is the source: it keeps the canvas's rate.
            "framerate": {"numerator": rate if index else frame_rate, "denominator": 1},
            "gpu_scale_type": "OBS_SCALE_BICUBIC",
            "colorspace": "VIDEO_CS_709",
            "range": "VIDEO_RANGE_PARTIAL",
            "format": "VIDEO_FORMAT_NV12",
            "canvas_index": 0,
            "settings": {
                "rate_control": "CBR",
                "bitrate": rung.bitrate // 1000,
                "keyint_sec": keyint,
                "profile": "high",
                **_tuning(rung, ladder, encoder),
            },
        }
        for index, rung in enumerate(rungs)
    ]


def _tuning(rung: Rung, ladder: LadderSettings, encoder: Encoder) -> dict[str, object]:
    """No B-frames, no key frames but the regular ones: segments start alike on every track."""
    if encoder == "x264":
        # The ladder's preset is x264's only where the server itself encodes with it.
        preset = rung.preset if ladder.encoder == "libx264" else "veryfast"
        return {"preset": preset, "x264opts": "bframes=0 scenecut=0"}
    return {
        "preset": "p4",
        "tune": "ll",
        "multipass": "disabled",
        "bf": 0,
        "lookahead": False,
        "adaptive_quantization": True,
    }
