"""Who is let in; following the database while streams come and go."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from config.settings import Settings
from ingest.auth import key_digest
from ingest.rtmp.errors import Fault
from ingest.source import Approach, KeyRefused, Refusal
from media.model import Role
from storage.database import DatabaseUnavailable
from storage.streams import KeyOwner, StreamRecord
from vitrina.gate import Admin, Gate

pytestmark = pytest.mark.unit


@dataclass
class Named:
    name: str


class Names:
    """A registry and a cue service of names only, which remember what was dropped."""

    def __init__(self):
        self.names = set()
        self.streams = {}
        self.dropped = []

    def all(self):
        return [Named(name) for name in self.names]

    def add(self, name):
        self.names.add(name)

    def get(self, name):
        return self.streams.get(name)

    def remove(self, name):
        self.names.discard(name)
        self.dropped.append(name)

    async def forget(self, name):
        pass


class Store:
    """A stream store; `during_list` runs between the query and its answer."""

    def __init__(self):
        self.names = set()
        self.during_list = None

    async def add(self, name):
        self.names.add(name)
        return "key"

    async def remove(self, name):
        self.names.discard(name)

    async def list(self):
        rows = [StreamRecord(name=name, created_at_ms=0) for name in sorted(self.names)]
        if self.during_list is not None:
            await self.during_list()
        return rows


@pytest.fixture
def parts():
    names, store = Names(), Store()
    admin = Admin(settings=Settings(), store=store, registry=names, cues=names, restreamer=names)
    return admin, names, store


async def test_what_another_process_changed_is_followed(parts):
    admin, names, store = parts
    store.names = {"a", "b"}
    await admin.refresh()
    store.names = {"b"}
    await admin.refresh()
    assert names.names == {"b"}
    assert names.dropped == ["a"]


async def test_a_stream_made_during_the_query_is_not_dropped(parts):
    admin, names, store = parts

    async def make():
        await admin.add("new")

    store.during_list = make
    await admin.refresh()
    assert names.names == {"new"}
    assert names.dropped == []


async def test_a_stream_removed_during_the_query_does_not_come_back(parts):
    admin, names, store = parts
    await admin.add("old")

    async def unmake():
        store.during_list = None
        await admin.remove("old")

    store.during_list = unmake
    await admin.refresh()
    assert names.names == set()


def gate(**stream):
    """A gate with one configured stream `a` of key `k`."""
    tree = {"streams": {"list": [{"name": "a", "key": "k", **stream}]}}
    return Gate(settings=Settings.model_validate(tree), store=NoKeys(), registry=Names())


class NoKeys:
    async def find(self, key_digest):
        return None


def approach(key="k", address="192.0.2.1"):
    return Approach(protocol="rtmp", address=address, key=key)


async def test_a_stream_is_published_from_its_allow_list_only():
    door = gate(allow=["192.0.2.0/24"])
    assert (await door.authorize(approach())).stream == "a"
    assert (await door.authorize(approach(address="::ffff:192.0.2.8"))).stream == "a"
    with pytest.raises(KeyRefused, match="allow-list") as refused:
        await door.authorize(approach(address="198.51.100.1"))
    assert refused.value.reason is Refusal.ADDRESS


async def test_a_wrong_key_says_nothing_about_addresses():
    with pytest.raises(KeyRefused, match="unknown or disabled") as refused:
        await gate(allow=["192.0.2.0/24"]).authorize(approach(key="x", address="198.51.100.1"))
    assert refused.value.reason is Refusal.KEY


async def test_a_streams_own_limits_come_with_the_grant():
    grant = await gate(limits={"max_bitrate_kbps": 500}).authorize(approach())
    assert grant.limits.max_bitrate_kbps == 500
    assert grant.limits.max_width == Settings().limits.max_width


async def test_who_fights_for_a_stream_is_refused_and_the_hook_not_asked():
    class Contested:
        def refusal(self, role):
            return "Another encoder is publishing." if role is Role.PRIMARY else None

    tree = {"streams": {"list": [{"name": "a", "key": "k", "backup_key": "b"}]}}
    names = Names()
    names.streams["a"] = Contested()
    door = Gate(settings=Settings.model_validate(tree), store=NoKeys(), registry=names)
    with pytest.raises(KeyRefused, match="Another encoder is publishing") as refused:
        await door.authorize(approach())
    assert refused.value.reason is Refusal.CONTESTED
    assert (await door.authorize(approach("b"))).role is Role.BACKUP


async def test_who_has_a_void_key_keeps_nobody_out():
    """Its owner changed the key because somebody else had it, and may be fighting for it still."""

    class Contested:
        fights = False

        def refusal(self, role):
            return "Another encoder is publishing." if self.fights else None

        def publish(self, **_):
            return None

    class Keys:
        keys = {"old": KeyOwner(stream="s"), "b": KeyOwner(stream="s", backup=True)}  # noqa: RUF012

        async def find(self, digest):
            return next((o for key, o in self.keys.items() if key_digest(key) == digest), None)

    stream, names, keys = Contested(), Names(), Keys()
    names.add = lambda _name: stream
    names.streams["s"] = stream
    door = Gate(settings=Settings(), store=keys, registry=names)
    door.open(await door.authorize(approach("old")), protocol="rtmp", wrap_ticks=1, on_revoked=len)
    stream.fights = True
    with pytest.raises(KeyRefused, match="Another encoder"):
        await door.authorize(approach("old"))
    keys.keys = {"new": keys.keys["old"], "b": keys.keys["b"]}
    with pytest.raises(KeyRefused, match="unknown or disabled"):
        await door.authorize(approach("old"))
    grant = await door.authorize(approach("new"))
    door.open(grant, protocol="rtmp", wrap_ticks=1, on_revoked=len)
    # Two with the new key are rivals again, and the backup's key was not changed.
    for key in ("new", "b"):
        with pytest.raises(KeyRefused, match="Another encoder"):
            await door.authorize(approach(key))
    assert key_digest("new") not in repr(grant)


async def test_a_database_that_fails_is_no_fault_of_the_encoder():
    class Broken:
        async def find(self, digest):
            raise DatabaseUnavailable("the database failed")

    tree = {"streams": {"list": [{"name": "a", "key": "k"}]}}
    door = Gate(settings=Settings.model_validate(tree), store=Broken(), registry=Names())
    with pytest.raises(KeyRefused, match="try again in a moment") as refused:
        await door.authorize(approach("x"))
    assert refused.value.undecided
    assert Fault(refused.value.reason.value) is Fault.INTERNAL
    assert (await door.authorize(approach("k"))).stream == "a"


def login(key="", **query):
    return Approach(protocol="rtmp", address="192.0.2.1", key=key, user="ann", query=query)


async def test_a_login_names_its_role():
    door = gate(user="ann", password="p")
    for query, role in (({}, "primary"), ({"role": "backup"}, "backup"),
                        ({"role": "primary"}, "primary")):  # fmt: skip
        grant = await door.authorize(login("a", **query))
        assert (grant.stream, grant.role) == ("a", role)
    assert (await door.authorize(login(role="backup"))).role == "backup"
    with pytest.raises(KeyRefused, match=r"put a\?role=backup"):
        await door.authorize(login("a", role="main"))


async def test_a_key_has_its_own_role_whatever_the_query_says():
    said = Approach(protocol="rtmp", address="192.0.2.1", key="k", query={"role": "backup"})
    assert (await gate().authorize(said)).role == "primary"
