"""The door of viewers: offers in, sessions out (`webrtc.door.Door`), and the pulse of them all."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from delivery.whep.outgoing import Outgoing, StreamTerms
from delivery.whep.programme import ordered
from delivery.whep.stage import Attendance, Stage
from delivery.whep.viewer import Viewer
from webrtc.door import DoorRefused
from webrtc.extensions import ExtensionMap
from webrtc.offers import OfferRate
from webrtc.sdp.errors import SdpError
from webrtc.sdp.h264 import plays
from webrtc.sdp.model import MediaKind
from webrtc.sdp.whep import Programme, Sources, answer_viewer

if TYPE_CHECKING:
    from collections.abc import Callable

    from delivery.whep.cues import CueSource
    from delivery.whep.meter import WhepMeter
    from delivery.whep.seams import LiveStream, Spawn
    from media.clock import ShowClock
    from webrtc.door import Call, Opened
    from webrtc.sdp.model import Session as Description
    from webrtc.sdp.negotiate import Agreed, Answer, Local
    from webrtc.session import Session
    from webrtc.sessions import Sessions

RETRY_AFTER_S = 3
AGAIN_WITHIN_S = 10
"""Viewers behind one proxy who are told to wait do not come again all at once."""
PULSE_S = 0.005
REST_S = 0.05
TICK_NS = 100_000_000
REPORT_NS = 1_000_000_000
BREATH_NS = 4_000_000
"""So long the pulse may hold up the event loop."""
LADDER_PROFILE = "64001f"
"""High: what the ladder's rungs are of (`media.transcode.encoders`)."""


