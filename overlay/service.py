"""The operations behind the producer's API and the viewer's state.

All methods run on the event loop. A write is decided on a copy of the timeline, committed to the
log, and only then seen by carriers and readers; a write that fails changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeAlias

from overlay.answers import answer
from overlay.bucket import TokenBucket
from overlay.carriers.chapters import chapters_json, chapters_vtt
from overlay.cue import read_batch, read_cue, read_patch
from overlay.drafts import Draft, Limits
from overlay.entry import compact_json
from overlay.errors import Conflict, CueError, FieldError, Invalid, NotFound, TooMany, Unavailable
from overlay.feed import CueFeed
from overlay.schedule import present
from overlay.show import KEEP_ENTRIES, StreamCues
from overlay.subscribers import PAGE_ENTRIES, Subscription
from overlay.times import format_ms
from storage.database import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from config.settings import CuesSettings
    from overlay.cue import AnyCue
    from overlay.entry import Entry
    from overlay.log import CueLog
    from overlay.meter import OverlayMeter
    from overlay.seams import LiveStream, ProductLookup, ShowClock, StreamDirectory

# `CueService.list` takes the builtin's name inside the class.
Objects: TypeAlias = "list[dict[str, Any]]"
Entries: TypeAlias = "list[Entry]"
Cues: TypeAlias = "list[AnyCue]"
Verbs: TypeAlias = "list[tuple[str, Entry]]"

BURST = 4
"""A burst of writes, as a multiple of the rate a second."""
MAX_BEHIND = KEEP_ENTRIES
"""How far back a viewer may resume; one further behind reads the state first. Anybody may ask, and
a log of years would be read for each."""
MAX_READS = 2
"""Pages of the log read at once: the database has four connections, and writes need them."""
_MAX_KEY = 200


class CueService:
    """Cues of all streams. Every method may raise a `CueError`."""

    def __init__(
        self,
        *,
        log: CueLog,
        streams: StreamDirectory,
        products: ProductLookup,
        meter: OverlayMeter,
        settings: CuesSettings,
        wall_ms: Callable[[], int],
        now_s: Callable[[], float],
    ) -> None:
        """`wall_ms`: UTC now, ms since 1970. `now_s`: a monotonic clock, seconds."""
        self._log = log
        self._streams = streams
        self._products = products
        self._meter = meter
        self._settings = settings
        self._wall_ms = wall_ms
        self._now_s = now_s
        self._limits = Limits(
            max_live=settings.max_live, max_ahead_ms=round(settings.max_ahead_s * 1000)
        )
        self._cues: dict[str, StreamCues] = {}
        self._reads = asyncio.Semaphore(MAX_READS)

    # ── life cycle ───────────────────────────────────────────────────────────────────────────

    async def load(self) -> None:
        """Read the logs back, once, before the first show. Raises `LogUnavailable`."""
        for name, entries in (await self._log.newest(KEEP_ENTRIES)).items():
            self._of(name).apply(entries, now_ms=self._wall_ms())

    def feed(self, stream: str, clock: ShowClock) -> CueFeed:
        """Return the cues of a new show, for its renditions; replaces the feed of the last."""
        cues = self._of(stream)
        cues.feed = CueFeed(
            stream=stream,
            timeline=cues.timeline,
            clock=clock,
            meter=self._meter,
            now_s=self._now_s,
        )
        return cues.feed

    async def forget(self, stream: str) -> None:
        """Drop a removed stream from memory and close its readers; the log stays."""
        cues = self._cues.pop(stream, None)
        if cues is not None:
            for subscription in list(cues.subscriptions):
                await subscription.aclose()

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    async def fire(
        self, stream: str, body: object, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Fire or schedule a cue. `body`: the decoded JSON of the request."""
        with self._counted():
            cue = read_cue(body)
            await self._check_products([cue], batch=False)

            def decide(draft: Draft) -> Entries:
                return [draft.fire(_new_id(), cue)]

            (fired,) = await self._write(
                stream, decide, 1, _request("fire", "", body, idempotency_key)
            )
            return fired

    async def batch(
        self, stream: str, body: object, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Fire several cues, all or none: `{"cues": [...]}` in, `{"cues": [answers]}` out."""
        with self._counted():
            batch = read_batch(body)
            await self._check_products(batch, batch=True)

            def decide(draft: Draft) -> Entries:
                fired = []
                for index, cue in enumerate(batch):
                    with _named(f"cues.{index}"):
                        fired.append(draft.fire(_new_id(), cue))
                return fired

            request = _request("batch", "", body, idempotency_key)
            return {"cues": await self._write(stream, decide, len(batch), request)}

    async def revise(
        self, stream: str, cue_id: str, body: object, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Change a cue's data or end, from the present on."""
        with self._counted():
            patch = read_patch(body)
            sku = (patch.data or {}).get("sku")
            if isinstance(sku, str):
                await self._check_skus({"data.sku": sku})
            request = _request("revise", cue_id, body, idempotency_key)
            (entry,) = await self._write(
                stream, lambda draft: [draft.revise(cue_id, patch)], 1, request
            )
            return entry

    async def end(
        self, stream: str, cue_id: str, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """End a cue at the present."""
        with self._counted():
            request = _request("end", cue_id, None, idempotency_key)
            (entry,) = await self._write(stream, lambda draft: [draft.end(cue_id)], 1, request)
            return entry

    async def retract(
        self, stream: str, cue_id: str, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Take a cue back, also one that lies ahead or is over."""
        with self._counted():
            request = _request("retract", cue_id, None, idempotency_key)
            (entry,) = await self._write(stream, lambda draft: [draft.retract(cue_id)], 1, request)
            return entry

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    async def get(self, stream: str, cue_id: str) -> dict[str, Any]:
        """Return one cue at its highest revision, as a write would answer."""
        live = self._stream(stream)
        cues = self._of(stream)
        latest = cues.timeline.latest(cue_id)
        if latest is None and len(cue_id) <= 40:
            revisions = await self._log.revisions(stream, cue_id)
            latest = revisions[-1] if revisions else None
        if latest is None:
            raise NotFound(f"stream {stream!r} has no cue {cue_id[:80]!r}")
        moment = present(stream, live, wall_ms=self._wall_ms())
        return answer(latest, now_ms=moment.now_ms, stream=live, feed=cues.feed)

    async def list(
        self, stream: str, *, after: int = 0, at_ms: int | None = None, limit: int = 500
    ) -> dict[str, Any]:
        """Return entries of the log with `seq > after`, or, with `at_ms`, the cues active then.

        `{"cues": [...], "seq": newest of the log, "more": whether to ask again after the last}`.
        """
        if at_ms is not None:
            state = self.state_at(stream, at_ms)
            return {"cues": state["cues"], "seq": state["seq"], "more": False}
        self._stream(stream)
        cues = self._of(stream)
        entries = await self._page(cues, after, limit)
        newest = cues.timeline.last_seq
        return {
            "cues": [entry.event() for entry in entries],
            "seq": newest,
            "more": bool(entries) and entries[-1].seq < newest,
        }

    def state_at(self, stream: str, utc_ms: int | None = None) -> dict[str, Any]:
        """Return the cues active at a moment of program date-time; None: at the present.

        The object is shared by all who ask for that moment: do not change it.
        """
        live = self._stream(stream)
        cues = self._of(stream)
        if utc_ms is None:
            utc_ms = present(stream, live, wall_ms=self._wall_ms()).now_ms
        newest = cues.timeline.last_seq
        if cues.last_state is not None and cues.last_state[:2] == (newest, utc_ms):
            return cues.last_state[2]
        state = {
            "stream": stream,
            "at": format_ms(utc_ms),
            "seq": newest,
            "cues": [entry.event() for entry in cues.timeline.active(utc_ms)],
        }
        cues.last_state = (newest, utc_ms, state)
        return state

    def pending(self, stream: str, *, after: int, at_ms: int, limit: int) -> Objects:
        """Return entries with `seq > after`, and those whose time lies after `at_ms`.

        Oldest first, of them all the newest `limit`, and of those in memory: cues that were over
        long ago may be missing.
        """
        self._stream(stream)
        found = [
            entry
            for entry in self._of(stream).timeline.entries()
            if entry.seq > after or entry.effective_ms > at_ms
        ]
        return [entry.event() for entry in found[-limit:]]

    def chapters(self, stream: str) -> Objects:
        """Return the chapters so far, as HLS players read them."""
        entries, origin_ms, now_ms = self._chapters(stream)
        return chapters_json(entries, origin_ms=origin_ms, now_ms=now_ms)

    def chapters_vtt(self, stream: str, *, language: str | None = None) -> str:
        """Return the chapters so far as WebVTT."""
        entries, origin_ms, now_ms = self._chapters(stream)
        return chapters_vtt(entries, origin_ms=origin_ms, now_ms=now_ms, language=language)

    def subscribe(self, stream: str, after_seq: int | None = None) -> Subscription:
        """Return an async iterator over entries after a number, then over each new one.

        None: new ones only. At most the newest `MAX_BEHIND` are caught up with. Close it with
        `aclose`. It ends when its reader falls behind.
        """
        self._stream(stream)
        cues = self._of(stream)
        newest = cues.timeline.last_seq
        # A number from another life of the database would wait for ever.
        oldest = max(0, newest - MAX_BEHIND)
        after = newest if after_seq is None else max(oldest, min(after_seq, newest))
        subscription = Subscription(
            after=after,
            behind=after < newest,
            read_page=lambda last: self._page(cues, last, PAGE_ENTRIES),
            on_close=cues.subscriptions.discard,
        )
        cues.subscriptions.add(subscription)
        return subscription

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _of(self, stream: str) -> StreamCues:
        cues = self._cues.get(stream)
        if cues is None:
            rate = self._settings.writes_per_second
            bucket = TokenBucket(rate=rate, burst=max(1.0, rate * BURST))
            cues = StreamCues(name=stream, bucket=bucket, meter=self._meter)
            self._cues[stream] = cues
        return cues

    def _stream(self, name: str) -> LiveStream:
        found = self._streams.get(name)
        if found is None:
            raise NotFound(f"there is no stream {name[:80]!r}")
        return found

    async def _page(self, cues: StreamCues, after: int, limit: int) -> Entries:
        """Return entries after a number: from memory where it holds them without a gap."""
        held = cues.timeline.entries(after)[:limit]
        if after >= cues.timeline.last_seq:
            return []
        if held and held[0].seq == after + 1 and held[-1].seq == after + len(held):
            return held
        async with self._reads:
            return await self._log.page(cues.name, after=after, limit=limit)

    def _chapters(self, stream: str) -> tuple[Entries, int, int]:
        """Return the chapters of this show that have begun, its beginning and its present."""
        live = self._stream(stream)
        now_ms = present(stream, live, wall_ms=self._wall_ms()).now_ms
        begun = [e for e in self._of(stream).timeline.chapters() if e.at_ms <= now_ms]
        if live.clock is None:
            return begun, begun[0].at_ms if begun else 0, now_ms
        origin_ms = live.clock.utc_ms(0)
        return (
            [e for e in begun if e.end_ms is None or e.end_ms > origin_ms],
            origin_ms,
            now_ms,
        )

    async def _check_products(self, cues: Cues, *, batch: bool) -> None:
        named = {}
        for index, cue in enumerate(cues):
            sku = getattr(cue.data, "sku", None)
            if isinstance(sku, str) and cue.type != "custom":
                named[f"cues.{index}.data.sku" if batch else "data.sku"] = sku
        if named:
            await self._check_skus(named)

    async def _check_skus(self, named: dict[str, str]) -> None:
        try:
            missing = await self._products.missing(set(named.values()))
        except DatabaseUnavailable as err:
            raise Unavailable(f"the catalogue cannot be read: {err}") from err
        if missing:
            raise Invalid(
                [
                    FieldError(field=field, detail=f"{sku!r} is not in the catalogue")
                    for field, sku in named.items()
                    if sku in missing
                ]
            )

    async def _write(
        self,
        stream: str,
        decide: Callable[[Draft], Entries],
        cost: int,
        request: _Request,
    ) -> Objects:
        accepted_s = self._now_s()
        self._stream(stream)
        cues = self._of(stream)
        wait_s = cues.bucket.take(cost, accepted_s)
        if wait_s:
            raise TooMany(
                f"{self._settings.writes_per_second:g} cue writes a second are allowed on a "
                f"stream; try again in {wait_s:.1f} s",
                retry_after_s=wait_s,
            )
        async with cues.writing:
            drafted: Verbs = []
            async with self._log.transaction(stream) as transaction:
                if request.key is not None:
                    known = await transaction.recall(request.key, now_ms=self._wall_ms())
                    if known is not None:
                        if known.body_digest != request.digest:
                            raise Conflict(
                                "this Idempotency-Key was used for another request; "
                                "take a new key for a new cue"
                            )
                        answered: Objects = json.loads(known.answer)
                        return answered
                await self._catch_up(cues, await transaction.last_seq(), transaction.page)
                # From here to the commit nothing may take long: the edge moves on.
                live = self._stream(stream)
                wall_ms = self._wall_ms()
                moment = present(stream, live, wall_ms=wall_ms)
                draft = Draft(cues.timeline, moment, limits=self._limits, issued_at_ms=wall_ms)
                written = decide(draft)
                answers = [
                    answer(entry, now_ms=moment.now_ms, stream=live, feed=cues.feed)
                    for entry in written
                ]
                drafted = draft.entries
                await transaction.append([entry for _, entry in drafted])
                if request.key is not None:
                    await transaction.remember(
                        request.key,
                        body_digest=request.digest,
                        answer=compact_json(answers),
                        now_ms=wall_ms,
                    )
            cues.apply([entry for _, entry in drafted], now_ms=moment.now_ms, accepted_s=accepted_s)
        for verb, entry in drafted:
            self._meter.cue_written(stream, entry.type, verb)
        return answers

    async def _catch_up(
        self,
        cues: StreamCues,
        newest: int,
        read_page: Callable[[int, int], Awaitable[Entries]],
    ) -> None:
        """Take over what the log holds and memory does not.

        Another process wrote, or a write was committed after its request had been cancelled.
        """
        while cues.timeline.last_seq < newest:
            page = await read_page(cues.timeline.last_seq, KEEP_ENTRIES)
            if not page:
                return
            cues.apply(page, now_ms=self._wall_ms())

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except CueError as err:
            self._meter.cue_refused(err.reason)
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A request as its Idempotency-Key remembers it."""

    key: str | None
    digest: str


def _request(verb: str, cue_id: str, body: object, key: str | None) -> _Request:
    if key is not None and not (1 <= len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        raise Invalid.of("Idempotency-Key", f"must be 1 to {_MAX_KEY} printable ASCII characters")
    told = json.dumps([verb, cue_id, body], sort_keys=True, separators=(",", ":"))
    return _Request(key=key, digest=sha256(told.encode()).hexdigest())


@contextmanager
def _named(prefix: str) -> Iterator[None]:
    """Name the cue of a batch that an error is about."""
    try:
        yield
    except Invalid as err:
        raise Invalid(
            [FieldError(field=f"{prefix}.{e.field}", detail=e.detail) for e in err.errors]
        ) from err
    except Conflict as err:
        raise Conflict(f"{prefix}: {err.detail}") from err


def _new_id() -> str:
    return f"c_{token_hex(8)}"
