"""The rules: what they say, to the letter, and that none flaps."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from media.diagnosis.diagnosis import Diagnosis, Measurements
from media.diagnosis.findings import Code, Findings, Severity
from media.diagnosis.judgements import RULES
from media.diagnosis.observer import Observed
from media.model import Codec, Kind, TrackFormat
from media.transcode.messages import Relief

pytestmark = pytest.mark.unit

VIDEO = TrackFormat(
    codec=Codec.H264,
    config=b"",
    codec_string="avc1.64001f",
    width=1280,
    height=720,
    frame_rate=Fraction(30),
)
AUDIO = TrackFormat(
    codec=Codec.AAC, config=b"", codec_string="mp4a.40.2", sample_rate=48_000, channels=2
)
GOOD = Observed(
    age_s=60.0,
    quiet_s={Kind.VIDEO: 0.03, Kind.AUDIO: 0.02},
    carried_bps=2_500_000,
    spans_bps=(2_400_000,) * 10,
    audio_unit_bytes=340.0,
    picture_rate=30.0,
    best_picture_rate=30.1,
    key_intervals=(2.0,) * 8,
    since_key_s=1.0,
    reordered=False,
    late_s=0.02,
    lates_s=(),
    av_offset_s=0.01,
)
WELL = Measurements(
    now_ms=0,
    segment_s=2.0,
    longest_s=2.45,
    video=VIDEO,
    audio=AUDIO,
    passthrough_wanted=True,
    passthrough=True,
    long_gop=False,
    rungs=True,
    lead_s=0.0,
    repairs={},
    drift_ppm=3.0,
    tracks_apart=False,
    relief=Relief(),
    pictures_dropped=0,
    pictures_damaged=0,
    worker_restarts=0,
    reconnects=0,
    takeovers=0,
    rivals_refused=0,
    observed=GOOD,
)
_OBSERVED = set(Observed.__dataclass_fields__)


def measured(base: Measurements = WELL, **changes: Any) -> Measurements:
    observed = {k: v for k, v in changes.items() if k in _OBSERVED}
    others = {k: v for k, v in changes.items() if k not in _OBSERVED}
    made = replace(base, **others)
    if observed:
        assert made.observed is not None
        made = replace(made, observed=replace(made.observed, **observed))
    return made


class Clinic:
    """A diagnosis in virtual time."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.findings = Findings(now_ms=lambda: self.now_ms)
        self.diagnosis = Diagnosis(self.findings, RULES)

    def see(self, seconds: int, base: Measurements = WELL, **changes: Any) -> list[str]:
        for _ in range(seconds):
            self.now_ms += 1000
            self.diagnosis.look(measured(base, now_ms=self.now_ms, **changes))
        return [finding.code for finding in self.findings.open()]

    def text(self, code: Code) -> str:
        return next(f.text for f in self.findings.open() if f.code == code)


WARN, INFO, ERR = Severity.WARNING, Severity.INFO, Severity.ERROR
HEVC = replace(VIDEO, codec=Codec.HEVC)

