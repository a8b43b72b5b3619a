"""What the publisher is told: RTCP datagrams (RFC 3550, 4585, 5104, 5506)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webrtc.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    RtcpPacket,
    SourceDescription,
    serialise_rtcp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.whip.router import Slot
    from webrtc.rtcp import ReportBlock
    from webrtc.twcc import TransportFeedback

MAX_BLOCKS = 31


class Feedback:
    """Writes RTCP datagrams and hands them to `send`.

    `ssrc`: our own, in every packet; `cname`: our name, unique to the session; `reduced`: whether
    both sides take datagrams without a report (RFC 5506).
    """

    def __init__(
        self, send: Callable[[bytes], None], *, ssrc: int, cname: bytes, reduced: bool
    ) -> None:
        self._send = send
        self._ssrc = ssrc
        self._name = SourceDescription(names=((ssrc, cname),))
        self._reduced = reduced
        self._commands: dict[int, int] = {}

    def nack(self, media_ssrc: int, lost: Sequence[int]) -> None:
        """Ask for packets again."""
        self._write([Nack(sender_ssrc=self._ssrc, media_ssrc=media_ssrc, lost=tuple(lost))])

    def key(self, slot: Slot, media_ssrc: int) -> bool:
        """Ask for a key frame by PLI, or by FIR; False where the peer takes neither."""
        feedback = slot.section.feedback
        if "nack pli" in feedback:
            self._write([PictureLoss(sender_ssrc=self._ssrc, media_ssrc=media_ssrc)])
        elif "ccm fir" in feedback:
            number = self._commands.get(media_ssrc, -1) + 1 & 0xFF
            self._commands = {**self._commands, media_ssrc: number}
            request = FullIntraRequest(sender_ssrc=self._ssrc, entries=((media_ssrc, number),))
            self._write([request])
        else:
            return False
        return True

    def forget(self, media_ssrc: int) -> None:
        """Forget a stream that ended."""
        self._commands.pop(media_ssrc, None)

    def arrivals(self, found: Sequence[TransportFeedback]) -> None:
        """Tell when packets arrived (transport-wide congestion control)."""
        for each in found:
            self._write([each])

    def report(
        self, blocks: Sequence[ReportBlock], remb: tuple[int, tuple[int, ...]] | None
    ) -> None:
        """Send the receiver's report; `remb`: a bandwidth (bit/s) and the SSRCs that share it."""
        packets: list[RtcpPacket] = [
            ReceiverReport(ssrc=self._ssrc, reports=tuple(blocks[:MAX_BLOCKS])),
            self._name,
        ]
        if remb is not None:
            packets.append(Remb(sender_ssrc=self._ssrc, bitrate=remb[0], ssrcs=remb[1]))
        self._send(serialise_rtcp(packets))

    def _write(self, packets: list[RtcpPacket]) -> None:
        if not self._reduced:
            # RFC 3550 6.1: a compound packet begins with a report and has a CNAME.
            packets = [ReceiverReport(ssrc=self._ssrc), self._name, *packets]
        self._send(serialise_rtcp(packets))
