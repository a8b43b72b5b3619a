"""Timeline and slots under any order of requests."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.cue import read_cue, read_patch
from overlay.drafts import Draft, Limits
from overlay.errors import CueError
from overlay.feed import CueFeed
from overlay.schedule import Moment
from overlay.timeline import Timeline
from overlay.times import format_ms
from tests.overlay.readers import dateranges
from tests.overlay.stage import EPOCH_MS, HandStream
from tests.support.examples import examples

pytestmark = pytest.mark.unit

STEP = st.tuples(
    st.sampled_from(["fire", "chapter", "notice", "end", "retract", "revise", "open"]),
    st.integers(-3, 6),
    st.none() | st.integers(1, 5),
    st.integers(0, 7),
    st.integers(0, 2),
)


def play(steps):
    """Run requests as the service would; yield the timeline after each, and the present."""
    timeline, now, ids = Timeline(), EPOCH_MS + 10_000, []
    for verb, offset, duration, which, pause in steps:
        now += pause * 1000
        draft = Draft(
            timeline,
            Moment(stream="s", now_ms=now, live=True),
            limits=Limits(max_live=4, max_ahead_ms=86_400_000),
            issued_at_ms=now,
        )
        target = ids[which % len(ids)] if ids else "none"
        at = format_ms(now + offset * 1000)
        try:
            if verb in {"fire", "chapter", "notice"}:
                data = {
                    "fire": {"type": "pin", "data": {"sku": "A"}},
                    "chapter": {"type": "chapter", "data": {"title": "x"}},
                    "notice": {"type": "notice", "data": {"text": "x"}},
                }[verb]
                draft.fire(f"c{len(ids)}", read_cue({"at": at, "duration": duration, **data}))
                ids.append(f"c{len(ids)}")
            elif verb == "revise":
                draft.revise(target, read_patch({"duration": duration or 1}))
            elif verb == "open":
                draft.revise(target, read_patch({"duration": None}))
            else:
                getattr(draft, verb)(target)
        except CueError:
            continue
        for _, entry in draft.entries:
            timeline.append(entry)
        yield timeline, now


@settings(max_examples=examples(300))
@given(st.lists(STEP, max_size=25))
def test_a_slot_is_never_held_twice_and_limits_hold(steps):
    for timeline, now in play(steps):
        for moment in range(now, now + 15_000, 500):
            active = timeline.active(moment)
            slots = [entry.slot for entry in active if entry.slot]
            assert len(slots) == len(set(slots))
        assert [entry.seq for entry in timeline.entries()] == list(range(1, len(timeline) + 1))
        for entry in timeline.cues():
            revs = [revision.rev for revision in timeline.revisions(entry.id)]
            assert revs == list(range(1, len(revs) + 1))
            assert len({revision.at_ms for revision in timeline.revisions(entry.id)}) == 1
        chapters = timeline.chapters()
        for before, after in pairwise(chapters):
            assert before.end_ms is not None
            assert before.end_ms <= after.at_ms


@settings(max_examples=examples(200))
@given(st.lists(STEP, max_size=25))
def test_tags_once_published_only_gain_a_duration(steps):
    stream = HandStream("s")
    seen: dict[str, dict] = {}
    for timeline, now in play(steps):
        feed = CueFeed(
            stream="s", timeline=timeline, clock=stream.clock, meter=None, now_s=lambda: 0.0
        )
        for name, tag in dateranges(feed.date_ranges(0, now)).items():
            before = seen.get(name)
            if before is not None:
                assert {**before, "duration": 0} == {**tag, "duration": 0}
                assert before["duration"] in (None, tag["duration"])
            seen[name] = tag


@settings(max_examples=examples(200))
@given(st.lists(STEP, max_size=25))
def test_the_state_follows_from_the_tags_alone(steps):
    """What a player can reconstruct of the tags is what the server says is active."""
    stream = HandStream("s")
    for timeline, now in play(steps):
        feed = CueFeed(
            stream="s", timeline=timeline, clock=stream.clock, meter=None, now_s=lambda: 0.0
        )
        tags = dateranges(feed.date_ranges(0, now)).values()
        for moment in range(now, now + 15_000, 500):
            text = format_ms(moment)
            holding: dict[str, dict] = {}
            for tag in tags:
                cue = tag["cue"]
                known = holding.get(cue["id"])
                if tag["start"] <= text and (known is None or known["rev"] < cue["rev"]):
                    holding[cue["id"]] = cue
            visible = {
                (cue["id"], cue["rev"])
                for cue in holding.values()
                if cue["state"] == "live"
                and cue["at"] <= text
                and (cue["end"] is None or text < cue["end"])
            }
            assert visible == {(entry.id, entry.rev) for entry in timeline.active(moment)}


@given(st.lists(STEP, max_size=25), st.integers(0, 25))
def test_reading_on_from_a_number(steps, after):
    for timeline, _ in play(steps):
        expected = [entry for entry in timeline.entries() if entry.seq > after]
        assert timeline.entries(after) == expected


def test_what_is_over_is_forgotten_and_what_is_not_stays():
    timeline, now = Timeline(), EPOCH_MS
    steps = [("notice", 0, 1, 0, 0), ("notice", 0, None, 0, 1), ("notice", 0, 1, 0, 1)]
    for timeline, now in play(steps):  # noqa: B007
        pass
    timeline.forget_before(now)
    assert [entry.seq for entry in timeline.entries()] == [2, 3]
    assert [entry.seq for entry in timeline.entries(2)] == [3]
    assert timeline.last_seq == 3
    with pytest.raises(ValueError, match="does not follow"):
        timeline.append(timeline.entries()[0])


def test_a_short_cue_cannot_be_stretched_over_too_many_others():
    timeline, now = Timeline(), EPOCH_MS

    def draft():
        return Draft(
            timeline,
            Moment(stream="s", now_ms=now, live=True),
            limits=Limits(max_live=2, max_ahead_ms=86_400_000),
            issued_at_ms=now,
        )

    def keep(made):
        for _, entry in made.entries:
            timeline.append(entry)

    for number in range(3):
        made = draft()
        notice = {"type": "notice", "data": {"text": "x"}, "duration": 1}
        made.fire(f"c{number}", read_cue({**notice, "at": f"+{2 * number + 1}"}))
        keep(made)
    made = draft()
    made.revise("c0", read_patch({"duration": None}))
    keep(made)
    # At the third's time both would still be there.
    with pytest.raises(CueError, match="may be live at once"):
        draft().revise("c1", read_patch({"duration": 60}))
    made = draft()
    made.revise("c0", read_patch({"duration": 1}))
    keep(made)
    draft().revise("c1", read_patch({"duration": 60}))
