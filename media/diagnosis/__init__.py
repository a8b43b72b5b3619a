"""What is wrong with a stream: measured, judged, said in sentences its producer can act on."""
