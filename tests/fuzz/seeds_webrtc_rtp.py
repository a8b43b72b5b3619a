"""The first inputs of the RTP and RTCP targets, shaped as browsers, OBS and ffmpeg send them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from media.bitstream.nal import join_length_prefixed
from tests.fuzz.targets_webrtc_rtp import AGREED, IDS
from tests.webrtc.payloads.h264_units import KEY as H264_KEY
from tests.webrtc.payloads.network import Packetizer
from tests.webrtc.payloads.test_codecs import PPS, SPS, VP8_KEY, VP9_KEY, VPS, hevc_nal
from webrtc.extensions import ExtensionMap, Extensions, build
from webrtc.header import HeaderWriter
from webrtc.payloads.h264 import H264Packetizer
from webrtc.payloads.hevc import HevcPacketizer
from webrtc.payloads.vp8 import Vp8Packetizer
from webrtc.payloads.vp9 import Vp9Packetizer
from webrtc.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    serialise_rtcp,
)
from webrtc.rtp import RtpPacket

OPUS = b"\xfc" + bytes(40)
HEVC_KEY = join_length_prefixed([VPS, SPS, PPS, hevc_nal(19, 80)])


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield (target, label, input)."""
    for label, packet in _rtp().items():
        yield "webrtc_rtp", label, packet
    for label, packets in _rtcp().items():
        yield "webrtc_rtcp", label, serialise_rtcp(packets)
    for label, order in _orders().items():
        yield (
            "webrtc_arrivals",
            label,
            b"".join(
                bytes((4,)) + (value & 0xFFFF).to_bytes(2, "big") + bytes((60,)) for value in order
            ),
        )
    yield from _publishers()


def _publishers() -> Iterator[tuple[str, str, bytes]]:
    """What agreed publishers send: pictures and sound, reports, a loss, a retransmission."""
    codecs: list[tuple[str, Packetizer, bytes]] = [
        ("obs", H264Packetizer(max_payload=400), H264_KEY),
        ("obs-layers", H264Packetizer(max_payload=400), H264_KEY),
        ("vp8", Vp8Packetizer(max_payload=60), VP8_KEY[:100]),
        ("vp9-layers", Vp9Packetizer(max_payload=60), VP9_KEY[:100]),
        ("hevc", HevcPacketizer(max_payload=60), HEVC_KEY),
    ]
    for number, (label, packetizer, key) in enumerate(codecs):
        agreed = AGREED[number]
        events = [bytes((number,))]
        ids = ExtensionMap.from_uris(
            {each.id: each.uri for section in agreed.sections for each in section.extensions}
        )
        for index, section in enumerate(agreed.sections):
            assert section.payload_type is not None
            sound = section.kind.value == "audio"
            ssrc = 0x1000 + index
            rid = section.rids[0] if section.rids else None
            profile, extension = ids.build(
                Extensions(mid=section.mid, rid=rid, transport_sequence=7)
            )
            payloads = [(OPUS, False)] if sound else packetizer.packetize(key)
            packet = RtpPacket(
                section.payload_type.number, False, 0, 9000, ssrc, b"", (), profile, extension
            )
            for turn in range(2):
                for place, (payload, marker) in enumerate(payloads):
                    found = packet._replace(
                        payload=payload,
                        marker=marker,
                        sequence=turn * len(payloads) + place + turn,
                        timestamp=9000 + turn * 3000,
                    ).serialise()
                    events.append(_event(found, form=0))
            if section.rtx_payload_type is not None:
                again = packet._replace(
                    payload_type=section.rtx_payload_type,
                    ssrc=ssrc + 0x100,
                    payload=len(payloads).to_bytes(2, "big") + payloads[0][0],
                )
                events.append(_event(again.serialise(), form=0))
            report = SenderReport(
                ssrc=ssrc, ntp=1 << 63, rtp_timestamp=9000, packet_count=9, octet_count=9
            )
            events.append(_event(serialise_rtcp([report]), form=0x80))
            if sound:
                bye = serialise_rtcp([Goodbye(ssrcs=(ssrc,))])
                events.append(_event(bye, form=0x80))
        yield "whip_receiver", label, b"".join(events)


