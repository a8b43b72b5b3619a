"""How a cue operation fails. Every text is for the producer and says what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class CueError(Exception):
    """An operation was refused; nothing changed. `status` is the HTTP status that fits."""

    status: ClassVar[int]
    reason: ClassVar[str]
    """A fixed word, for counters."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(CueError):
    """There is no such stream or cue."""

    status = 404
    reason = "not_found"


class Conflict(CueError):
    """The operation does not fit the state of the stream or the cue."""

    status = 409
    reason = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong with a body."""

    field: str
    """Dotted name, e.g. `data.path.3.1`; empty for the body itself."""
    detail: str


class Invalid(CueError):
    """The body breaks the contract; every fault is listed."""

    status = 422
    reason = "invalid"

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        super().__init__(
            "; ".join(f"{e.field}: {e.detail}" if e.field else e.detail for e in errors)
        )

    @classmethod
    def of(cls, field: str, detail: str) -> Invalid:
        """Return the refusal of a single field."""
        return cls([FieldError(field=field, detail=detail)])


class TooMany(CueError):
    """A limit on rate or number; `retry_after_s` where waiting helps."""

    status = 429
    reason = "too_many"

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(CueError):
    """Our fault, and passing."""

    status = 503
    reason = "unavailable"


class LogUnavailable(Unavailable):
    """The cue log could not be read or written: the cue was not taken, the stream goes on."""
