"""What a producer reads while viewers see the slate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from media.clock import ShowClock
from media.diagnosis.findings import Findings
from media.model import TICKS_PER_SECOND
from media.programme import Feeder
from media.slate.notes import SETTLED, SlateNotes
from tests.media.hls.support import NoMeter

pytestmark = pytest.mark.unit


class Notes:
    """A show whose slate is on air or not."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.now = 0
        self.notes = SlateNotes(
            stream="shop",
            clock=ShowClock.anchored(utc_ms=10_000, now_ns=0),
            findings=self.findings,
            meter=NoMeter(),
            desk=cast("Any", SimpleNamespace(failure=None)),
            packager=cast("Any", SimpleNamespace(unplayable=None)),
        )

    def look(
        self,
        feeder: Feeder = Feeder.SLATE,
        *,
        after: int = 0,
        connected: bool = False,
        sound: Feeder = Feeder.SLATE,
    ) -> str:
        self.now += after
        self.notes.look(self.now, feeder, connected=connected, sound=sound)
        return " ".join(finding.text.split(":")[0] for finding in self.findings.open())


NOBODY, ALONE, WAITS = (
    "No encoder",
    "Only sound comes, no pictures",
    "A publisher is connected, but",
)


def test_without_an_encoder_that_is_said() -> None:
    notes = Notes()
    assert notes.look() == NOBODY
    (finding,) = notes.findings.open()
    assert "since 00:00:00 UTC" in finding.text
    assert notes.look(Feeder.ENCODER, connected=True) == ""


def test_sound_without_pictures_is_said_at_once() -> None:
    notes = Notes()
    assert notes.look(connected=True, sound=Feeder.ENCODER) == ALONE


def test_an_encoder_that_has_just_come_is_not_spoken_of() -> None:
    notes = Notes()
    notes.look()
    for _ in range(4):
        assert notes.look(after=SETTLED - 1, connected=True) == NOBODY
        assert notes.look() == NOBODY
    notes.look(after=TICKS_PER_SECOND, connected=True)
    revision = notes.findings.revision
    assert notes.look(after=SETTLED, connected=True).startswith(WAITS)
    notes.look(after=SETTLED, connected=True)
    assert notes.findings.revision == revision + 1
    # It is one finding, since the slate began.
    (finding,) = notes.findings.open()
    assert finding.since_ms == 0
    assert "since 00:00:00 UTC" in finding.text


def test_another_slate_begins_anew() -> None:
    notes = Notes()
    notes.look(connected=True, sound=Feeder.ENCODER)
    notes.look(Feeder.ENCODER, after=TICKS_PER_SECOND, connected=True)
    assert notes.look(after=TICKS_PER_SECOND) == NOBODY
    assert "since 00:00:02 UTC" in notes.findings.open()[0].text
