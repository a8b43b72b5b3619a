"""What browsers report of a stream, as they send it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.delivery.whep.bench import VIDEO
from webrtc.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    TransportFeedback,
    serialise_rtcp,
)

BLOCK = ReportBlock(
    ssrc=VIDEO,
    fraction_lost=40,
    cumulative_lost=9,
    highest_sequence=65_540,
    jitter=300,
    last_sr=1,
    delay_since_last_sr=6000,
)


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield (target, label, input)."""
    said: dict[str, list[list[RtcpPacket]]] = {
        "losses": [
            [ReceiverReport(ssrc=1, reports=(BLOCK,))],
            [Nack(sender_ssrc=1, media_ssrc=VIDEO, lost=(65_531, 65_533, 2))],
            [Remb(sender_ssrc=1, bitrate=700_000, ssrcs=(VIDEO,))],
        ],
        "key-pictures": [
            [PictureLoss(sender_ssrc=1, media_ssrc=VIDEO)],
            [FullIntraRequest(sender_ssrc=1, entries=((VIDEO, 3),))],
            [PictureLoss(sender_ssrc=1, media_ssrc=VIDEO)],
        ],
        "arrivals": [
            [
                TransportFeedback(
                    sender_ssrc=1,
                    media_ssrc=VIDEO,
                    base_sequence=4 * turn,
                    status_count=4,
                    reference_time=100 + turn,
                    feedback_count=turn,
                    arrivals=((0, 4), (1, 9), (3, 300 + 90 * turn)),
                )
            ]
            for turn in range(12)
        ],
    }
    for label, turns in said.items():
        yield "whep_viewer", label, b"".join(_event(packets) for packets in turns)


def _event(packets: list[RtcpPacket]) -> bytes:
    datagram = serialise_rtcp(packets)
    return bytes((40,)) + len(datagram).to_bytes(2, "big") + datagram
