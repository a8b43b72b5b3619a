"""Two encoders of one stream, in virtual time, with a real show."""

from __future__ import annotations

from itertools import pairwise

import pytest

from media.diagnosis.findings import Code, Severity
from media.model import Kind, Role
from media.standby.source import SourceRefused, SourceState
from media.stream import State
from media.transcode.pressure import Strain
from tests.media.standby.studio import FRAME, Studio, h264

pytestmark = pytest.mark.component

PRIMARY, BACKUP = Role.PRIMARY, Role.BACKUP


def continuous(studio: Studio) -> None:
    """Every run starts with a key frame and goes on picture by picture; time only moves on."""
    pictures = studio.heard.pictures()
    for before, after in pairwise(pictures):
        assert after.dts > before.dts
        (was, old), (now, new) = (p.payload.decode().split(":") for p in (before, after))
        if was == now:
            assert int(new) == int(old) + 1
        else:
            assert after.key
            assert (after.dts - before.dts) / 90000 <= 0.11


@pytest.fixture
def studio() -> Studio:
    return Studio()


def test_only_one_is_on_air(studio: Studio):
    studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1030)
    studio.run(10)
    assert studio.states() == {PRIMARY: SourceState.ON_AIR, BACKUP: SourceState.STANDBY}
    assert all(p.payload.startswith(b"primary") for p in studio.heard.pictures())
    assert studio.meter.switches == []
    assert studio.meter.sources == {"primary": (1.0, True), "backup": (1.0, False)}
    assert studio.finding() == ""


@pytest.mark.parametrize("phase", range(0, 60, 7))
def test_a_closed_connection_is_made_good_without_a_hole(studio: Studio, phase: int):
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020 + phase)
    studio.run(10)
    primary.publication.close("error")
    took_s = studio.wait_for(BACKUP, 2.0)
    studio.run(3)
    continuous(studio)
    assert took_s <= 0.35
    assert studio.stream.state is State.LIVE
    assert studio.meter.switches == ["closed"]
    assert studio.states() == {PRIMARY: SourceState.FAILED, BACKUP: SourceState.ON_AIR}
    assert studio.finding() == (
        "The backup encoder is on air: the primary encoder closed its connection. "
        "Mend it; the show returns to it when it has been healthy for 10 s."
    )
    assert studio.meter.sources["primary"] == (0.0, False)


@pytest.mark.parametrize("phase", range(0, 60, 7))
def test_a_silent_encoder_is_left_without_a_hole(studio: Studio, phase: int):
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020 + phase)
    studio.run(10)
    primary.paused = True
    took_s = studio.wait_for(BACKUP, 2.0)
    studio.run(3)
    continuous(studio)
    assert took_s <= 1.2
    assert studio.meter.switches == ["silent"]
    assert studio.states() == {PRIMARY: SourceState.FAILED, BACKUP: SourceState.ON_AIR}
    assert "the primary encoder sent no picture for 0.8 s" in studio.finding()


def test_viewers_are_told_the_bit_rate_of_whoever_is_on_air(studio: Studio):
    def told() -> int:
        assert studio.stream.show is not None
        source = studio.stream.show.lineup.get("source")
        assert source is not None
        return source.bandwidth()[0]

    primary = studio.connect(PRIMARY)
    backup = studio.connect(BACKUP, phase=20)
    for encoder, bps in ((primary, 2_000_000), (backup, 2_500_000)):
        encoder.publication.declare_rates({(Kind.VIDEO, 0): bps, (Kind.AUDIO, 7): 1})
    studio.run(1)
    assert told() == 2_000_000
    studio.run(15)
    assert told() == 2_000_000
    primary.publication.close("bye")
    studio.run(5)
    assert told() == 2_500_000
    # Nobody believes much more than is sent.
    backup.publication.declare_rates({(Kind.VIDEO, 0): 50_000_000})
    studio.run(1)
    assert 2_800_000 < told() < 5_000_000
    backup.publication.close("bye")
    backup.publication.declare_rates({(Kind.VIDEO, 0): 1})
    studio.run(1)
    assert 2_800_000 < told() < 5_000_000


def test_what_declares_more_than_it_may_send_is_not_believed(studio: Studio):
    encoder = studio.connect(PRIMARY)
    encoder.publication.declare_rates({(Kind.VIDEO, 0): 10**12})
    studio.run(1)
    assert studio.stream.show is not None
    source = studio.stream.show.lineup.get("source")
    assert source is not None
    assert max(source.bandwidth()) < 2_000_000


def test_who_chooses_before_anybody_came_is_answered(studio: Studio):
    studio.stream.switcher.choose(None)
    assert studio.stream.switcher.chosen is None
    with pytest.raises(SourceRefused, match="No backup encoder is connected"):
        studio.stream.switcher.choose(BACKUP)


