"""What is told of one connection: to the meter in fixed words, to the log with its address."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import structlog

from ingest.rtmp.errors import Fault
from ingest.source import IngestMeter

_log = structlog.get_logger(__name__)


class Account:
    """One connection's; `stream` is the name of what it publishes, None for a stranger."""

    def __init__(self, protocol: str, meter: IngestMeter, may_log: Callable[[], bool]) -> None:
        """`may_log`: whether a line about a stranger may be written now."""
        self.protocol = protocol
        self.remote = ""
        """Address and port."""
        self.reason = "eof"
        """Why it ends, or will if nothing else happens."""
        self._meter = meter
        self._may_log = may_log
        self._unreported = 0

    def opened(self) -> None:
        """Count it as open."""
        self._meter.connection_opened(self.protocol)

    def read(self, size: int) -> None:
        """Count bytes; a counter's lock at every read would not be for free."""
        self._unreported += size

    def settle_bytes(self) -> int:
        """Tell the meter of the bytes since the last time; return how many."""
        size, self._unreported = self._unreported, 0
        if size:
            self._meter.bytes_in(self.protocol, size)
        return size

    def refused(self, fault: Fault) -> None:
        """Count that it was not let in at all."""
        self._meter.rejected(self.protocol, fault)

    def rejected(self, fault: Fault) -> None:
        """Count that it ends for the peer's fault."""
        self.reason = "timeout" if fault is Fault.TIMEOUT else "rejected"
        self._meter.rejected(self.protocol, fault)

    def broke(self, stream: str | None) -> None:
        """Count that it ends for a fault of ours, with the traceback in the log.

        It is rendered here: a renderer that shows local variables would show the key.
        """
        self.reason = "error"
        self._meter.rejected(self.protocol, Fault.INTERNAL)
        _log.error(
            "encoder connection failed",
            protocol=self.protocol,
            stream=stream,
            remote=self.remote,
            traceback=traceback.format_exc(),
        )

    def closed(self) -> None:
        """Count it as closed."""
        self._meter.connection_closed(self.protocol, self.reason)
        _log.debug(
            "encoder connection closed",
            protocol=self.protocol,
            remote=self.remote,
            reason=self.reason,
        )

    def info(self, event: str, stream: str | None, **fields: object) -> None:
        """Log what is worth a line."""
        _log.info(event, protocol=self.protocol, stream=stream, remote=self.remote, **fields)

    def warn(self, fault: Fault, text: str, stream: str | None, **fields: object) -> None:
        """Log what was wrong; of strangers only so many lines, the meter counts the rest."""
        if stream is None and not self._may_log():
            return
        _log.warning(
            "encoder connection cut",
            protocol=self.protocol,
            stream=stream,
            remote=self.remote,
            reason=fault.value,
            detail=text,
            **fields,
        )