CASES: list[tuple[Code, Severity, dict[str, Any], str]] = [
    (
        Code.KEYFRAME_INTERVAL,
        WARN,
        {"key_intervals": (8.333,), "since_key_s": 4.0, "passthrough": False, "long_gop": True},
        (
            "The encoder sends a key frame only every 8.3 s: set the keyframe interval to 2 s "
            "(OBS: Settings ▸ Output ▸ Keyframe Interval). Until then the source picture is "
            "re-encoded."
        ),
    ),
    (
        Code.KEYFRAME_INTERVAL,
        WARN,
        {"key_intervals": (), "since_key_s": 5.0},
        (
            "The encoder sends a key frame only every 5.0 s: set the keyframe interval to 2 s "
            "(OBS: Settings ▸ Output ▸ Keyframe Interval). Until then viewers who join wait that "
            "long for the source picture."
        ),
    ),
    (
        Code.KEYFRAME_INTERVAL,
        WARN,
        {"protocol": "whip", "since_key_s": 5.0},
        (
            "Key frames come only every 5.0 s, although one is asked for every 2 s. In a browser: "
            "switch the camera on, and keep the page in the foreground. In OBS: set the keyframe "
            "interval to 2 s. Until then viewers who join wait that long for the source picture."
        ),
    ),
    (
        Code.NO_KEYFRAME,
        WARN,
        {"protocol": "whip", "since_key_s": 12.0},
        (
            "No key frame for 12 s, although they are asked for: viewers who join cannot start "
            "the source rung. In a browser: stop and go live again. In OBS: set the keyframe "
            "interval to 2 s."
        ),
    ),
    (
        Code.FRAME_RATE_LOW,
        WARN,
        {"protocol": "whip", "picture_rate": 22.4, "pictures_lost": 1.0, "loss": 0.01},
        (
            "Only 22 of 30 pictures a second are sent: choose a smaller size or a lower bitrate, "
            "close other programs on the machine, give the camera more light, and keep a "
            "browser's page in the foreground with its camera on."
        ),
    ),
    (
        Code.FRAME_RATE_LOW,
        WARN,
        {"protocol": "whip", "picture_rate": 22.4, "pictures_lost": 2.3, "loss": 0.01},
        (
            "Only 22 of 30 pictures a second arrive: the network between publisher and server "
            "loses the others. Use a cable instead of Wi-Fi, stay near the access point, or "
            "choose a smaller size."
        ),
    ),
    (
        Code.VIDEO_MISSING,
        WARN,
        {"protocol": "whip", "video": None},
        (
            "No pictures are sent: choose a camera or a screen on the publish page (OBS: add a "
            "video source)."
        ),
    ),
    (
        Code.VIDEO_STOPPED,
        ERR,
        {"protocol": "whip", "quiet_s": {Kind.VIDEO: 3.5, Kind.AUDIO: 0.02}},
        (
            "Pictures have stopped while sound goes on: switch the camera on again, or share the "
            "screen again, and keep a browser's page in the foreground."
        ),
    ),
    (
        Code.AUDIO_MISSING,
        WARN,
        {"protocol": "whip", "audio": None},
        (
            "No sound is sent: choose a microphone on the publish page (OBS: Settings ▸ Output ▸ "
            "Audio Track)."
        ),
    ),
    (
        Code.AUDIO_STOPPED,
        ERR,
        {"protocol": "whip", "quiet_s": {Kind.VIDEO: 0.03, Kind.AUDIO: 3.5}},
        (
            "Sound has stopped while pictures go on: check that the microphone is still plugged "
            "in, and choose it again."
        ),
    ),
    (
        Code.KEYFRAME_IRREGULAR,
        INFO,
        {"key_intervals": (2.0, 0.7, 1.3, 2.0, 2.0)},
        (
            "Key frames come 0.7 to 2.0 s apart: set a fixed keyframe interval of 2 s and switch "
            "scene-cut key frames off (x264: scenecut=0)."
        ),
    ),
    (
        Code.NO_KEYFRAME,
        WARN,
        {"since_key_s": 12.0},
        (
            "No key frame for 12 s: viewers who join cannot start the source rung. Set the "
            "keyframe interval of the encoder to 2 s."
        ),
    ),
    (
        Code.SOURCE_REENCODED,
        INFO,
        {"passthrough": False, "long_gop": True},
        (
            "The source picture is still re-encoded because key frames were too far apart "
            "earlier: it is sent untouched again once they have been in time for 10 s."
        ),
    ),
    (
        Code.B_FRAMES,
        INFO,
        {"reordered": True},
        (
            "The encoder uses B-frames: they add delay, and viewers by WebRTC cannot see them. "
            "Set B-frames to 0 (OBS: Settings ▸ Output ▸ bframes=0, or Tune: zerolatency)."
        ),
    ),
    (
        Code.FRAME_RATE_LOW,
        WARN,
        {"picture_rate": 22.4},
        (
            "Only 22 of 30 pictures a second arrive: the encoder leaves some out. Lower its "
            "bitrate or picture size, close other programs on its machine, or give the camera "
            "more light."
        ),
    ),
    (
        Code.RESOLUTION_ODD,
        WARN,
        {"video": replace(VIDEO, width=853, height=480)},
        (
            "The picture is 853x480: an odd number of pixels is cut or padded by players. Set "
            "854x480 in the encoder."
        ),
    ),
    (
        Code.PORTRAIT,
        INFO,
        {"video": replace(VIDEO, width=720, height=1280)},
        (
            "The picture is upright (720x1280): players on computers show it between black bars. "
            "Turn the canvas if that is not meant."
        ),
    ),
    (
        Code.CODEC_SUPPORT,
        INFO,
        {"video": HEVC},
        (
            "HEVC does not play everywhere: players that lack it take the H.264 rungs. Nothing "
            "needs to be changed."
        ),
    ),
    (
        Code.CODEC_SUPPORT,
        INFO,
        {"video": HEVC, "rungs": False},
        (
            "HEVC does not play everywhere and there are no H.264 rungs to fall back on: switch "
            "the ladder on (ladder.enabled) or send H.264."
        ),
    ),
    (
        Code.CODEC_SUPPORT,
        INFO,
        {"video": replace(VIDEO, codec=Codec.VP8), "passthrough": False},
        (
            "No HLS player takes VP8, so the pictures are encoded again: send H.264 to keep them "
            "as they are (a browser without it: use Chrome, Edge or Safari)."
        ),
    ),
    (
        Code.VIDEO_MISSING,
        WARN,
        {"video": None},
        "The encoder sends no pictures: add a video source, or check its video encoder.",
    ),
    (
        Code.VIDEO_STOPPED,
        ERR,
        {"quiet_s": {Kind.VIDEO: 4.0, Kind.AUDIO: 0.02}},
        (
            "Pictures have stopped while sound goes on: check the camera or capture card and the "
            "encoder."
        ),
    ),
    (
        Code.AUDIO_MISSING,
        WARN,
        {"audio": None},
        (
            "The encoder sends no sound: add an audio track, a silent one if need be (OBS: "
            "Settings ▸ Output ▸ Audio Track)."
        ),
    ),
    (
        Code.AUDIO_STOPPED,
        ERR,
        {"quiet_s": {Kind.VIDEO: 0.03, Kind.AUDIO: 4.0}},
        "Sound has stopped while pictures go on: check the audio device and the encoder.",
    ),
    (
        Code.AUDIO_SILENT,
        WARN,
        {"audio_unit_bytes": 6.0},
        "The sound is silent: check that the microphone is on and not muted (OBS: Audio Mixer).",
    ),
    (
        Code.SAMPLE_RATE,
        INFO,
        {"audio": replace(AUDIO, sample_rate=22_050)},
        "The sound has 22050 samples a second: set 48000 (OBS: Settings ▸ Audio ▸ Sample Rate).",
    ),
    (
        Code.SOUND_REENCODED,
        INFO,
        {"audio": replace(AUDIO, codec=Codec.OPUS)},
        "Opus sound is re-encoded to AAC: send AAC to keep it as it is.",
    ),
    (
        Code.AV_OFFSET,
        WARN,
        {"av_offset_s": -0.24},
        (
            "Sound is sent 240 ms behind the pictures of its time: they play together, but "
            "viewers wait that much longer. Take delay out of the sound (smaller buffers of its "
            "device and filters)."
        ),
    ),
    (
        Code.AV_OFFSET,
        WARN,
        {"av_offset_s": 0.15},
        (
            "Sound is sent 150 ms ahead of the pictures of its time: they play together, but "
            "viewers wait that much longer. Take delay out of the video encoder (no look-ahead, "
            "no B-frames, Tune: zerolatency)."
        ),
    ),
    (
        Code.UPLINK_SLOW,
        ERR,
        {"late_s": 2.43, "carried_bps": 1_847_000},
        (
            "The connection from the encoder is too slow: media arrives 2.4 s late at 1800 kb/s. "
            "Lower the bitrate to about 1500 kb/s, or use a cable instead of Wi-Fi."
        ),
    ),
    (
        Code.BITRATE_UNSTEADY,
        INFO,
        {"spans_bps": (900_000,) * 9 + (6_000_000,)},
        (
            "The bitrate swings between 900 and 6000 kb/s: set the rate control of the encoder "
            "to CBR (OBS: Settings ▸ Output ▸ Rate Control)."
        ),
    ),
    (
        Code.TOO_FAST,
        WARN,
        {"lead_s": 1.9},
        (
            "The encoder sends faster than real time and is held back: ffmpeg needs -re before "
            "-i to push a file. If it is no file, restart the encoder: its clock is ahead."
        ),
    ),
    (
        Code.STANDS_LATE,
        WARN,
        {"late_s": 3.02, "lates_s": (3.02, 3.0) * 5},
        (
            "Everything from the encoder is 3.0 s late, steadily: it or its line stood still for a "
            "moment and did not catch up. Stop and start the stream in the encoder at a calm "
            "moment to be live again."
        ),
    ),
    (
        Code.RECONNECTS,
        WARN,
        {"reconnects": 3},
        (
            "3 reconnects in 5 minutes: check the network of the encoder, and use a cable "
            "instead of Wi-Fi."
        ),
    ),
    (
        Code.KEY_CONTESTED,
        Severity.ERROR,
        {"takeovers": 3},
        (
            "Two encoders publish with the same stream key and took the show from each other 3 "
            "times in 5 minutes: stop one of them, or give it the backup key."
        ),
    ),
    (
        Code.KEY_CONTESTED,
        Severity.ERROR,
        {"takeovers": 2, "rivals_refused": 1},
        (
            "Another encoder fights for the show with the same stream key and was refused once in "
            "5 minutes: stop one of the two, or give it the backup key."
        ),
    ),
    (
        Code.TIMESTAMPS_WRAP,
        INFO,
        {"repairs": {"wrap": 1}},
        (
            "The encoder's clock ran over its largest number and began again: it was continued, "
            "nothing needs to be changed."
        ),
    ),
    (
        Code.TIMESTAMPS_ORDER,
        WARN,
        {"repairs": {"non_monotonic": 4}},
        (
            "Times of the encoder do not rise from one frame to the next: they were put in "
            "order. Restart the encoder, and update it if this comes back."
        ),
    ),
    (
        Code.TIMESTAMPS_JUMP,
        WARN,
        {"repairs": {"jump": 2}},
        (
            "The encoder's clock jumped: the show goes on by the time of arrival. Look for a "
            "source that was switched or looped, or a machine that slept."
        ),
    ),
    (
        Code.TIMESTAMPS_START,
        INFO,
        {"repairs": {"av_start": 1}},
        (
            "Sound and pictures began on different clocks: they were aligned by their time of "
            "arrival. If they do not fit, restart the encoder."
        ),
    ),
    (
        Code.TIMESTAMPS_COMPOSITION,
        WARN,
        {"repairs": {"composition": 1}},
        (
            "Pictures carry display times that cannot be right: they were mended. Update the "
            "encoder, or switch B-frames off."
        ),
    ),
    (
        Code.CLOCK_DRIFT,
        INFO,
        {"drift_ppm": 200.0},
        (
            "The encoder's clock is fast by about 0.7 s an hour: the show follows it without a "
            "jump, nothing needs to be changed."
        ),
    ),
    (
        Code.CLOCK_DRIFT,
        INFO,
        {"drift_ppm": -90.0},
        (
            "The encoder's clock is slow by about 0.3 s an hour: the show follows it without a "
            "jump, nothing needs to be changed."
        ),
    ),
    (
        Code.TRACKS_DRIFT,
        WARN,
        {"tracks_apart": True},
        (
            "Sound and pictures run on different clocks and drift apart: the sound is moved "
            "along. Let the encoder time all its devices by one clock (OBS: switch off Use "
            "Device Timestamps)."
        ),
    ),
    (
        Code.LADDER_PRESSURE,
        WARN,
        {"relief": Relief(faster=True)},
        (
            "This server is too slow for its whole ladder: pictures are coded more coarsely. "
            "Give it more cores, or take rungs away (ladder.rungs)."
        ),
    ),
    (
        Code.LADDER_PRESSURE,
        WARN,
        {"relief": Relief(faster=True, paused=("720p",), halved=("480p", "360p"))},
        (
            "This server is too slow for its whole ladder: 720p is paused, 480p and 360p at half "
            "the frame rate. Give it more cores, or take rungs away (ladder.rungs)."
        ),
    ),
    (
        Code.PICTURES_DROPPED,
        WARN,
        {"pictures_dropped": 3},
        (
            "This server leaves pictures out of the re-encoded rungs because it is too slow: "
            "give it more cores, or take rungs away (ladder.rungs)."
        ),
    ),
    (
        Code.PICTURES_DAMAGED,
        WARN,
        {"pictures_damaged": 1},
        (
            "Pictures or sound arrive damaged and cannot be decoded: check the encoder's machine "
            "for overload, and restart the encoder if this goes on."
        ),
    ),
    (
        Code.WORKER_RESTARTED,
        WARN,
        {"worker_restarts": 1},
        (
            "The transcoder of this stream failed and was started again: the source picture and "
            "the sound went on. If this comes back, report it with the log."
        ),
    ),
]