@pytest.mark.parametrize("phase", range(0, 60, 7))
def test_a_switch_is_not_held_against_the_encoder(studio: Studio, phase: int):
    """Sound behind its pictures comes for a time that has its sound already."""
    primary = studio.connect(PRIMARY, phase=60)
    backup = studio.connect(BACKUP, phase=1020 + phase)
    primary.sound_late = backup.sound_late = 8900
    studio.run(10)
    primary.publication.close("error")
    studio.wait_for(BACKUP, 2.0)
    studio.run(12)
    assert studio.meter.repairs == []
    sounds = [p.dts for p in studio.heard.packets if p.kind is Kind.AUDIO]
    assert min(b - a for a, b in pairwise(sounds)) > FRAME // 2
    assert abs(studio.heard.pictures()[-1].dts - sounds[-1] - 8900) <= 1
    assert studio.stream.show is not None
    findings = (*studio.stream.show.findings.open(), *studio.stream.show.findings.closed())
    true = {Code.STANDBY, Code.AUDIO_SILENT, Code.AV_OFFSET}
    assert {f.code for f in findings} <= true


def test_a_switch_adds_no_delay(studio: Studio):
    """Pictures of the backup are on the show clock when they arrive, wherever its key frame was."""
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    for phase in range(4):
        studio.run(4 + phase * 0.45)
        primary.publication.close("error")
        studio.run(2)
        newest = studio.heard.pictures()[-1]
        assert studio.stream.show is not None
        delay = newest.dts - studio.stream.show.clock.now(newest.arrived_ns)
        assert 0 <= delay / 90000 <= 0.06
        primary = studio.connect(PRIMARY, phase=phase)
        studio.stream.switcher.choose(PRIMARY)
        studio.wait_for(PRIMARY, 4)
        studio.stream.switcher.choose(None)


def test_a_backup_with_a_distant_key_frame_is_waited_for(studio: Studio):
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1001, gop=300)
    studio.run(12)
    primary.publication.close("error")
    assert studio.encoders[1].frame % 300 > 4 * 30
    took_s = studio.wait_for(BACKUP, 8)
    assert took_s > 1
    assert studio.heard.pictures()[-1].key


def test_the_show_returns_without_a_hole(studio: Studio):
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(10)
    primary.paused = True
    studio.run(3)
    primary.paused = False
    fed = len(studio.heard.pictures())
    took_s = studio.wait_for(PRIMARY, 16)
    assert 10 <= took_s <= 14.5
    studio.run(3)
    assert studio.meter.switches == ["silent", "returned"]
    returning = studio.heard.pictures()[fed:]
    assert all(b.dts - a.dts < 10_000 for a, b in pairwise(returning))
    continuous(studio)
    assert studio.finding() == "The primary encoder is on air again: it has been healthy."
    studio.run(62)
    assert studio.finding() == ""


def test_by_hand_the_api_brings_it_back():
    studio = Studio(standby_return_s="manual")
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(5)
    primary.paused = True
    studio.run(3)
    primary.paused = False
    studio.run(30)
    assert studio.states()[BACKUP] is SourceState.ON_AIR
    studio.stream.switcher.choose(PRIMARY)
    assert studio.wait_for(PRIMARY, 2.4) <= 2.4
    continuous(studio)
    assert studio.meter.switches == ["silent", "requested"]


def test_an_encoder_may_be_asked_for_and_given_back_to_the_rule(studio: Studio):
    studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(15)
    studio.stream.switcher.choose(BACKUP)
    assert studio.wait_for(BACKUP, 2.4) <= 2.4
    studio.run(30)
    assert studio.states()[BACKUP] is SourceState.ON_AIR
    studio.stream.switcher.choose(None)
    studio.wait_for(PRIMARY, 13)
    continuous(studio)
    assert studio.meter.switches == ["requested", "returned"]


def test_an_encoder_that_does_not_send_cannot_be_asked_for(studio: Studio):
    studio.connect(PRIMARY)
    studio.run(5)
    with pytest.raises(SourceRefused, match="No backup encoder is connected"):
        studio.stream.switcher.choose(BACKUP)
    backup = studio.connect(BACKUP)
    backup.paused = True
    studio.run(2)
    with pytest.raises(SourceRefused, match="connected but sends nothing"):
        studio.stream.switcher.choose(BACKUP)


def test_an_ill_encoder_is_left_without_a_hole(studio: Studio):
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(20)
    primary.size = 300
    studio.wait_for(BACKUP, 9)
    studio.run(2)
    continuous(studio)
    assert studio.meter.switches == ["unhealthy"]
    assert "of its usual bitrate" in studio.finding()


def test_an_encoder_whose_pictures_cannot_be_decoded_is_left(studio: Studio):
    studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(8)
    assert studio.stream.show is not None
    worker = studio.stream.show.ladder.encoders
    for number in range(1, 12):
        worker.strain = Strain(damaged=number * 10)  # type: ignore[misc]
        studio.run(0.5)
    continuous(studio)
    assert studio.meter.switches == ["unhealthy"]
    assert "damaged frames in ten seconds" in studio.finding()
    studio.run(30)
    assert studio.states()[BACKUP] is SourceState.ON_AIR


