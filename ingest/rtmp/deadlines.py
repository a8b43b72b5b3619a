"""How long a connection may take for what: handshake, silence, publishing. Without a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.settings import RtmpSettings

_NS = 1_000_000_000


class Deadlines:
    """When what happened on one connection; every time is monotonic, in nanoseconds."""

    def __init__(self, settings: RtmpSettings, now_ns: int) -> None:
        self._settings = settings
        self.opened_ns = now_ns
        """When it was counted in, or when its TLS handshake was over."""
        self._read_ns = self._pinged_ns = self._unpublished_ns = now_ns

    def opened(self, now_ns: int) -> None:
        """Note that the RTMP handshake may begin."""
        self.opened_ns = self._unpublished_ns = now_ns

    def read(self, now_ns: int) -> None:
        """Note that bytes came, or that they were not asked for until now."""
        self._read_ns = now_ns

    def unpublished(self, now_ns: int) -> None:
        """Note that the client publishes no more, and may do so again."""
        self._unpublished_ns = now_ns

    def overdue(
        self, now_ns: int, *, shaking_hands: bool, held_back: bool, publishing: bool
    ) -> str | None:
        """Return a sentence where a deadline has passed; `held_back`: nothing is read now."""
        settings = self._settings
        if shaking_hands:
            if now_ns - self.opened_ns > settings.handshake_timeout_s * _NS:
                return f"No handshake within {settings.handshake_timeout_s:g} s."
            return None
        if not held_back and now_ns - self._read_ns > settings.idle_timeout_s * _NS:
            return f"The client sent nothing for {settings.idle_timeout_s:g} s."
        allowed_s = settings.handshake_timeout_s + settings.idle_timeout_s
        if not publishing and now_ns - self._unpublished_ns > allowed_s * _NS:
            return f"The client published nothing for {allowed_s:g} s."
        return None

    def ping_due(self, now_ns: int) -> bool:
        """Whether to ask for a sign of life; counts as asked."""
        if now_ns - self._pinged_ns < self._settings.ping_interval_s * _NS:
            return False
        self._pinged_ns = now_ns
        return True
