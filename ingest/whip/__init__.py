"""WHIP: live media from browsers and encoders over WebRTC (RFC 9725)."""
