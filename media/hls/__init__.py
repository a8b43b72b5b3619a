"""HLS: from coded access units to playlists and ready-made bytes."""
