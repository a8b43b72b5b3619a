"""Every sentence a finding says: what is wrong, and what to change.

Numbers are rounded so far that a sentence stands still while its measurement only trembles.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# ── key frames and pictures ──────────────────────────────────────────────────────────────────


def keyframe_interval(seconds: float, segment_s: float, *, reencoded: bool) -> str:
    """Say that the encoder's key frames are too far apart for the source rung."""
    text = (
        f"The encoder sends a key frame only every {seconds:.1f} s: set the keyframe interval to "
        f"{segment_s:g} s (OBS: Settings ▸ Output ▸ Keyframe Interval)."
    )
    if reencoded:
        return f"{text} Until then the source picture is re-encoded."
    return f"{text} Until then viewers who join wait that long for the source picture."


def keyframe_irregular(shortest_s: float, longest_s: float, segment_s: float) -> str:
    """Say that key frames come at a whim, which makes segments of unequal length."""
    return (
        f"Key frames come {shortest_s:.1f} to {longest_s:.1f} s apart: set a fixed keyframe "
        f"interval of {segment_s:g} s and switch scene-cut key frames off (x264: scenecut=0)."
    )


def no_keyframe(seconds: float) -> str:
    """Say that no key frame came for a while."""
    return (
        f"No key frame for {seconds:.0f} s: viewers who join cannot start the source rung. "
        "Set the keyframe interval of the encoder to 2 s."
    )


def tracks_misaligned(numbers: Sequence[int]) -> str:
    """Say that further video tracks cannot be cut into segments where the main one is."""
    which = " and ".join(map(str, numbers))
    what = f"Video tracks {which} have" if len(numbers) > 1 else f"Video track {which} has"
    return (
        f"{what} key frames at other times than video track 0, or none: re-encoded pictures take "
        "the place of what does not fit. Give all video tracks the same encoder, keyframe "
        "interval and frame rate, without scene-cut key frames, and start the stream again."
    )


def track_not_aac(number: int, codec: str) -> str:
    """Say that only the main sound is encoded again."""
    return (
        f"Audio track {number} is {codec}, and only audio track 0 is encoded again: set AAC for it."
    )


def track_changed(number: int) -> str:
    """Say that sound of another layout cannot go on in a rendition that is being played."""
    return (
        f"Audio track {number} has another sample rate or number of channels than its language had "
        "before in this show: set those again, or end the show and start it anew."
    )


def too_many_sounds(number: int, most: int) -> str:
    """Say that a show's further sound is bounded."""
    return (
        f"Audio track {number} is not offered, for a show has at most {most} further languages: "
        "send fewer audio tracks, or end the show and start it anew."
    )


SOURCE_REENCODED = (
    "The source picture is still re-encoded because key frames were too far apart earlier: it is "
    "sent untouched again once they have been in time for 10 s."
)
B_FRAMES = (
    "The encoder uses B-frames: they add delay, and viewers by WebRTC cannot see them. Set "
    "B-frames to 0 (OBS: Settings ▸ Output ▸ bframes=0, or Tune: zerolatency)."
)


def frame_rate_low(rate: float, nominal: float) -> str:
    """Say that the encoder leaves pictures out."""
    return (
        f"Only {rate:.0f} of {nominal:.0f} pictures a second arrive: the encoder leaves some out. "
        "Lower its bitrate or picture size, close other programs on its machine, or give the "
        "camera more light."
    )


def resolution_odd(width: int, height: int) -> str:
    """Say that a side is odd: 4:2:0 halves both."""
    return (
        f"The picture is {width}x{height}: an odd number of pixels is cut or padded by players. "
        f"Set {width + width % 2}x{height + height % 2} in the encoder."
    )


def portrait(width: int, height: int) -> str:
    """Say that the picture stands upright."""
    return (
        f"The picture is upright ({width}x{height}): players on computers show it between black "
        "bars. Turn the canvas if that is not meant."
    )


def codec_support(name: str, *, rungs: bool) -> str:
    """Say that not every player decodes the source."""
    if rungs:
        return (
            f"{name} does not play everywhere: players that lack it take the H.264 rungs. "
            "Nothing needs to be changed."
        )
    return (
        f"{name} does not play everywhere and there are no H.264 rungs to fall back on: switch "
        "the ladder on (ladder.enabled) or send H.264."
    )


VP8 = (
    "No HLS player takes VP8, so the pictures are encoded again: send H.264 to keep them as they "
    "are (a browser without it: use Chrome, Edge or Safari)."
)
VIDEO_MISSING = "The encoder sends no pictures: add a video source, or check its video encoder."
VIDEO_STOPPED = (
    "Pictures have stopped while sound goes on: check the camera or capture card and the encoder."
)