def rule_of(code: Code) -> Any:
    return next(rule for rule in RULES if rule.code is code)


@pytest.mark.parametrize(("code", "severity", "changes", "text"), CASES)
def test_each_rule_says_its_sentence_and_closes(
    code: Code, severity: Severity, changes: dict[str, Any], text: str
):
    clinic = Clinic()
    rule = rule_of(code)
    if rule.opens > 1:
        assert code not in clinic.see(rule.opens - 1, **changes)
    assert code in clinic.see(1 if rule.opens > 1 else rule.opens, **changes)
    (finding,) = (f for f in clinic.findings.open() if f.code == code)
    assert finding.severity is severity
    assert finding.text == text
    if rule.closes > 1:
        assert code in clinic.see(rule.closes - 1)
    assert code not in clinic.see(1)
    closed = next(f for f in clinic.findings.closed() if f.code == code)
    assert closed.until_ms == clinic.now_ms


def test_every_rule_has_a_case_and_a_code_of_its_own():
    assert {rule.code for rule in RULES} == {case[0] for case in CASES}
    assert len({rule.code for rule in RULES}) == len(RULES)


def test_a_stream_that_is_well_has_no_finding():
    assert Clinic().see(600) == []


def test_nobody_publishes_and_nothing_is_said():
    assert Clinic().see(600, observed=None, video=None, audio=None, drift_ppm=None) == []


