"""What WHEP needs of the media server; wired in `vitrina.app`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from media.clock import ShowClock
    from media.realtime import RealtimeFeed


class LiveStream(Protocol):
    """As `media.stream.Stream`."""

    realtime: RealtimeFeed
    """Its rungs as they are made, over all its shows."""

    @property
    def live(self) -> bool:
        """Whether the show clock runs."""

    @property
    def clock(self) -> ShowClock | None:
        """The clock of the current show."""

    def request_key(self, rung: str) -> None:
        """Ask for a key picture of a rung: the encoder on air, where it can be asked, or ours."""


class Task(Protocol):
    """A task that was started."""

    def cancel(self) -> None:
        """Ask it to stop. Idempotent."""


class Spawn(Protocol):
    """Starts a supervised task (`vitrina.supervise.Supervisor.spawn`)."""

    def __call__(
        self,
        name: str,
        factory: Callable[[], Coroutine[object, object, object]],
        *,
        restart: bool = False,
    ) -> Task:
        """Run `factory()` under the name `component:instance`."""
