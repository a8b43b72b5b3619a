"""The targets of all streams: from configuration and database, changed while they are pushed to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from media.model import Codec
from restream.endpoint import Endpoint, parse_target
from restream.model import NoSuchTarget, State, Status, Target, TargetExists, TargetRefused
from restream.pusher import Pusher
from storage.targets import TargetRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from config.settings import RestreamSettings, TargetSettings
    from media.tap import Taps
    from restream.dial import Dialer
    from restream.meter import RestreamMeter
    from storage.targets import TargetStore

log = structlog.get_logger(__name__)


class Running(Protocol):
    """A task that was started."""

    async def stop(self) -> None:
        """Cancel it and wait until it has ended."""


class Spawn(Protocol):
    """Starts a supervised task (`vitrina.supervise.Supervisor.spawn`)."""

    def __call__(
        self,
        name: str,
        factory: Callable[[], Coroutine[object, object, object]],
        *,
        restart: bool = False,
    ) -> Running:
        """Run `factory()` under the name `component:instance`, again after a failure."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A target and, where it is enabled, what pushes to it."""

    target: Target
    endpoint: Endpoint
    off: Status
    """How it stands while it is disabled."""
    pusher: Pusher | None = None
    task: Running | None = None


class Restreamer:
    """See the module's docstring. All methods run on the event loop."""

    def __init__(
        self,
        *,
        settings: RestreamSettings,
        configured: Mapping[str, Sequence[TargetSettings]],
        store: TargetStore,
        taps: Taps,
        dialer: Dialer,
        meter: RestreamMeter,
        spawn: Spawn,
        utc_ms: Callable[[], int],
        exists: Callable[[str], bool],
    ) -> None:
        """`configured`: targets from the configuration, by stream; `exists`: of a stream."""
        self._settings = settings
        self._configured = configured
        self._store = store
        self._taps = taps
        self._dialer = dialer
        self._meter = meter
        self._spawn = spawn
        self._utc_ms = utc_ms
        self._exists = exists
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Start every known target.

        Raises `DatabaseUnavailable`, and `TargetRefused` for a target of the configuration.
        """
        async with self._changing:
            for stream, listed in self._configured.items():
                for one in listed:
                    self._start(*_configured(stream, one))
            for record in await self._store.list():
                if (record.stream, record.name) in self._entries:
                    log.warning(
                        "a stored target is hidden by one of the configuration",
                        stream=record.stream,
                        target=record.name,
                    )
                    continue
                try:
                    endpoint, _ = parse_target(record.url, record.key)
                    self._start(_stored(record), endpoint)
                except ValueError as err:
                    log.error(
                        "a stored target cannot be used",
                        stream=record.stream,
                        target=record.name,
                        reason=str(err),
                    )

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def list(self, stream: str) -> list[tuple[Target, Status]]:
        """Return the targets of a stream, by name."""
        return [
            (entry.target, _status(entry))
            for (owner, _), entry in sorted(self._entries.items())
            if owner == stream
        ]

    def get(self, stream: str, name: str) -> tuple[Target, Status]:
        """Return one target and how it stands. Raises `NoSuchTarget`."""
        entry = self._entry(stream, name)
        return entry.target, _status(entry)

    # ── changing ─────────────────────────────────────────────────────────────────────────────

    async def add(
        self,
        stream: str,
        name: str,
        *,
        url: str,
        key: str | None,
        enabled: bool,
        codecs: Iterable[str],
    ) -> None:
        """Add a target and push to it. Raises `TargetRefused`, `TargetExists`, `NoSuchTarget`."""
        async with self._changing:
            if not self._exists(stream):
                # It went while the request came: what is stored now, its successor would inherit.
                raise NoSuchTarget("the stream is gone")
            if (stream, name) in self._entries:
                raise TargetExists(f"there is a target {name!r} already")
            if sum(owner == stream for owner, _ in self._entries) >= self._settings.max_targets:
                raise TargetRefused(
                    f"a stream has at most {self._settings.max_targets} targets "
                    "(restream.max_targets)"
                )
            endpoint, key = parse_target(url, key)
            target = Target(
                stream=stream,
                name=name,
                url=endpoint.url,
                key=key,
                enabled=enabled,
                codecs=frozenset(map(Codec, codecs)),
            )
            await self._store.put(_record(target))
            self._start(target, endpoint)

    async def change(
        self,
        stream: str,
        name: str,
        *,
        url: str | None = None,
        key: str | None = None,
        enabled: bool | None = None,
        codecs: Iterable[str] | None = None,
    ) -> None:
        """Change what is given; a connection is made again. Raises `TargetRefused`."""
        async with self._changing:
            entry = self._entry(stream, name)
            old = entry.target
            _refuse_configured(old, "change it there")
            if url is not None and key is None:
                # Whoever may change the URL must not learn the key by sending it elsewhere.
                raise TargetRefused(
                    "a new address needs its key with it, the old one is not sent elsewhere",
                    field="key",
                )
            endpoint, key = parse_target(
                old.url if url is None else url, old.key if key is None else key
            )
            new = replace(
                old,
                url=endpoint.url,
                key=key,
                enabled=old.enabled if enabled is None else enabled,
                codecs=old.codecs if codecs is None else frozenset(map(Codec, codecs)),
            )
            if new == old:
                return
            await self._store.put(_record(new))
            await self._stop(entry)
            self._start(new, endpoint)

    async def remove(self, stream: str, name: str) -> None:
        """Say goodbye to a target and forget it. Raises `TargetRefused`."""
        async with self._changing:
            entry = self._entry(stream, name)
            _refuse_configured(entry.target, "remove it there")
            await self._store.remove(stream, name)
            await self._stop(entry)

    async def forget(self, stream: str) -> None:
        """Stop the targets of a stream that is gone, and forget them for good."""
        async with self._changing:
            for (owner, name), entry in tuple(self._entries.items()):
                if owner == stream:
                    await self._stop(entry)
                    await self._store.remove(stream, name)
            self._taps.forget(stream)

    def _entry(self, stream: str, name: str) -> _Entry:
        entry = self._entries.get((stream, name))
        if entry is None:
            raise NoSuchTarget("the stream has no target of that name")
        return entry

    def _start(self, target: Target, endpoint: Endpoint) -> None:
        off = Status(state=State.OFF, since_ms=self._utc_ms())
        entry = _Entry(target=target, endpoint=endpoint, off=off)
        self._entries[target.stream, target.name] = entry
        if not target.enabled:
            self._meter.restream_state(target.stream, target.name, State.OFF.number)
            return
        pusher = entry.pusher = Pusher(
            target, endpoint, settings=self._settings, dialer=self._dialer, meter=self._meter
        )
        self._taps.of(target.stream).add(pusher)
        entry.task = self._spawn(
            f"restream:{target.stream}/{target.name}", pusher.run, restart=True
        )

    async def _stop(self, entry: _Entry) -> None:
        target = entry.target
        if entry.pusher is not None:
            self._taps.of(target.stream).remove(entry.pusher)
        if entry.task is not None:
            await entry.task.stop()
        self._entries.pop((target.stream, target.name), None)
        self._meter.restream_forget(target.stream, target.name)


def _status(entry: _Entry) -> Status:
    return entry.pusher.status() if entry.pusher is not None else entry.off


def _configured(stream: str, one: TargetSettings) -> tuple[Target, Endpoint]:
    key = one.key.get_secret_value() if one.key is not None else None
    try:
        endpoint, key = parse_target(one.url, key)
    except TargetRefused as err:
        raise TargetRefused(
            f"streams.list: {stream}: target {one.name}: {err.field}: {err}", field=err.field
        ) from None
    target = Target(
        stream=stream,
        name=one.name,
        url=endpoint.url,
        key=key,
        enabled=one.enabled,
        codecs=frozenset(map(Codec, one.codecs)),
        source=one.source,
        configured=True,
    )
    return target, endpoint


def _stored(record: TargetRecord) -> Target:
    return Target(
        stream=record.stream,
        name=record.name,
        url=record.url,
        key=record.key,
        enabled=record.enabled,
        codecs=frozenset(map(Codec, record.codecs)),
        source=record.source,
    )


def _record(target: Target) -> TargetRecord:
    return TargetRecord(
        stream=target.stream,
        name=target.name,
        url=target.url,
        key=target.key,
        enabled=target.enabled,
        codecs=tuple(sorted(codec.value for codec in target.codecs)),
        source=target.source,
    )


def _refuse_configured(target: Target, mend: str) -> None:
    if target.configured:
        raise TargetRefused(
            f"target {target.name} comes from the configuration (streams.list): {mend}"
        )
