"""Writes the real inputs that every target starts from: `python -m tests.fuzz.seeds`.

Encoders are FFmpeg's through PyAV, sessions are what ffmpeg itself sends to our listener.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import imageio_ffmpeg

from config.load import load_settings
from ingest.rtmp import amf0
from ingest.rtmp.chunks import ChunkLimits, ChunkReader, ChunkWriter, Message
from ingest.rtmp.errors import RtmpError
from ingest.rtmp.events import PublishRequested
from ingest.rtmp.handshake import BLOCK, ClientHandshake
from ingest.rtmp.messages import MessageType
from ingest.rtmp.session import ServerSession
from media.bitstream import describe, h264, hevc, nal
from media.model import Codec, Kind
from media.transcode import wire
from media.transcode.messages import Boundary, Coded, Source
from tests.fuzz import seeds_webrtc_payloads, seeds_webrtc_rtp, seeds_whep
from tests.fuzz.catalogue import TARGETS
from tests.fuzz.harness import CORPUS
from tests.ingest.rtmp.test_colour import FFMPEG as COLOUR_INFO
from tests.media.bitstream import clips
from tests.media.hls.test_lint import GOOD
from tests.media.transcode.test_wire import RARE
from tests.webrtc.sdp.support import OFFERS
from tests.webrtc.sdp.test_fragment import PATCH

LIMITS = ChunkLimits(max_message_bytes=2**20, max_partial_bytes=2**21, max_chunk_streams=64)
CUES = [
    {"type": "pin", "at": "now", "duration": 30, "data": {"product": "scarf"}},
    {"type": "chapter", "at": "2027-01-15T08:00:01.000Z", "data": {"title": "Scarves"}},
    {"type": "notice", "at": "+5", "data": {"text": "Ten left 🧣"}},
    {"type": "custom", "at": "seen:1", "data": {"poll": [1, 2.5, None, {"a": True}]}},
]

MULTIVARIANT = b"""#EXTM3U
#EXT-X-VERSION:6
#EXT-X-SESSION-DATA:DATA-ID="com.apple.hls.chapters",URI="chapters.json"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,CHANNELS="2",URI="a/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2940000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,AUDIO="audio"
720p/index.m3u8
"""


def put(name: str, label: str, data: bytes) -> None:
    """Write one input, cut to what the target takes."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{label}").write_bytes(data[: TARGETS[name].max_bytes])


