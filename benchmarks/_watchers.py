"""Low-latency clients that note when a playlist first lists a cue, and metrics as numbers."""

from __future__ import annotations

import http.client
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.support.server import Server

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
_CUE = re.compile(r'#EXT-X-DATERANGE:[^\n]*ID="([^"]+)\.\d+"')


def samples(server: Server) -> Samples:
    """Return every sample of /metrics by name and labels."""
    families = text_string_to_metric_families(server.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in families
        for sample in family.samples
    }


def by_label(values: Samples, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Return one metric's samples by the values of some labels."""
    found = {}
    for (metric, pairs), value in values.items():
        if metric == name:
            of = dict(pairs)
            found[tuple(of.get(label, "") for label in labels)] = value
    return found


def histogram_percentile(before: Samples, after: Samples, name: str, percent: float) -> float:
    """Return a percentile of what a histogram without labels took in between, interpolated."""
    first = by_label(before, f"{name}_bucket", "le")
    last = by_label(after, f"{name}_bucket", "le")
    buckets = sorted((float(le), last[le,] - first.get((le,), 0.0)) for (le,) in last)
    wanted = buckets[-1][1] * percent / 100
    lower, passed = 0.0, 0.0
    for upper, count in buckets:
        if count >= wanted:
            if upper == float("inf"):
                return lower
            inside = count - passed
            return lower + (upper - lower) * ((wanted - passed) / inside if inside else 1.0)
        lower, passed = upper, count
    return lower


@dataclass
class Follower:
    """A thread that reloads one media playlist as a low-latency client does; end with `stop`."""

    server: Server
    stream: str
    rendition: str
    listed: dict[str, float] = field(default_factory=dict)
    """Cue id to `time.monotonic()` of the first playlist that held it."""
    errors: list[str] = field(default_factory=list)

    def start(self) -> Follower:
        self._ending = threading.Event()
        name = f"follow-{self.rendition}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(12)

    def _run(self) -> None:
        base = f"/live/{self.stream}/{self.rendition}/index.m3u8"
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=12)
        query = ""
        while not self._ending.is_set():
            connection.request("GET", base + query)
            answer = connection.getresponse()
            text = answer.read().decode()
            now = time.monotonic()
            if answer.status != http.client.OK:
                self.errors.append(f"{answer.status} {text[:120]}")
                query = ""
                self._ending.wait(0.5)
                continue
            for cue in _CUE.findall(text):
                self.listed.setdefault(cue, now)
            query = next_query(text)
        connection.close()


def next_query(playlist: str) -> str:
    """Return the directives that ask for the part after the last one (draft 6.2.5.2)."""
    found = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", playlist)
    assert found is not None, playlist
    closed = playlist.count("#EXTINF:")
    tail = playlist.rpartition("#EXTINF:")[2]
    return f"?_HLS_msn={int(found[1]) + closed}&_HLS_part={tail.count('#EXT-X-PART:')}"
