"""Every fuzz target by its name."""

from __future__ import annotations

from tests.fuzz import (
    targets_app,
    targets_media,
    targets_outside,
    targets_rtmp,
    targets_webrtc_payloads,
    targets_webrtc_rtp,
    targets_webrtc_sdp,
    targets_whep,
)
from tests.fuzz.harness import Target

TARGETS: dict[str, Target] = {
    each.name: each
    for each in (
        *targets_rtmp.TARGETS,
        *targets_media.TARGETS,
        *targets_app.TARGETS,
        *targets_outside.TARGETS,
        *targets_webrtc_sdp.TARGETS,
        *targets_webrtc_payloads.TARGETS,
        *targets_webrtc_rtp.TARGETS,
        *targets_whep.TARGETS,
    )
}
