"""A process that makes one slate and ends: `python -m media.transcode.slate FD NICE MEMORY`.

FD is one end of a stream socket pair, inherited. It brings the access units since the last key
frame, then `MakeSlate`; the answer goes back. One thread; the process ends when the socket does.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from media.transcode.confine import confine
from media.transcode.libav import DecodeFailed, VideoDecoder
from media.transcode.making import film_slate, still_slate
from media.transcode.messages import MakeSlate, Source
from media.transcode.wire import Decoder, WireError, encode

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

READ_BYTES = 1 << 18
MAX_SOURCES = 2048
DECODE_SECONDS = 0.6
"""Viewers wait: after this the newest picture so far is taken."""
EXIT_WIRE = 76


def last_picture(make: MakeSlate, sources: list[Source]) -> VideoFrame | None:
    """Decode a run of access units that begins with a key frame; None where nothing can be."""
    if make.video is None or not sources:
        return None
    last: VideoFrame | None = None
    until = time.monotonic() + DECODE_SECONDS
    try:
        decoder = VideoDecoder(make.video, max_pixels=make.max_pixels)
        for source in sources:
            last = [last, *decoder.decode(source)][-1]
            if time.monotonic() > until:
                break
    except DecodeFailed:
        return last
    return [last, *decoder.flush()][-1]


def serve(sock: socket.socket) -> None:
    """Answer the first order that comes. Raises `WireError` and `OSError`."""
    decoder = Decoder()
    sources: list[Source] = []
    while data := sock.recv(READ_BYTES):
        for message in decoder.feed(data):
            match message:
                case Source():
                    if len(sources) < MAX_SOURCES:
                        sources.append(message)
                case MakeSlate(order=order) if order.image is not None:
                    sock.sendall(b"".join(encode(film_slate(message))))
                    return
                case MakeSlate():
                    answer = still_slate(message, last_picture(message, sources))
                    sock.sendall(b"".join(encode(answer)))
                    return
                case _:
                    raise WireError(f"{type(message).__name__} is not for a slate process")


def main(argv: list[str]) -> NoReturn:
    """Make one slate on the inherited socket `argv[1]`, niced by `argv[2]`."""
    descriptor = int(argv[1])
    confine(descriptor, nice=int(argv[2]), memory_bytes=int(argv[3]))
    try:
        serve(socket.socket(fileno=descriptor))
    except WireError as err:
        sys.stderr.write(f"{err}\n")
        os._exit(EXIT_WIRE)
    except OSError:
        pass  # the server left
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