class WhepDoor:
    """See the module's docstring. `run` must run while it takes viewers."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        stream_of: Callable[[str], LiveStream | None],
        cues: CueSource,
        meter: WhepMeter,
        spawn: Spawn,
        offers_per_minute: int,
        crowd_of: Callable[[str], str],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`offers_per_minute`: of one address; `crowd_of` says what addresses count as one."""
        self._sessions = sessions
        self._offers, self._crowd_of = (
            OfferRate(offers_per_minute, spread_s=AGAIN_WITHIN_S),
            crowd_of,
        )
        self._stream_of, self._cues = stream_of, cues
        self._meter, self._spawn, self._now_ns = meter, spawn, now_ns
        self._stages: dict[str, Stage] = {}
        self._busy = asyncio.Event()

    # ── webrtc.door.Door ─────────────────────────────────────────────────────────────────────

    async def open(self, call: Call) -> Opened:
        """Answer a viewer's offer. Raises `DoorRefused`."""
        try:
            self._admit(call)
            name, stream = self._live(call)
            stage = await self._stage_for(name, stream)
        except DoorRefused as refused:
            self._sessions.refused(refused)
            raise
        seat = _Seat(stage, lambda: self._clock_of(stream), self._now_ns)
        return await self._sessions.open(
            call,
            stream=stage.stream,
            owner=stage.stream,
            negotiate=seat.negotiate,
            attend=seat.attend,
        )

    async def trickle(
        self, session: str, token: str | None, fragment: str, if_match: str | None
    ) -> None:
        """Take candidates. Raises `DoorRefused`."""
        await self._sessions.trickle(session, token, fragment, if_match)

    async def close(self, session: str, token: str | None) -> None:
        """End a session at its viewer's wish. Raises `DoorRefused`."""
        await self._sessions.close(session, token)

    def links(self) -> tuple[str, ...]:
        """Return the values of `Link` headers."""
        return self._sessions.links

    # ── for the rest of the server ───────────────────────────────────────────────────────────

    def viewers(self, stream: str) -> int:
        """Return how many are connected."""
        stage = self._stages.get(stream)
        return len(stage.fanout) if stage is not None else 0

    async def run(self) -> None:
        """Send what waits, and do what is due, until cancelled."""
        tick_ns = report_ns = self._now_ns()
        try:
            while True:
                await self._pump()
                now_ns = self._now_ns()
                if now_ns >= tick_ns:
                    tick_ns = now_ns + TICK_NS
                    await self._tick()
                if now_ns >= report_ns:
                    report_ns = now_ns + REPORT_NS
                    self._report()
                await self._rest()
        finally:
            for stage in self._stages.values():
                # Where this is started again, it knows nothing of them.
                stage.dismiss("Viewers are let go.")
                stage.close()
            self._stages.clear()

    async def drain(self) -> None:
        """Say goodbye to everybody; nobody is taken from here on."""
        for stage in self._stages.values():
            stage.dismiss("The server is stopping.")
        await self._sessions.close_all()

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _admit(self, call: Call) -> None:
        """Refuse who offers too often, before anything of it is read."""
        wait_s = self._offers.take(self._crowd_of(call.address), self._now_ns())
        if wait_s is not None:
            raise DoorRefused(
                429,
                "Too many offers came from your address: wait, and play LL-HLS meanwhile. Where "
                "that is the address of a proxy, name it in http.trusted_proxies.",
                retry_after_s=wait_s,
            )

    def _live(self, call: Call) -> tuple[str, LiveStream]:
        """Return the stream that is wanted; who asks for one that is not on air costs nothing.

        After a restart all viewers do, again and again, until their encoder is back.
        """
        try:
            if call.stream is None:
                raise DoorRefused(404, "Name the stream in the address: POST to /whep/STREAM.")
            stream = self._stream_of(call.stream)
            if stream is None:
                raise DoorRefused(404, "There is no stream of that name.")
            self._clock_of(stream)
        except DoorRefused:
            self._offers.give_back(self._crowd_of(call.address))
            raise
        return call.stream, stream

    async def _stage_for(self, name: str, stream: LiveStream) -> Stage:
        stage = self._stage_of(name, stream)
        stage.expect()
        if not await stage.ready() and not stage.only_sound:
            self._clock_of(stream)
            if stage.silent:
                raise DoorRefused(
                    409,
                    "Nothing comes from the stream's encoder at the moment: try again.",
                    retry_after_s=RETRY_AFTER_S,
                )
            raise DoorRefused(
                409,
                "The stream has no picture for WebRTC: that takes H.264 without B-frames. Set the "
                "encoder to H.264 with 0 B-frames, or let the ladder have a rung; then try again.",
                retry_after_s=RETRY_AFTER_S,
            )
        stage.expect()
        return stage

    def _stage_of(self, name: str, stream: LiveStream) -> Stage:
        stage = self._stages.get(name)
        if stage is not None:
            if stage.feed is stream.realtime and not stage.deaf:
                return stage
            stage.close()  # the stream was removed and made again, or a fault ended it
        stage = self._stages[name] = Stage(
            name,
            feed=stream.realtime,
            cues=self._cues,
            meter=self._meter,
            spawn=self._spawn,
            request_key=stream.request_key,
            on_busy=self._busy.set,
            there=lambda: self._stream_of(name) is stream,
            now_ns=self._now_ns,
        )
        return stage

    def _clock_of(self, stream: LiveStream) -> ShowClock:
        clock = stream.clock
        if not stream.live or clock is None:
            raise DoorRefused(409, "The stream is not live.", retry_after_s=RETRY_AFTER_S)
        return clock

    async def _pump(self) -> None:
        since_ns = self._now_ns()
        for stage in tuple(self._stages.values()):
            for viewer in stage.fanout.viewers:
                if not viewer.busy:
                    continue
                now_ns = self._now_ns()
                if now_ns - since_ns > BREATH_NS:
                    await asyncio.sleep(0)
                    since_ns = now_ns = self._now_ns()
                viewer.pump(now_ns)

    async def _tick(self) -> None:
        for name, stage in tuple(self._stages.items()):
            stage.tick()
            await asyncio.sleep(0)
            if stage.over and self._stages.get(name) is stage:
                stage.report()
                stage.close()
                del self._stages[name]

    def _report(self) -> None:
        for stage in self._stages.values():
            stage.report()

    async def _rest(self) -> None:
        """Wait for packets to send, or for time to pass."""
        if any(viewer.busy for stage in self._stages.values() for viewer in stage.fanout.viewers):
            await asyncio.sleep(PULSE_S)
            return
        self._busy.clear()
        try:
            async with asyncio.timeout(REST_S):
                await self._busy.wait()
        except TimeoutError:
            return
        await asyncio.sleep(PULSE_S)


