"""The worker process: `python -m media.transcode.worker FD NICE MEMORY`.

FD is one end of a stream socket pair, inherited. The main thread reads it; `decode-video`,
`decode-audio`, `decode-opus` once somebody listens, one `rung-NAME` each and `report` do the rest.
The process ends when the socket does, so that none outlives the server.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from media.heap import heap_trimmer
from media.model import Kind
from media.transcode.confine import confine
from media.transcode.decoding import AudioThread, VideoThread
from media.transcode.libav import EncoderFailed
from media.transcode.messages import (
    Boundary,
    Configure,
    Fault,
    Finish,
    KeyWanted,
    Listen,
    MakeSlate,
    Relief,
    Report,
    Source,
)
from media.transcode.plan import AUDIO, OPUS
from media.transcode.wire import Decoder, encode

if TYPE_CHECKING:
    from media.transcode.messages import FromWorker, ToWorker

REPORT_SECONDS = 0.5
REPORTS_A_TRIM = 60
READ_BYTES = 1 << 18
EXIT_FAULT = 71
EXIT_WIRE = 76


class Outlet:
    """Writes whole frames to the socket, from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, message: FromWorker) -> None:
        """Send one message; blocks while the server does not read, ends the process if it left."""
        data = b"".join(encode(message))
        try:
            with self._lock:
                self._sock.sendall(data)
        except OSError:
            os._exit(0)


class Worker:
    """Wires the threads together and reads the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._outlet = Outlet(sock)
        self._video = VideoThread(send=self._outlet.send, failed=self._fail)
        self._audio = AudioThread(AUDIO, send=self._outlet.send, failed=self._fail)
        self._opus = AudioThread(OPUS, send=self._outlet.send, failed=self._fail)
        self._listened = False
        """Somebody has listened: a thread more, and its stack, are worth it."""
        self._finished = threading.Event()

    def run(self) -> None:
        """Serve until `Finish` is worked off; the end of the socket ends the process at once."""
        self._outlet.send(self._report())
        self._video.start()
        self._audio.start()
        reporter = threading.Thread(target=self._report_forever, name="report", daemon=True)
        reporter.start()
        decoder = Decoder()
        while True:
            data = self._sock.recv(READ_BYTES)
            if not data:
                os._exit(0)
            for message in decoder.feed(data):
                if not self._dispatch(message):
                    self._video.join()
                    self._audio.join()
                    if self._listened:
                        self._opus.join()
                    self._finished.set()
                    reporter.join()
                    self._outlet.send(self._report())
                    return

    def _dispatch(self, message: ToWorker | FromWorker) -> bool:
        match message:
            case Listen():
                if not self._listened:
                    self._listened = True
                    self._opus.start()
                self._opus.inbox.put(message)
            case Source(realtime=True):
                if self._listened:
                    self._opus.inbox.put(message)
            case Source(kind=Kind.AUDIO):
                self._audio.inbox.put(message)
            case Source() | Boundary() | MakeSlate():
                self._video.inbox.put(message)
            case Relief():
                self._video.relieve(message)
            case KeyWanted():
                self._video.want_key(message.rung)
            case Configure():
                self._video.inbox.put(message)
                self._audio.inbox.put(message)
            case Finish():
                self._video.inbox.put(message)
                self._audio.inbox.put(message)
                self._opus.inbox.put(message)
                return False
        return True

    def _report_forever(self) -> None:
        try:
            self._report_on()
        except Exception as err:  # the thread's fault boundary: the process ends with a reason
            self._fail(err)

    def _report_on(self) -> None:
        # Not at the start, when viewers wait for the first picture, but before the first slate.
        from media.transcode import lettering

        lettering.warm()
        trim = heap_trimmer()
        reports = 0
        while not self._finished.wait(REPORT_SECONDS):
            self._outlet.send(self._report())
            reports += 1
            # Pictures of all sizes come and go, and the holes between them add up over a show.
            if trim is not None and reports % REPORTS_A_TRIM == 0:
                trim()

    def _report(self) -> Report:
        now = time.monotonic_ns()
        return Report(
            consumed=self._video.consumed + self._audio.consumed + self._opus.consumed,
            decode_errors=self._video.errors + self._audio.errors + self._opus.errors,
            skipped=self._video.skipped,
            decode_age_ms=max(self._video.inbox.age_ns(), self._audio.inbox.age_ns()) // 1_000_000,
            catching_up=self._video.catching_up,
            rungs=tuple(rung.report(now) for rung in self._video.rungs),
        )

    def _fail(self, err: Exception) -> None:
        """End the process, telling why. Called by the thread that broke."""
        if not isinstance(err, EncoderFailed):
            sys.excepthook(type(err), err, err.__traceback__)
            sys.stderr.flush()
        self._outlet.send(Fault(text=str(err) or type(err).__name__))
        os._exit(EXIT_FAULT)


def main(argv: list[str]) -> NoReturn:
    """Run a worker on the inherited socket `argv[1]`, niced by `argv[2]`, in `argv[3]` bytes."""
    descriptor = int(argv[1])
    confine(descriptor, nice=int(argv[2]), memory_bytes=int(argv[3]))
    Worker(socket.socket(fileno=descriptor)).run()
    # FFmpeg's own exit handlers have nothing to save, and take time.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
