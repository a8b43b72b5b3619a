"""RFC 3339 against the standard library, and the forms of `at`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.clock import ShowClock
from overlay.errors import Conflict
from overlay.schedule import Moment, begin_ms, present
from overlay.times import At, format_ms, parse_at, parse_ms
from tests.overlay.stage import HandStream

pytestmark = pytest.mark.unit

MOMENTS = st.integers(0, 253_402_300_799_999)


@given(MOMENTS)
def test_round_trip(ms):
    text = format_ms(ms)
    assert len(text) == 24
    assert text.endswith("Z")
    assert parse_ms(text) == ms
    assert datetime.fromisoformat(text) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=ms
    )


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_zones(moment, minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_ms(aware.isoformat()) == (aware - epoch) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "text",
    ["", "2027-01-15", "2027-01-15T08:00:00", "2027-02-30T08:00:00Z", "2027-01-15T24:00:00Z",
     "2027-01-15T08:00:00+24:00", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59",
     "٢٠٢٧-01-15T08:00:00Z", "2027-01-15T08:00:00Z\n"],
)  # fmt: skip
def test_refused_times(text):
    with pytest.raises(ValueError, match="RFC 3339 with a zone"):
        parse_ms(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", At()),
        ("+2.5", At(ahead_ms=2500)),
        ("+0", At()),
        ("seen:2027-01-15T08:00:00.25Z", At(utc_ms=1_800_000_000_250, seen=True)),
        ("2027-01-15T09:00:00+01:00", At(utc_ms=1_800_000_000_000)),
    ],
)
def test_forms_of_at(text, at):
    assert parse_at(text) == at


@given(st.text() | st.from_regex(r"(\+|seen:)?[-+0-9.:TZe]{0,30}"))
def test_any_text_is_a_time_or_refused(text):
    try:
        at = parse_at(text)
    except ValueError as err:
        assert '"seen:TIME"' in str(err)  # noqa: PT017
    else:
        assert at.ahead_ms >= 0


@given(st.integers(1, 10**12), st.integers(0, 2 * 10**12))
def test_the_present_is_never_before_the_edge_and_less_than_a_millisecond_after(edge, epoch_ms):
    stream = HandStream("s", epoch_ms=epoch_ms)
    stream.edge = lambda: edge
    moment = present("s", stream, wall_ms=5)
    assert 0 <= ShowClock(epoch_ms=epoch_ms, origin_ns=0).ticks(moment.now_ms) - edge < 90


def test_the_present_without_a_show_is_the_wall_clock():
    stream = HandStream("s")
    assert present("s", stream, wall_ms=5) == Moment(stream="s", now_ms=5, live=True)
    stream.live = False
    assert present("s", stream, wall_ms=7) == Moment(stream="s", now_ms=7, live=False)
    with pytest.raises(Conflict):
        begin_ms(At(), present("s", stream, wall_ms=7), max_ahead_ms=1)
