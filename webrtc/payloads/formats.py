"""From an RTP payload format's name to its depacketizer, from a key unit to its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from media.bitstream import BitstreamError, av1, h264, hevc, hevc_sps, opus, vp8, vp9
from media.model import Codec
from webrtc.payloads.av1 import Av1Depacketizer
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.h264 import H264Depacketizer
from webrtc.payloads.hevc import HevcDepacketizer
from webrtc.payloads.opus import OpusDepacketizer
from webrtc.payloads.vp8 import Vp8Depacketizer
from webrtc.payloads.vp9 import Vp9Depacketizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webrtc.payloads.assembly import AccessUnit, Depacketizer

DEPACKETIZERS: Final[Mapping[str, type[Depacketizer]]] = {
    "AV1": Av1Depacketizer,
    "H264": H264Depacketizer,
    "H265": HevcDepacketizer,
    "OPUS": OpusDepacketizer,
    "VP8": Vp8Depacketizer,
    "VP9": Vp9Depacketizer,
}
"""By the encoding name of `a=rtpmap` in capitals (names ignore case, RFC 8866 6.6)."""


def configuration(codec: Codec, unit: AccessUnit) -> bytes:
    """Build what `TrackFormat.config` and `media.bitstream.describe` take from a key unit.

    For Opus it is stereo, as RFC 7587 has every payload decoded. Raises `PayloadError` where the
    unit or its parameter sets do not say it, and for codecs that are not sent over RTP here.
    """
    sets = unit.parameter_sets
    try:
        if codec is Codec.H264:
            return h264.build_avcc(
                [each for each in sets if each[0] & 0x1F == h264.NAL_SPS],
                [each for each in sets if each[0] & 0x1F == h264.NAL_PPS],
            )
        if codec is Codec.HEVC:
            kinds = (hevc.NAL_VPS, hevc_sps.NAL_SPS, hevc.NAL_PPS)
            return hevc.build_hvcc(
                *([each for each in sets if hevc.nal_type(each[0]) == kind] for kind in kinds)
            )
        if codec is Codec.AV1:
            return av1.build_av1c(b"".join(sets))
        if codec is Codec.VP9:
            return vp9.build_vpcc(unit.payload)
        if codec is Codec.VP8:
            vp8.dimensions(unit.payload)
            return unit.payload[: vp8.KEY_HEADER_BYTES]
    except BitstreamError as err:
        raise PayloadError(str(err)) from err
    if codec is Codec.OPUS:
        return opus.default_head(2)
    raise PayloadError(f"{codec} has no RTP payload format here.")
