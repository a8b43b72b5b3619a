"""What can be wrong with an RTMP peer."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Why a connection is cut for the peer's fault; the fixed words of the metrics."""

    HANDSHAKE = "handshake"
    CHUNK = "chunk"
    TOO_BIG = "too_big"
    AMF = "amf"
    MESSAGE = "message"
    PROTOCOL = "protocol"
    MEDIA = "media"
    CODEC = "codec"
    FORMAT = "format"
    KEY = "key"
    ADDRESS = "address"
    HOOK = "hook"
    CONTESTED = "contested"
    TLS = "tls"
    EXCESS = "excess"
    TIMEOUT = "timeout"
    SLOW_READER = "slow_reader"
    LIMIT = "limit"
    INTERNAL = "internal"


class RtmpError(Exception):
    """The peer broke the protocol or asks for what is not offered.

    `fault` is the metric's word, the text an exact sentence for the producer. It never holds
    bytes of the peer, so it is safe to log.
    """

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class NeedsMoreDataError(Exception):
    """Internal to a reader: the header is not complete yet."""
