"""What HTTP signalling asks of WebRTC, the same for publishers (WHIP) and viewers (WHEP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An offer that was posted, and by whom."""

    offer: str
    """SDP as it came, `application/sdp`."""
    address: str
    """Of the HTTP client, without a port."""
    token: str | None = field(default=None, repr=False)
    """Of `Authorization: Bearer`; None without the header."""
    stream: str | None = None
    """Stream in the path; None for the endpoint without one."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Query parameters, percent-decoded; may hold secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session was made."""

    session: str = field(repr=False)
    """Names it in its URL: 32 random URL-safe characters; who knows them may be its owner."""
    answer: str = field(repr=False)
    """SDP with all of our candidates."""
    etag: str
    """Entity-tag of the ICE session, quoted (RFC 9725 section 4.3.1)."""
    links: tuple[str, ...] = ()
    """Values of `Link` headers, one for each ICE server."""


class DoorRefused(Exception):
    """A request is refused; the text is a sentence for the encoder or player, with the mend."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        retry_after_s: int | None = None,
        reason: str | None = None,
    ) -> None:
        """`status`: 400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429 or 503.

        `reason`: a fixed word for programs; of a session that is over, why (`session.End`).
        """
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


class Door(Protocol):
    """Makes sessions out of offers. All methods run on the event loop."""

    async def open(self, call: Call) -> Opened:
        """Answer an offer; media flows once the peer has connected. Raises `DoorRefused`."""

    async def trickle(
        self, session: str, token: str | None, fragment: str, if_match: str | None
    ) -> None:
        """Take candidates of the peer (RFC 8840); an ICE restart is refused with 422.

        Raises `DoorRefused`: 404 without such a session, 409 for one that was ended here, 401 and
        403 for another's, 428 and 412 for a missing and a wrong `If-Match`, 400 for what is no
        fragment.
        """

    async def close(self, session: str, token: str | None) -> None:
        """End a session at its owner's wish.

        Raises `DoorRefused` with 401, 403, 404, or 409 with the reason why it was ended before.
        """
