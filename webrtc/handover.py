"""Between a peer's transport and its session description: what each tells the other."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from webrtc.peer import Credentials
from webrtc.sdp.candidates import Candidate
from webrtc.sdp.model import Fingerprint
from webrtc.sdp.negotiate import Local

if TYPE_CHECKING:
    from webrtc.peer import Peer
    from webrtc.sdp import negotiate


def local_of(peer: Peer) -> Local:
    """Return what our answer says of a peer's transport, after `Peer.open`."""
    own = peer.local
    algorithm, value = own.fingerprints[0]
    return Local(
        ufrag=own.ufrag,
        password=own.password,
        fingerprint=Fingerprint(algorithm=algorithm, digest=bytes.fromhex(value.replace(":", ""))),
        candidates=tuple(
            Candidate(
                foundation=each.foundation,
                priority=each.priority,
                address=each.host,
                port=each.port,
            )
            for each in peer.candidates
        ),
        session_id=secrets.randbits(62),
    )


def credentials_of(peer: negotiate.Peer) -> Credentials:
    """Return what ICE and DTLS need of an offer."""
    return Credentials(
        ufrag=peer.ufrag,
        password=peer.password,
        fingerprints=tuple((each.algorithm, each.text) for each in peer.fingerprints),
    )
