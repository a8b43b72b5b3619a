"""One clock for sound and pictures that come over RTP, each on a clock of its own.

At first a stream lies where its packets arrive. As soon as the sender's reports say so, streams lie
where the sender captured them (RFC 3550 6.4.1). Sound is never moved: its times stay the count of
its samples. Pictures follow it, by a little each picture, so nothing jumps and nothing goes back;
that also keeps them together over hours when a sound card's clock runs faster or slower.
"""

from __future__ import annotations

from collections import deque
from statistics import median_low
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND, Kind
from webrtc.ntp import unix_ns
from webrtc.sequence import nearest

if TYPE_CHECKING:
    from webrtc.rtcp import SenderReport

WRAP_TICKS = 2**62
"""Modulus of the times that come out: they are unwrapped and never get there."""
START = 10 * TICKS_PER_SECOND
"""Time of a receiver's start, above zero for what was captured before it."""
WINDOW = 5 * TICKS_PER_SECOND
"""The least delay of this and the window before it says when a stream would arrive unhindered."""
FADE = 2 * TICKS_PER_SECOND
"""Time constant by which pictures follow: reports tremble by some milliseconds."""
SLEW = 0.02
"""Of the time that passes; a picture of 33 ms is moved by 0.7 ms at most."""
FAST_SLEW = 0.1
FAR = 60 * TICKS_PER_SECOND // 1000
"""Pictures farther away than this hurry: it would be noticed (ITU-R BT.1359)."""
HASTE = 0.5
VERY_FAR = TICKS_PER_SECOND // 5
"""Farther than this they run: who sends at once what waited for the connection, as GStreamer does,
is placed wrong by up to a second until that has arrived."""
REPORTS = 5
"""Of which the middle one counts."""
STALE = 60 * TICKS_PER_SECOND
"""Reports older than this say nothing any more."""
IMPLAUSIBLE = 5 * TICKS_PER_SECOND
"""A time so far from its arrival is wrong."""
APART = TICKS_PER_SECOND
"""By so much may the sender's clock in two reports differ against their arrival."""
DISAGREE = 2 * TICKS_PER_SECOND
"""Reports that put streams so far from where they arrive are wrong."""
BACKWARD = TICKS_PER_SECOND
"""A step back by more is a new clock."""
FORWARD = 2 * TICKS_PER_SECOND
"""A step ahead by more, beyond the time that passed, is a new clock."""


def _ticks(ns: int) -> int:
    return ns * 9 // 100_000


