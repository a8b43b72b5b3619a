"""RTMP's client side and its server side, joined without a network."""

from __future__ import annotations

from ingest.rtmp.chunks import ChunkLimits
from ingest.rtmp.client import (
    ClientEvent,
    PublishStarted,
    RtmpPublishClient,
)
from ingest.rtmp.events import (
    Event,
    PublishRequested,
)
from ingest.rtmp.session import ServerSession
from media.bitstream import describe

LIMITS = ChunkLimits(max_message_bytes=2**24, max_partial_bytes=2**24, max_chunk_streams=64)


class Wire:
    """A client and a session, joined."""

    def __init__(self, *, reconnects: bool = False) -> None:
        url = "rtmp://h/live"
        self.client = RtmpPublishClient("live", url, "key", reconnects=reconnects)
        self.session = ServerSession(limits=LIMITS, describe=describe)
        self.said: list[ClientEvent] = []
        self.heard: list[Event] = []
        self.session.receive_data(self.client.start(), 0)

    def run(self) -> None:
        moving = True
        while moving:
            down = self.session.data_to_send()
            if down:
                self.said += self.client.receive_data(down)
            up = self.client.data_to_send()
            self.session.receive_data(up, 0)
            while (event := self.session.next_event()) is not None:
                self.heard.append(event)
            moving = bool(down or up)

    def publish(self) -> None:
        self.run()
        (request,) = self.heard
        assert isinstance(request, PublishRequested)
        assert request.key == "key"
        self.session.accept_publish()
        self.run()
        assert self.said == [PublishStarted()]
        self.heard.clear()
