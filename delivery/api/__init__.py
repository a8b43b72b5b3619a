"""The producer API, `/api/v1`."""
