"""Every metric of the server: the only package that imports prometheus_client.

The packages report through Protocols (`media.meter`, `ingest.source`, `overlay.meter`,
`delivery.meter`, `vitrina.supervise`); `Telemetry` implements them all. All calls come from the
event loop's thread. Labels are bounded (`families`).
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Iterable

import prometheus_client
from prometheus_client import CollectorRegistry, Info
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector

from media.diagnosis.findings import Change, Code
from vitrina import __version__
from vitrina.telemetry.families import OTHER, Families
from vitrina.telemetry.webrtc import WebRtcMetrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
LAG_INTERVAL_S = 0.1
_CODES = frozenset(code.value for code in Code)

_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_JITTER_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
_HOLD_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0, 4.0, 6.0, 9.0)
_LISTED_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.0, 5.0)
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Telemetry:
    """Implements every meter Protocol on a registry of its own."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=True)
        self._families = Families(self._registry)
        ProcessCollector(namespace="vitrina", registry=self._registry)
        Info("vitrina_build", "Versions that run here.", registry=self._registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        self._declare_ingest(self._families)
        self._declare_media(self._families)
        self._declare_findings(self._families)
        self._declare_ladder(self._families)
        self._declare_restream(self._families)
        self._declare_cues(self._families)
        self._declare_delivery(self._families)
        self.webrtc = WebRtcMetrics(self._families)
        """What WebRTC's meters report to."""

    # The declarations double as the reference: docs/operations.md is checked against them.

    def _declare_ingest(self, f: Families) -> None:
        self._connections = f.gauge("ingest_connections", "Encoders connected.", "protocol")
        self._opened = f.counter(
            "ingest_connections_opened_total", "Connections accepted.", "protocol"
        )
        self._closed = f.counter(
            "ingest_connections_closed_total",
            "Connections that ended, by reason.",
            "protocol",
            "reason",
        )
        self._hook = f.counter(
            "publish_hook_requests_total",
            "Questions to the authorisation hook, by what came of them.",
            "result",
        )
        self._hook_time = f.histogram(
            "publish_hook_duration_seconds",
            "Time that the authorisation hook took.",
            buckets=_REQUEST_BUCKETS,
        )
        self._rejected = f.counter(
            "ingest_rejected_total",
            "Connections refused or cut for the peer's fault, by reason.",
            "protocol",
            "reason",
        )
        self._network = f.counter(
            "ingest_network_bytes_total", "Bytes read from encoders, overhead included.", "protocol"
        )
        self._frames_in = f.counter(
            "stream_received_frames_total",
            "Access units that entered a stream.",
            "stream",
            "protocol",
            "track",
        )
        self._bytes_in = f.counter(
            "stream_received_bytes_total",
            "Payload bytes that entered a stream.",
            "stream",
            "protocol",
            "track",
        )

        self._switches = f.counter(
            "ingest_switches_total", "Switches to a stream's other encoder.", "stream", "reason"
        )
        self._takeovers = f.counter(
            "ingest_takeovers_total",
            "Encoders that came while another one with the key was sending well.",
            "stream",
            "role",
        )
        self._health = f.gauge(
            "ingest_health", "How well an encoder sends, 0 to 1.", "stream", "role"
        )
        self._active = f.gauge(
            "ingest_active", "1 for the encoder that feeds the show.", "stream", "role"
        )

    def _declare_media(self, f: Families) -> None:
        self._repairs = f.counter(
            "timeline_repairs_total",
            "Source timestamps that the timeline repaired, by reason.",
            "stream",
            "reason",
        )
        self._keyframes = f.gauge(
            "keyframe_interval_seconds", "Time between the source's last key frames.", "stream"
        )
        self._av = f.gauge(
            "av_offset_seconds", "Newest audio minus newest video on the show clock.", "stream"
        )
        self._jitter = f.histogram(
            "part_publish_jitter_seconds",
            "Deviation of a part's publish interval from the previous part's duration.",
            "stream",
            "rendition",
            buckets=_JITTER_BUCKETS,
        )
        self._latency = f.histogram(
            "push_to_part_latency_seconds",
            "Arrival of an access unit to its part being servable.",
            "stream",
            "rendition",
            buckets=_LATENCY_BUCKETS,
        )
        self._gaps = f.counter(
            "gap_segments_total", "Segments listed as EXT-X-GAP.", "stream", "rendition"
        )
        self._discontinuities = f.counter(
            "discontinuities_total", "EXT-X-DISCONTINUITY tags placed.", "stream"
        )
        self._held = f.histogram(
            "playlist_hold_seconds", "Time that blocking requests waited.", buckets=_HOLD_BUCKETS
        )

    def _declare_findings(self, f: Families) -> None:
        self._findings = f.gauge(
            "findings", "1 while a finding is open, 0 once it is closed.", "stream", "code"
        )
        self._findings_total = f.counter(
            "findings_opened_total", "Findings that opened.", "stream", "code"
        )

    def _declare_ladder(self, f: Families) -> None:
        self._rung_frames = f.counter(
            "rung_frames_total", "Frames that a rung's encoder has taken.", "stream", "rendition"
        )
        self._rung_speed = f.gauge(
            "rung_speed_ratio",
            "Media time to busy time of a rung's encoder; below 1 it falls behind.",
            "stream",
            "rendition",
        )
        self._rung_age = f.gauge(
            "rung_queue_age_seconds",
            "Age of the oldest frame that waits for a rung's encoder.",
            "stream",
            "rendition",
        )
        self._frames_dropped = f.counter(
            "dropped_frames_total",
            "Given up: full pipe to the worker, damaged at the decoder, late for a rung, "
            "too much for an encoder that stands by, of a further track without its main picture.",
            "stream",
            "place",
        )
        self._restarts = f.counter(
            "worker_restarts_total", "Transcode workers started again.", "stream", "reason"
        )
        self._slate = f.counter(
            "slate_seconds_total", "Time for which viewers saw the slate.", "stream"
        )
        self._pressure = f.gauge(
            "pressure_step", "Step of the ladder's pressure rule; 0 is full quality.", "stream"
        )

    def _declare_restream(self, f: Families) -> None:
        labels = ("stream", "target")
        self._target_state = f.gauge(
            "restream_state",
            "How a target stands: 0 off, 1 idle, 2 connecting, 3 live, 4 waiting, 5 refused.",
            *labels,
        )
        self._target_bytes = f.counter(
            "restream_bytes_total", "Bytes handed to the network for a target.", *labels
        )
        self._target_dropped = f.counter(
            "restream_dropped_total",
            "Access units given up because a target did not take them in time.",
            *labels,
        )
        self._target_reconnects = f.counter(
            "restream_reconnects_total", "Connections to a target that were made again.", *labels
        )
        self._target_delay = f.gauge(
            "restream_delay_seconds", "How long media waited here for a target.", *labels
        )

    def _declare_cues(self, f: Families) -> None:
        self._cues = f.counter(
            "cue_writes_total", "Entries written to the cue log.", "stream", "type", "verb"
        )
        self._listed = f.histogram(
            "cue_accept_to_listed_seconds",
            "Acceptance of a cue to the first playlist that lists it being servable.",
            "stream",
            buckets=_LISTED_BUCKETS,
        )
        self._subscribers = f.counter(
            "cue_subscribers_dropped_total", "Cue streams closed for a slow reader.", "stream"
        )
        self._cue_refused = f.counter("cue_refused_total", "Cue requests refused.", "reason")

    def _declare_delivery(self, f: Families) -> None:
        self._requests = f.counter(
            "http_requests_total", "HTTP requests answered.", "route", "status"
        )
        self._request_s = f.histogram(
            "http_request_duration_seconds",
            "Time to answer, holds included.",
            "route",
            buckets=_REQUEST_BUCKETS,
        )
        self._bytes_out = f.counter(
            "stream_sent_bytes_total", "Body bytes sent to viewers.", "stream"
        )
        self._viewers = f.gauge("viewers", "Playing sessions.", "stream", "protocol")
        self._open = f.gauge("http_open", "What viewers hold open at this moment.", "what")
        self._refused = f.counter(
            "http_refused_total", "Viewers turned away or cut off, by reason.", "reason"
        )
        self._lag = f.histogram(
            "event_loop_lag_seconds",
            "How late the event loop woke a sleeper.",
            buckets=_LAG_BUCKETS,
        )
        self._failures = f.counter(
            "component_failures_total", "Supervised components that failed.", "component"
        )

    # ingest.source.IngestMeter

    def connection_opened(self, protocol: str) -> None:
        """A connection was accepted."""
        self._connections(protocol).inc()
        self._opened(protocol).inc()

    def connection_closed(self, protocol: str, reason: str) -> None:
        """It ended for `reason`."""
        self._connections(protocol).dec()
        self._closed(protocol, reason).inc()

    def rejected(self, protocol: str, reason: str) -> None:
        """It was refused or cut for the peer's fault."""
        self._rejected(protocol, reason).inc()

    def bytes_in(self, protocol: str, size: int) -> None:
        """`size` bytes were read from the network."""
        self._network(protocol).inc(size)

    # vitrina.hook.HookMeter

    def hook_asked(self, result: str, seconds: float) -> None:
        """The hook answered, or did not."""
        self._hook(result).inc()
        self._hook_time().observe(seconds)

    # media.meter.MediaMeter

    def media_in(self, stream: str, protocol: str, kind: str, frames: int, size: int) -> None:
        """Access units entered the stream."""
        self._frames_in(stream, protocol, kind).inc(frames)
        self._bytes_in(stream, protocol, kind).inc(size)

    def repaired(self, stream: str, reason: str, count: int = 1) -> None:
        """The timeline repaired source timestamps."""
        self._repairs(stream, reason).inc(count)

    def keyframe_interval(self, stream: str, seconds: float) -> None:
        """Time between the last two key frames of the source video."""
        self._keyframes(stream).set(seconds)

    def av_offset(self, stream: str, seconds: float) -> None:
        """Newest audio minus newest video, in seconds."""
        self._av(stream).set(seconds)

    def part_published(
        self, stream: str, rendition: str, jitter_s: float, latencies_s: Iterable[float]
    ) -> None:
        """A part became servable."""
        self._jitter(stream, rendition).observe(abs(jitter_s))
        observe = self._latency(stream, rendition).observe
        for latency_s in latencies_s:
            observe(latency_s)

    def gap(self, stream: str, rendition: str) -> None:
        """A segment was listed as EXT-X-GAP."""
        self._gaps(stream, rendition).inc()

    def discontinuity(self, stream: str) -> None:
        """EXT-X-DISCONTINUITY was placed in every rendition."""
        self._discontinuities(stream).inc()

    def playlist_held(self, seconds: float) -> None:
        """A blocking request waited this long."""
        self._held().observe(seconds)

    def rung(
        self, stream: str, rung: str, *, frames: int, speed: float, queue_age_s: float
    ) -> None:
        """A report of one rung's encoder."""
        self._rung_frames(stream, rung).inc(frames)
        self._rung_speed(stream, rung).set(speed)
        self._rung_age(stream, rung).set(queue_age_s)

    def dropped(self, stream: str, place: str, count: int) -> None:
        """Pictures were given up."""
        self._frames_dropped(stream, place).inc(count)

    def worker_restarted(self, stream: str, reason: str) -> None:
        """The transcode worker was started again."""
        self._restarts(stream, reason).inc()

    def slate(self, stream: str, seconds: float) -> None:
        """Viewers saw the slate for so long."""
        self._slate(stream).inc(seconds)

    def pressure(self, stream: str, step: int) -> None:
        """The ladder is at this step of its pressure rule."""
        self._pressure(stream).set(step)

    def switched(self, stream: str, reason: str) -> None:
        """Another encoder went on air."""
        self._switches(stream, reason).inc()

    def taken_over(self, stream: str, role: str) -> None:
        """A newer encoder came while the one of its role was sending well."""
        self._takeovers(stream, role).inc()

    def source(self, stream: str, role: str, *, health: float, on_air: bool) -> None:
        """Health and place of one encoder."""
        self._health(stream, role).set(health)
        self._active(stream, role).set(on_air)

    def finding(self, stream: str, code: str, change: str) -> None:
        """A finding opened, changed or closed; a code that nobody knows is `other`."""
        label = code if code in _CODES else OTHER
        self._findings(stream, label).set(change != Change.CLOSED)
        if change == Change.OPENED:
            self._findings_total(stream, label).inc()

    def forget(self, stream: str) -> None:
        """The stream is gone: drop its series."""
        for family in self._families.all:
            family.forget(stream)

    # restream.meter.RestreamMeter

    def restream_state(self, stream: str, target: str, state: int) -> None:
        """A target stands like this."""
        self._target_state(stream, target).set(state)

    def restream_sent(self, stream: str, target: str, size: int) -> None:
        """Bytes were handed to the network."""
        self._target_bytes(stream, target).inc(size)

    def restream_dropped(self, stream: str, target: str, count: int) -> None:
        """Access units were given up."""
        self._target_dropped(stream, target).inc(count)

    def restream_reconnected(self, stream: str, target: str) -> None:
        """A connection was made again."""
        self._target_reconnects(stream, target).inc()

    def restream_delay(self, stream: str, target: str, seconds: float) -> None:
        """Media waited here."""
        self._target_delay(stream, target).set(seconds)

    def restream_forget(self, stream: str, target: str) -> None:
        """A target is gone: drop its series."""
        for family in (
            self._target_state,
            self._target_bytes,
            self._target_dropped,
            self._target_reconnects,
            self._target_delay,
        ):
            family.forget(stream, target)

    # overlay.meter.OverlayMeter

    # `type` is the wire's word for it.
    def cue_written(self, stream: str, type: str, verb: str) -> None:  # noqa: A002
        """An entry was appended to the cue log."""
        self._cues(stream, type, verb).inc()

    def cue_listed(self, stream: str, seconds: float) -> None:
        """A cue became listed this long after it was accepted."""
        self._listed(stream).observe(seconds)

    def cue_refused(self, reason: str) -> None:
        """A cue request was refused."""
        self._cue_refused(reason).inc()

    def subscriber_dropped(self, stream: str) -> None:
        """A cue stream was closed because its reader fell behind."""
        self._subscribers(stream).inc()

    # delivery.meter.DeliveryMeter

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests(route, str(status)).inc()
        self._request_s(route).observe(seconds)

    def bytes_out(self, stream: str, count: int) -> None:
        """Body bytes were sent."""
        self._bytes_out(stream).inc(count)

    def viewers(self, stream: str, protocol: str, count: int) -> None:
        """Playing sessions of the stream."""
        self._viewers(stream, protocol).set(count)

    def open_now(self, connections: int, waiting: int, event_streams: int) -> None:
        """What is held open at this moment."""
        self._open("connections").set(connections)
        self._open("blocking_requests").set(waiting)
        self._open("event_streams").set(event_streams)

    def refused(self, reason: str) -> None:
        """A viewer's connection or request was turned away or cut off."""
        self._refused(reason).inc()

    # vitrina.supervise.SuperviseMeter

    def component_failed(self, component: str) -> None:
        """A supervised component ended with an exception."""
        self._failures(component).inc()

    async def run(
        self,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sample the event loop's lag until cancelled."""
        observe = self._lag().observe
        while True:
            due = monotonic() + LAG_INTERVAL_S
            await sleep(LAG_INTERVAL_S)
            observe(max(0.0, monotonic() - due))

    def exposition(self) -> tuple[bytes, str]:
        """Return the metrics in Prometheus' text format and their content type."""
        return generate_latest(self._registry), CONTENT_TYPE

    def reference(self) -> list[tuple[str, str, str]]:
        """Return (name, type, help) of every family, sorted: what docs/operations.md lists."""
        rows = []
        for metric in self._registry.collect():
            suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
            rows.append((metric.name + suffix, metric.type, metric.documentation))
        return sorted(rows)
