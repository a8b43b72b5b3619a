"""GStreamer's webrtcbin as a WHIP publisher; run by the system's Python, which has its bindings.

/usr/bin/python3 tests/support/gst_whip.py URL KEY [H264|VP8]

Publishes `clapper`'s pictures and sound until SIGTERM, then deletes its session. Writes a line of
JSON for everything that a test wants to know.
"""

# ruff: noqa: E402  # bindings are chosen before they are imported
from __future__ import annotations

import json
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import gi

for namespace in ("Gst", "GstWebRTC", "GstSdp"):
    gi.require_version(namespace, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC

sys.path.insert(0, str(Path(__file__).parent))
import clapper

WIDTH, HEIGHT = 640, 360
ENCODERS = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=600"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1"
    " aggregate-mode=zero-latency",
    "VP8": "vp8enc deadline=1 cpu-used=8 target-bitrate=800000 keyframe-max-dist=600"
    " ! rtpvp8pay picture-id-mode=15-bit",
}
PIPELINE = """
webrtcbin name=peer bundle-policy=max-bundle
appsrc name=pictures is-live=true format=time caps=video/x-raw,format=I420,width={width},\
height={height},framerate={fps}/1 ! queue ! {encoder} pt=96
! application/x-rtp,media=video,encoding-name={codec},payload=96,clock-rate=90000 ! queue ! peer.
appsrc name=sound is-live=true format=time caps=audio/x-raw,format=S16LE,layout=interleaved,\
rate=48000,channels=2 ! queue ! opusenc ! rtpopuspay pt=97
! application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000 ! queue ! peer.
"""


def say(**what: object) -> None:
    """Write a line for the test."""
    print(json.dumps(what), flush=True)


class Publisher:
    """One session, from the offer to the end."""

    def __init__(self, url: str, key: str, codec: str) -> None:
        self.url, self.key = url, key
        self.location: str | None = None
        self.loop = GLib.MainLoop()
        encoder = ENCODERS[codec]
        text = PIPELINE.format(
            width=WIDTH, height=HEIGHT, fps=clapper.FPS, encoder=encoder, codec=codec
        )
        self.pipeline = Gst.parse_launch(text.replace("\n", " "))
        self.peer = self.pipeline.get_by_name("peer")
        for index in range(2):
            transceiver = self.peer.emit("get-transceiver", index)
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
            transceiver.set_property("do-nack", True)
        self.peer.connect("on-negotiation-needed", self._negotiate)
        self.peer.connect("notify::ice-gathering-state", self._gathered)
        self.peer.connect("notify::connection-state", self._connected)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self._failed)

    def run(self) -> None:
        """Publish until SIGTERM."""
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGTERM, self._leave)
        self.pipeline.set_state(Gst.State.PLAYING)
        start = time.monotonic()
        feeds = (
            ("pictures", 1 / clapper.FPS, lambda n: clapper.picture(WIDTH, HEIGHT, n)),
            ("sound", 0.02, clapper.sound),
        )
        for name, period, make in feeds:
            arguments = name, period, make, start
            threading.Thread(target=self._feed, args=arguments, daemon=True).start()
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)

    def _feed(self, name, period, make, start) -> None:
        source = self.pipeline.get_by_name(name)
        number = 0
        while True:
            time.sleep(max(0.0, start + number * period - time.monotonic()))
            buffer = Gst.Buffer.new_wrapped(make(number))
            buffer.pts = int(number * period * Gst.SECOND)
            buffer.duration = int(period * Gst.SECOND)
            source.emit("push-buffer", buffer)
            number += 1

    def _negotiate(self, peer) -> None:
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self._offered))

    def _offered(self, promise) -> None:
        reply = promise.get_reply()  # owns the offer
        offer = reply.get_value("offer")
        self.peer.emit("set-local-description", offer, Gst.Promise.new())

    def _gathered(self, peer, _) -> None:
        state = peer.get_property("ice-gathering-state")
        if state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self._post)

    def _request(self, method: str, url: str, body: bytes | None = None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/sdp"}
        return urllib.request.Request(url, body, headers, method=method)

    def _post(self) -> bool:
        offer = self.peer.get_property("local-description").sdp.as_text()
        say(offer=offer)
        try:
            with urllib.request.urlopen(self._request("POST", self.url, offer.encode())) as reply:
                answer = reply.read().decode()
                self.location = urljoin(self.url, reply.headers["Location"])
        except urllib.error.HTTPError as error:
            say(refused=error.code, text=error.read().decode())
            self.loop.quit()
            return False
        say(session=self.location, answer=answer)
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(
            GstWebRTC.WebRTCSDPType.ANSWER, message
        )
        self.peer.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def _connected(self, peer, _) -> None:
        state = peer.get_property("connection-state").value_nick
        say(state=state)
        if state in ("failed", "closed"):
            self.loop.quit()

    def _failed(self, _, message) -> None:
        say(error=str(message.parse_error()))
        self.loop.quit()

    def _leave(self) -> bool:
        if self.location is not None:
            with urllib.request.urlopen(self._request("DELETE", self.location)) as reply:
                say(deleted=reply.status)
        self.loop.quit()
        return False


if __name__ == "__main__":
    Gst.init(None)
    Publisher(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "H264").run()