def _event(datagram: bytes, *, form: int) -> bytes:
    return bytes((20, form)) + len(datagram).to_bytes(2, "big") + datagram


def _rtp() -> dict[str, bytes]:
    plain = RtpPacket(111, True, 65_535, 2**32 - 1, 0x1234, b"payload")
    layer = Extensions(mid="1", rid="hi", abs_send_time=5, transport_sequence=9)
    sound = Extensions(mid="0", audio_level=30, voice=True)
    rtx = Extensions(mid="1", repaired_rid="hi", transport_sequence=10)
    found = {"plain": plain.serialise()}
    for label, values in {"layer": layer, "sound": sound, "rtx": rtx}.items():
        profile, extension = IDS.build(values)
        packet = plain._replace(profile=profile, extension=extension)
        found[label] = packet.serialise()
    profile, extension = build({1: b"1", 200: bytes(20)})
    found["two-byte"] = plain._replace(profile=profile, extension=extension).serialise()
    found["probe"] = plain._replace(payload=b"", padding=224).serialise()
    found["mixed"] = plain._replace(csrc=(1, 2), padding=4).serialise()
    writer = HeaderWriter(ssrc=1, payload_type=96, ids=IDS, mid="0")
    found["quick"] = writer.write(b"x" * 40, marker=True, sequence=1, timestamp=2)
    return found


def _rtcp() -> dict[str, list[RtcpPacket]]:
    block = ReportBlock(
        ssrc=1,
        fraction_lost=9,
        cumulative_lost=-1,
        highest_sequence=70_000,
        jitter=30,
        last_sr=77,
        delay_since_last_sr=65_536,
    )
    names = SourceDescription(names=((1, b"stream@host"),))
    report = SenderReport(
        ssrc=1, ntp=0xEC00 << 48, rtp_timestamp=3, packet_count=4, octet_count=5, reports=(block,)
    )
    begin = SenderReport(
        ssrc=1, ntp=0xEC00 << 48, rtp_timestamp=2**32 - 1, packet_count=0, octet_count=0
    )
    feedback = TransportFeedback(
        sender_ssrc=1,
        media_ssrc=2,
        base_sequence=65_530,
        status_count=60,
        reference_time=1000,
        feedback_count=7,
        arrivals=((0, 3), (1, 300), (2, 290), (9, 400), *((at, 400 + at) for at in range(20, 50))),
    )
    lost = Nack(sender_ssrc=1, media_ssrc=2, lost=(65_535, 0, 7, 100))
    return {
        "sender": [report, names],
        "empty-sender": [begin, names],
        "receiver": [ReceiverReport(ssrc=9, reports=(block, block)), lost],
        "reduced": [PictureLoss(sender_ssrc=1, media_ssrc=2)],
        "intra": [FullIntraRequest(sender_ssrc=1, entries=((2, 3), (4, 5)))],
        "bandwidth": [Remb(sender_ssrc=1, bitrate=2_500_000, ssrcs=(2, 3))],
        "transport": [feedback],
        "goodbye": [ReceiverReport(ssrc=9), names, Goodbye(ssrcs=(1, 2))],
    }


def _orders() -> dict[str, list[int]]:
    chance = random.Random(5)
    order = list(range(65_500, 65_600))
    lossy = [each for each in order if chance.random() > 0.1]
    shuffled = sorted(lossy, key=lambda each: each + chance.uniform(0, 5))
    return {
        "in-order": order,
        "lossy": lossy,
        "shuffled": [*shuffled[:60], *shuffled[50:70], *shuffled[60:]],
        "restart": [*order[:20], 30_000, *order[20:30], *range(9_000, 9_030), *range(8_990, 9_010)],
    }
