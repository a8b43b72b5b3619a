"""The certificate of the RTMPS listener, renewed without a restart."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import structlog

from config.load import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)


class CertificateUnusable(Misconfigured):
    """The files are missing, not PEM, or do not belong together; the text says which setting."""


class Certificate:
    """A certificate chain and its key, as one TLS context for all connections.

    `refresh` reads the files again once they have changed: connections that stand are not
    touched, new ones get the new certificate. Files that cannot be used leave the old one.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both. Raises `CertificateUnusable`."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._stamp()
        self._load(self.context)

    def refresh(self) -> None:
        """Take over changed files; one log line for either outcome."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            # A context of its own first: half a pair must not reach the one in use.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except CertificateUnusable as error:
            log.warning("the new certificate is not used", reason=str(error))
        else:
            log.info("the certificate was renewed", file=str(self._certificate))

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # Without a password OpenSSL would ask the terminal, and the server stand still.
            context.load_cert_chain(self._certificate, self._key, password="")
        except (OSError, ValueError) as err:
            # ssl.SSLError is an OSError; its text holds no part of the key.
            raise CertificateUnusable(
                f"rtmp.tls_certificate {self._certificate} with rtmp.tls_key {self._key} cannot "
                f"be used: {getattr(err, 'reason', None) or getattr(err, 'strerror', None) or err}."
            ) from err

    def _stamp(self) -> tuple[int, ...]:
        stamp = []
        for path in (self._certificate, self._key):
            try:
                status = path.stat()
            except OSError:
                stamp += [0, 0]
            else:
                stamp += [status.st_mtime_ns, status.st_ino]
        return tuple(stamp)
