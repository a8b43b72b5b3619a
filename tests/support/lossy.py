"""A bad network on loopback: UDP relays between WebRTC peers, written into the SDP answers."""

from __future__ import annotations

import heapq
import random
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

HOST = "127.0.0.1"
_CANDIDATE = re.compile(r"a=candidate:(\S+) 1 udp (\d+) (\d+\.\d+\.\d+\.\d+) (\d+) typ host\r\n")
_CANDIDATES = re.compile(r"a=(candidate|end-of-candidates).*\r\n")
_SIZE = 65_536


@dataclass(kw_only=True)
class _Relay:
    target: tuple[str, int]
    front: socket.socket
    backs: dict[tuple[str, int], socket.socket]


class Network:
    """Drops datagrams at random and delays each by itself, both ways, so that they overtake.

    From `with` on; a thread of its own does it. `loss` is a share, `jitter_s` the most that a
    datagram is late. `ordered`: as in a queue, none overtakes another.
    """

    def __init__(
        self, *, loss: float, jitter_s: float, seed: int = 1, ordered: bool = False
    ) -> None:
        self.loss, self.jitter_s, self.ordered = loss, jitter_s, ordered
        self._last = {"out": 0.0, "in": 0.0}
        self.passed = self.dropped = 0
        self._luck = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[bytes], object], bytes]] = []
        self._order = count()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lossy", daemon=True)

    def __enter__(self) -> Network:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def through(self, answer: str) -> str:
        """Return the server's answer with a relay in place of its candidates."""
        found = _CANDIDATE.search(answer)
        assert found is not None, answer
        port = self._relay((found[3], int(found[4])))
        line = f"a=candidate:{found[1]} 1 udp {found[2]} {HOST} {port} typ host\r\n"
        before, after = answer[: found.start()], answer[found.end() :]
        return _CANDIDATES.sub("", before) + line + _CANDIDATES.sub("", after)

    def on(self, page: Page) -> None:
        """Lead what `page` watches by WHEP over this network."""

        def answered(route: Route) -> None:
            request = route.request
            if request.method == "PATCH":
                route.fulfill(status=204)  # its candidates would lead around the relay
            elif request.method != "POST":
                route.continue_()
            else:
                offer = _CANDIDATES.sub("", request.post_data or "")
                reply = route.fetch(post_data=offer)
                body = self.through(reply.text()) if reply.status == 201 else reply.text()
                route.fulfill(response=reply, body=body)

        page.route("**/whep/**", answered)

    # ── the thread ───────────────────────────────────────────────────────────────────────────

    def _relay(self, target: tuple[str, int]) -> int:
        relay = _Relay(target=target, front=_socket(), backs={})
        relay.front.bind((HOST, 0))
        self._selector.register(relay.front, selectors.EVENT_READ, lambda: self._out(relay))
        return int(relay.front.getsockname()[1])

    def _out(self, relay: _Relay) -> None:
        data, client = relay.front.recvfrom(_SIZE)
        back = relay.backs.get(client)
        if back is None:
            back = relay.backs[client] = _socket()
            back.connect(relay.target)
            take = self._in(relay.front, client, back)
            self._selector.register(back, selectors.EVENT_READ, take)
        self._pass(back.send, data, "out")

    def _in(
        self, front: socket.socket, client: tuple[str, int], back: socket.socket
    ) -> Callable[[], None]:
        return lambda: self._pass(lambda data: front.sendto(data, client), back.recv(_SIZE), "in")

    def _pass(self, send: Callable[[bytes], object], data: bytes, way: str) -> None:
        if self._luck.random() < self.loss:
            self.dropped += 1
            return
        self.passed += 1
        due = time.monotonic() + self._luck.random() * self.jitter_s
        if self.ordered:
            due = self._last[way] = max(due, self._last[way])
        heapq.heappush(self._due, (due, next(self._order), send, data))

    def _run(self) -> None:
        while not self._stopped.is_set():
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, send, data = heapq.heappop(self._due)
                _quietly(send, data)
            wait = self._due[0][0] - now if self._due else 0.05
            for key, _ in self._selector.select(min(wait, 0.05)):
                _quietly(key.data)


def _quietly(call: Callable[..., Any], *args: bytes) -> None:
    """Do without the errors of a socket whose peer has gone."""
    try:
        call(*args)
    except OSError:
        return


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.setblocking(False)
    return made
