"""One stream's viewers: its feed while there are any, their packets, their cues."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from delivery.whep.account import Account
from delivery.whep.cues import LABEL, CueFan, CueLine
from delivery.whep.fanout import Fanout
from media.excess import Bucket
from media.model import Kind
from webrtc.channels import Channel, DataChannel
from webrtc.session import End, SessionOver

if TYPE_CHECKING:
    from collections.abc import Callable

    from delivery.whep.cues import CueSource
    from delivery.whep.meter import WhepMeter
    from delivery.whep.programme import Lane
    from delivery.whep.seams import Spawn, Task
    from delivery.whep.viewer import Viewer
    from media.realtime import RealtimeFeed
    from webrtc.sdp.negotiate import Agreed
    from webrtc.session import Session

LINGER_NS = 10_000_000_000
"""The feed stays open so long after the last viewer: reloading a page must not restart sound."""
READY_S = 4.0
"""So long a first viewer waits for the rungs to be known."""
_POLL_S = 0.05
_ONLY_SOUND_S = 1.5
"""A show without a rung of pictures for so long has none."""
STRANDED_NS = 6_000_000_000
"""A viewer that can be sent none of the pictures for so long is told to come again."""
_MAX_MESSAGE = 65_536
PACKETS_PER_S = 500
FLOOD_S = 4.0
"""Packets of a viewer, and seconds' worth of them at once: browsers send some 20 to 100 reports."""


class Stage:
    """See the module's docstring; `close` lets go of the feed."""

    def __init__(
        self,
        stream: str,
        *,
        feed: RealtimeFeed,
        cues: CueSource,
        meter: WhepMeter,
        spawn: Spawn,
        request_key: Callable[[str], None],
        on_busy: Callable[[], None],
        there: Callable[[], bool],
        now_ns: Callable[[], int],
    ) -> None:
        """`there`: whether the stream is known; nothing is reported of one that was removed."""
        self.stream = stream
        self.sitting: set[Attendance] = set()
        """Those with an answer, connected or not."""
        self.feed, self._spawn, self._now_ns = feed, spawn, now_ns
        self.meter, self._there = meter, there
        self._fan = CueFan(stream, cues)
        self._fan_task: Task | None = None
        self._idle_ns: int | None = now_ns()
        self._keys_told = 0
        self.fanout = Fanout(
            now_ns=now_ns,
            reorders=feed.reorders,
            request_key=request_key,
            on_busy=on_busy,
            on_ended=self._ended,
        )
        feed.add(self.fanout)
        self.fanout.caught_up()

    async def ready(self) -> list[Lane]:
        """Return the rungs that can be sent, the best first, once there are any.

        None for a show of sound alone, and where none has come within `READY_S`.
        """
        waited_s = 0.0
        while True:
            now_ns = self._now_ns()
            lanes = [lane for lane in self.fanout.lanes.values() if lane.usable(now_ns)]
            if lanes or waited_s >= (_ONLY_SOUND_S if self.only_sound else READY_S):
                return lanes
            await asyncio.sleep(_POLL_S)
            waited_s += _POLL_S

    @property
    def only_sound(self) -> bool:
        """Whether the show has sound and no pictures, of whatever codec."""
        kinds = {each.kind for each in self.feed.rungs().values()}
        return kinds == {Kind.AUDIO} and not self.feed.pictures

    @property
    def silent(self) -> bool:
        """Whether there is a rung that could be sent, if anything came on it."""
        return any(lane.fits for lane in self.fanout.lanes.values())

    # ── viewers ──────────────────────────────────────────────────────────────────────────────

    def expect(self) -> None:
        """Note that a viewer is about to come: the feed stays open until it has."""
        if not self.sitting:
            self._idle_ns = self._now_ns()

    def sit(self, attendance: Attendance) -> None:
        """Count a viewer in, from its answer on."""
        self.sitting.add(attendance)
        self._idle_ns = None

    def join(self, attendance: Attendance) -> None:
        """Send to a viewer that has connected."""
        self.fanout.add(attendance.viewer)

    def leave(self, attendance: Attendance) -> None:
        """Let a viewer go. Idempotent."""
        self.fanout.remove(attendance.viewer)
        self.sitting.discard(attendance)
        if not self.sitting:
            self._idle_ns = self._now_ns()

    def settle(self, attendance: Attendance) -> None:
        """Report what is new of a viewer, and what one that leaves has still to its account."""
        if self._there():
            attendance.account.report(self._now_ns())

    async def tell(self, line: CueLine) -> None:
        """Tell a viewer the cues."""
        if self._fan_task is None:
            self._fan_task = self._spawn(f"whep-cues:{self.stream}", self._fan.run, restart=True)
        self._fan.open(line)

    def hush(self, line: CueLine) -> None:
        """Tell a viewer no more cues."""
        self._fan.close(line)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self) -> None:
        """Do what is due: call it some ten times a second."""
        now_ns = self._now_ns()
        for viewer in self.fanout.viewers:
            viewer.tick(now_ns)
        self.fanout.ask()

    def report(self) -> None:
        """Report what happened since the last time; call it once a second."""
        self._fan.refresh()
        now_ns = self._now_ns()
        for attendance in tuple(self.sitting):
            self.settle(attendance)
            if attendance.stranded(now_ns):
                attendance.dismiss("The stream's pictures are others now: come again.")
        asked, self._keys_told = self.fanout.keys_asked - self._keys_told, self.fanout.keys_asked
        if asked and self._there():
            self.meter.whep_keys_asked(self.stream, asked)

    @property
    def deaf(self) -> bool:
        """Whether the feed has dropped it, for a fault of ours: nothing comes any more."""
        return not self.feed.hears(self.fanout)

    @property
    def over(self) -> bool:
        """Whether it can be let go: nobody has been here for long, or nothing comes."""
        if self.deaf:
            return True
        return self._idle_ns is not None and self._now_ns() - self._idle_ns >= LINGER_NS

    def out_of_reach(self, viewer: Viewer, now_ns: int) -> bool:
        """Whether there are pictures now, and none that this viewer can be sent."""
        if viewer.offers(now_ns):
            return False
        if any(lane.fresh(now_ns) for lane in self.fanout.lanes.values()):
            return True
        kinds = {each.kind for each in self.feed.rungs().values()}
        return self.feed.pictures and Kind.VIDEO not in kinds

    def has_pictures(self, now_ns: int) -> bool:
        """Whether there is a rung that can be sent."""
        return any(lane.usable(now_ns) for lane in self.fanout.lanes.values())

    def close(self) -> None:
        """Let go of the feed and the cues; whoever is still there has to come again."""
        for attendance in tuple(self.sitting):
            attendance.dismiss("The stream is sent anew.")
        self.feed.remove(self.fanout)
        if self._fan_task is not None:
            self._fan_task.cancel()
            self._fan_task = None

    def dismiss(self, text: str) -> None:
        """Say goodbye to all viewers."""
        for attendance in tuple(self.sitting):
            attendance.dismiss(text)

    def _ended(self) -> None:
        self.dismiss("The show is over.")


