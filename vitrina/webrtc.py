"""Makes the doors of WebRTC for `vitrina.app`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delivery.whep.account import PROTOCOL as WHEP
from delivery.whep.service import WhepDoor
from ingest.addresses import crowd_of
from ingest.whip.publisher import PROTOCOL as WHIP
from ingest.whip.service import WhipDoor
from webrtc.sessions import SessionLimits, Sessions

if TYPE_CHECKING:
    from aiortc import RTCCertificate

    from config.settings import Settings, WhipSettings
    from ingest.source import PublishGate
    from media.registry import Registry
    from overlay.service import CueService
    from vitrina.supervise import Supervisor
    from vitrina.telemetry import Telemetry
    from webrtc.sessions import Spawn

CHECK_S = 5.0
"""For a key's check, besides the authorisation hook's own time."""


def make_whip(
    settings: Settings,
    *,
    gate: PublishGate,
    certificate: RTCCertificate,
    meter: Telemetry,
    spawn: Spawn,
) -> WhipDoor | None:
    """Return the door of publishers, None where it is switched off."""
    whip = settings.whip
    if not whip.enabled:
        return None
    sessions = Sessions(
        protocol=WHIP,
        settings=whip,
        limits=SessionLimits(
            total=whip.max_sessions,
            per_address=whip.max_sessions_per_address,
            per_owner=whip.max_sessions_per_key,
        ),
        certificate=certificate,
        meter=meter.webrtc,
        spawn=spawn,
        crowd_of=crowd_of,
    )
    return WhipDoor(
        settings=whip,
        sessions=sessions,
        gate=gate,
        meter=meter,
        rtp_meter=meter.webrtc,
        key_interval_ms=settings.hls.segment_ms,
        check_timeout_s=CHECK_S + settings.auth.publish_hook_timeout_s,
    )


def make_whep(
    settings: Settings,
    *,
    streams: Registry,
    cues: CueService,
    certificate: RTCCertificate,
    meter: Telemetry,
    supervisor: Supervisor,
) -> WhepDoor | None:
    """Return the door of viewers, None where it is switched off."""
    whip = settings.whip
    if not whip.whep_enabled:
        return None
    sessions = Sessions(
        protocol=WHEP,
        settings=whip,
        limits=SessionLimits(
            total=places_for_viewers(whip), per_address=whip.whep_max_viewers_per_address
        ),
        certificate=certificate,
        meter=meter.webrtc,
        spawn=supervisor.spawn,
        crowd_of=crowd_of,
    )
    return WhepDoor(
        sessions=sessions,
        stream_of=streams.get,
        cues=cues,
        meter=meter.webrtc,
        spawn=supervisor.spawn,
        offers_per_minute=whip.whep_offers_per_minute,
        crowd_of=crowd_of,
    )


def places_for_viewers(whip: WhipSettings) -> int:
    """Return how many may watch by WHEP: without a key, so some ports are left to publishers."""
    first, last = whip.port_range
    if first == 0:
        return whip.whep_max_viewers
    ports = last - first + 1
    kept = min(whip.max_sessions, ports // 4) if whip.enabled else 0
    return min(whip.whep_max_viewers, ports - kept)
