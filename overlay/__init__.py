"""Cues: what a shop puts on top of a show, bound to the frame it belongs to."""