# ── sound ────────────────────────────────────────────────────────────────────────────────────

AUDIO_MISSING = (
    "The encoder sends no sound: add an audio track, a silent one if need be (OBS: Settings ▸ "
    "Output ▸ Audio Track)."
)
AUDIO_STOPPED = "Sound has stopped while pictures go on: check the audio device and the encoder."
AUDIO_SILENT = (
    "The sound is silent: check that the microphone is on and not muted (OBS: Audio Mixer)."
)


def sample_rate(hertz: int) -> str:
    """Say that the sound's sample rate is one that players resample badly."""
    return (
        f"The sound has {hertz} samples a second: set 48000 (OBS: Settings ▸ Audio ▸ Sample Rate)."
    )


def sound_reencoded(name: str) -> str:
    """Say that the sound does not go out as it came in."""
    return f"{name} sound is re-encoded to AAC: send AAC to keep it as it is."


def av_offset(seconds: float) -> str:
    """Say that sound and pictures are sent apart; positive: the sound is ahead."""
    side = "ahead of" if seconds > 0 else "behind"
    cure = (
        "Take delay out of the video encoder (no look-ahead, no B-frames, Tune: zerolatency)."
        if seconds > 0
        else "Take delay out of the sound (smaller buffers of its device and filters)."
    )
    return (
        f"Sound is sent {abs(seconds) * 1000:.0f} ms {side} the pictures of its time: they play "
        f"together, but viewers wait that much longer. {cure}"
    )


# ── connection ───────────────────────────────────────────────────────────────────────────────


def uplink_slow(late_s: float, carried_bps: int, advised_bps: int) -> str:
    """Say that the encoder's connection does not carry its bit rate."""
    return (
        f"The connection from the encoder is too slow: media arrives {late_s:.1f} s late at "
        f"{_kbps(carried_bps)} kb/s. Lower the bitrate to about {_kbps(advised_bps)} kb/s, or use "
        "a cable instead of Wi-Fi."
    )


def stands_late(late_s: float) -> str:
    """Say that an encoder is late by an amount that stays."""
    return (
        f"Everything from the encoder is {late_s:.1f} s late, steadily: it or its line stood "
        "still for a moment and did not catch up. Stop and start the stream in the encoder at a "
        "calm moment to be live again."
    )


def bitrate_unsteady(lowest_bps: int, highest_bps: int) -> str:
    """Say that the bit rate swings."""
    return (
        f"The bitrate swings between {_kbps(lowest_bps)} and {_kbps(highest_bps)} kb/s: set the "
        "rate control of the encoder to CBR (OBS: Settings ▸ Output ▸ Rate Control)."
    )


KEY_TAKEN = (
    "Another encoder is publishing with this stream key, and took turns with this one: stop one of "
    "them, or give it the backup key."
)
"""To the one of two rivals that is refused."""


def key_contested(count: int, refused: int, minutes: int) -> str:
    """Encoders with the same key end each other's connection, or would if they were let."""
    if refused:
        often = "once" if refused == 1 else f"{refused} times"
        return (
            "Another encoder fights for the show with the same stream key and was refused "
            f"{often} in {minutes} minutes: stop one of the two, or give it the backup key."
        )
    return (
        f"Two encoders publish with the same stream key and took the show from each other {count} "
        f"times in {minutes} minutes: stop one of them, or give it the backup key."
    )


def reconnects(count: int, minutes: int) -> str:
    """Say that the encoder comes and goes."""
    return (
        f"{count} reconnects in {minutes} minutes: check the network of the encoder, and use a "
        "cable instead of Wi-Fi."
    )


TOO_FAST = (
    "The encoder sends faster than real time and is held back: ffmpeg needs -re before -i to "
    "push a file. If it is no file, restart the encoder: its clock is ahead."
)


def standby(
    *, on_air: str, other: str, reason: str, complaint: str | None, return_s: float | None
) -> str:
    """Say which of two encoders is on air, and why.

    `complaint`: what the other one did, as the end of a sentence; `return_s`: seconds of health
    after which the show goes back to it by itself.
    """
    if reason == "requested":
        return f"The {on_air} encoder is on air: it was asked for by the API."
    if reason == "returned":
        return f"The {on_air} encoder is on air again: it has been healthy."
    did = complaint or "failed"
    text = f"The {on_air} encoder is on air: the {other} encoder {did}."
    if return_s is None:
        return text
    return f"{text} Mend it; the show returns to it when it has been healthy for {return_s:g} s."