def test_a_run_s_first_seconds_say_nothing():
    young = replace(
        GOOD,
        age_s=1.0,
        key_intervals=(),
        spans_bps=(),
        picture_rate=None,
        audio_unit_bytes=None,
        quiet_s={Kind.VIDEO: 0.0},
        av_offset_s=None,
    )
    assert Clinic().see(3, measured(observed=young, audio=None)) == []


@pytest.mark.parametrize(
    ("code", "bad", "between"),
    [
        (Code.UPLINK_SLOW, {"late_s": 0.9}, {"late_s": 0.5}),
        (Code.AV_OFFSET, {"av_offset_s": 0.11}, {"av_offset_s": 0.08}),
        (Code.FRAME_RATE_LOW, {"picture_rate": 26.0}, {"picture_rate": 27.5}),
        (Code.TOO_FAST, {"lead_s": 1.3}, {"lead_s": 0.8}),
        (Code.CLOCK_DRIFT, {"drift_ppm": 61.0}, {"drift_ppm": 50.0}),
        (Code.RECONNECTS, {"reconnects": 3}, {"reconnects": 2}),
        (Code.KEY_CONTESTED, {"takeovers": 3}, {"takeovers": 2}),
        (
            Code.BITRATE_UNSTEADY,
            {"spans_bps": (1_000_000,) * 9 + (3_000_000,)},
            {"spans_bps": (1_000_000,) * 9 + (2_300_000,)},
        ),
    ],
)
def test_between_its_thresholds_a_finding_stays_as_it_is(
    code: Code, bad: dict[str, Any], between: dict[str, Any]
):
    clinic = Clinic()
    assert clinic.see(120, **between) == []
    assert clinic.see(40, **bad) == [code]
    assert clinic.see(120, **between) == [code]
    assert clinic.see(61) == []


