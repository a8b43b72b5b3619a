"""RTMP and Enhanced RTMP ingest: a sans-IO protocol core and one asyncio transport."""
