"""What a session tells its transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ingest.rtmp.amf0 import AmfValue
from media.model import Kind, Packet, TrackFormat


@dataclass(frozen=True, slots=True)
class PublishRequested:
    """A client wants to publish: answer with `accept_publish`, or `refuse_publish` and close.

    Nothing more is read until then.
    """

    key: str = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    """Parameters of the URL and of the key, percent-decoded; may hold secrets."""
    user: str | None = None
    """Who logged in: the key is then the name of the stream, or empty."""


@dataclass(frozen=True, slots=True)
class LoginAnswered:
    """A login's next step, or its refusal, was answered: send that and close."""

    failed: bool


@dataclass(frozen=True, slots=True)
class FormatChanged:
    """A track's parameters were announced, or others than before."""

    track: int
    track_format: TrackFormat


@dataclass(frozen=True, slots=True)
class TrackEnded:
    """The encoder ended this track."""

    track: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class MetadataReceived:
    """`onMetaData`: what the encoder says of itself. Never relied on, bitstreams tell the truth."""

    values: Mapping[str, AmfValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrackIgnored:
    """Media of an additional track that is not accepted; said once per track and reason."""

    track: int
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class PublishEnded:
    """The client said goodbye (FCUnpublish, deleteStream or closeStream)."""


Event: TypeAlias = (
    PublishRequested
    | LoginAnswered
    | FormatChanged
    | TrackEnded
    | TrackIgnored
    | MetadataReceived
    | PublishEnded
    | Packet
)
