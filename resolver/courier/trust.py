"""How a server is verified: by its name and a CA, or by its key (RFC 8310 8, RFC 7858 4.2).

Rules:
- TLS 1.2 at least. There is no context that verifies nothing: with pins the key is compared before anything is sent.
- A name stands in the certificate as a subjectAltName: a common name does not count.
- With pins the key alone is the server's identity: issuer, names and dates of its certificate do not count.
- A session is resumed for SESSION_S at most; then the certificate is verified again.
"""

import base64
import hashlib
import ssl
import time
from functools import cache
from typing import Final

from resolver.query.courier_frames import Reason, Settings

SESSION_S: Final = 3600.0

_EXPIRED: Final = 10
_NOT_YET: Final = 9
_OTHER_NAME: Final = (62, 63, 64)
_UNTRUSTED: Final = (2, 18, 19, 20, 21)
ALPN: Final = {"tls": "dot", "https": "h2"}


class NotTrusted(Exception):
    """The server is not the one that is configured; or nothing can say so. detail: of the reason."""

    def __init__(self, reason: Reason, detail: int = 0) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.detail = detail


class Trust:
    """What verifies one server. session: of its last connection, to be resumed."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.server.name
        self._scheme = settings.server.scheme
        self._pins = frozenset(settings.pins)
        self._session: ssl.SSLSession | None = None
        self._verified_at = float("-inf")
        self._context = _context(self._scheme, None if self._pins else settings.ca)

    def begin(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return the client's end of a new connection; NotTrusted if nothing could verify the server."""
        if self._context is None:
            raise NotTrusted(Reason.NO_CA)
        session = self._session if time.monotonic() - self._verified_at < SESSION_S else None
        return self._context.wrap_bio(incoming, outgoing, server_hostname=self._name, session=session)

    def verify(self, connection: ssl.SSLObject) -> None:
        """Return if the server is the one that is configured, once the handshake is done; else NotTrusted."""
        if self._pins and pin_of(connection.getpeercert(binary_form=True) or b"") not in self._pins:
            raise NotTrusted(Reason.OTHER_KEY)
        chosen = connection.selected_alpn_protocol()
        if chosen != ALPN[self._scheme] and not (chosen is None and self._scheme == "tls"):
            raise NotTrusted(Reason.NO_HTTP2 if self._scheme == "https" else Reason.TLS)
        if not connection.session_reused:
            self._verified_at = time.monotonic()
            self._session = None

    def keep(self, connection: ssl.SSLObject) -> None:
        """Keep the session of a verified connection for the next one."""
        session = connection.session
        if session is not None and session.has_ticket:
            self._session = session


@cache
def _context(scheme: str, ca: str | None) -> ssl.SSLContext | None:
    """Return the context of all servers of this scheme and CA file; ca: None for pins, "" for the system's CAs.

    None if the file cannot be used. Each context holds all CAs: one for each server would take megabytes of memory.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False
    context.set_alpn_protocols([ALPN[scheme]])
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if ca:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(ca)
        else:
            context.load_default_certs()
    except (OSError, ValueError):
        return None
    return context


def pin_of(certificate: bytes) -> str:
    """Return the pin of a certificate's key (DER); "" if it cannot be read."""
    # Only servers with pins need it.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # noqa: BLE001 - whatever a server's certificate causes there, it has no key that is known
        return ""
    return base64.b64encode(hashlib.sha256(octets).digest()).decode()


def refusal(error: ssl.SSLError) -> NotTrusted:
    """Return why a handshake failed."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return NotTrusted(Reason.NO_HTTP2 if error.reason == "TLSV1_ALERT_NO_APPLICATION_PROTOCOL" else Reason.TLS)
    code = error.verify_code
    if code == _EXPIRED:
        return NotTrusted(Reason.EXPIRED)
    if code == _NOT_YET:
        return NotTrusted(Reason.NOT_YET)
    if code in _OTHER_NAME:
        return NotTrusted(Reason.OTHER_NAME)
    return NotTrusted(Reason.UNTRUSTED if code in _UNTRUSTED else Reason.INVALID, code)
