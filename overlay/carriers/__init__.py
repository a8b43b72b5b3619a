"""The forms in which cues reach a player."""
