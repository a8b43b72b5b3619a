"""Sentences about a target, free of its key."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from urllib.parse import quote, unquote

MAX_WORDS = 160
HIDDEN = "…"


_MIN_PIECE = 4
"""Fewer characters of a key at the end of a text tell nothing."""


def redact(text: str, key: str) -> str:
    """Return what a target said, printable and short, with every form of the key hidden.

    Servers repeat the key in their answers: whole, without its query, percent-encoded or
    -decoded, in other case; a long one is cut off with the end of what they say.
    """
    text = "".join(c if c.isprintable() else " " for c in text[: 16 * MAX_WORDS])
    name, _, query = key.partition("?")
    secrets = {form(one) for one in (key, name, query) for form in (str, unquote, quote, _quoted)}
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        text = re.sub(re.escape(secret), HIDDEN, text, flags=re.IGNORECASE)
        text = _without_piece(text, secret)
    text = " ".join(text.split())
    return text if len(text) <= MAX_WORDS else text[:MAX_WORDS] + HIDDEN


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _without_piece(text: str, secret: str) -> str:
    """Hide the beginning of a secret that the text ends with."""
    lowered, secret = text.lower(), secret.lower()
    for size in range(min(len(secret) - 1, len(text)), _MIN_PIECE - 1, -1):
        if lowered.endswith(secret[:size]):
            return text[:-size] + HIDDEN
    return text


def explain(error: Exception, host: str, port: int) -> str:
    """Say what happened while connecting, for the producer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = redact(error.verify_message, "")
        return f"The certificate of {host} does not verify ({why}); check the address."
    if isinstance(error, ssl.SSLError):
        return f"{host} does not speak TLS on port {port}; check the scheme and the port."
    if isinstance(error, TimeoutError):
        return f"{host} did not answer in time on port {port}."
    if isinstance(error, socket.gaierror):
        return f"The name {host} cannot be resolved; check the address."
    if isinstance(error, ConnectionRefusedError):
        return f"{host} takes no connections on port {port}; check the address."
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"{host} cannot be reached from this server."
    return f"The connection to {host} failed ({type(error).__name__})."
