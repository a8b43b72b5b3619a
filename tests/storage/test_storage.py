"""The database itself, on real SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from storage import migrate
from storage.database import Database, DatabaseMisconfigured, DatabaseUnavailable, sqlite_url
from storage.keys import digest
from storage.migrate import upgrade
from storage.schema import cue_log, metadata
from storage.streams import KeyOwner, NoSuchStream, StreamExists, StreamRefused, StreamStore
from storage.targets import TargetRecord, TargetStore
from storage.tokens import Grant, NoSuchToken, Role, TokenStore

pytestmark = pytest.mark.component

MIGRATIONS = Path(migrate.__file__).parent / "migrations"


@pytest.fixture
async def database(tmp_path):
    made = Database(sqlite_url(tmp_path / "100%'s.sqlite3"))
    await upgrade(made)
    yield made
    await made.dispose()


def entry(seq: int) -> dict[str, object]:
    return {
        "stream": "s", "seq": seq, "id": f"c{seq}", "rev": 1, "state": "live", "type": "notice",
        "at_ms": 1, "effective_ms": 1, "data": "{}", "issued_at_ms": 1,
    }  # fmt: skip


async def test_migrations_make_exactly_the_declared_schema(database, tmp_path):
    def found(connection):
        inspector = sa.inspect(connection)
        return {
            table: {
                (c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)
            }
            for table in inspector.get_table_names()
            if table != "alembic_version"
        }

    declared = Database(sqlite_url(tmp_path / "declared.sqlite3"))
    async with declared.write() as connection:
        await connection.run_sync(metadata.create_all)
    async with declared.read() as connection:
        expected = await connection.run_sync(found)
    await declared.dispose()
    async with database.read() as connection:
        assert await connection.run_sync(found) == expected
    assert set(expected) == {
        "streams", "tokens", "cue_log", "idempotency_keys", "products", "restream_targets"
    }  # fmt: skip


async def test_upgrade_twice_keeps_what_is_there(database):
    key = await StreamStore(database).add("shop")
    await upgrade(database)
    assert await StreamStore(database).find(digest(key)) == KeyOwner(stream="shop")


async def test_a_database_of_a_newer_version_is_left_alone_with_a_sentence(database):
    async with database.write() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseMisconfigured, match="made by a newer version"):
        await upgrade(database)


async def test_what_was_to_be_written_is_not_in_the_error(database):
    async with database.write() as connection:
        await connection.execute(sa.text("DROP TABLE restream_targets"))
    record = TargetRecord(
        stream="s", name="t", url="rtmp://t.example/a", key="k3y-0f-th3-target", enabled=True,
        codecs=(), source="source",
    )  # fmt: skip
    with pytest.raises(DatabaseUnavailable) as caught:
        await TargetStore(database).put(record)
    assert record.key not in "".join(traceback.format_exception(caught.value))


async def test_backup_keys_come_and_go_by_migration(database):
    def go(connection, move, revision):
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        move(config, revision)

    def columns(connection):
        return {c["name"] for c in sa.inspect(connection).get_columns("streams")}

    store = StreamStore(database)
    key = await store.add("shop")
    backup = await store.rotate("shop", backup=True)
    async with database.write() as connection:
        await connection.run_sync(go, command.downgrade, "0001")
        assert "backup_key_digest" not in await connection.run_sync(columns)
    await upgrade(database)
    assert await store.find(digest(key)) == KeyOwner(stream="shop")
    assert await store.find(digest(backup)) is None
    again = await store.rotate("shop", backup=True)
    assert await store.find(digest(again)) == KeyOwner(stream="shop", backup=True)


async def test_two_upgrades_at_once(tmp_path):
    url = sqlite_url(tmp_path / "x.sqlite3")
    one, two = Database(url), Database(url)
    async with asyncio.TaskGroup() as group:
        group.create_task(upgrade(one))
        group.create_task(upgrade(two))
    assert await StreamStore(two).list() == []
    await one.dispose()
    await two.dispose()


async def test_pragmas_hold_on_every_connection(database):
    async with database.read() as connection:
        values = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]
    assert values == ["wal", 1, 2000]


@pytest.mark.parametrize("statement", ["UPDATE cue_log SET rev = 9", "DELETE FROM cue_log"])
async def test_the_database_itself_refuses_to_change_the_cue_log(database, statement):
    async with database.write() as connection:
        await connection.execute(sa.insert(cue_log).values(entry(1)))
    with pytest.raises(DatabaseUnavailable) as refused:
        async with database.write() as connection:
            await connection.exec_driver_sql(statement)
    assert "append-only" in str(refused.value.__cause__)
    async with database.read() as connection:
        assert (await connection.execute(sa.select(cue_log.c.rev))).scalars().all() == [1]


async def test_a_failed_write_leaves_nothing(database):
    async def write_and_fail() -> None:
        async with database.write() as connection:
            await connection.execute(sa.insert(cue_log).values(entry(1)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write_and_fail()
    async with database.read() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(cue_log)) == 0


async def test_a_foreign_lock_is_named(database, tmp_path):
    async with database.write() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 20")
        await connection.execute(sa.insert(cue_log).values(entry(1)))
    other = sqlite3.connect(tmp_path / "100%'s.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked by another process"):
        async with database.write():
            pass
    other.execute("ROLLBACK")
    other.close()
    async with database.write() as connection:
        await connection.execute(sa.insert(cue_log).values(entry(2)))


async def test_concurrent_writers_all_get_through(database):
    async def write(seq: int) -> None:
        async with database.write() as connection:
            await connection.execute(sa.insert(cue_log).values(entry(seq)))

    async with asyncio.TaskGroup() as group:
        for seq in range(40):
            group.create_task(write(seq))
    async with database.read() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(cue_log)) == 40


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://user:hunter2@h/db", "works with sqlite and postgresql"),
        ("not a url hunter2", "is not a database URL"),
    ],
)
def test_bad_urls_are_refused_without_repeating_them(url, words):
    with pytest.raises(DatabaseMisconfigured, match=words) as refused:
        Database(url)
    assert "hunter2" not in str(refused.value)


def test_postgresql_goes_to_asyncpg(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(DatabaseMisconfigured, match="asyncpg"):
        Database("postgresql://u:p@h/db")


async def test_a_directory_that_is_not_there(tmp_path):
    database = Database(sqlite_url(tmp_path / "no" / "x.sqlite3"))
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        await upgrade(database)
    await database.dispose()


class TestStreams:
    async def test_life(self, database, tmp_path):
        store = StreamStore(database)
        key = await store.add("shop")
        assert len(key) == 32
        assert await store.find(digest(key)) == KeyOwner(stream="shop")
        assert await store.find(digest(key + "x")) is None
        newer = await store.rotate("shop")
        assert await store.find(digest(key)) is None
        assert await store.find(digest(newer)) == KeyOwner(stream="shop")
        assert [record.name for record in await store.list()] == ["shop"]
        await store.remove("shop")
        assert await store.find(digest(newer)) is None
        assert newer.encode() not in (tmp_path / "100%'s.sqlite3").read_bytes()

    async def test_refusals(self, database):
        store = StreamStore(database)
        await store.add("shop")
        with pytest.raises(StreamExists):
            await store.add("shop")
        for name in ("", "Shop", "../x", "-a", "a" * 65, "shop\n"):
            with pytest.raises(StreamRefused, match="no stream name"):
                await store.add(name)
        with pytest.raises(NoSuchStream):
            await store.rotate("nobody")
        with pytest.raises(NoSuchStream):
            await store.remove("nobody")

    async def test_a_backup_key_is_of_one_role_of_one_stream(self, database):
        store = StreamStore(database)
        key = await store.add("shop")
        backup = await store.rotate("shop", backup=True)
        assert await store.find(digest(key)) == KeyOwner(stream="shop")
        assert await store.find(digest(backup)) == KeyOwner(stream="shop", backup=True)
        newer = await store.rotate("shop", backup=True)
        assert await store.find(digest(backup)) is None
        assert await store.find(digest(newer)) == KeyOwner(stream="shop", backup=True)
        assert await store.find(digest(key)) == KeyOwner(stream="shop")
        with pytest.raises(NoSuchStream):
            await store.rotate("nobody", backup=True)


class TestTokens:
    async def test_life(self, database):
        store = TokenStore(database)
        admin = await store.add(Role.ADMIN)
        producer = await store.add(Role.PRODUCER, stream="shop")
        assert await store.check(admin) == Grant(role=Role.ADMIN, stream=None)
        assert await store.check(producer) == Grant(role=Role.PRODUCER, stream="shop")
        assert await store.check("nonsense") is None
        assert await store.check("\ud800") is None
        await store.remove(admin)
        with pytest.raises(NoSuchToken):
            await store.remove(admin)
        assert await store.check(admin) is None

    async def test_tokens_of_a_removed_stream_die_with_it(self, database):
        streams, store = StreamStore(database), TokenStore(database)
        await streams.add("shop")
        token = await store.add(Role.PRODUCER, stream="shop")
        await streams.remove("shop")
        assert await store.check(token) is None