class Capture:
    """A listener that answers one ffmpeg and keeps what it said after the handshake."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.answered = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        session = ServerSession(limits=LIMITS, describe=describe)
        peer, _ = self._listener.accept()
        with peer:
            while data := peer.recv(65536):
                self.said += data
                try:
                    session.receive_data(data, 0)
                    while (event := session.next_event()) is not None:
                        if isinstance(event, PublishRequested):
                            session.accept_publish()
                except RtmpError:
                    return
                out = session.data_to_send()
                self.answered += out
                peer.sendall(out)

    def finish(self) -> None:
        self._thread.join(20)
        self._listener.close()


def captured(codec: list[str], sound: list[str]) -> Capture:
    """Let ffmpeg push a few tiny pictures and a tone."""
    capture = Capture()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    command += ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "0.5"]
    command += ["-pix_fmt", "yuv420p", *codec, "-g", "3", *sound, "-ac", "1", "-b:a", "32k"]
    url = f"rtmp://127.0.0.1:{capture.port}/live/key"
    subprocess.run([*command, "-f", "flv", url], check=True, timeout=60)
    capture.finish()
    return capture


def messages(data: bytes) -> list[Message]:
    """Read the messages behind a handshake."""
    reader = ChunkReader(LIMITS)
    reader.receive_data(data[1 + 2 * BLOCK :])
    found = []
    while (message := reader.next_message()) is not None:
        found.append(message)
    return found


def piece(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def rtmp() -> None:
    """Write what real ffmpegs said, whole and by layer."""
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "51"]
    sides = {
        "h264-aac": (x264, ["-c:a", "aac"]),
        "hevc-opus": (
            [
                "-c:v",
                "libx265",
                "-preset",
                "ultrafast",
                "-crf",
                "51",
                "-x265-params",
                "log-level=0",
            ],
            ["-c:a", "libopus"],
        ),
        "vp9-mp3": (
            ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-crf", "63"],
            ["-c:a", "libmp3lame"],
        ),
        "av1-aac": (
            ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-crf", "63"],
            ["-c:a", "aac"],
        ),
    }
    for label, (video, audio) in sides.items():
        capture = captured(video, audio)
        said = bytes(capture.said)
        put("rtmp_handshake", label, b"\x00\x07\xc8\x01" + said)
        put("rtmp_session", label, b"\x00\x00" + said[1 + 2 * BLOCK :])
        put("rtmp_chunks", label, b"\x00\x11\x80" + said[1 + 2 * BLOCK :])
        put("rtmp_client", label, b"\x00\x00" + bytes(capture.answered)[1 + 2 * BLOCK :])
        found = messages(said)
        media = [m for m in found if m.type in (MessageType.VIDEO, MessageType.AUDIO)][:12]
        bodies = b"".join(
            bytes((m.type == MessageType.VIDEO,)) + piece(m.payload[:400]) for m in media
        )
        put("rtmp_flv", label, bodies)
        data = [m for m in found if m.type == MessageType.DATA][:1]
        stream = b"".join(
            bytes((m.type,)) + m.timestamp.to_bytes(4, "big") + piece(m.payload[:600])
            for m in (*data, *media)
        )
        put("rtmp_publishing", label, stream)
        commands = [m for m in found if m.type in (MessageType.COMMAND, MessageType.DATA)]
        for index, message in enumerate(commands[:2] + data):
            put("rtmp_amf0", f"{label}-{index}", message.payload)
    own = bytes((3, *bytes(8))) + ClientHandshake().start()[9:]
    put("rtmp_handshake", "plain", bytes(4) + own + bytes(BLOCK))
    many = b"\x96\x11avc1\x00" + (9).to_bytes(3, "big") + b"\0\0\0\0\0\0\x02\x65a"
    put(
        "rtmp_flv",
        "multitrack",
        b"\x01" + piece(many) + b"\x01" + piece(b"\x97\x02\0\3\xe8\1av01x"),
    )
    member = bytes((9,)) + (7).to_bytes(3, "big") + bytes(7) + b"\x27\x01\0\0\0ab" + bytes(4)
    put("rtmp_publishing", "aggregate", b"\x16" + bytes(4) + piece(member * 2))
    put("rtmp_amf0", "references", amf0.encode({"a": [1, "b"]}, None) + b"\x07\x00\x00\x07\x00\x01")
    refused = amf0.encode("onStatus", 0, None, {"level": "error", "code": "No", "description": "x"})
    put("rtmp_client", "refused", b"\0\0" + ChunkWriter().write(5, 20, 1, 0, refused))
    put("rtmp_target", "obs", b"live\nrtmp://127.0.0.1/live\nkey?token=1&a=%20b")
    put("rtmp_target", "empty", b"live/key?x=1\nrtmp://[::1]/live/key?x=1\n?clientConfigId=3")
    put("rtmp_target", "quoted", b"'live'\n'rtmp://h/live'\n'key'")


def codecs() -> None:
    """Write real configurations and access units."""
    for kind in ("h264", "hevc", "av1", "vp9"):
        clip = clips.video(kind, frames=2)
        name = f"codec_{kind}"
        put(name, "config", clip.fmt.config)
        put(name, "raw-config", clip.raw_config)
        put(name, "raw", clip.raw[0][:600])
        put(name, "unit", clip.units[0].payload[:600])
        index = list(Codec).index(clip.fmt.codec)
        samples = clip.units[0].payload[:40] + clip.units[1].payload[:40]
        put("fmp4", kind, bytes((index,)) + piece(clip.fmt.config) + bytes(8) + b"\x02" + samples)
    for label, raw in zip(("key", "between"), clips.video("vp8", frames=2).raw, strict=True):
        put("codec_vp8", label, raw)
    put("codec_vp8", "portrait", clips.video("vp8", frames=1, size=(90, 160)).raw[0])
    put("codec_h264", "sps", h264.parse_avcc(clips.video("h264", frames=2).fmt.config).sps[0])
    put("codec_hevc", "sps", hevc.parse_hvcc(clips.video("hevc", frames=2).fmt.config).sps[0])
    for kind in ("aac", "opus", "mp3", "flac", "ac3", "eac3"):
        clip = clips.audio(kind)
        put("codec_audio", f"{kind}-config", clip.fmt.config or clip.raw[0][:8])
        put("codec_audio", f"{kind}-raw", clip.raw[0][:64])
        index = list(Codec).index(clip.fmt.codec)
        put("fmp4", kind, bytes((index,)) + piece(clip.fmt.config) + bytes(8) + b"\x01abcdef")


def enhanced() -> None:
    """Write what ffmpeg sends of Enhanced RTMP only at times: colours, sound without headers."""
    hevc_clip = clips.video("hevc", frames=2)
    found = hevc.parse_hvcc(hevc_clip.fmt.config)
    sets = nal.join_length_prefixed([*found.vps, *found.sps, *found.pps])
    bodies = [
        (1, b"\xd4hvc1" + COLOUR_INFO),
        (1, b"\x93hvc1" + (sets + hevc_clip.units[0].payload)[:500]),
        (1, b"\xa7\x02\x07\xa1\x20\x03hvc1" + hevc_clip.units[1].payload[:80]),
        (1, b"\xd4hvc1\x02\x00\x09colorInfo\x06"),
        (0, b"\x90ec-3"),
        (0, b"\x91ec-3" + clips.audio("eac3").raw[0][:60]),
        (0, b"\x90fLaC" + clips.audio("flac").raw_config),
        (0, b"\x95\x21fLaC\x01\0\0\x08" + bytes(8) + b"ac-3\x02\0\0\x08" + bytes(8)),
    ]
    put("rtmp_flv", "enhanced", b"".join(bytes((kind,)) + piece(body) for kind, body in bodies))


def rest() -> None:
    """Write messages of the worker, playlists, cues and configurations."""
    for index, message in enumerate(RARE):
        put("worker_wire", f"rare-{index}", b"\x00\x05\x20" + b"".join(wire.encode(message)))
    common = [
        Source(
            kind=Kind.VIDEO,
            dts=-1,
            pts=5,
            duration=3,
            key=True,
            sent_ns=9,
            replay=False,
            payload=b"abc",
        ),
        Coded(rung="720p", dts=1, pts=2, duration=3, key=False, payload=b"def"),
        Boundary(ticks=180_000),
    ]
    frames = b"".join(b"".join(wire.encode(message)) for message in common)
    put("worker_wire", "media", b"\x00\x05\x20" + frames)
    put("playlist_lint", "media", GOOD.encode())
    put("playlist_lint", "reload", GOOD.encode() + b"\f" + GOOD.replace(":7", ":8").encode())
    put("playlist_lint", "multivariant", MULTIVARIANT)
    for index, cue in enumerate(CUES):
        put("cue_body", f"cue-{index}", json.dumps(cue).encode())
    put("cue_body", "batch", json.dumps({"cues": CUES[:2]}).encode())
    put("cue_body", "patch", json.dumps({"data": {"text": "x"}, "duration": 3}).encode())
    put("cue_body", "time", b'"2027-01-15T08:00:00.000+01:00"')
    calls = b"".join(bytes((16, 0, 200, 0)) + piece(json.dumps(cue).encode()) for cue in CUES)
    patch = bytes((17, 0, 9, 0)) + piece(b'{"duration": 60}')
    put("cue_drafts", "show", calls + patch + bytes((18, 1, 0, 1, 19, 1, 0, 2)))
    put("cue_drafts", "pins", (bytes((16, 3, 232, 0)) + piece(json.dumps(CUES[0]).encode())) * 6)
    put("cue_drafts", "script", calls.replace(b'"now"', b'"+30"') * 2)
    root = Path(__file__).resolve().parents[2]
    for path in sorted((root / "config").rglob("*.toml")):
        put("config_file", path.stem, path.read_bytes())
        load_settings(file=path)


def outside() -> None:
    """Write files that slates are made of, and what a target's owner or a hook says."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    ffmpeg += ["-f", "lavfi", "-i", "testsrc2=size=48x32:rate=5"]
    films = {
        "png": ["-frames:v", "1", "-f", "image2pipe", "-c:v", "png"],
        "jpeg": ["-frames:v", "1", "-f", "image2pipe", "-c:v", "mjpeg"],
        "gif": ["-t", "0.6", "-f", "gif"],
        "mp4": ["-t", "0.6", "-c:v", "libx264", "-f", "mp4", "-movflags", "frag_keyframe"],
        "webm": ["-t", "0.6", "-c:v", "libvpx-vp9", "-f", "webm"],
    }
    for label, options in films.items():
        done = subprocess.run(
            [*ffmpeg, *options, "pipe:1"], check=True, capture_output=True, timeout=60
        )
        assert len(done.stdout) <= TARGETS["slate_file"].max_bytes
        put("slate_file", label, done.stdout)
    sound = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    sound += ["-f", "lavfi", "-i", "testsrc2=size=48x32:rate=5"]
    sound += ["-f", "lavfi", "-i", "sine=frequency=440", "-t", "0.6", "-c:v", "libx264"]
    sound += ["-c:a", "aac", "-b:a", "32k", "-f", "mp4", "-movflags", "frag_keyframe", "pipe:1"]
    film = subprocess.run(sound, check=True, capture_output=True, timeout=60).stdout
    put("slate_file", "mp4-sound", film)
    unknown = film.replace(b"mp4a", b"zzzz").replace(b"\x40\x15", b"\xee\x15")
    put("slate_file", "sound-of-an-unknown-codec", unknown)
    put("restream_target", "key-apart", b"rtmps://live.example.com/app/sub\nkey?name=a")
    put("restream_target", "key-within", b"rtmp://[2001:4860::8888]:1936/app/key")
    put("restream_target", "user", b"rtmp://user:word@host/app/key")
    put("address", "public", b"host\n8.8.8.8\n2001:4860:4860::8888")
    put("address", "mapped", b"host\n::ffff:169.254.169.254\n64:ff9b::a00:1")
    put("address", "odd", b"host\n0177.0.0.1\nfe80::1%eth0\n2002:7f00:1::")
    put("hook_answer", "yes", b'{"allow": true, "limits": {"max_bitrate_kbps": 6000}}')
    put("hook_answer", "no", b'{"allow": false, "reason": "Not before eight."}')
    put("hook_answer", "odd", b'{"allow": "yes"}')


def webrtc_sdp() -> None:
    """Write offers in the shapes of real clients, and what they trickle."""
    for path in OFFERS:
        put("sdp_parse", path.stem, path.read_bytes())
        put("sdp_answer", path.stem, b"\x00" + path.read_bytes())
    put("sdp_fragment", "browser", PATCH.encode())
    put("sdp_fragment", "restart", b"a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n")
    put("sdp_fragment", "end", b"a=end-of-candidates\r\nm=video 9 x 0\r\na=mid:1\r\n")


def main() -> int:
    rtmp()
    codecs()
    enhanced()
    rest()
    outside()
    webrtc_sdp()
    seeds_webrtc_payloads.write(put)
    for name, label, data in (*seeds_webrtc_rtp.seeds(), *seeds_whep.seeds()):
        put(name, label, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
