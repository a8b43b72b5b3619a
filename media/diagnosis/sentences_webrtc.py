"""What findings say to who publishes by WebRTC: a browser, or OBS.

A browser has no settings for its encoder, and is asked for key frames; so causes and mends differ.
"""

from __future__ import annotations


def keyframe_interval(seconds: float, segment_s: float, *, reencoded: bool) -> str:
    """Say that key frames that were asked for do not come in time."""
    so_far = (
        "Until then the source picture is re-encoded."
        if reencoded
        else "Until then viewers who join wait that long for the source picture."
    )
    return (
        f"Key frames come only every {seconds:.1f} s, although one is asked for every "
        f"{segment_s:g} s. In a browser: switch the camera on, and keep the page in the "
        f"foreground. In OBS: set the keyframe interval to {segment_s:g} s. {so_far}"
    )


def no_keyframe(seconds: float) -> str:
    """Say that no key frame came, although it was asked for."""
    return (
        f"No key frame for {seconds:.0f} s, although they are asked for: viewers who join cannot "
        "start the source rung. In a browser: stop and go live again. In OBS: set the keyframe "
        "interval to 2 s."
    )


def frame_rate_low(rate: float, nominal: float) -> str:
    """Say that the publisher leaves pictures out."""
    return (
        f"Only {rate:.0f} of {nominal:.0f} pictures a second are sent: choose a smaller size or a "
        "lower bitrate, close other programs on the machine, give the camera more light, and keep "
        "a browser's page in the foreground with its camera on."
    )


def pictures_lost(rate: float, nominal: float) -> str:
    """Say that pictures are lost on the way."""
    return (
        f"Only {rate:.0f} of {nominal:.0f} pictures a second arrive: the network between publisher "
        "and server loses the others. Use a cable instead of Wi-Fi, stay near the access point, "
        "or choose a smaller size."
    )


VIDEO_MISSING = (
    "No pictures are sent: choose a camera or a screen on the publish page (OBS: add a video "
    "source)."
)
VIDEO_STOPPED = (
    "Pictures have stopped while sound goes on: switch the camera on again, or share the screen "
    "again, and keep a browser's page in the foreground."
)
AUDIO_MISSING = (
    "No sound is sent: choose a microphone on the publish page (OBS: Settings ▸ Output ▸ Audio "
    "Track)."
)
AUDIO_STOPPED = (
    "Sound has stopped while pictures go on: check that the microphone is still plugged in, and "
    "choose it again."
)
