"""NTP times, as RTCP's sender reports carry them (RFC 3550 section 4)."""

from __future__ import annotations

_NTP_TO_UNIX_S = 2_208_988_800


def unix_ns(ntp: int) -> int:
    """Return the UNIX time in ns of a 64-bit NTP time.

    Times with the first bit clear are of the era that begins in 2036 (RFC 4330 section 3).
    """
    if not ntp >> 63:
        ntp += 1 << 64
    return (ntp * 1_000_000_000 >> 32) - _NTP_TO_UNIX_S * 1_000_000_000


def ntp_time(unix_time_ns: int) -> int:
    """Return the 64-bit NTP time of a UNIX time in ns, rounded up so that `unix_ns` gives it."""
    ns = unix_time_ns + _NTP_TO_UNIX_S * 1_000_000_000
    return -(-(ns << 32) // 1_000_000_000) & (1 << 64) - 1
