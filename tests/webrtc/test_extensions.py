"""Header extensions against bytes laid out by hand from RFC 8285, and any bytes at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc.packets import media, u16
from webrtc.extensions import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    ExtensionMap,
    Extensions,
    build,
    elements,
)
from webrtc.header import HeaderWriter, abs_send_time
from webrtc.rtp import RtpError, RtpPacket, parse_rtp

pytestmark = pytest.mark.unit

IDS = ExtensionMap(mid=1, rid=2, repaired_rid=3, abs_send_time=4, transport_cc=5, audio_level=6)


@pytest.mark.parametrize(
    ("profile", "data", "found"),
    [
        (0xBEDE, "10 61 22 626364 00", {1: b"a", 2: b"bcd"}),
        (0xBEDE, "00 00 10 61", {1: b"a"}),
        (0xBEDE, "10 61 f0 62 20 63 0000", {1: b"a"}),
        (0xBEDE, "10 61 01 6262 20 63 00", {1: b"a"}),
        (0xBEDE, "10 61 10 62", {1: b"b"}),
        (0x1000, "01 00 02 01 61 00 00 00", {1: b"", 2: b"a"}),
        (0x100F, "ff 02 6162", {255: b"ab"}),
        (0x1010, "01 01 61 00", {}),
        (0x0000, "01 01 61 00", {}),
        (None, "", {}),
    ],
)
def test_the_elements_of_both_forms(profile: int | None, data: str, found: object) -> None:
    assert elements(profile, bytes.fromhex(data)) == found


@pytest.mark.parametrize(
    ("profile", "data", "sentence"),
    [
        (0xBEDE, "13 616263", "An RTP header extension element reaches beyond its extension."),
        (0x1000, "01 03 6162", "An RTP header extension element reaches beyond its extension."),
        (0x1000, "01 01 61 02", "An RTP header extension element ends before its length."),
    ],
)
def test_an_element_beyond_its_extension_is_refused(profile: int, data: str, sentence: str) -> None:
    with pytest.raises(RtpError) as caught:
        elements(profile, bytes.fromhex(data))
    assert str(caught.value) == sentence


@given(st.dictionaries(st.integers(1, 255), st.binary(max_size=255), max_size=8))
def test_what_is_built_is_read(found: dict[int, bytes]) -> None:
    profile, data = build(found)
    assert elements(profile, data) == found
    assert len(data) % 4 == 0


def test_ids_and_lengths_beyond_the_forms_are_our_mistake() -> None:
    for wrong in ({0: b"a"}, {256: b"a"}, {1: bytes(256)}):
        with pytest.raises(ValueError, match="Header extension ids"):
            build(wrong)


@given(st.sampled_from([None, 0xBEDE, 0x1000, 0x1007, 5]), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(profile: int | None, data: bytes) -> None:
    packet = media(1)._replace(profile=profile, extension=data)
    with contextlib.suppress(RtpError):
        assert sum(map(len, elements(profile, data).values())) <= len(data)
        IDS.read(packet)


def read(found: dict[int, bytes]) -> Extensions:
    profile, data = build(found)
    return IDS.read(media(1)._replace(profile=profile, extension=data))


def test_the_negotiated_ones() -> None:
    found = {1: b"0", 2: b"hi", 3: b"lo", 4: b"\x01\x02\x03", 5: b"\xff\xfe", 6: b"\x9e", 9: b"?"}
    assert read(found) == Extensions(
        mid="0",
        rid="hi",
        repaired_rid="lo",
        abs_send_time=0x010203,
        transport_sequence=0xFFFE,
        audio_level=30,
        voice=True,
    )
    assert read({}) == read({9: b"?"}) == Extensions()
    assert ExtensionMap().read(parse_rtp(media(1).serialise())) == Extensions()


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({5: b"\x01"}, "The transport-wide sequence extension has 1 bytes; it needs 2."),
        ({4: b"\x01\x02"}, "The abs-send-time extension has 2 bytes; it needs 3."),
        ({6: b""}, "The audio level extension has 0 bytes; it needs 1."),
        ({1: b"\xff"}, "The mid extension is not printable ASCII."),
        ({2: b"a\n"}, "The rid extension is not printable ASCII."),
        ({3: b"\x00"}, "The repaired rid extension is not printable ASCII."),
    ],
)
def test_a_malformed_one_is_refused(found: dict[int, bytes], sentence: str) -> None:
    with pytest.raises(RtpError) as caught:
        read(found)
    assert str(caught.value) == sentence


def test_the_transport_wide_sequence_alone() -> None:
    profile, data = build({1: b"0", 5: b"\xff\xfe"})
    packet = media(1)._replace(profile=profile, extension=data)
    assert IDS.transport_sequence(packet) == 0xFFFE
    assert ExtensionMap(mid=1).transport_sequence(packet) is None
    assert ExtensionMap(transport_cc=7).transport_sequence(packet) is None
    assert IDS.transport_sequence(media(1)) is None
    with pytest.raises(RtpError, match="it needs 2"):
        ExtensionMap(transport_cc=1).transport_sequence(packet)


def test_ids_come_from_the_extmap_lines() -> None:
    uris = {1: MID, 2: RID, 3: REPAIRED_RID, 4: ABS_SEND_TIME, 5: TRANSPORT_CC, 6: AUDIO_LEVEL}
    assert ExtensionMap.from_uris(uris | {7: "urn:example"}) == IDS
    assert ExtensionMap.from_uris({}) == ExtensionMap()


def test_only_what_was_negotiated_is_built() -> None:
    values = Extensions(mid="0", rid="hi", audio_level=5, voice=False, transport_sequence=1)
    profile, data = ExtensionMap(mid=1, audio_level=6).build(values)
    assert elements(profile, data) == {1: b"0", 6: b"\x05"}


ids = st.sampled_from([0, 1, 9, 14, 15, 200])


@given(ids, ids, ids, st.none() | st.text("abc", max_size=20), u16, u16, st.integers(0, 2**24 - 1))
def test_the_quick_header_is_that_of_the_packet(
    mid_id: int, time_id: int, cc_id: int, mid: str | None, sequence: int, cc: int, time: int
) -> None:
    used = [each for each in (mid_id, time_id, cc_id) if each]
    if len(set(used)) < len(used):
        return
    chosen = ExtensionMap(mid=mid_id, abs_send_time=time_id, transport_cc=cc_id)
    writer = HeaderWriter(ssrc=7, payload_type=111, ids=chosen, mid=mid)
    for marker in (True, False):
        data = writer.write(
            b"payload",
            marker=marker,
            sequence=sequence,
            timestamp=2**32 - 1,
            transport_sequence=cc,
            send_time=time,
        )
        values = Extensions(mid=mid, abs_send_time=time, transport_sequence=cc)
        profile, extension = chosen.build(values)
        expected = RtpPacket(
            payload_type=111,
            marker=marker,
            sequence=sequence,
            timestamp=2**32 - 1,
            ssrc=7,
            payload=b"payload",
            profile=profile,
            extension=extension,
        )
        assert data == expected.serialise()
        assert len(data) == writer.overhead + 7
        packet = parse_rtp(data)
        assert packet == expected
        read = chosen.read(packet)
        assert (read.abs_send_time, read.transport_sequence) == (
            time if time_id else None,
            cc if cc_id else None,
        )


def test_abs_send_time_wraps_after_64_seconds() -> None:
    assert abs_send_time(1_500_000_000) == 3 << 17
    assert abs_send_time(65_000_000_000) == 1 << 18
