"""What a target is, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from media.model import Codec

SOURCE = "source"
"""The encoder's own media; the one thing that can be pushed on until overlays are burned in."""


class TargetRefused(ValueError):
    """A target cannot be added or changed as asked; the text says why, never the key."""

    def __init__(self, text: str, *, field: str | None = None) -> None:
        """`field`: which field of the target is at fault, where it is one."""
        super().__init__(text)
        self.field = field


class TargetExists(TargetRefused):
    """The stream has a target of that name."""


class NoSuchTarget(TargetRefused):
    """The stream has no target of that name."""


class State(StrEnum):
    """How a target stands."""

    OFF = "off"
    """Disabled."""
    IDLE = "idle"
    """Nothing to push: the stream is not live."""
    CONNECTING = "connecting"
    LIVE = "live"
    WAITING = "waiting"
    """Failed; tried again at a known time."""
    REFUSED = "refused"
    """The target, or what it can take, says no; somebody has to change something."""

    @property
    def number(self) -> int:
        """Value of the metric `vitrina_restream_state`."""
        return list(State).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a stream is pushed on to."""

    stream: str
    name: str
    """1 to 32 of a-z, 0-9, '-' and '_'; names the target in the API and in metrics."""
    url: str
    """`rtmp://HOST[:PORT]/APP` or `rtmps://...`, without the key: safe to show."""
    key: str = field(repr=False)
    enabled: bool = True
    codecs: frozenset[Codec] = frozenset()
    """What it takes by Enhanced RTMP though it does not say so; H.264 and AAC always."""
    source: str = SOURCE
    configured: bool = False
    """It comes from the configuration and cannot be changed by API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a target stands at a moment."""

    state: State
    since_ms: int
    """When the state began, UTC."""
    text: str | None = None
    """What went wrong last and what to do about it, without any secret."""
    retry_at_ms: int | None = None
    """When it is tried again, UTC."""
    bitrate_bps: int = 0
    sent_bytes: int = 0
    dropped: int = 0
    """Access units given up because the target did not take them in time."""
    reconnects: int = 0
    delay_s: float = 0.0
    """From an access unit's arrival here until it was handed to the network."""
