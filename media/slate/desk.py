"""Orders slates from the worker and keeps the one that fits now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND
from media.slate.loop import SlateLoop, order_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from config.settings import Settings
    from media.model import TrackFormat
    from media.slate.loop import SlateOrder

RETRY = 3 * TICKS_PER_SECOND
"""A worker that has not answered by then has died with the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateRecipe:
    """What a stream's slate shows."""

    text: str
    image: Path | None
    """Configured image or video instead of the last picture."""


def recipe_for(settings: Settings, stream: str) -> SlateRecipe | None:
    """Return what the slate of a stream shows; None where slates are off."""
    if not settings.slate.enabled:
        return None
    own = settings.streams.of(stream)
    if own is None:
        return SlateRecipe(text=settings.slate.words("en"), image=settings.slate.image)
    image = own.slate_image or settings.slate.image
    return SlateRecipe(text=settings.slate.words(own.language), image=image)


class SlateDesk:
    """One show's slates. `recipe` None: there is none; `send` orders from the worker."""

    def __init__(self, recipe: SlateRecipe | None, send: Callable[[SlateOrder], None]) -> None:
        self._recipe = recipe
        self._send = send
        self._serial = 0
        self._ordered_at: int | None = None
        self.loop: SlateLoop | None = None
        """The newest answer to the newest order."""
        self.failure: str | None = None
        """Why there is no slate, for the producer."""

    @property
    def enabled(self) -> bool:
        """Whether a slate is wanted at all."""
        return self._recipe is not None

    @property
    def ordered(self) -> bool:
        """Whether an order stands, answered or not."""
        return self._ordered_at is not None

    def waits(self, now: int, patience: int) -> bool:
        """Whether an answer may still come within `patience` ticks of the order."""
        if self._ordered_at is None or self.loop is not None or self.failure is not None:
            return False
        return now - self._ordered_at < patience

    def order(self, now: int, video: TrackFormat | None, audio: TrackFormat | None) -> None:
        """Order a slate that fits these formats, unless an order stands and may be met."""
        if self._recipe is None:
            return
        if self._ordered_at is not None and not self._overdue(now, self._ordered_at):
            return
        self._serial += 1
        self._ordered_at = now
        self._send(
            order_for(
                video,
                audio,
                text=self._recipe.text,
                image=self._recipe.image,
                serial=self._serial,
            )
        )

    def _overdue(self, now: int, ordered_at: int) -> bool:
        return self.loop is None and self.failure is None and now - ordered_at >= RETRY

    def answered(self, serial: int, answer: SlateLoop | str) -> None:
        """Take a loop, or the sentence that says why there is none; late ones are nobody's."""
        if serial != self._serial or not self.ordered:
            return
        if isinstance(answer, SlateLoop):
            self.loop, self.failure = answer, None
        elif self.loop is None:
            self.failure = answer

    def discard(self) -> None:
        """Forget order and slate: there are newer pictures."""
        self._ordered_at = None
        self.loop = self.failure = None
