"""Ingest: encoders' protocols on one side, `media.model.Packet` on the other."""