# ── times ────────────────────────────────────────────────────────────────────────────────────

TIMESTAMPS_WRAP = (
    "The encoder's clock ran over its largest number and began again: it was continued, nothing "
    "needs to be changed."
)
TIMESTAMPS_ORDER = (
    "Times of the encoder do not rise from one frame to the next: they were put in order. "
    "Restart the encoder, and update it if this comes back."
)
TIMESTAMPS_JUMP = (
    "The encoder's clock jumped: the show goes on by the time of arrival. Look for a source that "
    "was switched or looped, or a machine that slept."
)
TIMESTAMPS_START = (
    "Sound and pictures began on different clocks: they were aligned by their time of arrival. "
    "If they do not fit, restart the encoder."
)
TIMESTAMPS_COMPOSITION = (
    "Pictures carry display times that cannot be right: they were mended. Update the encoder, or "
    "switch B-frames off."
)


def clock_drift(ppm: float) -> str:
    """Say that the encoder's clock differs from UTC; positive: it is fast."""
    return (
        f"The encoder's clock is {'fast' if ppm > 0 else 'slow'} by about "
        f"{abs(ppm) * 3600 / 1e6:.1f} s an hour: the show follows it without a jump, nothing needs "
        "to be changed."
    )


TRACKS_DRIFT = (
    "Sound and pictures run on different clocks and drift apart: the sound is moved along. Let "
    "the encoder time all its devices by one clock (OBS: switch off Use Device Timestamps)."
)

# ── this server ──────────────────────────────────────────────────────────────────────────────


def ladder_pressure(*, paused: Sequence[str], halved: Sequence[str], faster: bool) -> str:
    """Say what the ladder gave up because the machine is too slow."""
    given = []
    if paused:
        given.append(f"{_names(paused)} {'is' if len(paused) == 1 else 'are'} paused")
    if halved:
        given.append(f"{_names(halved)} at half the frame rate")
    if faster and not given:
        given.append("pictures are coded more coarsely")
    return (
        f"This server is too slow for its whole ladder: {', '.join(given)}. Give it more cores, or "
        "take rungs away (ladder.rungs)."
    )


PICTURES_DROPPED = (
    "This server leaves pictures out of the re-encoded rungs because it is too slow: give it more "
    "cores, or take rungs away (ladder.rungs)."
)
PICTURES_DAMAGED = (
    "Pictures or sound arrive damaged and cannot be decoded: check the encoder's machine for "
    "overload, and restart the encoder if this goes on."
)
WORKER_RESTARTED = (
    "The transcoder of this stream failed and was started again: the source picture and the "
    "sound went on. If this comes back, report it with the log."
)


# ── the slate, and changes of the source ─────────────────────────────────────────────────────


def slate(since_ms: int) -> str:
    """Say that viewers see the slate since a time (UTC milliseconds)."""
    return (
        f"No encoder: viewers see the slate since {_clock(since_ms)} UTC. The show goes on as soon "
        "as an encoder publishes with the stream's key and sends a key frame."
    )


def slate_over_sound(since_ms: int) -> str:
    """Say that an encoder sends sound alone under the slate, whose begin is told."""
    return (
        f"Only sound comes, no pictures: viewers hear it under the slate, which they see since "
        f"{_clock(since_ms)} UTC. Switch the camera on again, or look at the capture card and its "
        "encoder."
    )


def slate_awaits_picture(since_ms: int) -> str:
    """Say that an encoder is connected, but the slate stays on air."""
    return (
        f"A publisher is connected, but sends no picture that could be shown: viewers see the "
        f"slate since {_clock(since_ms)} UTC. The show goes on with its next key frame; if none "
        "comes, look at its camera or network, or start it again."
    )


def slate_failed(reason: str) -> str:
    """Say that there is no slate."""
    return f"No slate can be shown while the encoder is away: {reason}"


def codec_changed(before: str, now: str) -> str:
    """Say that the source rung is re-encoded since the encoder changed its codec."""
    return (
        f"The encoder now sends {now} in a show that began with {before}: the source picture is "
        "re-encoded for viewers who cannot decode it. End the show and start it again to send "
        "it untouched."
    )


def _clock(utc_ms: int) -> str:
    return datetime.fromtimestamp(utc_ms / 1000, UTC).strftime("%H:%M:%S")


def _names(names: Sequence[str]) -> str:
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last


def _kbps(bps: int) -> int:
    """Kilobits, two digits that count: 1847 kb/s is 1800."""
    kbps = max(1, round(bps / 1000))
    step = int("1".ljust(max(1, len(str(kbps)) - 1), "0"))
    return round(kbps / step) * step
