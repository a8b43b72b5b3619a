"""Payload formats: access units in RTP packets, one module a codec, both ways."""
