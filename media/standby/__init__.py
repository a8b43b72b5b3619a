"""Two encoders of one stream: who is on air, how well each does, how one takes over."""
