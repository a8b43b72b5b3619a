"""WHEP: a stream's pictures, sound and cues to viewers over WebRTC."""
