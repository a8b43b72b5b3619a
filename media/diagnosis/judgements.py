"""The rules: what counts as wrong with a stream, and for how long it has to be so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.diagnosis import sentences, sentences_webrtc
from media.diagnosis.diagnosis import UNKNOWN, Rule
from media.diagnosis.findings import Code, Severity
from media.model import Codec, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from media.diagnosis.diagnosis import Measurements, Opinion

RECONNECT_MINUTES = 5
"""Reconnects are counted over this long."""
NAMES = {
    Codec.HEVC: "HEVC",
    Codec.AV1: "AV1",
    Codec.VP9: "VP9",
    Codec.VP8: "VP8",
    Codec.OPUS: "Opus",
    Codec.MP3: "MP3",
}


# ── key frames and pictures ──────────────────────────────────────────────────────────────────

NO_KEY_S = 10.0
NO_KEY_INTERVALS = 2.5
IRREGULAR_S = 0.35
IRREGULAR_COUNT = 5
LOW_RATE, FAIR_RATE = 0.9, 0.95
"""Share of the nominal frame rate: below the first a finding opens, above the second it closes."""
WEBRTC = "whip"
"""Protocol of publishers that are browsers, mostly, and are asked for key frames."""
LOST_SHARE = 1 / 3
"""Of the pictures that are missing: when as many were lost on the way, the network is the cause."""
WRONG_NOMINAL = 0.55
"""A stream that never reached this share of what its header says has a wrong header."""


def _keyframe_interval(m: Measurements, _open: bool) -> Opinion:
    o = m.observed
    if o is None or o.since_key_s is None:
        return UNKNOWN
    newest = o.key_intervals[-1] if o.key_intervals else 0.0
    seconds = max(newest, o.since_key_s)
    if m.rungs and not m.passthrough_wanted:
        return None  # nobody sees the encoder's own pictures
    if seconds > m.longest_s:
        say = sentences.keyframe_interval
        if m.protocol == WEBRTC:
            say = sentences_webrtc.keyframe_interval
        return say(seconds, m.segment_s, reencoded=m.long_gop)
    return None if newest else UNKNOWN


def _keyframe_irregular(m: Measurements, _open: bool) -> Opinion:
    o = m.observed
    if o is None or len(o.key_intervals) < IRREGULAR_COUNT:
        return UNKNOWN
    if m.protocol == WEBRTC:
        return None  # it is asked for key frames: for segments, after losses, for new viewers
    shortest, longest = min(o.key_intervals), max(o.key_intervals)
    if longest > m.longest_s or longest - shortest <= IRREGULAR_S:
        return None
    return sentences.keyframe_irregular(shortest, longest, m.segment_s)


def _no_keyframe(m: Measurements, _open: bool) -> Opinion:
    o = m.observed
    if o is None or o.since_key_s is None:
        return UNKNOWN
    usual = max(o.key_intervals, default=0.0)
    if o.since_key_s <= max(NO_KEY_S, NO_KEY_INTERVALS * usual):
        return None
    if m.protocol == WEBRTC:
        return sentences_webrtc.no_keyframe(o.since_key_s)
    return sentences.no_keyframe(o.since_key_s)


def _source_reencoded(m: Measurements, _open: bool) -> Opinion:
    o = m.observed
    if o is None or not o.key_intervals:
        return UNKNOWN
    fine = max(o.key_intervals[-1], o.since_key_s or 0.0) <= m.longest_s
    return sentences.SOURCE_REENCODED if m.long_gop and fine else None


def _b_frames(m: Measurements, _open: bool) -> Opinion:
    if m.observed is None or m.observed.quiet_s.get(Kind.VIDEO, 9.0) > 1:
        return UNKNOWN
    return sentences.B_FRAMES if m.observed.reordered else None


def _frame_rate_low(m: Measurements, is_open: bool) -> Opinion:
    o = m.observed
    if o is None or o.picture_rate is None or m.video is None:
        return UNKNOWN
    nominal = float(m.video.frame_rate or 0)
    if o.best_picture_rate > nominal or o.best_picture_rate < WRONG_NOMINAL * nominal:
        nominal = o.best_picture_rate
    if o.picture_rate >= nominal * (FAIR_RATE if is_open else LOW_RATE):
        return None
    if m.protocol != WEBRTC:
        return sentences.frame_rate_low(o.picture_rate, nominal)
    lost = o.pictures_lost + o.loss * nominal
    if lost >= LOST_SHARE * (nominal - o.picture_rate):
        return sentences_webrtc.pictures_lost(o.picture_rate, nominal)
    return sentences_webrtc.frame_rate_low(o.picture_rate, nominal)


def _resolution_odd(m: Measurements, _open: bool) -> Opinion:
    if m.video is None:
        return UNKNOWN
    odd = m.video.width % 2 or m.video.height % 2
    return sentences.resolution_odd(m.video.width, m.video.height) if odd else None


def _portrait(m: Measurements, _open: bool) -> Opinion:
    if m.video is None:
        return UNKNOWN
    upright = m.video.height > m.video.width
    return sentences.portrait(m.video.width, m.video.height) if upright else None


def _codec_support(m: Measurements, _open: bool) -> Opinion:
    if m.video is None:
        return UNKNOWN
    if m.video.codec is Codec.VP8:
        return sentences.VP8
    if m.video.codec is Codec.H264 or not m.passthrough:
        return None
    return sentences.codec_support(NAMES.get(m.video.codec, m.video.codec), rungs=m.rungs)


# ── tracks that are not there ────────────────────────────────────────────────────────────────

MISSING_S = 5.0
STOPPED_S = 3.0
FLOWS_S = 1.0
SILENT_BYTES = 24
"""An access unit of silence: 6 bytes of AAC, 3 of Opus, also with a little padding."""
OFFSET_S, FAIR_OFFSET_S = 0.1, 0.07
USUAL_SAMPLE_RATES = (44_100, 48_000)


def _missing(kind: Kind, text: str, by_webrtc: str) -> Callable[[Measurements, bool], Opinion]:
    def judge(m: Measurements, _open: bool) -> Opinion:
        if m.observed is None:
            return UNKNOWN
        if (m.video if kind is Kind.VIDEO else m.audio) is not None:
            return None
        if m.observed.age_s <= MISSING_S:
            return UNKNOWN
        return by_webrtc if m.protocol == WEBRTC else text

    return judge


def _stopped(kind: Kind, text: str, by_webrtc: str) -> Callable[[Measurements, bool], Opinion]:
    def judge(m: Measurements, _open: bool) -> Opinion:
        if m.observed is None:
            return UNKNOWN
        quiet = m.observed.quiet_s
        other = quiet.get(Kind.AUDIO if kind is Kind.VIDEO else Kind.VIDEO)
        if kind not in quiet or other is None or other > FLOWS_S:
            return UNKNOWN
        if quiet[kind] <= STOPPED_S:
            return None
        return by_webrtc if m.protocol == WEBRTC else text

    return judge


def _audio_silent(m: Measurements, _open: bool) -> Opinion:
    if m.observed is None or m.observed.audio_unit_bytes is None:
        return UNKNOWN
    return sentences.AUDIO_SILENT if m.observed.audio_unit_bytes < SILENT_BYTES else None


def _sample_rate(m: Measurements, _open: bool) -> Opinion:
    if m.audio is None:
        return UNKNOWN
    if m.audio.sample_rate in USUAL_SAMPLE_RATES:
        return None
    return sentences.sample_rate(m.audio.sample_rate)


def _sound_reencoded(m: Measurements, _open: bool) -> Opinion:
    if m.audio is None:
        return UNKNOWN
    if m.audio.codec is Codec.AAC or m.protocol == WEBRTC:
        return None  # WebRTC has no AAC
    return sentences.sound_reencoded(NAMES.get(m.audio.codec, m.audio.codec))


def _av_offset(m: Measurements, is_open: bool) -> Opinion:
    if m.observed is None or m.observed.av_offset_s is None:
        return UNKNOWN
    if max(m.observed.quiet_s.values()) > FLOWS_S:
        return UNKNOWN
    offset = m.observed.av_offset_s
    return (
        sentences.av_offset(offset)
        if abs(offset) > (FAIR_OFFSET_S if is_open else OFFSET_S)
        else None
    )


# ── connection and clock ─────────────────────────────────────────────────────────────────────

LATE_S, FAIR_LATE_S = 0.8, 0.3
STEADY_LATE_S = 0.03
"""A link that is full changes its delay by more than this, if only with each key frame."""
STEADY_LOOKS, STOOD_LOOKS = 3, 10
ADVISED = 0.8
"""Share of what a full link carries that leaves room for its swings."""
SWING, FAIR_SWING = 2.2, 1.8
"""Largest bit rate of 4 s against the mean of 40 s."""
SWING_SPANS = 10
FAST_S, FAIR_FAST_S = 1.2, 0.6
RECONNECTS, FAIR_RECONNECTS = 3, 2
DRIFT_PPM, FAIR_DRIFT_PPM = 60.0, 40.0


def _steady(lates_s: tuple[float, ...], looks: int) -> bool:
    """Whether the delay stood still for so many seconds: then it is not the link's."""
    newest = lates_s[-looks:]
    return len(newest) == looks and max(newest) - min(newest) <= STEADY_LATE_S


