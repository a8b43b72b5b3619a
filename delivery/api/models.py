"""Shapes of answers and of the bodies that delivery itself reads (OpenAPI components)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

STATES = Literal["idle", "live", "reconnecting", "ended"]


class NewStream(BaseModel):
    """Body of `POST /streams`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="Playback name: 1 to 64 of a-z, 0-9, - and _.",
    )


class StreamKey(BaseModel):
    """A stream and its new key."""

    name: str
    key: str = Field(description="For the encoder; shown this once, stored hashed.")


class FindingState(BaseModel):
    """What is or was wrong, and what to change."""

    code: str = Field(description="One of those that docs/findings.md explains.")
    severity: Literal["info", "warning", "error"]
    text: str = Field(description="A sentence for the producer, with the mend.")
    since: str = Field(description="RFC 3339, milliseconds, Z.")
    until: str | None = Field(description="When it was closed; null while it is open.")


class ChosenSource(BaseModel):
    """Body of `POST /streams/S/source`."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["primary", "backup", "auto"] = Field(
        description="Which encoder is on air while it is well; auto: the primary one."
    )


class Source(BaseModel):
    """One of a stream's two encoders."""

    role: Literal["primary", "backup"]
    protocol: str
    state: Literal["on_air", "standby", "failed"]
    health: float = Field(description="0 to 1: bitrate, pictures, pace, timestamps, key frames.")
    bitrate_bps: int
    since: str = Field(description="RFC 3339: in this state since then.")


class Stream(BaseModel):
    """State of a stream; more keys may come."""

    model_config = ConfigDict(extra="allow")

    name: str
    state: STATES
    viewers: int = Field(
        description="By WebRTC now, by HLS those that asked for a playlist in the last 10 s."
    )
    tracks: list[dict[str, Any]] = []
    bitrate_bps: int | None = Field(None, description="What the encoder sends.")
    findings: list[FindingState] = Field(
        [], description="Open ones, oldest first, then those that were closed, newest first."
    )
    renditions: list[dict[str, Any]] = []
    on_air: Literal["encoder", "slate"] | None = Field(
        None, description="What viewers see; null while there is neither."
    )
    sources: list[Source] = Field([], description="Encoders of the show, the primary one first.")
    source: Literal["primary", "backup", "auto"] = Field(
        "auto", description="Which encoder was asked for; auto: the rule decides."
    )


class StreamList(BaseModel):
    """All streams that the token may see."""

    streams: list[Stream]


class PartRef(BaseModel):
    """A part, by media sequence number and index."""

    msn: int
    part: int


class Placement(BaseModel):
    """Where a cue lies in the media."""

    media_time: str
    rendition_sequence: dict[str, PartRef]


class CueAnswer(BaseModel):
    """A cue, as written."""

    id: str
    rev: int
    seq: int
    state: str = Field(description="`scheduled`, `live`, `ended` or `retracted`.")
    type: str
    at: str = Field(description="RFC 3339, milliseconds, Z.")
    end: str | None
    data: dict[str, Any]
    placement: Placement | None = Field(description="Null while `at` lies ahead.")


class BatchAnswer(BaseModel):
    """The cues of a batch, in the order of the body."""

    cues: list[CueAnswer]


class LogEntry(BaseModel):
    """An entry of the log: a cue's revision, valid from `effective` on."""

    id: str
    rev: int
    seq: int
    state: Literal["live", "ended", "retracted"]
    type: str
    at: str
    end: str | None
    effective: str
    data: dict[str, Any]


class CueLog(BaseModel):
    """Entries of the log, oldest first, or the cues at a moment."""

    cues: list[LogEntry]
    seq: int = Field(description="Newest entry of the log.")
    more: bool = Field(description="Ask again with `after` = the last entry's seq.")


class StateAnswer(BaseModel):
    """What is active at a moment."""

    stream: str
    stream_state: STATES
    at: str
    seq: int = Field(description="Newest entry of the log: where to resume the events.")
    cues: list[LogEntry]


class Imported(BaseModel):
    """How many products an import put into the catalogue."""

    imported: int
    new: int = Field(description="Those that were not there before.")


class ObsConfig(BaseModel):
    """What OBS's "Config Override (JSON)" takes; the shape is OBS's own."""

    meta: dict[str, Any]
    status: dict[str, Any]
    ingest_endpoints: list[dict[str, Any]] = Field(
        description="Where to push; `{stream_key}` stands for the key set in OBS."
    )
    encoder_configurations: list[dict[str, Any]] = Field(
        description="One per video track, largest first."
    )
    audio_configurations: dict[str, Any]
