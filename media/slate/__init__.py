"""What viewers see while no encoder is there; the worker's side is `media.transcode`."""
