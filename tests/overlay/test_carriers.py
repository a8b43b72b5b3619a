"""DATERANGE, emsg and ID3, read by others."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.bucket import TokenBucket
from overlay.carriers.daterange import date_range, duration_ms
from overlay.carriers.emsg import cue_event, emsg_v1
from overlay.carriers.id3 import txxx_tag
from overlay.entry import Entry, State
from tests.overlay.readers import dateranges, events, id3

pytestmark = pytest.mark.unit

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ENTRY = Entry(
    stream="s", seq=7, id="c_1", rev=2, state=State.LIVE, type="notice", at_ms=1_800_000_000_000,
    effective_ms=1_800_000_000_250, end_ms=None, planned_end_ms=None, data={"text": "x"},
    issued_at_ms=0,
)  # fmt: skip


@given(st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=5))
def test_any_data_round_trips_through_both_carriers(data):
    entry = replace(ENTRY, data=data)
    (tag,) = dateranges([date_range(entry, None)]).values()
    (event,) = events(cue_event(entry, timescale=90_000, presentation_time=5, late_ms=0))
    assert tag["raw"] == event.text
    assert tag["cue"] == json.loads(json.dumps(entry.fields()))
    assert tag["cue"]["data"] == data


def test_the_tag_as_it_stands():
    line = date_range(replace(ENTRY, end_ms=ENTRY.effective_ms + 12_400), None)
    head, payload = line.rsplit("=", 1)
    assert head == (
        '#EXT-X-DATERANGE:ID="c_1.2",CLASS="org.vitrina.cue.notice",'
        'START-DATE="2027-01-15T08:00:00.250Z",DURATION=12.400,X-ORG-VITRINA-CUE'
    )
    assert payload.strip('"').isascii()
    assert "=" not in payload


def test_duration_depends_on_nothing_that_may_change():
    later = replace(ENTRY, rev=3, effective_ms=ENTRY.effective_ms + 500, state=State.ENDED)
    assert duration_ms(ENTRY, None) is None
    assert duration_ms(ENTRY, later) == 500
    planned = replace(ENTRY, end_ms=ENTRY.effective_ms + 9000)
    assert duration_ms(planned, None) == duration_ms(planned, later) == 9000
    assert duration_ms(later, None) == 0
    assert duration_ms(ENTRY, replace(later, effective_ms=0)) == 0


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.binary())
def test_any_box_is_well_formed(timescale, time, duration, message):
    box = emsg_v1(
        timescale=timescale, presentation_time=time, duration=duration, event_id=9, message=message
    )
    assert int.from_bytes(box[:4], "big") == len(box)
    assert int.from_bytes(box[24:28], "big") == min(duration, 0xFFFFFFFE)
    assert box.endswith(b"https://aomedia.org/emsg/ID3\0\0" + message)


@given(st.binary(max_size=5000).filter(lambda value: b"\0" not in value))
def test_any_tag_is_well_formed(value):
    value = value.decode("utf-8", "ignore").encode()
    assert id3(txxx_tag("org.x", value)) == ("org.x", value.decode())


def test_a_tag_holds_no_nul_and_has_an_end():
    with pytest.raises(ValueError, match="NUL"):
        txxx_tag("d", b"a\0b")
    with pytest.raises(ValueError, match="do not fit"):
        txxx_tag("d", b"x" * (1 << 28))


@pytest.mark.parametrize(
    ("change", "late_ms", "expected"),
    [
        ({}, 0, 43_200_000),
        ({"end_ms": ENTRY.effective_ms + 4000}, 0, 4000),
        ({"end_ms": ENTRY.effective_ms + 4000}, 1500, 2500),
        ({"end_ms": ENTRY.effective_ms + 4000}, 9000, 500),
        ({"state": State.ENDED, "end_ms": ENTRY.effective_ms}, 0, 500),
    ],
)
def test_every_event_has_a_duration(change, late_ms, expected):
    entry = replace(ENTRY, **change)
    (event,) = events(cue_event(entry, timescale=1000, presentation_time=5, late_ms=late_ms))
    assert (event.duration, event.time, event.id) == (expected, 5, 7)


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 3)), max_size=40))
def test_the_bucket_never_lets_more_through_than_its_rate(steps):
    bucket = TokenBucket(rate=2.0, burst=6.0)
    now = taken = 0.0
    for count, pause in steps:
        now += pause
        wait = bucket.take(count, now)
        if wait == 0:
            taken += count
            assert taken <= 6.0 + 2.0 * now + 1e-6
        else:
            assert bucket.take(count, now + wait + 1e-6) == 0
            now, taken = now + wait + 1e-6, taken + count
