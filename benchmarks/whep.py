"""WHEP viewers per core: what one process spends on each, and how late its loop is.

    python -m benchmarks.whep [--peers 1 10 30 60] [--seconds 8] [--mbps 2.5]

Pictures of 30 a second and Opus go through the real door to peers in another process, which
decrypt and count what arrives, and tell of every packet's arrival as browsers do. No transcoder
runs here. CPU is that of the sending process; 100 % is one core.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import multiprocessing
import pstats
import resource
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCDtlsTransport

from benchmarks._common import emit, percentile, table
from tests.delivery.whep.house import House, Reports
from tests.delivery.whep.material import Stage, film
from vitrina.supervise import Supervisor
from webrtc.extensions import TRANSPORT_CC, ExtensionMap
from webrtc.reception import TwccReceiver
from webrtc.rtcp import serialise_rtcp
from webrtc.rtp import parse_rtp
from webrtc.sessions import SessionLimits

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

TWCC_ID = 5


class Crowd:
    """Peers of the child process, which count and acknowledge."""

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        self._receivers: dict[RTCDtlsTransport, TwccReceiver] = {}
        self._ids = ExtensionMap(transport_cc=TWCC_ID)

    def take(self, transport: RTCDtlsTransport, data: bytes) -> None:
        self.packets += 1
        self.bytes += len(data)
        packet = parse_rtp(data)
        number = self._ids.transport_sequence(packet)
        if number is not None:
            receiver = self._receivers.setdefault(transport, TwccReceiver(1))
            receiver.receive(number, time.monotonic_ns())

    async def acknowledge(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for transport, receiver in self._receivers.items():
                for report in receiver.feedback(1, time.monotonic_ns()):
                    with suppress(ConnectionError):
                        await transport._send_rtp(serialise_rtcp([report]))  # noqa: SLF001


def child(pipe: Connection) -> None:
    """Serve the parent: offers out, answers in, counts out."""
    crowd = Crowd()

    async def take(self: RTCDtlsTransport, data: bytes, arrival_time_ms: int) -> None:
        crowd.take(self, data)

    RTCDtlsTransport._handle_rtp_data = take  # noqa: SLF001  # instead of decoders

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        peers: list[RTCPeerConnection] = []
        acknowledging = loop.create_task(crowd.acknowledge())
        while True:
            what, value = await loop.run_in_executor(None, pipe.recv)
            if what == "offer":
                peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
                peer.addTransceiver("video", direction="recvonly")
                peer.addTransceiver("audio", direction="recvonly")
                await peer.setLocalDescription(await peer.createOffer())
                peers.append(peer)
                pipe.send(peer.localDescription.sdp)
            elif what == "answer":
                await peers[-1].setRemoteDescription(
                    RTCSessionDescription(sdp=value, type="answer")
                )
                pipe.send(None)
            elif what == "count":
                pipe.send((crowd.packets, crowd.bytes, time.process_time()))
            else:
                acknowledging.cancel()
                for peer in peers:
                    await peer.close()
                return

    asyncio.run(serve())


async def ask(pipe: Connection, what: str, value: object = None) -> Any:
    pipe.send((what, value))
    return await asyncio.get_running_loop().run_in_executor(None, pipe.recv)


def with_twcc(offer: str) -> str:
    """Offer transport-wide feedback, which aiortc does not."""
    lines = []
    for line in offer.split("\r\n"):
        lines.append(line)
        if line.startswith("a=mid:"):
            lines.append(f"a=extmap:{TWCC_ID} {TRANSPORT_CC}")
        if line.startswith("a=rtpmap:") and ("H264" in line or "opus" in line):
            number = line.removeprefix("a=rtpmap:").partition(" ")[0]
            lines.append(f"a=rtcp-fb:{number} transport-cc")
    return "\r\n".join(lines)


async def lag(into: list[float]) -> None:
    while True:
        due = time.perf_counter() + 0.01
        await asyncio.sleep(0.01)
        into.append(time.perf_counter() - due)


async def measure(count: int, seconds: float, mbps: float, profile: bool) -> dict[str, Any]:
    """Return the figures of so many viewers."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=child, args=(theirs,))
    process.start()
    meter = Reports()
    stage = Stage({"source": film(width=640, height=360, bit_rate=round(mbps * 1e6))})
    lags: list[float] = []
    async with Supervisor(meter=meter) as supervisor:
        house = House(supervisor, meter, stage, SessionLimits(total=500, per_address=500), 60_000)
        supervisor.spawn("play", stage.play)
        supervisor.spawn("whep", house.door.run)
        for _ in range(count):
            offer = with_twcc(await ask(ours, "offer"))
            await ask(ours, "answer", (await house.open(offer)).answer)
        async with asyncio.timeout(60):
            while house.door.viewers("shop") < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(4)
        sampling = supervisor.spawn("lag", lambda: lag(lags))
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        packets, size, busy = await ask(ours, "count")
        dropped = meter.dropped
        await asyncio.sleep(seconds)
        after, took = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - begun
        packets_after, size_after, busy_after = await ask(ours, "count")
        sampling.cancel()
        dropped = meter.dropped - dropped
        if profile:
            profiler = cProfile.Profile()
            profiler.enable()
            await asyncio.sleep(3)
            profiler.disable()
            show(profiler)
        await house.sessions.close_all()
        ours.send(("end", None))
        await asyncio.get_running_loop().run_in_executor(None, process.join)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sent = packets_after - packets
    return {
        "peers": count,
        "mbps_each": round((size_after - size) * 8 / took / count / 1e6, 2),
        "packets_s_each": round(sent / took / count),
        "cpu_percent": round(100 * cpu / took, 1),
        "cpu_percent_each": round(100 * cpu / took / count, 2),
        "system_share": round((after.ru_stime - before.ru_stime) / cpu, 2),
        "us_a_packet": round(1e6 * cpu / sent, 1),
        "lag_p99_ms": round(1000 * percentile(lags, 99), 1),
        "lag_max_ms": round(1000 * max(lags), 1),
        "dropped_pictures": dropped,
        "child_cpu_percent": round(100 * (busy_after - busy) / took, 1),
    }


def show(profiler: cProfile.Profile) -> None:
    """Print where the time goes."""
    stats = pstats.Stats(profiler)
    stats.sort_stats("tottime").print_stats(14)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, nargs="+", default=[1, 10, 30, 60])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--mbps", type=float, default=2.5)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found = [await measure(n, args.seconds, args.mbps, args.profile) for n in args.peers]
    table(list(found[0]), [list(each.values()) for each in found])
    emit("whep", {"runs": found})


if __name__ == "__main__":
    asyncio.run(main())