def test_a_measurement_that_trembles_makes_one_finding():
    clinic = Clinic()
    clinic.see(5, late_s=1.5)
    for _ in range(60):
        clinic.see(3, late_s=0.1)
        assert clinic.see(1, late_s=1.5) == [Code.UPLINK_SLOW]
    clinic.see(10)
    assert [f.code for f in clinic.findings.closed()] == [Code.UPLINK_SLOW]


def test_its_sentence_follows_every_five_seconds():
    clinic = Clinic()
    clinic.see(3, late_s=1.0)
    assert "1.0 s late" in clinic.text(Code.UPLINK_SLOW)
    clinic.see(4, late_s=2.0)
    assert "1.0 s late" in clinic.text(Code.UPLINK_SLOW)
    clinic.see(1, late_s=2.0)
    assert "2.0 s late" in clinic.text(Code.UPLINK_SLOW)


def test_an_encoder_that_stood_still_is_not_told_to_mend_its_link():
    clinic = Clinic()
    told = [clinic.see(1, late_s=3.0, lates_s=(0.02,) * (10 - n) + (3.0,) * n) for n in range(11)]
    assert told[-1] == [Code.STANDS_LATE]
    assert not any(Code.UPLINK_SLOW in codes for codes in told[:2] + told[3:])
    assert clinic.see(3, late_s=0.02, lates_s=(3.0,) * 9 + (0.02,)) == []


