"""Schema migrations; each file in `versions` is one step, never edited once released."""
