"""The operations of the service, on a real database and hand-published parts."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
import sqlalchemy as sa

from overlay.errors import Conflict, Invalid, LogUnavailable, NotFound, TooMany
from overlay.log import CueLog
from overlay.service import MAX_READS
from overlay.timeline import Timeline
from overlay.times import format_ms, parse_ms
from storage.database import Database
from storage.schema import cue_log
from tests.overlay.readers import dateranges, events
from tests.overlay.stage import EPOCH_MS, PART, PARTS_IN_SEGMENT, staged

pytestmark = pytest.mark.component


def notice(text="Hello", **more):
    return {"type": "notice", "data": {"text": text}, **more}


def pin(sku="DEMO-1", slot="main", **more):
    return {"type": "pin", "data": {"sku": sku, "slot": slot}, **more}


def chapter(title, **more):
    return {"type": "chapter", "data": {"title": title}, **more}


def carried(stream, rendition):
    """Return (part index, event) for every event of a rendition."""
    return [
        (index, event)
        for index, part in enumerate(stream.lanes[rendition].parts)
        for event in events(part)
    ]


async def rows(stage):
    async with stage.database.read() as connection:
        return (await connection.execute(sa.select(cue_log).order_by(cue_log.c.seq))).all()


async def test_now_is_the_first_moment_nobody_has_published(stage):
    stream = stage.stream(published=3)
    stream.publish("source")
    answer = await stage.service.fire("shop", notice(duration=2.5))
    at = stream.ms(4 * PART) + (0 if 4 * PART % 90 == 0 else 1)
    assert answer == {
        "id": answer["id"],
        "rev": 1,
        "seq": 1,
        "type": "notice",
        "state": "live",
        "at": format_ms(at),
        "end": format_ms(at + 2500),
        "data": {"text": "Hello", "level": "info"},
        "placement": {
            "media_time": format_ms(at),
            "rendition_sequence": {"source": {"msn": 0, "part": 4}},
        },
    }
    stream.publish("360p")
    stream.publish()
    for rendition, scale in (("source", 90_000), ("360p", 15_360)):
        ((index, event),) = carried(stream, rendition)
        assert index == 4
        assert event.timescale == scale
        assert event.time == stream.clock.ticks(at) * scale // 90_000
        assert event.duration == 2500 * scale // 1000
        assert event.description == "org.vitrina.cue"
        assert event.scheme == "https://aomedia.org/emsg/ID3"
    ((name, tag),) = dateranges(stream.feed.date_ranges(at - 5000, at)).items()
    assert name == f"{answer['id']}.1"
    assert tag["class"] == "org.vitrina.cue.notice"
    assert tag["start"] == format_ms(at)
    assert tag["duration"] == 2.5
    assert tag["raw"] == carried(stream, "source")[0][1].text
    assert tag["cue"] == {
        key: answer[key] for key in ("id", "rev", "type", "state", "at", "end", "data")
    }


async def test_seen_keeps_its_time_and_rides_in_the_next_part(stage):
    stream = stage.stream(published=8)
    at = stream.ms(2 * PART + 900)
    answer = await stage.service.fire("shop", notice(at=f"seen:{format_ms(at)}"))
    assert answer["at"] == format_ms(at)
    expected = {"msn": 8 // PARTS_IN_SEGMENT, "part": 8 % PARTS_IN_SEGMENT}
    assert answer["placement"]["rendition_sequence"] == {"source": expected, "360p": expected}
    stream.publish(count=2)
    for rendition in ("source", "360p"):
        ((index, event),) = carried(stream, rendition)
        assert index == 8
        assert event.time * 90_000 // event.timescale == 8 * PART
        assert event.cue["at"] == format_ms(at)
    (tag,) = dateranges(stream.feed.date_ranges(EPOCH_MS, stream.ms(10 * PART))).values()
    assert tag["start"] == format_ms(at)
    again = await stage.service.get("shop", answer["id"])
    assert again["placement"]["rendition_sequence"]["source"] == expected


async def test_scheduled_is_listed_thirty_seconds_ahead_and_placed_when_reached(stage):
    stream = stage.stream(published=3)
    answer = await stage.service.fire("shop", notice(at="+40"))
    assert answer["placement"] is None
    assert answer["state"] == "scheduled"
    begins = parse_ms(answer["at"])
    assert begins == stream.ms(3 * PART) + 40_000
    assert stream.feed.date_ranges(EPOCH_MS, begins - 30_001) == []
    assert len(stream.feed.date_ranges(EPOCH_MS, begins - 30_000)) == 1
    stream.publish(count=125)
    ((index, event),) = carried(stream, "source")
    assert index == (3 * PART + 40 * 90_000) // PART
    assert event.time == stream.clock.ticks(begins)
    placed = (await stage.service.get("shop", answer["id"]))["placement"]
    msn, part = divmod(index, PARTS_IN_SEGMENT)
    assert placed["rendition_sequence"]["360p"] == {"msn": msn, "part": part}


async def test_absolute_time(stage):
    stream = stage.stream()
    at = stream.ms(20 * PART)
    answer = await stage.service.fire("shop", notice(at=format_ms(at)))
    assert answer["at"] == format_ms(at)


@pytest.mark.parametrize("at", ["now", "+1", "seen:2027-01-15T08:00:00Z", "2027-01-15T08:00:59.9Z"])
async def test_not_live(stage, at):
    stage.stream().live = False
    with pytest.raises(Conflict, match="is not live"):
        await stage.service.fire("shop", notice(at=at))
    assert stage.meter.refused == ["conflict"]


async def test_a_future_time_is_taken_when_not_live(stage):
    stage.stream().live = False
    at = stage.clock.wall_ms + 5000
    answer = await stage.service.fire("shop", notice(at=format_ms(at)))
    assert (answer["at"], answer["placement"]) == (format_ms(at), None)


@pytest.mark.parametrize(
    ("at", "words"),
    [("+86401", "seconds ahead"), ("seen:2027-01-15T06:00:00Z", "seconds back")],
)
async def test_too_far(stage, at, words):
    stage.stream()
    with pytest.raises(Invalid, match=words):
        await stage.service.fire("shop", notice(at=at))


async def test_unknown_stream_cue_and_product(stage):
    stage.stream()
    with pytest.raises(NotFound, match="'nobody'"):
        await stage.service.fire("nobody", notice())
    with pytest.raises(NotFound):
        await stage.service.end("shop", "c_0")
    with pytest.raises(NotFound):
        await stage.service.get("shop", "c_0")
    with pytest.raises(Invalid) as refused:
        await stage.service.batch("shop", {"cues": [pin(), pin(sku="NO-1", slot="b")]})
    assert [(e.field, e.detail) for e in refused.value.errors] == [
        ("cues.1.data.sku", "'NO-1' is not in the catalogue")
    ]


async def test_end_bounds_the_open_tag_and_adds_an_instant(stage):
    stream = stage.stream()
    first = await stage.service.fire("shop", notice())
    (before,) = dateranges(stream.feed.date_ranges(0, stream.ms(9 * PART))).values()
    assert before["duration"] is None
    stream.publish(count=6)
    assert events(stream.lanes["source"].parts[3])[0].duration == 43_200 * 90_000
    ended = await stage.service.end("shop", first["id"])
    assert (ended["rev"], ended["state"], ended["seq"]) == (2, "ended", 2)
    assert ended["end"] == format_ms(stream.ms(9 * PART))
    tags = dateranges(stream.feed.date_ranges(0, stream.ms(9 * PART)))
    one, two = tags[f"{first['id']}.1"], tags[f"{first['id']}.2"]
    assert {**before, "duration": 2.0} == one
    assert (two["start"], two["duration"], two["cue"]["state"]) == (ended["end"], 0, "ended")
    stream.publish()
    assert [(i, e.cue["rev"]) for i, e in carried(stream, "source")] == [(3, 1), (9, 2)]
    assert len({e.id for _, e in carried(stream, "source")}) == 2
    assert stage.service.state_at("shop", stream.ms(9 * PART) - 1)["cues"] != []
    assert stage.service.state_at("shop", stream.ms(9 * PART))["cues"] == []
    with pytest.raises(Conflict, match="was over at"):
        await stage.service.end("shop", first["id"])


async def test_a_planned_duration_once_published_never_changes(stage):
    stream = stage.stream()
    first = await stage.service.fire("shop", notice(duration=60))
    stream.publish(count=3)
    await stage.service.end("shop", first["id"])
    tags = dateranges(stream.feed.date_ranges(0, stream.ms(6 * PART)))
    assert tags[f"{first['id']}.1"]["duration"] == 60
    assert tags[f"{first['id']}.2"]["start"] == format_ms(stream.ms(6 * PART))
    # Both leave the window together: nobody may find only the long one.
    assert stream.feed.date_ranges(stream.ms(6 * PART) + 1, stream.ms(30 * PART)) == []


async def test_revise_replaces_keys_of_data_from_now_on(stage):
    stream = stage.stream()
    first = await stage.service.fire("shop", notice("old", duration=60))
    stream.publish(count=3)
    second = await stage.service.revise("shop", first["id"], {"data": {"text": "new"}})
    assert (second["rev"], second["at"], second["end"]) == (2, first["at"], first["end"])
    assert second["data"] == {"text": "new", "level": "info"}
    texts = [
        stage.service.state_at("shop", stream.ms(ticks))["cues"][0]["data"]["text"]
        for ticks in (6 * PART - 90, 6 * PART)
    ]
    assert texts == ["old", "new"]
    stream.publish()
    assert [(i, e.cue["data"]["text"]) for i, e in carried(stream, "360p")] == [
        (3, "old"),
        (6, "new"),
    ]
    third = await stage.service.revise("shop", first["id"], {"end": "+2"})
    # The part begins between two milliseconds: the present is the later one.
    assert third["end"] == format_ms(stream.ms(7 * PART) + 1 + 2000)
    fourth = await stage.service.revise("shop", first["id"], {"duration": None})
    assert fourth["end"] is None


async def test_refused_revisions(stage):
    stream = stage.stream()
    fired = await stage.service.fire("shop", pin(duration=1))
    for body, words in (
        ({"data": {"colour": 1}}, "data.colour: unknown key"),
        ({"data": {"slot": "b"}}, "data.slot: cannot change"),
        ({"data": {"sku": "NO"}}, "not in the catalogue"),
        ({"data": {"sku": None}}, "data.sku: is missing"),
        ({"end": "now"}, "POST to its /end"),
        ({}, "needs one of"),
    ):
        with pytest.raises(Invalid, match=words):
            await stage.service.revise("shop", fired["id"], body)
    stream.publish(count=2)
    with pytest.raises(Invalid, match="which has passed"):
        await stage.service.revise("shop", fired["id"], {"duration": 0.5})
    stream.publish(count=3)
    with pytest.raises(Conflict, match="was over at"):
        await stage.service.revise("shop", fired["id"], {"duration": 60})
    assert len(await rows(stage)) == 1


async def test_retract_ahead_of_time_leaves_nothing_behind(stage):
    stream = stage.stream()
    fired = await stage.service.fire("shop", notice(at="+10"))
    at = parse_ms(fired["at"])
    with pytest.raises(Conflict, match="retract it instead"):
        await stage.service.end("shop", fired["id"])
    assert len(stream.feed.date_ranges(0, stream.ms(3 * PART))) == 1
    taken = await stage.service.retract("shop", fired["id"])
    assert (taken["state"], taken["rev"]) == ("retracted", 2)
    stream.publish(count=40)
    assert [(i, e.cue["state"]) for i, e in carried(stream, "source")] == [(3, "retracted")]
    assert [*dateranges(stream.feed.date_ranges(0, at))] == [f"{fired['id']}.2"]
    assert stage.service.state_at("shop", at)["cues"] == []
    with pytest.raises(Conflict, match="retracted already"):
        await stage.service.retract("shop", fired["id"])
    with pytest.raises(Conflict, match="cannot be changed"):
        await stage.service.revise("shop", fired["id"], {"duration": 3})


async def test_a_new_pin_ends_the_old_one_in_its_slot_only(stage):
    stream = stage.stream()
    first = await stage.service.fire("shop", pin("DEMO-1"))
    other = await stage.service.fire("shop", pin("DEMO-2", slot="side"))
    stream.publish(count=3)
    second = await stage.service.fire("shop", pin("DEMO-3"))
    log = (await stage.service.list("shop"))["cues"]
    assert [(e["id"], e["rev"], e["state"], e["seq"]) for e in log] == [
        (first["id"], 1, "live", 1),
        (other["id"], 1, "live", 2),
        (second["id"], 1, "live", 3),
        (first["id"], 2, "ended", 4),
    ]
    assert log[3]["effective"] == log[3]["end"] == second["at"]
    now = stage.service.state_at("shop", parse_ms(second["at"]))["cues"]
    assert {e["data"]["sku"] for e in now} == {"DEMO-2", "DEMO-3"}
    assert ("shop", "pin", "rule") in stage.meter.written


async def test_a_scheduled_pin_gives_the_slot_back_when_taken_back(stage):
    stream = stage.stream()
    first = await stage.service.fire("shop", pin("DEMO-1"))
    coming = await stage.service.fire("shop", pin("DEMO-2", at="+10"))
    at = parse_ms(coming["at"])
    # A third one between them is bounded by the one that comes.
    between = await stage.service.fire("shop", pin("DEMO-3", at="+5"))
    assert between["end"] == coming["at"]
    skus = [
        stage.service.state_at("shop", at + ms)["cues"][0]["data"]["sku"]
        for ms in (-5001, -5000, -1, 0)
    ]
    assert skus == ["DEMO-1", "DEMO-3", "DEMO-3", "DEMO-2"]
    await stage.service.retract("shop", coming["id"])
    (still,) = stage.service.state_at("shop", at)["cues"]
    assert (still["data"]["sku"], still["end"]) == ("DEMO-3", None)
    await stage.service.retract("shop", between["id"])
    for moment in (at - 5001, at - 5000, at, at + 99_000):
        (still,) = stage.service.state_at("shop", moment)["cues"]
        assert (still["data"]["sku"], still["end"]) == ("DEMO-1", None)
    stream.publish(count=40)
    final = [e.cue for _, e in carried(stream, "source") if e.cue["id"] == first["id"]]
    assert (final[-1]["state"], final[-1]["end"]) == ("live", None)
    dateranges(stream.feed.date_ranges(0, at))


async def test_two_cues_planned_for_one_slot_and_moment_conflict(stage):
    stage.stream()
    coming = await stage.service.fire("shop", pin(at="+10"))
    with pytest.raises(Conflict, match="pin main is taken at"):
        await stage.service.fire("shop", pin(at=coming["at"]))
    with pytest.raises(Conflict, match=r"cues\.1: chapter is taken"):
        await stage.service.batch("shop", [chapter("a"), chapter("b")])
    # Twice `now` within one part is the same moment: the newer one holds.
    await stage.service.fire("shop", pin("DEMO-4"))
    newer = await stage.service.fire("shop", pin("DEMO-5"))
    (active,) = stage.service.state_at("shop")["cues"]
    assert active["id"] == newer["id"]


async def test_chapters(stage):
    stream = stage.stream(published=3)
    await stage.service.batch(
        "shop",
        [
            chapter({"en": "Shoes <new>", "de": "Schuhe"}),
            chapter("Bags\n\n--> & more", at="+1"),
            chapter("Later", at="+100"),
        ],
    )
    wrong = await stage.service.fire("shop", chapter("Wrong", at="+2"))
    stream.publish(count=7)
    await stage.service.retract("shop", wrong["id"])
    assert stage.service.chapters("shop") == [
        {
            "chapter": 1,
            "start-time": 1.0,
            "duration": 1.0,
            "titles": [
                {"language": "en", "title": "Shoes <new>"},
                {"language": "de", "title": "Schuhe"},
            ],
        },
        {
            "chapter": 2,
            "start-time": 2.0,
            "duration": 1.0,
            "titles": [{"language": "und", "title": "Bags\n\n--> & more"}],
        },
    ]
    text = stage.service.chapters_vtt("shop", language="de")
    assert text.startswith("WEBVTT\n\n")
    assert "00:00:01.000 --> 00:00:02.000\nSchuhe\n" in text
    assert "\nBags --&gt; &amp; more\n" in text
    assert "Shoes &lt;new&gt;" in stage.service.chapters_vtt("shop", language="fr")


async def test_data_may_have_a_kilobyte_beside_its_times_and_names(stage):
    stage.stream()
    frame = len('{"name":"n","x":""}')
    cue = {"type": "custom", "data": {"name": "n", "x": "y" * (1024 - frame)}}
    fired = await stage.service.fire("shop", cue)
    assert fired["data"] == cue["data"]
    cue["data"]["x"] += "y"
    with pytest.raises(Invalid, match="data: takes 1025 bytes as JSON and 1024 fit"):
        await stage.service.fire("shop", cue)
    # Bytes count, not characters.
    cue["data"]["x"] = "é" * 600
    with pytest.raises(Invalid, match="1024 fit into the stream"):
        await stage.service.fire("shop", cue)


async def test_a_batch_is_all_or_none(stage):
    stage.stream()
    big = {"type": "custom", "data": {"name": "big", "x": "y" * 1100}}
    with pytest.raises(Invalid) as refused:
        await stage.service.batch("shop", [notice(), notice(at="+1"), big])
    assert [e.field for e in refused.value.errors] == ["cues.2.data"]
    assert "1024 fit into the stream" in str(refused.value)
    assert await rows(stage) == []
    answer = await stage.service.batch("shop", {"cues": [notice("a"), notice("b")]})
    assert [cue["seq"] for cue in answer["cues"]] == [1, 2]
    assert answer["cues"][0]["at"] == answer["cues"][1]["at"]


async def test_limit_of_live_cues(tmp_path):
    async with staged(tmp_path, max_live=2) as stage:
        stage.stream()
        await stage.service.fire("shop", notice(duration=10))
        first = await stage.service.fire("shop", notice())
        with pytest.raises(TooMany, match="2 cues may be live at once"):
            await stage.service.fire("shop", notice())
        await stage.service.fire("shop", notice(at="+10.5"))
        with pytest.raises(TooMany):
            await stage.service.fire("shop", notice(at="+9", duration=5))
        await stage.service.end("shop", first["id"])
        await stage.service.fire("shop", notice(duration=5))


async def test_limit_of_scheduled_cues(stage, monkeypatch):
    monkeypatch.setattr("overlay.drafts.MAX_TO_COME", 3)
    stream = stage.stream()
    for second in (1, 2, 30):
        fired = await stage.service.fire("shop", notice(at=f"+{second}", duration=0.5))
    with pytest.raises(TooMany, match="3 cues are live or scheduled"):
        await stage.service.fire("shop", notice(at="+40", duration=1))
    await stage.service.retract("shop", fired["id"])
    await stage.service.fire("shop", notice(at="+40", duration=1))
    stream.publish(count=12)
    await stage.service.fire("shop", notice(at="+50", duration=1))


async def test_rate_of_writes(tmp_path):
    async with staged(tmp_path, writes_per_second=1.0) as stage:
        stage.stream()
        for _ in range(4):
            await stage.service.fire("shop", notice())
        with pytest.raises(TooMany) as refused:
            await stage.service.fire("shop", notice())
        assert refused.value.retry_after_s == pytest.approx(1.0)
        stage.clock.s += 1.0
        await stage.service.fire("shop", notice())
        stage.stream("other")
        await stage.service.fire("other", notice())


async def test_idempotency(stage):
    stream = stage.stream()
    one = await stage.service.fire("shop", notice(), idempotency_key="k")
    stream.publish(count=5)
    assert await stage.service.fire("shop", notice(), idempotency_key="k") == one
    with pytest.raises(Conflict, match="take a new key"):
        await stage.service.fire("shop", notice("other"), idempotency_key="k")
    with pytest.raises(Conflict):
        await stage.service.end("shop", one["id"], idempotency_key="k")
    assert len(await rows(stage)) == 1
    ended = await stage.service.end("shop", one["id"], idempotency_key="e")
    assert await stage.service.end("shop", one["id"], idempotency_key="e") == ended
    stage.clock.wall_ms += 86_400_001
    assert (await stage.service.fire("shop", notice(), idempotency_key="k"))["id"] != one["id"]
    for key in ("", "x" * 201, "é", "a\nb"):
        with pytest.raises(Invalid, match="Idempotency-Key"):
            await stage.service.fire("shop", notice(), idempotency_key=key)


async def test_the_same_key_twice_at_once_writes_once(stage):
    stage.stream()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(stage.service.fire("shop", notice(), idempotency_key="k"))
            for _ in range(5)
        ]
    assert len({task.result()["id"] for task in tasks}) == 1
    assert len(await rows(stage)) == 1


async def test_a_restart_rebuilds_everything(stage):
    stream = stage.stream()
    first = await stage.service.fire("shop", pin("DEMO-1", duration=60))
    await stage.service.fire("shop", pin("DEMO-2", at="+5"))
    note = await stage.service.fire("shop", notice("مرحبا"), idempotency_key="k")
    stream.publish(count=20)
    ended = await stage.service.end("shop", note["id"])
    window = (0, stream.ms(30 * PART))
    before = {
        "tags": stream.feed.date_ranges(*window),
        "log": await stage.service.list("shop"),
        "state": stage.service.state_at("shop"),
        "one": await stage.service.get("shop", first["id"]),
    }
    stage.service = stage.new_service()
    await stage.service.load()
    after = stage.stream(epoch_ms=EPOCH_MS, published=0)
    after.lanes["source"].parts = [b""] * 23
    assert after.feed.date_ranges(*window) == before["tags"]
    assert await stage.service.list("shop") == before["log"]
    assert stage.service.state_at("shop") == before["state"]
    one = await stage.service.get("shop", first["id"])
    assert {**one, "placement": None} == {**before["one"], "placement": None}
    assert await stage.service.fire("shop", notice("مرحبا"), idempotency_key="k") == note
    # Who joins now is told in band what is active, and what ended is not told again.
    after.publish("source")
    assert {e.cue["id"] for _, e in carried(after, "source")} == {
        before["state"]["cues"][0]["id"],
        ended["id"],
    }
    assert (await stage.service.fire("shop", notice()))["seq"] == before["log"]["seq"] + 1


async def test_a_full_disk_refuses_the_cue_and_nothing_else(stage, tmp_path):
    stream = stage.stream()
    await stage.service.fire("shop", notice("kept"))
    full = Database(str(stage.database.engine.url))

    async def page_limit(database, pages):
        async with database.write() as connection:
            await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    # One connection, so that the pragma holds for every write.
    full.engine.sync_engine.pool._pool.maxsize = 1
    async with full.read() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
    await page_limit(full, pages)
    stage.database, broken = full, stage.database
    try:
        stage.service = stage.new_service()
        await stage.service.load()
        stream.feed = stage.service.feed("shop", stream.clock)
        reader = stage.service.subscribe("shop")
        refused, taken = None, 0
        for number in range(200):
            before = (stage.service.state_at("shop")["seq"], stream.feed.revision)
            try:
                data = {"name": "x" * 90, "y": "z" * 700}
                cue = {"type": "custom", "duration": 0.1, "at": f"+{number}", "data": data}
                await stage.service.fire("shop", cue)
                taken += 1
            except LogUnavailable as err:
                refused = err
                break
        assert refused is not None
        assert str(refused) == (
            "the cue was not taken: the disk that holds the database is full; "
            "free some space and send it again"
        )
        assert refused.status == 503
        assert (stage.service.state_at("shop")["seq"], stream.feed.revision) == before
        stream.publish(count=3)
        assert len(stream.feed.date_ranges(0, stream.ms(9 * PART))) >= 1
        await page_limit(full, 1_000_000)
        assert (await stage.service.fire("shop", notice("again")))["seq"] == taken + 2
        seqs = [(await anext(reader)).seq for _ in range(taken + 1)]
        assert seqs == list(range(2, taken + 3))
    finally:
        stage.database = broken
        await full.dispose()


async def test_a_locked_log_refuses_and_recovers(stage, tmp_path):
    stream = stage.stream()
    async with stage.database.write() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(tmp_path / "cues.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="locked by another process"):
        await stage.service.fire("shop", notice())
    other.execute("ROLLBACK")
    other.close()
    assert stream.feed.date_ranges(0, stream.ms(9 * PART)) == []
    assert (await stage.service.fire("shop", notice()))["seq"] == 1


async def test_two_processes_number_one_log_without_gaps(stage):
    stage.stream()
    second = stage.new_service()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(stage.service.fire("shop", notice(duration=0.1)))
            group.create_task(second.fire("shop", notice(duration=0.1)))
    assert [row.seq for row in await rows(stage)] == list(range(1, 21))
    stage.streams["shop"].publish()
    await second.fire("shop", notice(duration=0.1))
    await stage.service.fire("shop", notice(duration=0.1))
    log = (await stage.service.list("shop"))["cues"]
    assert [entry["seq"] for entry in log] == list(range(1, 23))
    assert await second.list("shop", after=20, limit=1) == {
        "cues": [log[20]], "seq": 21, "more": False,
    }  # fmt: skip


async def test_subscribers_resume_and_slow_ones_are_closed(stage):
    stage.stream()
    for number in range(3):
        await stage.service.fire("shop", notice(str(number), duration=0.1))
    reader = stage.service.subscribe("shop", 1)
    assert [(await anext(reader)).seq for _ in range(2)] == [2, 3]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(reader.__anext__())
        await stage.service.fire("shop", notice("3", duration=0.1))
    event = waiting.result().event()
    assert (event["seq"], event["data"]["text"]) == (4, "3")
    assert event["effective"] == event["at"]

    slow = stage.service.subscribe("shop")
    ahead = stage.service.subscribe("shop", 10**9)
    for number in range(260):
        await stage.service.fire("shop", notice(str(number), duration=0.1))
        assert (await anext(ahead)).seq == 5 + number
        stage.streams["shop"].publish()
        stage.clock.s += 1
    assert stage.meter.dropped == 2
    assert [entry.seq async for entry in slow] == []
    # Nothing was lost for the one that comes back.
    resumed = stage.service.subscribe("shop", 4)
    assert [(await anext(resumed)).seq for _ in range(260)] == list(range(5, 265))
    await resumed.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(resumed)


async def test_a_resume_from_long_ago_begins_at_the_newest(stage, monkeypatch):
    monkeypatch.setattr("overlay.service.MAX_BEHIND", 3)
    stage.stream()
    for number in range(8):
        await stage.service.fire("shop", notice(str(number), duration=0.1))
        stage.clock.s += 1
    for asked, first in ((0, 6), (4, 6), (5, 6), (6, 7)):
        reader = stage.service.subscribe("shop", asked)
        assert (await anext(reader)).seq == first
        await reader.aclose()


async def test_many_who_resume_leave_the_database_to_the_writers(stage, monkeypatch):
    stage.stream()
    for number in range(3):
        await stage.service.fire("shop", notice(str(number), duration=0.1))
        stage.clock.s += 1
    # Memory has forgotten what lies before, as it does in a long show.
    monkeypatch.setattr(Timeline, "entries", lambda _self, _after=0: [])
    reading, most = 0, 0
    page = CueLog.page

    async def counted(self, stream, **options):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            return await page(self, stream, **options)
        finally:
            reading -= 1

    monkeypatch.setattr(CueLog, "page", counted)
    readers = [stage.service.subscribe("shop", 0) for _ in range(20)]
    async with asyncio.TaskGroup() as group:
        firsts = [group.create_task(reader.__anext__()) for reader in readers]
        await stage.service.fire("shop", notice("written", duration=0.1))
    assert {task.result().seq for task in firsts} == {1}
    assert most == MAX_READS


async def test_accept_to_listed_waits_for_every_rendition(stage):
    stream = stage.stream()
    feed = stream.feed
    for rendition in ("source", "360p", "audio"):
        feed.rendered(rendition, feed.revision)
    await stage.service.fire("shop", notice())
    feed.date_ranges(0, stream.ms(3 * PART))
    stage.clock.s += 0.25
    feed.rendered("source", feed.revision)
    feed.rendered("360p", feed.revision)
    assert stage.meter.listed == []
    stage.clock.s += 0.25
    feed.rendered("audio", feed.revision)
    assert stage.meter.listed == [0.5]
    # A rendition that fell silent does not hold the figure up.
    stage.clock.s += 60
    await stage.service.fire("shop", notice())
    feed.rendered("source", feed.revision)
    assert stage.meter.listed == [0.5, 0.0]


async def test_memory_is_bounded_and_the_log_still_whole(stage, monkeypatch):
    monkeypatch.setattr("overlay.show.KEEP_ENTRIES", 10)
    stream = stage.stream()
    stream.live = False
    fired = []
    for number in range(60):
        at = format_ms(stage.clock.wall_ms + 1000)
        fired.append(await stage.service.fire("shop", notice(str(number), at=at, duration=5)))
        stage.clock.wall_ms += 600_000
    open_end = await stage.service.fire(
        "shop", notice("stays", at=format_ms(stage.clock.wall_ms + 1000))
    )
    held = stage.service._cues["shop"].timeline
    assert len(held) <= 11
    log = (await stage.service.list("shop"))["cues"]
    assert [entry["seq"] for entry in log] == list(range(1, 62))
    reader = stage.service.subscribe("shop", 0)
    assert [(await anext(reader)).seq for _ in range(61)] == list(range(1, 62))
    assert (await stage.service.get("shop", fired[0]["id"]))["data"]["text"] == "0"
    stage.clock.wall_ms += 100_000_000
    for number in range(20):
        at = format_ms(stage.clock.wall_ms + 1000)
        await stage.service.fire("shop", notice(str(number), at=at, duration=5))
        stage.clock.wall_ms += 10_000_000
    # What has no end is never forgotten.
    assert [cue["id"] for cue in stage.service.state_at("shop")["cues"]] == [open_end["id"]]
    assert len(stream.feed.date_ranges(stage.clock.wall_ms - 24_000, stage.clock.wall_ms)) == 1


async def test_a_removed_stream_lets_its_readers_go(stage):
    stage.stream()
    reader = stage.service.subscribe("shop")
    await stage.service.forget("shop")
    assert [entry async for entry in reader] == []


@pytest.mark.parametrize(
    "text",
    [
        "👩🏽‍🚀 now",
        "新品上市 限時優惠",
        "خصم ٢٠٪ فقط اليوم",
        'say "hi"\r\n# \\ </script>',
        "\u0000\u2028\ufeff",
    ],
)
async def test_text_in_any_script_round_trips_through_all_carriers(stage, text):
    stream = stage.stream()
    reader = stage.service.subscribe("shop")
    fired = await stage.service.fire("shop", notice({"en": text, "ar": text}))
    stream.publish()
    (tag,) = dateranges(stream.feed.date_ranges(0, stream.ms(4 * PART))).values()
    ((_, event),) = carried(stream, "source")
    streamed = (await anext(reader)).event()
    for cue in (fired, tag["cue"], event.cue, streamed):
        assert cue["data"]["text"] == {"en": text, "ar": text}
    assert tag["raw"] == event.text
