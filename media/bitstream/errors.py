"""The one error that foreign codec bytes may cause."""

from __future__ import annotations


class BitstreamError(Exception):
    """Configuration or payload that breaks its specification; the text is for the producer."""
