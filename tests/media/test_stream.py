"""A stream's publishers, shows and states."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from config.settings import (
    Settings,
    SlateSettings,
    StreamLimits,
    StreamSettings,
    StreamsSettings,
)
from media.bitstream import describe
from media.limits import LimitExceeded, narrow
from media.model import Codec, FormatRefused, Kind, Packet, Role, TrackFormat
from media.publication import Publication
from media.registry import Registry
from media.stream import KEEP_ENDED_S, OpenRefused, State, Stream
from tests.media.host import Host

pytestmark = pytest.mark.unit

AAC = describe(Codec.AAC, bytes([0x11, 0x90]))


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def stream(host: Host) -> Stream:
    return Registry(host).add("s")  # type: ignore[arg-type]  # the meter answers every call


def publish(stream: Stream, taken: list[str] | None = None, name: str = "") -> Publication:
    def on_revoked(_text: str) -> None:
        if taken is not None:
            taken.append(name)

    publication = stream.publish(protocol="rtmp", wrap_ticks=2**32 * 90, on_revoked=on_revoked)
    publication.set_format(0, AAC)
    return publication


def sound(publication: Publication, host: Host, seconds: float) -> None:
    for number in range(int(seconds * 50)):
        publication.push(
            Packet(
                track=0,
                codec=Codec.AAC,
                dts=number * 1800,
                pts=number * 1800,
                key=True,
                payload=b"\x21\x10\x04\x60\x8c\x1c",
                arrived_ns=host.time_ns,
            )
        )
        host.time_ns += 20_000_000


def test_stream_is_live_from_its_first_media(stream: Stream, host: Host):
    publication = publish(stream)
    assert stream.state is State.IDLE
    sound(publication, host, 2)
    assert stream.state is State.LIVE
    assert stream.live


def test_newer_publisher_takes_over_and_the_older_is_told(stream: Stream, host: Host):
    taken: list[str] = []
    first = publish(stream, taken, "first")
    sound(first, host, 2)
    second = publish(stream, taken, "second")
    assert taken == ["first"]
    first.close("takeover")
    sound(second, host, 2)
    assert stream.state is State.LIVE
    assert len(host.shows) == 1
    pushed = first.packets
    sound(first, host, 1)
    assert first.packets == pushed


def test_return_within_the_grace_is_the_same_show(stream: Stream, host: Host):
    publication = publish(stream)
    sound(publication, host, 2)
    publication.close("error")
    publication.close("error")
    assert stream.state is State.RECONNECTING
    host.time_ns += 29_000_000_000
    stream.tick()
    assert stream.state is State.RECONNECTING
    sound(publish(stream), host, 2)
    assert stream.state is State.LIVE
    assert len(host.shows) == 1


def test_show_ends_with_the_grace_and_the_next_is_new(stream: Stream, host: Host):
    publication = publish(stream)
    sound(publication, host, 2)
    publication.close("bye")
    host.time_ns += 30_000_000_000
    stream.tick()
    assert stream.state is State.ENDED
    assert host.shows[0].ended
    sound(publish(stream), host, 2)
    assert stream.state is State.LIVE
    assert len(host.shows) == 2


def test_bytes_of_an_ended_show_are_freed(stream: Stream, host: Host):
    publication = publish(stream)
    sound(publication, host, 2)
    stream.end()
    host.time_ns += int(KEEP_ENDED_S * 1e9)
    stream.tick()
    assert stream.state is State.IDLE
    assert stream.show is None
    publication.close("bye")


def test_too_large_a_picture_is_refused_in_words(stream: Stream):
    publication = publish(stream)
    giant = TrackFormat(
        codec=Codec.H264, config=b"", codec_string="avc1", width=16384, height=16384
    )
    with pytest.raises(FormatRefused, match=r"16384x16384; this server accepts at most 4096x4096"):
        publication.set_format(0, giant)
    with pytest.raises(FormatRefused):
        publication.set_format(1, giant)


class Ear:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def formats(self, formats: Sequence[TrackFormat]) -> None:
        self.heard.append([f.codec for f in formats])

    def packet(self, packet: Packet) -> None:
        self.heard.append(packet.dts)

    def ended(self) -> None:
        self.heard.append("ended")


def test_a_listener_hears_the_source_over_reconnects_and_shows(stream: Stream, host: Host):
    ear, late = Ear(), Ear()
    host.heard.add(ear)
    publication = publish(stream)
    sound(publication, host, 2)
    host.heard.add(late)
    publication.close("error")
    sound(publish(stream), host, 2)
    stream.end()
    stream.end()
    sound(publish(stream), host, 2)
    host.heard.remove(ear)
    times = [item for item in ear.heard if isinstance(item, int)]
    assert ear.heard[0] == [Codec.AAC]
    assert isinstance(ear.heard[1], int)
    assert [i for i in ear.heard if not isinstance(i, int)] == [[Codec.AAC], "ended", [Codec.AAC]]
    first_show = ear.heard[1 : ear.heard.index("ended")]
    assert first_show == sorted(first_show)  # type: ignore[type-var]  # all of them are times
    assert len(times) > 200
    assert late.heard[0] == [Codec.AAC]
    assert len(late.heard) < len(ear.heard)


def test_a_listener_that_fails_is_dropped_and_the_show_goes_on(stream: Stream, host: Host):
    class Broken(Ear):
        def packet(self, packet: Packet) -> None:
            super().packet(packet)
            raise ValueError("broken")

    broken, ear = Broken(), Ear()
    host.heard.add(broken)
    host.heard.add(ear)
    sound(publish(stream), host, 2)
    assert stream.state is State.LIVE
    assert len(broken.heard) == 2
    assert len(ear.heard) > 50


def test_an_encoder_beyond_its_bitrate_is_closed_or_reported(stream: Stream, host: Host):
    def flood(on_excess: str) -> Publication:
        host.settings = Settings.model_validate({"limits": {"on_excess": on_excess}})
        publication = stream.publish(
            protocol="rtmp",
            wrap_ticks=2**32 * 90,
            on_revoked=lambda _text: None,
            limits=narrow(host.settings.limits, StreamLimits(max_bitrate_kbps=16)),
        )
        publication.set_format(0, AAC)
        for number in range(20):
            host.time_ns += 20_000_000
            packet = Packet(
                track=0,
                codec=Codec.AAC,
                dts=number * 1800,
                pts=number * 1800,
                key=True,
                payload=bytes(1000),
                arrived_ns=host.time_ns,
            )
            publication.push(packet)
        return publication

    with pytest.raises(LimitExceeded, match=r"at most 0\.016 Mbit/s: lower the bitrate"):
        flood("close")
    publication = flood("finding")
    assert stream.show is not None
    (finding,) = stream.show.findings.open()
    assert finding.code == "excess"
    host.time_ns += 10_000_000_000
    sound(publication, host, 0.02)
    assert stream.show.findings.open() == []
    flood("finding").close("bye")
    assert stream.show.findings.open() == []


def test_tracks_are_counted_by_kind_and_number(stream: Stream):
    publication = stream.publish(
        protocol="rtmp",
        wrap_ticks=2**32 * 90,
        on_revoked=lambda _text: None,
        limits=narrow(stream.host.settings.limits, StreamLimits(max_tracks=2)),
    )
    for track in (0, 1, 0, 1):
        publication.set_format(track, AAC)
    with pytest.raises(FormatRefused, match="more than 2 tracks"):
        publication.set_format(2, AAC)


def test_an_ended_track_makes_room_for_another(stream: Stream):
    publication = stream.publish(
        protocol="rtmp",
        wrap_ticks=2**32 * 90,
        on_revoked=lambda _text: None,
        limits=narrow(stream.host.settings.limits, StreamLimits(max_tracks=2)),
    )
    for track in range(4):
        publication.set_format(track, AAC)
        if track:
            publication.drop_track(track, Kind.AUDIO)


def test_a_stream_without_a_show_has_no_encoders(stream: Stream):
    assert stream.switcher.views() == []


def test_removed_stream_lets_its_publisher_go(host: Host):
    registry = Registry(host)  # type: ignore[arg-type]  # the meter answers every call
    taken: list[str] = []
    publish(registry.add("s"), taken, "only")
    registry.remove("s")
    assert taken == ["only"]
    assert registry.get("s") is None


def test_opened_ahead_it_waits_for_its_encoder_and_not_for_the_grace(stream: Stream, host: Host):
    stream.open_ahead()
    assert stream.state is State.RECONNECTING
    assert stream.live
    host.time_ns += 600 * 10**9
    stream.tick()
    assert stream.state is State.RECONNECTING
    publication = publish(stream)
    publication.close("came and went")
    host.time_ns += 60 * 10**9
    stream.tick()
    assert stream.state is State.RECONNECTING
    publication = publish(stream)
    sound(publication, host, 2)
    assert stream.state is State.LIVE
    assert len(host.shows) == 1
    publication.close("gone")
    host.time_ns += 31 * 10**9
    stream.tick()
    assert stream.state is State.ENDED


def test_opened_ahead_it_ends_when_nobody_comes(stream: Stream, host: Host):
    stream.open_ahead()
    host.time_ns += int(host.settings.streams.open_ahead_s * 1e9)
    stream.tick()
    assert host.shows[0].ended
    assert not stream.live


def test_opening_without_a_slate_is_refused_in_words(stream: Stream, host: Host):
    host.settings = Settings(slate=SlateSettings(enabled=False))
    with pytest.raises(OpenRefused, match=r"^Slates are off \(slate.enabled\), so there is"):
        stream.open_ahead()


def test_a_stream_may_have_a_grace_of_its_own(stream: Stream, host: Host):
    own = StreamSettings(name="s", key=SecretStr("k" * 20), grace_s=5)
    host.settings = Settings(streams=StreamsSettings(grace_s=30, list=(own,)))
    publication = publish(stream)
    sound(publication, host, 2)
    publication.close("gone")
    host.time_ns += 6 * 10**9
    stream.tick()
    assert stream.state is State.ENDED


def test_without_a_grace_the_show_ends_with_its_encoder_and_not_with_a_slate(
    stream: Stream, host: Host
):
    host.settings = Settings(streams=StreamsSettings(grace_s=0))
    first = publish(stream)
    sound(first, host, 2)
    publish(stream)  # takes over: nobody has left
    first.close("takeover")
    assert stream.state is State.LIVE
    publication = publish(stream)
    sound(publication, host, 2)
    publication.close("closed")
    assert stream.state is State.ENDED
    assert host.shows[0].ended
    assert len(host.shows) == 1


def test_a_key_frame_is_asked_for_once_a_second_of_the_encoder_on_air(stream: Stream, host: Host):
    asked: list[Role] = []

    def connect(role: Role) -> Publication:
        return stream.publish(
            protocol="whip",
            wrap_ticks=2**62,
            on_revoked=lambda _text: None,
            role=role,
            on_key_wanted=lambda: asked.append(role),
        )

    stream.request_key()
    publication = connect(Role.PRIMARY)
    connect(Role.BACKUP)
    for _ in range(100):
        stream.request_key()
    assert asked == [Role.PRIMARY]
    host.time_ns += 999_000_000
    stream.request_key()
    stream.tick()
    assert asked == [Role.PRIMARY]
    host.time_ns += 1_000_000
    stream.tick()
    stream.tick()
    assert asked == [Role.PRIMARY] * 2
    # One that comes by itself is as good.
    stream.request_key()
    publication.push(
        Packet(track=0, codec=Codec.VP8, dts=0, pts=0, key=True, payload=b"\x10", arrived_ns=0)
    )
    host.time_ns += 1_000_000_000
    stream.tick()
    assert asked == [Role.PRIMARY] * 2
    # A further track of the encoder is as good as its main one.
    host.time_ns += 1_000_000_000
    stream.request_key("720p")
    assert asked == [Role.PRIMARY] * 3
    stream.end()
    stream.request_key()
    assert asked == [Role.PRIMARY] * 3


def test_an_encoder_that_cannot_be_asked_is_not(stream: Stream):
    publish(stream)
    stream.request_key()
    stream.tick()


def test_what_the_network_lost_is_told_of_the_encoder_on_air(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
):
    told: list[dict[str, int]] = []
    publication = publish(stream)
    assert stream.show is not None
    monkeypatch.setattr(stream.show, "note_loss", lambda **loss: told.append(loss))
    backup = stream.publish(
        protocol="whip", wrap_ticks=2**62, on_revoked=lambda _text: None, role=Role.BACKUP
    )
    backup.note_loss(lost=1, packets=2, pictures=3)
    publication.note_loss(lost=4, packets=50, pictures=6)
    publication.close("bye")
    publication.note_loss(lost=1, packets=2, pictures=3)
    assert told == [{"lost": 4, "packets": 50, "pictures": 6}]
