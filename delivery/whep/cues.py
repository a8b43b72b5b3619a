"""Cues to WHEP viewers over the data channel `vitrina.cues`.

Messages are UTF-8 JSON objects. The first is `{"event": "state", ...}` with what
`GET /live/STREAM/state.json` says; then come `{"event": "cue", ...}` with what the event stream
says of each revision, those that lie ahead first. Beside that, each message, and each cue of the
state, has `utc` (ms since 1970: `at` of the state, `effective` of a revision) and `rtp`: the RTP
timestamp, 32 bits, under which this viewer gets the picture of that moment (null without
pictures). A viewer that takes messages too slowly gets the state again later, and the revisions
that it missed.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from overlay.errors import CueError
from overlay.times import parse_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from overlay.entry import Entry

log = structlog.get_logger(__name__)

LABEL = "vitrina.cues"
MAX_WAITING_BYTES = 65_536
"""Not yet taken by a viewer; beyond it, messages are left out."""
MAX_PENDING = 500
"""Revisions, the newest, that a viewer is told at once: those it missed, and those ahead."""
AGAIN_S = 1.0
"""After the log could not be read."""


class Entries(Protocol):
    """Entries as they are written (`overlay.subscribers.Subscription`)."""

    def __aiter__(self) -> AsyncIterator[Entry]:
        """Iterate over them."""

    async def aclose(self) -> None:
        """End the subscription."""


class CueSource(Protocol):
    """What is needed of `overlay.service.CueService`."""

    def state_at(self, stream: str, utc_ms: int | None = None) -> dict[str, Any]:
        """Return the cues active now."""

    def subscribe(self, stream: str, after_seq: int | None = None) -> Entries:
        """Return an iterator over entries that are written from here on."""

    def pending(self, stream: str, *, after: int, at_ms: int, limit: int) -> list[dict[str, Any]]:
        """Return entries with `seq > after`, and those whose time lies after `at_ms`."""


class Line(Protocol):
    """An open channel to a viewer (`webrtc.channels.Channel`)."""

    @property
    def open(self) -> bool:
        """Whether something can be sent."""

    @property
    def waiting_bytes(self) -> int:
        """What the viewer has not taken yet."""

    def send(self, text: str) -> bool:
        """Queue a message."""


class CueLine:
    """One viewer's channel: what it has been told, and whether it is behind."""

    def __init__(self, line: Line, timestamp: Callable[[int], int | None]) -> None:
        """`timestamp`: of the viewer's pictures, for a moment of UTC in ms."""
        self._line, self._timestamp = line, timestamp
        self.last_seq = 0
        self.behind = False
        self.missed = 0
        """Messages that were left out."""

    @property
    def open(self) -> bool:
        """Whether the viewer still has it."""
        return self._line.open

    @property
    def room(self) -> bool:
        """Whether the viewer takes what it is sent."""
        return self._line.waiting_bytes < MAX_WAITING_BYTES

    def state(self, state: dict[str, Any]) -> None:
        """Tell what is active; later revisions follow on it."""
        at_ms = parse_ms(state["at"])
        cues = [{**cue, **self._moment(parse_ms(cue["effective"]))} for cue in state["cues"]]
        message = {"event": "state", **state, "cues": cues, **self._moment(at_ms)}
        self.behind = not self._line.send(json.dumps(message, separators=(",", ":")))
        self.last_seq = state["seq"]

    def cue(self, seq: int, body: str, effective_ms: int) -> None:
        """Tell of a revision; `body`: its JSON without the closing brace."""
        if seq <= self.last_seq:
            return
        if self.behind or not self.room:
            self.behind = True
            self.missed += 1
            return
        self.last_seq = seq
        self.send_ahead(body, effective_ms)

    def send_ahead(self, body: str, effective_ms: int) -> None:
        """Tell of a revision, whatever its place in the log."""
        moment = json.dumps(self._moment(effective_ms), separators=(",", ":"))
        self._line.send(f"{body},{moment[1:]}")

    def _moment(self, utc_ms: int) -> dict[str, int | None]:
        return {"rtp": self._timestamp(utc_ms), "utc": utc_ms}


def body_of(event: dict[str, Any]) -> str:
    """Return a revision's message as far as all viewers share it."""
    text = json.dumps({"event": "cue", **event}, ensure_ascii=False, separators=(",", ":"))
    return text[:-1]


class CueFan:
    """One stream's cues to all its viewers' channels; `run` goes on while there are any."""

    def __init__(self, stream: str, cues: CueSource) -> None:
        self._stream, self._cues = stream, cues
        self._lines: list[CueLine] = []

    def __len__(self) -> int:
        return len(self._lines)

    def open(self, line: CueLine) -> None:
        """Tell a viewer what is active and what lies ahead, then each revision, until `close`."""
        try:
            # Nothing is waited for: nothing is missed, nor told out of order.
            line.last_seq = self._cues.state_at(self._stream)["seq"]
            self._bring_up(line)
        except CueError as error:
            log.warning("a viewer gets no cues", stream=self._stream, reason=error.reason)
            return
        self._lines.append(line)

    def close(self, line: CueLine) -> None:
        """Tell a viewer nothing more. Idempotent."""
        if line in self._lines:
            self._lines.remove(line)

    async def run(self) -> None:
        """Pass revisions on until cancelled."""
        while True:
            with suppress(CueError):  # the stream is being removed, or its log out of reach
                entries = self._cues.subscribe(self._stream)
                newest = self._cues.state_at(self._stream)["seq"]
                for line in self._lines:
                    # Told the state before this, it may have missed a revision since.
                    line.behind = line.behind or line.last_seq < newest
                self.refresh()
                try:
                    async for entry in entries:
                        self._pass_on(entry)
                finally:
                    await entries.aclose()
            await asyncio.sleep(AGAIN_S)

    def refresh(self) -> None:
        """Tell those who are behind, and take messages again, what they missed. Call it often."""
        self._lines = [line for line in self._lines if line.open]
        for line in self._lines:
            if line.behind and line.room:
                with suppress(CueError):
                    self._bring_up(line)

    def _bring_up(self, line: CueLine) -> None:
        """Tell what is active, then what the line has missed, and what lies ahead."""
        known = line.last_seq
        state = self._cues.state_at(self._stream)
        line.state(state)
        if line.behind:
            line.last_seq = known
            return
        for event in self._cues.pending(
            self._stream, after=known, at_ms=parse_ms(state["at"]), limit=MAX_PENDING
        ):
            if not line.room:
                line.behind = True
                line.last_seq = max(known, event["seq"] - 1)
                return
            line.send_ahead(body_of(event), parse_ms(event["effective"]))

    def _pass_on(self, entry: Entry) -> None:
        body = body_of(entry.event())
        for line in self._lines:
            line.cue(entry.seq, body, entry.effective_ms)
