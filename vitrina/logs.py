"""Logging to standard error: one line an event, JSON for machines, colours for a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from config.settings import LogSettings

SECRET_FIELDS = frozenset(
    {"admin_token", "authorization", "key", "password", "producer_token", "stream_key", "token"}
)
MASK = "***"


def mask_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask fields that are secret by name: the last net, callers do not log them at all."""
    for name in SECRET_FIELDS.intersection(event):
        event[name] = MASK
    return event


def configure(settings: LogSettings) -> None:
    """Send structlog's and the standard library's events to standard error.

    `settings.format` `auto`: console lines on a terminal, else JSON.
    """
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    final: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default one prints local variables, stream keys among them.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    # Libraries speak at warning: their info is their business, and may name what we mask.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
