"""The RTMP handshake, both sides (RTMP 1.0 section 5.2, and the digest form of Flash)."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from ingest.rtmp.errors import Fault, RtmpError

VERSION = 3
VERSION_ENCRYPTED = 6
BLOCK = 1536
"""Length of C1, S1, C2 and S2 in bytes."""
DIGEST = 32

_TAIL = bytes.fromhex("F0EEC24A8068BEE82E00D0D1029E7E576EEC5D2D29806FAB93B8E636CFEB31AE")
CLIENT_TEXT = b"Genuine Adobe Flash Player 001"
SERVER_TEXT = b"Genuine Adobe Flash Media Server 001"
SERVER_KEY = SERVER_TEXT + _TAIL
_SERVER_VERSION = bytes((0x0D, 0x0E, 0x0A, 0x0D))
# Flash Player 9 put the digest in the second half of C1, later ones in the first: both occur.
_DIGEST_BASES = (772, 8)


def digest_offset(block: bytes, base: int) -> int:
    """Where the 32-byte digest lies in C1 or S1: sum of four bytes at `base`, mod 728."""
    return sum(block[base : base + 4]) % 728 + base + 4


def block_digest(block: bytes, offset: int, key: bytes) -> bytes:
    """HMAC-SHA256 over the block without its 32 digest bytes."""
    return hmac.digest(key, block[:offset] + block[offset + DIGEST :], hashlib.sha256)


def find_client_digest(c1: bytes) -> tuple[bytes, int] | None:
    """Return C1's digest and the base it was found with, or None for a simple handshake."""
    if c1[4:8] == b"\0\0\0\0":
        return None
    for base in _DIGEST_BASES:
        offset = digest_offset(c1, base)
        found = c1[offset : offset + DIGEST]
        if hmac.compare_digest(found, block_digest(c1, offset, CLIENT_TEXT)):
            return found, base
    return None


def _digest_reply(client_digest: bytes, base: int) -> bytes:
    """S1 with the server's digest, and S2 signed with a key derived from C1's digest."""
    s1 = b"\0\0\0\0" + _SERVER_VERSION + secrets.token_bytes(BLOCK - 8)
    offset = digest_offset(s1, base)
    s1 = s1[:offset] + block_digest(s1, offset, SERVER_TEXT) + s1[offset + DIGEST :]
    body = secrets.token_bytes(BLOCK - DIGEST)
    key = hmac.digest(SERVER_KEY, client_digest, hashlib.sha256)
    return s1 + body + hmac.digest(key, body, hashlib.sha256)


class ServerHandshake:
    """The server's side. Feed bytes until `done`; `rest` is what follows C2."""

    def __init__(self) -> None:
        self.done = False
        self.digest = False
        """True when the client used the digest form."""
        self.rest = b""
        self._buffer = bytearray()
        self._answered = False

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes of C0, C1, C2; return S0 + S1 + S2 once C1 is complete, else nothing.

        Raises `RtmpError` (handshake) on another version. Holds at most C0 + C1 + C2 and `data`.
        """
        self._buffer += data
        reply = b""
        if self._buffer:
            _check_version(self._buffer[0])
        if not self._answered and len(self._buffer) > BLOCK:
            reply = self._answer(bytes(self._buffer[1 : 1 + BLOCK]))
            self._answered = True
        # C2 is not checked: encoders are known to send anything there.
        if len(self._buffer) >= 1 + 2 * BLOCK:
            self.rest = bytes(self._buffer[1 + 2 * BLOCK :])
            self._buffer.clear()
            self.done = True
        return reply

    def _answer(self, c1: bytes) -> bytes:
        found = find_client_digest(c1)
        if found is None:
            s1 = b"\0" * 8 + secrets.token_bytes(BLOCK - 8)
            return bytes((VERSION,)) + s1 + c1
        self.digest = True
        return bytes((VERSION,)) + _digest_reply(*found)


class ClientHandshake:
    """The simple handshake from the client's side."""

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._buffer = bytearray()
        self._answered = False

    def start(self) -> bytes:
        """C0 + C1."""
        return bytes((VERSION,)) + b"\0" * 8 + secrets.token_bytes(BLOCK - 8)

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes of S0, S1, S2; return C2 once S1 is complete, else nothing.

        Raises `RtmpError` (handshake) on another version.
        """
        self._buffer += data
        reply = b""
        if self._buffer:
            _check_version(self._buffer[0])
        if not self._answered and len(self._buffer) > BLOCK:
            reply = bytes(self._buffer[1 : 1 + BLOCK])
            self._answered = True
        if len(self._buffer) >= 1 + 2 * BLOCK:
            self.rest = bytes(self._buffer[1 + 2 * BLOCK :])
            self._buffer.clear()
            self.done = True
        return reply


def _check_version(version: int) -> None:
    if version == VERSION_ENCRYPTED:
        raise RtmpError(Fault.HANDSHAKE, "RTMPE is not offered: use rtmp:// in the encoder.")
    if version == 0x16:
        raise RtmpError(
            Fault.HANDSHAKE, "The client speaks TLS on the plain RTMP port: use rtmp://, not rtmps."
        )
    if version != VERSION:
        raise RtmpError(
            Fault.HANDSHAKE, f"The client does not speak RTMP: its first byte is {version}, not 3."
        )