def test_what_both_suffer_from_is_no_reason_to_move(studio: Studio):
    encoders = [studio.connect(PRIMARY), studio.connect(BACKUP, phase=1020)]
    studio.run(20)
    for encoder in encoders:
        encoder.size = 300
    studio.run(10)
    assert studio.meter.switches == []


def test_a_newer_encoder_of_a_role_replaces_only_that_one(studio: Studio):
    primary = studio.connect(PRIMARY)
    backup = studio.connect(BACKUP, phase=1020)
    studio.run(5)
    studio.connect(BACKUP, phase=5020)
    assert backup.revoked == ["Another encoder publishes this stream now."]
    assert not primary.revoked
    studio.run(5)
    assert studio.meter.switches == []
    studio.connect(PRIMARY, phase=9000)
    studio.run(0.1)
    assert primary.revoked == ["Another encoder publishes this stream now."]
    studio.run(5)
    assert studio.last().startswith("primary:9")
    assert studio.states() == {PRIMARY: SourceState.ON_AIR, BACKUP: SourceState.STANDBY}


def test_when_both_are_gone_the_grace_begins(studio: Studio):
    primary = studio.connect(PRIMARY)
    backup = studio.connect(BACKUP, phase=1020)
    studio.run(5)
    primary.publication.close("error")
    studio.run(5)
    backup.publication.close("error")
    assert studio.stream.state is State.RECONNECTING
    assert studio.finding() == ""
    assert set(studio.states().values()) == {SourceState.FAILED}
    studio.run(5)
    studio.connect(BACKUP, phase=3000)
    studio.run(3)
    assert studio.stream.state is State.LIVE
    assert studio.states()[BACKUP] is SourceState.ON_AIR
    studio.encoders[-1].publication.close("bye")
    studio.run(31)
    assert studio.stream.state is State.ENDED
    assert len(studio.host.shows) == 1


def test_both_may_go_at_the_same_moment(studio: Studio):
    encoders = [studio.connect(PRIMARY), studio.connect(BACKUP, phase=1020)]
    studio.run(5)
    for encoder in encoders:
        encoder.publication.close("error")
    assert studio.stream.state is State.RECONNECTING
    assert studio.stream.protocol is None
    studio.connect(PRIMARY)
    studio.run(2)
    assert studio.stream.state is State.LIVE
    assert studio.states()[PRIMARY] is SourceState.ON_AIR


def test_the_backup_may_begin_the_show(studio: Studio):
    studio.connect(BACKUP)
    studio.run(3)
    assert studio.stream.state is State.LIVE
    studio.connect(PRIMARY, phase=1020)
    studio.wait_for(PRIMARY, 14)
    continuous(studio)
    assert studio.meter.switches == ["returned"]


def test_ending_the_show_sends_both_away(studio: Studio):
    studio.connect(PRIMARY)
    studio.connect(BACKUP)
    studio.run(3)
    studio.stream.end("Enough.")
    assert [encoder.revoked for encoder in studio.encoders] == [["Enough."], ["Enough."]]
    assert studio.stream.switcher.views() == []


def test_a_backup_with_another_picture_size_resets_decoders(studio: Studio):
    primary = studio.connect(PRIMARY)
    studio.video = h264((320, 180))
    studio.connect(BACKUP, phase=1020)
    studio.run(5)
    primary.publication.close("error")
    studio.wait_for(BACKUP, 2)
    assert studio.stream.show is not None
    last = studio.stream.show.grid.last
    assert last is not None
    assert last.discontinuities_before + last.discontinuity == 1


def test_a_backup_that_is_never_shown_costs_no_more_than_its_bound(studio: Studio):
    studio.connect(PRIMARY)
    backup = studio.connect(BACKUP, gop=10**9)
    backup.size = 180_000
    studio.run(12)
    assert studio.meter.lost["standby"] > 0
    source = studio.stream.switcher.get(BACKUP)
    assert source is not None
    assert source.hold.size <= 24 * 2**20


def test_the_switch_finding_is_a_warning_where_nobody_wished_it(studio: Studio):
    primary = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(5)
    primary.publication.close("error")
    studio.run(0.5)
    assert studio.stream.show is not None
    found = {f.code: f for f in studio.stream.show.findings.open()}
    assert found[Code.STANDBY].severity is Severity.WARNING


def test_encoders_that_fight_for_a_key_are_told_apart_from_a_bad_network(studio: Studio):
    def codes() -> set[Code]:
        assert studio.stream.show is not None
        return {f.code for f in studio.stream.show.findings.open()}

    studio.connect(PRIMARY)
    for _ in range(4):
        studio.run(2)
        studio.connect(PRIMARY)
    studio.run(2)
    assert Code.KEY_CONTESTED in codes()
    assert Code.RECONNECTS not in codes()
    for _ in range(4):  # and one whose older connection hangs is no rival
        studio.encoders[-1].paused = True
        studio.run(3)
        studio.connect(PRIMARY)
    studio.run(2)
    assert Code.RECONNECTS in codes()
    studio.run(301)
    assert not codes() & {Code.KEY_CONTESTED, Code.RECONNECTS}
