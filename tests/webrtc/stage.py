"""A peer of ours and one of aiortc's, connected."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from aioice.stun import Class, Message, Method
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from webrtc.peer import Credentials, Peer, make_certificate

HOST = "127.0.0.1"


async def until(probe: Callable[[], object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not probe():
            await asyncio.sleep(0.005)


def attribute(sdp: str, name: str) -> str:
    found = re.search(rf"^a={name}:(.*?)\r?$", sdp, re.MULTILINE)
    assert found is not None
    return found[1]


def remote_of(sdp: str) -> Credentials:
    prints = re.findall(r"^a=fingerprint:(\S+) (\S+)", sdp, re.MULTILINE)
    return Credentials(
        ufrag=attribute(sdp, "ice-ufrag"),
        password=attribute(sdp, "ice-pwd"),
        fingerprints=tuple(pair for pair in prints if pair[0] == "sha-256"),
    )


def answer_of(offer: str, peer: Peer) -> str:
    """As a server answers: every section taken, passive, candidates included."""
    sections = re.split(r"(?=^m=)", offer, flags=re.MULTILINE)[1:]
    local = peer.local
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    mids = " ".join(attribute(section, "mid") for section in sections)
    lines.append(f"a=group:BUNDLE {mids}")
    for section in sections:
        lines += [section.splitlines()[0], "c=IN IP4 0.0.0.0", f"a=mid:{attribute(section, 'mid')}"]
        lines += [f"a=ice-ufrag:{local.ufrag}", f"a=ice-pwd:{local.password}", "a=setup:passive"]
        lines += [f"a=fingerprint:{name} {value}" for name, value in local.fingerprints]
        lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in peer.candidates]
        lines.append("a=end-of-candidates")
        if section.startswith("m=application"):
            lines += ["a=sctp-port:5000", "a=max-message-size:65536"]
        else:
            lines += ["a=recvonly", "a=rtcp-mux"]
            lines += re.findall(r"^a=rtpmap:.*?(?=\r?$)", section, re.MULTILINE)
    return "\r\n".join(lines) + "\r\n"


class Stage:
    """A peer of ours that notes what arrives, and aiortc's that sends silence to it."""

    def __init__(self, ports: tuple[int, int] = (0, 0)) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.peer = Peer(
            certificate=make_certificate(),
            ports=ports,
            hosts=[HOST],
            rtp=lambda data, _: self.rtp.append(data),
            rtcp=lambda data, _: self.rtcp.append(data),
        )
        self.other = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.other.addTrack(AudioStreamTrack())
        self.channel = self.other.createDataChannel("notes")
        self.offer = ""

    async def negotiate(self) -> Credentials:
        await self.peer.open()
        await self.other.setLocalDescription(await self.other.createOffer())
        self.offer = self.other.localDescription.sdp
        return remote_of(self.offer)

    async def answer(self) -> None:
        sdp = answer_of(self.offer, self.peer)
        await self.other.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))


def check(peer: Peer, *, priority: bool = True) -> bytes:
    """A connectivity check as the peer itself makes it."""
    message = Message(message_method=Method.BINDING, message_class=Class.REQUEST)
    message.attributes["USERNAME"] = f"{peer.local.ufrag}:theirs"
    if priority:
        message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 5
    message.add_message_integrity(peer.local.password.encode())
    return bytes(message)
