"""Small rules of RFC 9110, and the viewer count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery import negotiate
from delivery.cors import Cors
from delivery.viewers import ViewerWindow

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("identity, *;q=0.1", True),
        ("gzip;q=0, *", False),
        ("br", False),
        ("gzip;q=x", False),
    ],
)
def test_gzip(header, accepted):
    assert negotiate.accepts_gzip(header) is accepted


@given(st.text())
def test_any_header_is_read(header):
    negotiate.accepts_gzip(header)
    negotiate.not_modified(header, '"a"')


@given(st.one_of(st.text(), st.from_regex(r"bytes=\d*-\d*", fullmatch=True)), st.integers(1, 10**9))
def test_a_range_is_inside(header, size):
    try:
        span = negotiate.single_range(header, size)
    except negotiate.Unsatisfiable:
        return
    if span is not None:
        assert 0 <= span.first <= span.last < size


def test_tags():
    assert negotiate.not_modified('W/"a"', '"a"')
    assert negotiate.not_modified("*", '"a"')
    assert not negotiate.not_modified('"a-gz"', '"a"')
    assert not negotiate.not_modified('"b", "c"', '"a"')
    assert negotiate.gzip_etag('"a"') == '"a-gz"'


def test_listed_origins_only():
    cors = Cors(["https://a.example", "https://b.example"])
    assert b"Allow-Origin: https://a.example\r\n" in cors.wire("https://a.example")
    assert b"Vary: Origin" in cors.wire("https://a.example")
    for stranger in ("https://c.example", None, "null"):
        assert cors.wire(stranger) == b"Vary: Origin\r\n"
        assert "Access-Control-Allow-Origin" not in cors.preflight(stranger)


def test_sessions_are_counted_once_within_the_window():
    window = ViewerWindow(window_s=10)
    window.note(1, 0.0)
    window.note(2, 1.0)
    window.note(1, 8.0)
    assert window.count(9.0) == 2
    assert window.count(11.5) == 1
    assert window.count(30.0) == 0


@pytest.mark.parametrize("viewers", [500, 20_000])
def test_a_crowd_is_estimated_in_bounded_memory(viewers):
    window = ViewerWindow(window_s=10, limit=1000)
    for session in range(viewers):
        window.note(hash((session, "agent")), session / viewers)
    assert len(window._seen) <= 1000
    assert window.count(1.0) == pytest.approx(viewers, rel=0.15)


def test_a_crowd_that_shrinks_is_counted_exactly_again():
    window = ViewerWindow(window_s=10, limit=1000)
    for session in range(20_000):
        window.note(hash((session, "agent")), 0.0)
    for second in range(1, 200):
        for session in range(30):
            window.note(hash((session, "agent")), float(second))
        counted = window.count(float(second))
        if second > 11:
            assert counted < 300
    assert window.count(199.0) == 30