class _Seat:
    """What is agreed with one viewer."""

    def __init__(
        self, stage: Stage, clock_of: Callable[[], ShowClock], now_ns: Callable[[], int]
    ) -> None:
        """`clock_of`: of the show that runs; raises `DoorRefused` while there is none."""
        self._stage, self._clock_of, self._now_ns = stage, clock_of, now_ns
        self._clock: ShowClock
        self._wants_pictures = False
        video, rtx, audio = _distinct(3)
        self._cname = secrets.token_urlsafe(12)
        self._sources = Sources(
            video=video, video_rtx=rtx, audio=audio, cname=self._cname, stream_id=stage.stream
        )

    def negotiate(self, offer: Description, local: Local) -> Answer:
        """Answer for the best rung that the viewer plays. Raises `SdpError`, `DoorRefused`.

        Of the formats that play it, one that also plays most of the others is agreed: those of
        the ladder, too, which may not be there yet.
        """
        # While the sockets were bound, the show may have ended, and another one begun.
        self._clock = self._clock_of()
        if self._stage.deaf:
            raise DoorRefused(409, "The stream is sent anew: try again.", retry_after_s=1)
        self._wants_pictures = any(
            each.kind is MediaKind.VIDEO and not each.rejected and each.direction.receives
            for each in offer.media
        )
        now_ns = self._now_ns()
        lanes = ordered([e for e in self._stage.fanout.lanes.values() if e.usable(now_ns)])
        if not lanes:
            return self._answer(offer, local, None)
        profiles = [str(lane.profile_level_id) for lane in lanes]
        answers: list[tuple[Answer, dict[str, str]]] = []
        refused: SdpError | None = None
        for profile in dict.fromkeys([*profiles, LADDER_PROFILE]):
            try:
                answer = self._answer(offer, local, profile)
            except SdpError as error:
                refused = refused or error
            else:
                answers.append((answer, _video_format(answer)))
        for best in profiles:
            fits = [each for each in answers if plays(each[1], best)]
            if fits:
                return max(fits, key=lambda each: _played(each[1], profiles))[0]
        if refused is None:  # a viewer of sound alone
            return answers[0][0]
        raise refused

    def _answer(self, offer: Description, local: Local, profile: str | None) -> Answer:
        # Sound that comes later must find its place: there are no further answers.
        programme = Programme(profile_level_id=profile, audio=True)
        return answer_viewer(offer, local, programme, self._sources)

    def attend(self, session: Session) -> Attendance:
        """Make who sends to the viewer."""
        answer = session.answer
        video, audio = answer.section(MediaKind.VIDEO), answer.section(MediaKind.AUDIO)
        fmtp = _video_format(answer)
        viewer = Viewer(
            video=None if video is None else Outgoing(_terms(video, rtx=self._sources.video_rtx)),
            audio=None if audio is None else Outgoing(_terms(audio)),
            lanes=self._stage.fanout.lanes,
            plays=lambda profile_level_id: plays(fmtp, profile_level_id),
            clock=self._clock,
            cname=self._cname.encode(),
            send_rtp=session.send_rtp,
            send_rtcp=session.send_rtcp,
            key_wanted=self._stage.fanout.key_wanted,
            now_ns=self._now_ns(),
        )
        return Attendance(
            self._stage,
            session,
            viewer,
            answer.section(MediaKind.APPLICATION),
            wants_pictures=self._wants_pictures,
        )


def _video_format(answer: Answer) -> dict[str, str]:
    """Return the `fmtp` parameters of the format that pictures are sent in."""
    video = answer.section(MediaKind.VIDEO)
    if video is None or video.payload_type is None:
        return {}
    return {name: value or "" for name, value in reversed(video.payload_type.parameters)}


def _played(fmtp: dict[str, str], profiles: list[str]) -> tuple[int, bool]:
    """Return how many rungs a format plays, and whether those of the ladder are among them."""
    return sum(plays(fmtp, each) for each in profiles), plays(fmtp, LADDER_PROFILE)


def _terms(section: Agreed, *, rtx: int | None = None) -> StreamTerms:
    assert section.payload_type is not None
    return StreamTerms(
        ssrc=section.ssrcs[0],
        payload_type=section.payload_type.number,
        clock_rate=section.payload_type.clock_rate,
        mid=section.mid,
        ids=ExtensionMap.from_uris({each.id: each.uri for each in section.extensions}),
        first_sequence=secrets.randbits(16),
        offset=secrets.randbits(32),
        rtx_ssrc=rtx if section.rtx_payload_type is not None else None,
        rtx_payload_type=section.rtx_payload_type,
        rtx_first_sequence=secrets.randbits(16),
        red_payload_type=section.red_payload_type,
        asks_again="nack" in section.feedback,
    )


def _distinct(count: int) -> tuple[int, ...]:
    """Return different SSRCs, none of them 0."""
    found: set[int] = set()
    while len(found) < count:
        found.add(secrets.randbelow(0xFFFFFFFE) + 1)
    return tuple(found)
