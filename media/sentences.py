"""Every sentence a finding says: what is wrong, and what to change."""

from __future__ import annotations


def keyframe_interval(seconds: float, segment_s: float, *, reencoded: bool = True) -> str:
    """Say that the encoder's key frames are too far apart for the source rung."""
    text = (
        f"The encoder sends a key frame only every {seconds:.1f} s: set the keyframe interval to "
        f"{segment_s:g} s (OBS: Settings ▸ Output ▸ Keyframe Interval)."
    )
    if reencoded:
        return f"{text} Until then the source picture is re-encoded."
    return f"{text} Until then viewers wait that long for the first picture."


def no_keyframe(seconds: float) -> str:
    """Say that no key frame came for a while."""
    return (
        f"No key frame for {seconds:.0f} s: viewers who join cannot start the source rung. "
        "Set the keyframe interval of the encoder to 2 s."
    )