def test_key_frames_of_pictures_that_nobody_sees_may_be_rare():
    rare = {"key_intervals": (4.0,) * 8, "passthrough": False}
    assert Clinic().see(60, passthrough_wanted=False, rungs=True, **rare) == []
    assert Clinic().see(60, rungs=True, **rare) == [Code.KEYFRAME_INTERVAL]


def test_what_can_only_be_said_of_a_sending_encoder_closes_when_it_leaves():
    clinic = Clinic()
    clinic.see(5, late_s=2.0, key_intervals=(8.0,))
    assert len(clinic.findings.open()) == 2
    clinic.diagnosis.publisher_left()
    assert [f.code for f in clinic.findings.open()] == [Code.KEYFRAME_INTERVAL]


def test_a_nominal_frame_rate_that_was_never_reached_is_not_believed():
    double = measured(video=replace(VIDEO, frame_rate=Fraction(60)))
    assert Clinic().see(60, double) == []
    unknown = measured(video=replace(VIDEO, frame_rate=None))
    assert Clinic().see(60, unknown) == []
    assert Clinic().see(60, unknown, picture_rate=20.0) == [Code.FRAME_RATE_LOW]


def test_a_browser_is_not_told_to_send_a_sound_that_webrtc_does_not_have():
    opus = replace(AUDIO, codec=Codec.OPUS)
    assert Clinic().see(5, measured(audio=opus, protocol="rtmp")) == [Code.SOUND_REENCODED]
    assert Clinic().see(5, measured(audio=opus, protocol="whip")) == []


def test_a_publisher_that_is_asked_for_key_frames_is_not_told_to_send_them_evenly():
    intervals = (2.0, 0.7, 1.3, 2.0, 2.0)
    rtmp = Clinic().see(30, measured(protocol="rtmp"), key_intervals=intervals)
    assert rtmp == [Code.KEYFRAME_IRREGULAR]
    assert Clinic().see(30, measured(protocol="whip"), key_intervals=intervals) == []


def test_only_key_frames_that_were_too_far_apart_are_said_to_have_been():
    assert Clinic().see(30, passthrough=False) == []


def test_a_browser_s_bit_rate_follows_its_network():
    swings = {"spans_bps": (500_000,) * 9 + (6_000_000,)}
    assert Clinic().see(30, **swings) == [Code.BITRATE_UNSTEADY]
    assert Clinic().see(30, **swings, protocol="whip") == []


def test_the_documentation_explains_every_code_with_its_severity():
    text = (Path(__file__).parents[3] / "docs" / "findings.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| ([a-z, ]+) \|", text, re.M)
    explained = dict(rows)
    assert len(rows) == len(explained)
    assert set(explained) == {code.value for code in Code}
    for rule in RULES:
        assert explained[rule.code] == rule.severity.value, rule.code
