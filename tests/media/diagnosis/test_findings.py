"""The book of findings: one per code, closed ones listed for a while."""

from __future__ import annotations

import pytest

from media.diagnosis.findings import (
    KEEP_CLOSED,
    MAX_OPEN,
    Change,
    Code,
    Finding,
    Findings,
    Severity,
)

pytestmark = pytest.mark.unit


class Book:
    def __init__(self) -> None:
        self.now_ms = 1000
        self.changes: list[tuple[str, str]] = []
        self.findings = Findings(now_ms=lambda: self.now_ms, watch=self._watch)

    def _watch(self, change: Change, finding: Finding) -> None:
        self.changes.append((change.value, finding.code))

    def report(self, code: str, text: str = "A.", severity: Severity = Severity.WARNING) -> None:
        self.findings.report(code, severity, text, now_ms=self.now_ms)


def test_a_finding_keeps_its_start_and_takes_the_newest_text():
    book = Book()
    book.report(Code.TOO_FAST, "A.")
    book.now_ms = 2000
    book.report(Code.TOO_FAST, "B.")
    revision = book.findings.revision
    book.report(Code.TOO_FAST, "B.")
    assert book.findings.revision == revision
    (finding,) = book.findings.open()
    assert (finding.text, finding.since_ms, finding.until_ms) == ("B.", 1000, None)
    assert book.changes == [("opened", "too_fast"), ("updated", "too_fast")]


def test_a_closed_finding_says_until_when():
    book = Book()
    book.report(Code.TOO_FAST)
    book.now_ms = 5000
    book.findings.clear(Code.TOO_FAST)
    book.findings.clear(Code.TOO_FAST)
    assert book.findings.open() == []
    (closed,) = book.findings.closed()
    assert (closed.since_ms, closed.until_ms) == (1000, 5000)
    assert book.changes[-1] == ("closed", "too_fast")
    assert len(book.changes) == 2


def test_a_book_without_a_clock_closes_at_the_newest_time():
    findings = Findings()
    findings.report("a", Severity.INFO, "A.", now_ms=7)
    findings.report("b", Severity.INFO, "B.", now_ms=9)
    findings.clear("a")
    assert findings.closed()[0].until_ms == 9


def test_open_ones_come_oldest_first_and_closed_ones_newest_first():
    book = Book()
    for number in range(3):
        book.now_ms = number
        book.report(f"c{number}")
    assert [f.code for f in book.findings.open()] == ["c0", "c1", "c2"]
    book.findings.clear_all()
    assert [f.code for f in book.findings.closed()] == ["c2", "c1", "c0"]


def test_memory_is_bounded():
    book = Book()
    for number in range(1000):
        book.report(f"c{number}")
    assert len(book.findings.open()) == MAX_OPEN
    book.findings.clear_all()
    assert len(book.findings.closed()) == KEEP_CLOSED
