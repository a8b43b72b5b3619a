"""An encoder's further tracks: pictures as rungs, sound by language."""
