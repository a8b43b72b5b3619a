"""Readers of the carriers, written from the specifications and not from our writers."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import m3u8


@dataclass
class Event:
    timescale: int
    time: int
    duration: int
    id: int
    scheme: str
    value: str
    description: str
    text: str

    @property
    def cue(self):
        return json.loads(self.text)


def events(data: bytes) -> list[Event]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        assert data[4:8] == b"emsg"
        assert size <= len(data)
        box, data = data[8:size], data[size:]
        assert box[:4] == b"\x01\0\0\0"
        timescale = int.from_bytes(box[4:8], "big")
        time = int.from_bytes(box[8:16], "big")
        duration = int.from_bytes(box[16:20], "big")
        number = int.from_bytes(box[20:24], "big")
        scheme, value, message = box[24:].split(b"\0", 2)
        description, text = id3(message)
        found.append(
            Event(
                timescale,
                time,
                duration,
                number,
                scheme.decode(),
                value.decode(),
                description,
                text,
            )
        )
    return found


def syncsafe(data: bytes) -> int:
    assert all(byte < 128 for byte in data)
    return data[0] << 21 | data[1] << 14 | data[2] << 7 | data[3]


def id3(tag: bytes) -> tuple[str, str]:
    assert tag[:6] == b"ID3\x04\0\0"
    assert len(tag) == 10 + syncsafe(tag[6:10])
    assert tag[10:14] == b"TXXX"
    assert len(tag) == 20 + syncsafe(tag[14:18])
    assert tag[18:20] == b"\0\0"
    assert tag[20] == 3
    description, text = tag[21:].split(b"\0")
    return description.decode(), text.decode()


def playlist(lines, pdt: str = "2027-01-15T08:00:00.000Z") -> str:
    return "\n".join(
        [
            "#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:0",
            f"#EXT-X-PROGRAM-DATE-TIME:{pdt}", *lines, "#EXTINF:2.0,", "a.m4s", "",
        ]
    )  # fmt: skip


def dateranges(lines) -> dict[str, dict]:
    """Read the tags with m3u8; the cue's JSON is under `cue`."""
    parsed = m3u8.loads(playlist(lines))
    found = {}
    for tag in parsed.segments[0].dateranges:
        assert len(tag.x_client_attrs) == 1
        ((name, value),) = tag.x_client_attrs
        assert name.upper().replace("_", "-") == "X-ORG-VITRINA-CUE"
        value = value.strip('"')
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        assert tag.id not in found
        found[tag.id] = {
            "class": tag.class_,
            "start": tag.start_date,
            "duration": tag.duration,
            "raw": raw.decode(),
            "cue": json.loads(raw),
        }
    assert len(found) == len(lines)
    return found
