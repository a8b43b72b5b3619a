"""What can be wrong with a session description."""

from __future__ import annotations

from enum import StrEnum

_SHOWN = 32


class Refusal(StrEnum):
    """How an HTTP front refuses, in the words of its status (RFC 9110 section 15)."""

    MALFORMED = "bad request"
    TOO_LARGE = "content too large"
    UNPROCESSABLE = "unprocessable content"


class SdpError(Exception):
    """A session description that cannot be read, or asks for what is not offered.

    The text is an exact sentence for whoever runs the encoder or the player. Of the peer's bytes
    it holds at most short printable words, so it is safe to log and to send back.
    """

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


def malformed(text: str) -> SdpError:
    """Make the error for a description that breaks the grammar."""
    return SdpError(Refusal.MALFORMED, text)


def unprocessable(text: str) -> SdpError:
    """Make the error for a sound description of something that is not taken."""
    return SdpError(Refusal.UNPROCESSABLE, text)


def shown(word: str) -> str:
    """Return a peer's word as a sentence may hold it: short, printable ASCII."""
    kept = "".join(char if " " < char <= "~" else "?" for char in word[:_SHOWN])
    return kept + ("..." if len(word) > _SHOWN else "")
