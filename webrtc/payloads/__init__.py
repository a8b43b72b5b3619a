"""Payload formats: access units in RTP packets, one module a codec, both ways."""

from webrtc.payloads.assembly import AccessUnit, Depacketizer
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.formats import DEPACKETIZERS, configuration

__all__ = ["DEPACKETIZERS", "AccessUnit", "Depacketizer", "PayloadError", "configuration"]
