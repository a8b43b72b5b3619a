"""What is for sale, as cues name it."""