def _stands_late(m: Measurements, is_open: bool) -> Opinion:
    o = m.observed
    if o is None or o.late_s is None:
        return UNKNOWN
    if o.late_s <= (FAIR_LATE_S if is_open else LATE_S):
        return None
    if not _steady(o.lates_s, STOOD_LOOKS):
        return UNKNOWN
    return sentences.stands_late(o.late_s)


def _uplink_slow(m: Measurements, is_open: bool) -> Opinion:
    o = m.observed
    if o is None or o.late_s is None:
        return UNKNOWN
    if o.late_s <= (FAIR_LATE_S if is_open else LATE_S) or _steady(o.lates_s, STEADY_LOOKS):
        return None
    return sentences.uplink_slow(o.late_s, o.carried_bps, round(o.carried_bps * ADVISED))


def _bitrate_unsteady(m: Measurements, is_open: bool) -> Opinion:
    o = m.observed
    if o is None or len(o.spans_bps) < SWING_SPANS:
        return UNKNOWN
    if m.protocol == WEBRTC:
        return None  # by WebRTC the bit rate follows the network, and is meant to
    mean = sum(o.spans_bps) / len(o.spans_bps)
    if max(o.spans_bps) <= mean * (FAIR_SWING if is_open else SWING):
        return None
    return sentences.bitrate_unsteady(min(o.spans_bps), max(o.spans_bps))


