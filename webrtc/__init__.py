"""What WebRTC puts on the wire, without I/O: SDP, RTP, RTCP and codecs' payload formats."""
