"""Pushes streams on to other RTMP servers, without ever slowing the source."""
