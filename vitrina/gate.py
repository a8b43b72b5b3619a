"""Who may publish, and which streams exist: the database meets the registry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ingest.addresses import EVERYWHERE_RULE, AddressRule
from ingest.auth import REFUSED_TEXT, ConfiguredKeys, authorize
from ingest.source import Grant, KeyRefused, Refusal
from media.limits import narrow
from media.model import Role
from storage.database import DatabaseUnavailable
from storage.streams import KeyOwner, StreamExists, StreamRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from config.settings import Settings
    from ingest.source import Approach
    from media.publication import Publication
    from media.registry import Registry
    from overlay.service import CueService
    from restream.service import Restreamer
    from storage.streams import StreamStore
    from vitrina.hook import PublishHook


UNKNOWN_TEXT = "The stream key could not be looked up: try again in a moment."


class Gate:
    """Implements `ingest.source.PublishGate`."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: StreamStore,
        registry: Registry,
        hook: PublishHook | None = None,
    ) -> None:
        self._hook = hook
        self._store = store
        self._registry = registry
        self._configured = ConfiguredKeys(_configured_keys(settings))
        self._logins = {s.user: s.name for s in settings.streams.list if s.user is not None}
        self._limits = settings.limits
        self._own_limits = {s.name: s.limits for s in settings.streams.list}
        self._allow = {s.name: AddressRule(s.allow) for s in settings.streams.list}
        self._last: dict[tuple[str, Role], str | None] = {}
        """Digest of the key that let the newest publisher of a role in; None after a login."""

    async def authorize(self, approach: Approach) -> Grant:
        """Find the stream of the key or the login, then ask the hook; raises `KeyRefused`.

        Also where two publishers fight for the stream, and the other one stays.
        """
        try:
            return await self._decide(approach)
        except DatabaseUnavailable as error:
            raise KeyRefused(UNKNOWN_TEXT, reason=Refusal.INTERNAL, undecided=True) from error

    async def _decide(self, approach: Approach) -> Grant:
        grant = await self._identify(approach)
        if not self._allow.get(grant.stream, EVERYWHERE_RULE).allows(approach.address):
            raise KeyRefused(
                "This stream is not published from your address: ask its owner to add it to the "
                "stream's allow-list.",
                reason=Refusal.ADDRESS,
            )
        stream = self._registry.get(grant.stream)
        rival = None
        if stream is not None and not await self._key_changed(grant):
            rival = stream.refusal(grant.role)
        if rival is not None:
            raise KeyRefused(rival, reason=Refusal.CONTESTED)
        closer = await self._hook.ask(approach, grant) if self._hook is not None else None
        own = self._own_limits.get(grant.stream)
        return replace(grant, limits=narrow(self._limits, own, closer))

    async def _key_changed(self, grant: Grant) -> bool:
        """Whether who publishes now came with a key that is void: it keeps nobody out."""
        last = self._last.get((grant.stream, grant.role))
        if last is None or last == grant.key_digest:
            return False
        for keys in (self._configured, self._store):
            owner = await keys.find(last)
            if owner is not None:
                role = Role.BACKUP if owner.backup else Role.PRIMARY
                return (owner.stream, role) != (grant.stream, grant.role)
        return True

    async def _identify(self, approach: Approach) -> Grant:
        if approach.user is None:
            return await authorize(approach.key, self._configured, self._store)
        # The password was checked in the protocol; the key's place names the stream, if anything.
        stream = self._logins.get(approach.user)
        if stream is None:
            raise KeyRefused(REFUSED_TEXT)
        if approach.key not in ("", stream):
            raise KeyRefused(
                f"The user {approach.user} publishes the stream {stream}: put {stream} in place "
                "of the stream key."
            )
        role = approach.query.get("role", Role.PRIMARY.value)
        if role not in tuple(Role):
            raise KeyRefused(f"An encoder is primary or backup: put {stream}?role=backup.")
        return Grant(stream=stream, role=Role(role))

    def open(
        self,
        grant: Grant,
        *,
        protocol: str,
        wrap_ticks: int,
        on_revoked: Callable[[str], None],
        on_key_wanted: Callable[[], None] | None = None,
    ) -> Publication:
        """Start a publisher's run on a stream."""
        stream = self._registry.add(grant.stream)
        known = {place: last for place, last in self._last.items() if self._registry.get(place[0])}
        self._last = {**known, (grant.stream, grant.role): grant.key_digest}
        return stream.publish(
            protocol=protocol,
            wrap_ticks=wrap_ticks,
            on_revoked=on_revoked,
            limits=grant.limits,
            role=grant.role,
            on_key_wanted=on_key_wanted,
        )


def publish_users(settings: Settings) -> dict[str, str]:
    """Return the users that streams have, with their clear passwords (the protocol needs them)."""
    return {
        stream.user: stream.password.get_secret_value()
        for stream in settings.streams.list
        if stream.user is not None and stream.password is not None
    }


def _configured_keys(settings: Settings) -> Iterator[tuple[KeyOwner, str]]:
    for stream in settings.streams.list:
        if stream.key is not None:
            yield KeyOwner(stream=stream.name), stream.key.get_secret_value()
        if stream.backup_key is not None:
            owner = KeyOwner(stream=stream.name, backup=True)
            yield owner, stream.backup_key.get_secret_value()


class Admin:
    """Implements `delivery.seams.StreamAdmin`."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: StreamStore,
        registry: Registry,
        cues: CueService,
        restreamer: Restreamer,
    ) -> None:
        self._configured = {s.name for s in settings.streams.list}
        self._cues = cues
        self._restreamer = restreamer
        self._limit = settings.limits.max_streams
        self._store = store
        self._registry = registry

    async def add(self, name: str) -> str:
        """Make a stream; return its key, the only time it is seen."""
        if name in self._configured:
            raise StreamExists(f"Stream {name} exists already, by configuration.")
        if len(self._registry.all()) >= self._limit:
            raise StreamRefused(
                f"This server holds at most {self._limit} streams (limits.max_streams)."
            )
        key = await self._store.add(name)
        self._registry.add(name)
        return key

    async def remove(self, name: str) -> None:
        """Unmake a stream; its show ends."""
        self._refuse_configured(name, "remove it there")
        await self._store.remove(name)
        await self._drop(name)

    async def refresh(self) -> None:
        """Follow what other processes (`vitrina streams`) changed in the database."""
        # Looked at first: what is added or removed here during the query is no news from there.
        known = {stream.name for stream in self._registry.all()}
        wanted = self._configured | {record.name for record in await self._store.list()}
        for name in wanted - known:
            self._registry.add(name)
        for name in known - wanted:
            await self._drop(name)

    async def _drop(self, name: str) -> None:
        await self._restreamer.forget(name)
        self._registry.remove(name)
        await self._cues.forget(name)

    async def rotate_key(self, name: str, *, backup: bool = False) -> str:
        """Return a new key; the old one is void for the next publisher."""
        key = "backup_key" if backup else "key"
        self._refuse_configured(name, f"change its {key} there")
        return await self._store.rotate(name, backup=backup)

    def _refuse_configured(self, name: str, mend: str) -> None:
        if name in self._configured:
            raise StreamRefused(
                f"Stream {name} comes from the configuration (streams.list): {mend}."
            )