def _too_fast(m: Measurements, is_open: bool) -> Opinion:
    if m.observed is None:
        return UNKNOWN
    return sentences.TOO_FAST if m.lead_s > (FAIR_FAST_S if is_open else FAST_S) else None


def _reconnects(m: Measurements, is_open: bool) -> Opinion:
    if m.reconnects < (FAIR_RECONNECTS if is_open else RECONNECTS):
        return None
    return sentences.reconnects(m.reconnects, RECONNECT_MINUTES)


def _key_contested(m: Measurements, is_open: bool) -> Opinion:
    if m.takeovers + m.rivals_refused < (FAIR_RECONNECTS if is_open else RECONNECTS):
        return None
    return sentences.key_contested(m.takeovers, m.rivals_refused, RECONNECT_MINUTES)


def _repaired(reason: str, text: str) -> Callable[[Measurements, bool], Opinion]:
    return lambda m, _open: text if m.repairs.get(reason) else None


def _clock_drift(m: Measurements, is_open: bool) -> Opinion:
    if m.drift_ppm is None:
        return UNKNOWN
    if abs(m.drift_ppm) < (FAIR_DRIFT_PPM if is_open else DRIFT_PPM):
        return None
    return sentences.clock_drift(m.drift_ppm)


def _tracks_drift(m: Measurements, _open: bool) -> Opinion:
    return sentences.TRACKS_DRIFT if m.tracks_apart else None


# ── this server ──────────────────────────────────────────────────────────────────────────────


def _ladder_pressure(m: Measurements, _open: bool) -> Opinion:
    relief = m.relief
    if not (relief.paused or relief.halved or relief.faster):
        return None
    return sentences.ladder_pressure(
        paused=relief.paused, halved=relief.halved, faster=relief.faster
    )


def _while_counted(
    count: Callable[[Measurements], int], text: str
) -> Callable[[Measurements, bool], Opinion]:
    return lambda m, _open: text if count(m) else None


HOLD = 30
"""Seconds without another event after which an event's finding closes."""

