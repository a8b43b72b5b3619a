"""How many examples a property test has: few every day, many under `./run fuzz`."""

from __future__ import annotations

from hypothesis import settings

FUZZ = settings.get_current_profile_name() == "fuzz"


def examples(everyday: int, *, fuzz: int | None = None) -> int:
    """For `settings(max_examples=...)`, which would hold under every profile.

    `fuzz`: where an example takes so long that the profile's number is out of reach.
    """
    if not FUZZ:
        return everyday
    return settings.get_profile("fuzz").max_examples if fuzz is None else fuzz
