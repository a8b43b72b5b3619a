"""Media: the show clock, the packets on it, the ladder and its HLS.

Knows nothing of encoders' protocols, of cues or of HTTP: what must come from above is a
`Protocol` declared here and injected by `vitrina.app`.
"""
