"""All streams of this server, by name."""

from __future__ import annotations

from media.stream import Host, Stream


class Registry:
    """Streams that exist."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._streams: dict[str, Stream] = {}

    def add(self, name: str) -> Stream:
        """Return the stream, new if need be."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Stream(name, self._host)
        return stream

    def get(self, name: str) -> Stream | None:
        """Return a stream that exists."""
        return self._streams.get(name)

    def all(self) -> list[Stream]:
        """Return every stream, by name."""
        return [self._streams[name] for name in sorted(self._streams)]

    def remove(self, name: str) -> None:
        """End a stream and forget it."""
        if (stream := self._streams.pop(name, None)) is not None:
            stream.end("The stream was removed.")
            self._host.meter.forget(name)

    def tick(self) -> None:
        """Let every stream see that time passes."""
        for stream in tuple(self._streams.values()):
            stream.tick()

    def end_all(self) -> None:
        """End every show, for a stop of the server."""
        for stream in self._streams.values():
            stream.end("The server is stopping; reconnect in a moment.")