class Attendance:
    """One viewer's session (`webrtc.session.Attendant`)."""

    def __init__(
        self,
        stage: Stage,
        session: Session,
        viewer: Viewer,
        data: Agreed | None,
        *,
        wants_pictures: bool,
    ) -> None:
        """`data`: the answer's section of data channels, None without one.

        `wants_pictures`: the offer had room for them, whatever the answer says.
        """
        self.viewer = viewer
        self._wants_pictures = wants_pictures
        self._stranded_ns: int | None = None
        self.account = Account(stage.stream, viewer, session.peer, stage.meter)
        self._flow = Bucket(rate=PACKETS_PER_S, seconds=FLOOD_S)
        self._stage, self._session, self._data = stage, session, data
        self._line: CueLine | None = None
        self._tasks: asyncio.TaskGroup | None = None
        stage.sit(self)

    def begin(self) -> None:
        """Send from the newest key picture on."""
        self._stage.join(self)

    async def run(self) -> None:
        """Carry the cues, where the viewer offered a data channel."""
        if self._data is None or self._data.sctp_port is None:
            await asyncio.Event().wait()
            return
        channel = DataChannel(label=LABEL, opened=self._opened)
        async with asyncio.TaskGroup() as self._tasks:
            await channel.run(
                self._session.peer,
                port=self._data.sctp_port,
                max_message=self._data.max_message_size or _MAX_MESSAGE,
            )

    def rtp(self, data: bytes, arrived_ns: int) -> None:
        """Ignore it: viewers send none."""
        self._count(arrived_ns)

    def rtcp(self, data: bytes, arrived_ns: int) -> None:
        """Take the viewer's feedback."""
        self._count(arrived_ns)
        self.viewer.rtcp(data, arrived_ns)

    def _count(self, now_ns: int) -> None:
        rate = self._flow.add(1, now_ns)
        if rate is not None:
            raise SessionOver(
                End.LIMIT,
                f"The viewer sends {rate:.0f} packets a second; {PACKETS_PER_S} are taken.",
            )

    def end(self, reason: End) -> None:
        """Let go of everything."""
        self._stage.settle(self)
        if self._line is not None:
            self._stage.hush(self._line)
        self._stage.leave(self)

    def stranded(self, now_ns: int) -> bool:
        """Whether another answer would bring the viewer what this one does not.

        Or would refuse it, which it takes as a sign to play by other means.
        """
        if self.viewer.video is None:
            return self._wants_pictures and self._stage.has_pictures(now_ns)
        if not self._stage.out_of_reach(self.viewer, now_ns):
            self._stranded_ns = None
        elif self._stranded_ns is None:
            self._stranded_ns = now_ns
        return self._stranded_ns is not None and now_ns - self._stranded_ns >= STRANDED_NS

    def dismiss(self, text: str) -> None:
        """Say goodbye to the viewer."""
        self.viewer.end()
        self._session.finish(End.BYE, text)

    def _opened(self, channel: Channel) -> None:
        if self._line is not None:
            self._stage.hush(self._line)
        self._line = CueLine(channel, self.viewer.video_timestamp)
        if self._tasks is not None:
            self._tasks.create_task(self._stage.tell(self._line), name="whep-cues")