RULES = (
    Rule(
        code=Code.KEYFRAME_INTERVAL,
        severity=Severity.WARNING,
        judge=_keyframe_interval,
        closes=3,
    ),
    Rule(
        code=Code.KEYFRAME_IRREGULAR,
        severity=Severity.INFO,
        judge=_keyframe_irregular,
        closes=10,
    ),
    Rule(code=Code.NO_KEYFRAME, severity=Severity.WARNING, judge=_no_keyframe),
    Rule(code=Code.SOURCE_REENCODED, severity=Severity.INFO, judge=_source_reencoded, opens=3),
    Rule(code=Code.B_FRAMES, severity=Severity.INFO, judge=_b_frames, opens=3, closes=10),
    Rule(
        code=Code.FRAME_RATE_LOW,
        severity=Severity.WARNING,
        judge=_frame_rate_low,
        opens=5,
        closes=10,
        momentary=True,
    ),
    Rule(code=Code.RESOLUTION_ODD, severity=Severity.WARNING, judge=_resolution_odd),
    Rule(code=Code.PORTRAIT, severity=Severity.INFO, judge=_portrait),
    Rule(code=Code.CODEC_SUPPORT, severity=Severity.INFO, judge=_codec_support),
    Rule(
        code=Code.VIDEO_MISSING,
        severity=Severity.WARNING,
        judge=_missing(Kind.VIDEO, sentences.VIDEO_MISSING, sentences_webrtc.VIDEO_MISSING),
    ),
    Rule(
        code=Code.VIDEO_STOPPED,
        severity=Severity.ERROR,
        judge=_stopped(Kind.VIDEO, sentences.VIDEO_STOPPED, sentences_webrtc.VIDEO_STOPPED),
        closes=3,
        momentary=True,
    ),
    Rule(
        code=Code.AUDIO_MISSING,
        severity=Severity.WARNING,
        judge=_missing(Kind.AUDIO, sentences.AUDIO_MISSING, sentences_webrtc.AUDIO_MISSING),
    ),
    Rule(
        code=Code.AUDIO_STOPPED,
        severity=Severity.ERROR,
        judge=_stopped(Kind.AUDIO, sentences.AUDIO_STOPPED, sentences_webrtc.AUDIO_STOPPED),
        closes=3,
        momentary=True,
    ),
    Rule(
        code=Code.AUDIO_SILENT,
        severity=Severity.WARNING,
        judge=_audio_silent,
        opens=10,
        closes=2,
        momentary=True,
    ),
    Rule(code=Code.SAMPLE_RATE, severity=Severity.INFO, judge=_sample_rate),
    Rule(code=Code.SOUND_REENCODED, severity=Severity.INFO, judge=_sound_reencoded),
    Rule(code=Code.AV_OFFSET, severity=Severity.WARNING, judge=_av_offset, opens=10, closes=10),
    Rule(
        code=Code.UPLINK_SLOW,
        severity=Severity.ERROR,
        judge=_uplink_slow,
        opens=3,
        closes=10,
        momentary=True,
    ),
    Rule(
        code=Code.STANDS_LATE,
        severity=Severity.WARNING,
        judge=_stands_late,
        closes=3,
        momentary=True,
    ),
    Rule(
        code=Code.BITRATE_UNSTEADY,
        severity=Severity.INFO,
        judge=_bitrate_unsteady,
        opens=4,
        closes=20,
    ),
    Rule(
        code=Code.TOO_FAST,
        severity=Severity.WARNING,
        judge=_too_fast,
        opens=3,
        closes=5,
        momentary=True,
    ),
    Rule(code=Code.RECONNECTS, severity=Severity.WARNING, judge=_reconnects),
    Rule(code=Code.KEY_CONTESTED, severity=Severity.ERROR, judge=_key_contested),
    Rule(
        code=Code.TIMESTAMPS_WRAP,
        severity=Severity.INFO,
        judge=_repaired("wrap", sentences.TIMESTAMPS_WRAP),
        closes=HOLD,
    ),
    Rule(
        code=Code.TIMESTAMPS_ORDER,
        severity=Severity.WARNING,
        judge=_repaired("non_monotonic", sentences.TIMESTAMPS_ORDER),
        closes=HOLD,
    ),
    Rule(
        code=Code.TIMESTAMPS_JUMP,
        severity=Severity.WARNING,
        judge=_repaired("jump", sentences.TIMESTAMPS_JUMP),
        closes=HOLD,
    ),
    Rule(
        code=Code.TIMESTAMPS_START,
        severity=Severity.INFO,
        judge=_repaired("av_start", sentences.TIMESTAMPS_START),
        closes=HOLD,
    ),
    Rule(
        code=Code.TIMESTAMPS_COMPOSITION,
        severity=Severity.WARNING,
        judge=_repaired("composition", sentences.TIMESTAMPS_COMPOSITION),
        closes=HOLD,
    ),
    Rule(code=Code.CLOCK_DRIFT, severity=Severity.INFO, judge=_clock_drift, opens=30, closes=60),
    Rule(code=Code.TRACKS_DRIFT, severity=Severity.WARNING, judge=_tracks_drift, closes=60),
    Rule(code=Code.LADDER_PRESSURE, severity=Severity.WARNING, judge=_ladder_pressure, closes=3),
    Rule(
        code=Code.PICTURES_DROPPED,
        severity=Severity.WARNING,
        judge=_while_counted(lambda m: m.pictures_dropped, sentences.PICTURES_DROPPED),
        closes=HOLD,
    ),
    Rule(
        code=Code.PICTURES_DAMAGED,
        severity=Severity.WARNING,
        judge=_while_counted(lambda m: m.pictures_damaged, sentences.PICTURES_DAMAGED),
        closes=HOLD,
    ),
    Rule(
        code=Code.WORKER_RESTARTED,
        severity=Severity.WARNING,
        judge=_while_counted(lambda m: m.worker_restarts, sentences.WORKER_RESTARTED),
        closes=2 * HOLD,
    ),
)