class StreamClock:
    """Maps one RTP stream's timestamps to the common clock; made by `CommonClock.add`.

    Timestamps are unwrapped, in the stream's own ticks; times of arrival are nanoseconds of one
    steady clock, times that come out 90 kHz ticks.
    """

    def __init__(self, common: CommonClock, kind: Kind, clock_rate: int, floor: int) -> None:
        self._common = common
        self._floor = floor
        self.kind = kind
        self._rate = clock_rate
        self._origin: int | None = None
        self._offset = 0
        self._shift = 0.0
        """Ticks by which it was moved to where it belongs."""
        self._newest = 0
        self._least: int | None = None
        self._least_before: int | None = None
        self._window_end = 0
        self._stood = False
        """Timestamps stood still while time passed."""
        self._last: int | None = None
        self._last_raw = 0
        self._last_arrived = 0
        self._reports: deque[int] = deque(maxlen=REPORTS)
        self._reported = 0
        """When the newest report arrived."""
        self._lead = 0
        """The sender's clock against the arrival of the newest report."""
        self.jumps = 0
        """Times that the sender's timestamps jumped, so that the stream began anew."""
        self.unordered = 0
        """Access units whose timestamp was not above the last one's."""

    @property
    def end(self) -> int:
        """The first time at which another stream may go on."""
        return self._floor if self._last is None else self._last + 1

    @property
    def placed(self) -> bool:
        """Whether something was mapped yet."""
        return self._last is not None

    def note(self, timestamp: int, arrived_ns: int) -> None:
        """Take note of the first packet of a timestamp."""
        arrived = self._common.arrival(arrived_ns)
        if self._origin is None:
            self._origin, self._offset = timestamp, arrived
            self._window_end = arrived + WINDOW
        self._newest = timestamp
        if arrived >= self._window_end and self._least is not None:
            before = self._least_before
            self._stood = before is not None and self._least - before > FORWARD
            if not self._stood:
                self._least_before, self._least = self._least, None
            self._window_end = arrived + WINDOW
        delay = arrived - self._raw(timestamp)
        known = self._delay()
        if known is not None and delay < known - FORWARD:
            return  # timestamps jumped: `map` begins anew
        if self._least is None or delay < self._least:
            self._least = delay

    def report(self, report: SenderReport, arrived_ns: int) -> bool:
        """Take a sender's report; return whether it says something."""
        if report.empty or self._origin is None:
            return False
        arrived = self._common.arrival(arrived_ns)
        raw = self._raw(nearest(report.rtp_timestamp, self._newest, 32))
        if abs(raw - arrived) > IMPLAUSIBLE:
            return False
        sent = _ticks(unix_ns(report.ntp))
        between = raw - sent
        if self._reports and abs(between - self._between()) > APART // 2:
            self._reports.clear()  # the sender's clock was set
        self._reports.append(between)
        self._reported, self._lead = arrived, sent - arrived
        return True

    def map(self, timestamp: int, arrived_ns: int) -> int:
        """Return the time of an access unit that was `note`d: later than that of the last one."""
        arrived = self._common.arrival(arrived_ns)
        raw = self._raw(timestamp)
        if self._last is None:
            if abs(raw - arrived) > IMPLAUSIBLE:
                raw = self._anchor(timestamp, arrived, arrived)
            wanted = self._common.wanted(self, arrived)
            self._shift = 0.0 if wanted is None else float(wanted)
            time = max(raw + round(self._shift), self._floor)
        else:
            self._slew(min(max(raw - self._last_raw, 0), TICKS_PER_SECOND), arrived)
            time = raw + round(self._shift)
            passed = max(arrived - self._last_arrived, 0)
            plausible = -BACKWARD < time - self._last <= passed + FORWARD
            if self._stood or not plausible or time > arrived + IMPLAUSIBLE:
                time = self._begin_anew(timestamp, arrived)
                raw = self._raw(timestamp)
            elif time <= self._last:
                self.unordered += 1
                time = self._last + 1
        self._last, self._last_raw, self._last_arrived = time, raw, arrived
        return time

    def _raw(self, timestamp: int) -> int:
        assert self._origin is not None
        return self._offset + (timestamp - self._origin) * TICKS_PER_SECOND // self._rate

    def _slew(self, elapsed: int, arrived: int) -> None:
        wanted = self._common.wanted(self, arrived)
        if wanted is None:
            return
        error = wanted - self._shift
        if abs(error) > VERY_FAR:
            self._shift += elapsed * (HASTE if error > 0 else -HASTE)
            return
        most = elapsed * (FAST_SLEW if abs(error) > FAR else SLEW)
        self._shift += min(max(error * elapsed / FADE, -most), most)

    def _begin_anew(self, timestamp: int, arrived: int) -> int:
        """Go on where this unit arrived: what was known of the sender's timestamps is void."""
        assert self._last is not None
        self.jumps += 1
        usual = self._delay() or 0
        time = max(arrived - usual + round(self._shift), self._last + 1)
        self._anchor(timestamp, time - round(self._shift), arrived)
        return time

    def _anchor(self, timestamp: int, time: int, arrived: int) -> int:
        """Put a timestamp at a time, which is returned, and forget what was known of others."""
        self._origin, self._offset = timestamp, time
        self._reports.clear()
        self._stood = False
        self._least = arrived - time
        self._least_before = None
        self._newest = timestamp
        self._window_end = arrived + WINDOW
        return time

    def _between(self) -> int:
        """Return what the common clock shows without shift when the sender's shows zero."""
        return median_low(self._reports)

    def _delay(self) -> int | None:
        found = [each for each in (self._least, self._least_before) if each is not None]
        return min(found, default=None)

    def _reporting(self, now: int) -> bool:
        return bool(self._reports) and now - self._reported < STALE

    def wanted_from(self, reference: StreamClock, now: int) -> int | None:
        """Return the shift that puts this stream together with another one."""
        mine, theirs = self._delay(), reference._delay()
        base = round(reference._shift)
        arriving = None if mine is None or theirs is None else base + mine - theirs
        if (
            self._reporting(now)
            and reference._reporting(now)
            and abs(self._lead - reference._lead) < APART
        ):
            captured = base + reference._between() - self._between()
            if arriving is None or abs(captured - arriving) < DISAGREE:
                return captured
        return arriving


class CommonClock:
    """The clock of one receiver; `now_ns` is its start."""

    def __init__(self, now_ns: int) -> None:
        self._start_ns = now_ns
        self._streams: list[StreamClock] = []

    def add(self, kind: Kind, clock_rate: int, floor: int = 0) -> StreamClock:
        """Return the clock of a new stream, which does not begin before `floor`."""
        stream = StreamClock(self, kind, clock_rate, floor)
        self._streams.append(stream)
        return stream

    def remove(self, stream: StreamClock) -> None:
        """Forget a stream that ended."""
        self._streams.remove(stream)

    def arrival(self, arrived_ns: int) -> int:
        """Return the time of an arrival."""
        return START + _ticks(arrived_ns - self._start_ns)

    def wanted(self, stream: StreamClock, now: int) -> int | None:
        """Return the shift that a stream should have, None where it stays as it is."""
        reference = self._reference()
        if reference is None or reference is stream:
            return None
        return stream.wanted_from(reference, now)

    def _reference(self) -> StreamClock | None:
        """Return the sound once it is placed, before that the oldest stream that is."""
        found: StreamClock | None = None
        for each in self._streams:
            if each.placed:
                if each.kind is Kind.AUDIO:
                    return each
                found = found or each
        return found
