"""A stream with several encoders, in virtual time."""

from __future__ import annotations

from functools import cache

from media.bitstream import describe
from media.diagnosis.findings import Code
from media.model import Codec, Kind, Packet, Role, TrackFormat
from media.publication import Publication
from media.standby.source import SourceState
from media.stream import Stream
from tests.media.host import Host
from tests.media.stage import Clip

FRAME_NS = 33_333_333
FRAME = 3000
AAC = describe(Codec.AAC, bytes([0x11, 0x90]))


@cache
def h264(size: tuple[int, int] = (160, 90)) -> TrackFormat:
    return Clip(size).format


class Meter:
    """Remembers what the switcher reports."""

    def __init__(self) -> None:
        self.switches: list[str] = []
        self.takeovers: list[str] = []
        self.sources: dict[str, tuple[float, bool]] = {}
        self.lost: dict[str, int] = {}
        self.repairs: list[str] = []

    def repaired(self, _stream: str, reason: str) -> None:
        self.repairs.append(reason)

    def switched(self, _stream: str, reason: str) -> None:
        self.switches.append(reason)

    def taken_over(self, _stream: str, role: str) -> None:
        self.takeovers.append(role)

    def source(self, _stream: str, role: str, *, health: float, on_air: bool) -> None:
        self.sources[role] = (health, on_air)

    def dropped(self, _stream: str, place: str, count: int) -> None:
        self.lost[place] = self.lost.get(place, 0) + count

    def __getattr__(self, _name: str) -> object:
        return lambda *_args, **_kwargs: None


class Heard:
    """A tap: what the show was fed, on its clock."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def formats(self, formats: object) -> None:
        del formats

    def packet(self, packet: Packet) -> None:
        self.packets.append(packet)

    def ended(self) -> None:
        pass

    def pictures(self) -> list[Packet]:
        return [p for p in self.packets if p.kind is Kind.VIDEO]


class Encoder:
    """One encoder; each picture's payload names the encoder and the frame."""

    def __init__(self, studio: Studio, role: Role, *, phase: int, gop: int = 60) -> None:
        self.studio = studio
        self.role = role
        self.frame = phase
        self.gop = gop
        self.paused = False
        self.size = 3000
        self.sound_late = 0
        """Ticks by which sound is sent behind its pictures."""
        self.revoked: list[str] = []
        self.publication = self._connect()

    def _connect(self) -> Publication:
        publication = self.studio.stream.publish(
            protocol="rtmp",
            wrap_ticks=2**32 * 90,
            on_revoked=self.revoked.append,
            role=self.role,
        )
        publication.set_format(0, self.studio.video)
        publication.set_format(0, AAC)
        return publication

    def send(self) -> None:
        if self.paused or self.publication.closed:
            return
        name = f"{self.role.value}:{self.frame}".encode()
        for codec, at in (
            (Codec.H264, self.frame * FRAME),
            (Codec.AAC, self.frame * FRAME - self.sound_late),
        ):
            self.publication.push(
                Packet(
                    track=0,
                    codec=codec,
                    dts=at,
                    pts=at,
                    key=codec is Codec.AAC or self.frame % self.gop == 0,
                    payload=name.ljust(self.size, b" ") if codec is Codec.H264 else b"sound",
                    arrived_ns=self.studio.host.time_ns,
                )
            )
        self.frame += 1


class Studio:
    """A stream in virtual time with its encoders."""

    def __init__(self, **streams: object) -> None:
        self.host = Host()
        settings = self.host.settings
        changed = settings.streams.model_copy(update=streams)
        ladder = settings.ladder.model_copy(update={"enabled": False})
        self.host.settings = settings.model_copy(update={"streams": changed, "ladder": ladder})
        self.host.time_ns = 1_000_000_000_000
        self.meter = Meter()
        self.host.meter = self.meter  # type: ignore[assignment]
        self.heard = Heard()
        self.host.tap = lambda _stream: self.heard  # type: ignore[method-assign, assignment]
        self.stream = Stream("s", self.host)  # type: ignore[arg-type]
        self.video: TrackFormat = h264()
        self.encoders: list[Encoder] = []

    def connect(self, role: Role, *, phase: int = 0, gop: int = 60) -> Encoder:
        encoder = Encoder(self, role, phase=phase, gop=gop)
        self.encoders.append(encoder)
        return encoder

    def run(self, seconds: float) -> None:
        for number in range(round(seconds * 30)):
            for encoder in self.encoders:
                encoder.send()
            self.host.time_ns += FRAME_NS
            if number % 3 == 0 and self.stream.show is not None:
                self.stream.show.tick()
            if number % 8 == 0:
                self.stream.tick()

    def wait_for(self, role: Role, longest_s: float) -> float:
        """Run until pictures of a role are fed; return the seconds that took."""
        start_ns = self.host.time_ns
        while not self.last().startswith(role.value):
            assert self.host.time_ns - start_ns < longest_s * 1e9, f"{role} within {longest_s} s"
            self.run(1 / 30)
        return (self.host.time_ns - start_ns) / 1e9

    def last(self) -> str:
        return self.heard.pictures()[-1].payload.decode().strip()

    def states(self) -> dict[Role, SourceState]:
        return {view.role: view.state for view in self.stream.switcher.views()}

    def finding(self) -> str:
        assert self.stream.show is not None
        return {f.code: f.text for f in self.stream.show.findings.open()}.get(Code.STANDBY, "")
