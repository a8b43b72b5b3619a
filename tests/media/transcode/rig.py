"""A transcoder with its worker, as a test uses it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from config.settings import LadderSettings, LimitsSettings, RungSettings, SlateSettings
from media.transcode.plan import Plan, plan_ladder
from media.transcode.process import Transcoder
from tests.media.transcode.clips import Clip, Meter, Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from media.model import TrackFormat

LADDER = LadderSettings(
    rungs=(RungSettings(height=216, bitrate_kbps=400), RungSettings(height=144, bitrate_kbps=200)),
    preset="ultrafast",
    preset_source="ultrafast",
    nice=0,
)


@contextlib.asynccontextmanager
async def running(
    settings: LadderSettings = LADDER,
    limits: LimitsSettings | None = None,
    slate: SlateSettings | None = None,
    slate_image: Path | None = None,
) -> AsyncIterator[tuple[Transcoder, Recorder, Meter]]:
    recorder, meter = Recorder(), Meter()
    transcoder = Transcoder(
        stream="test",
        settings=settings,
        limits=limits or LimitsSettings(),
        sink=recorder,
        meter=meter,  # type: ignore[arg-type]
        slate=slate,
        slate_image=slate_image,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(transcoder.run())
        try:
            yield transcoder, recorder, meter
        finally:
            await transcoder.stop()


def plan(
    video: TrackFormat | None,
    audio: TrackFormat | None = None,
    *,
    settings: LadderSettings = LADDER,
    reencode_source: bool = True,
) -> Plan:
    return plan_ladder(video, audio, settings, reencode_source=reencode_source)


def feed(transcoder: Transcoder, clip: Clip, boundaries: list[int]) -> None:
    pending = list(boundaries)
    for packet in clip.packets:
        while pending and pending[0] <= packet.pts:
            transcoder.boundary(pending.pop(0))
        transcoder.push(packet)


async def feed_in_step(
    transcoder: Transcoder, recorder: Recorder, clip: Clip, boundaries: list[int], rungs: set[str]
) -> None:
    """Feed like a live encoder to a worker that runs: the next picture when the last is out."""
    pending = list(boundaries)
    for packet in clip.packets:
        while pending and pending[0] <= packet.pts:
            transcoder.boundary(pending.pop(0))
        transcoder.push(packet)
        if packet is clip.packets[0]:
            continue  # where no frame rate is announced, the second picture releases the first
        await recorder.until(
            lambda: all(
                recorder.packets[rung] and recorder.packets[rung][-1].pts >= packet.pts  # noqa: B023
                for rung in rungs
            )
        )
