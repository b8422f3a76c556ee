"""Makes details of the errors of a connection: TCP, TLS, HTTP.

Rules:
- An error's own text is never passed on: it may repeat what the other end has sent. Its type, its number, or the name
  that OpenSSL gives it decides the code.
"""

import http.client
import ssl

from resolver.feed.details import Code, Detail, Place, of_errno

_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH")
_VERSION = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE")
_WANTED = ("CERTIFICATE_REQUIRED", "ALERT_HANDSHAKE_FAILURE")
_REFUSED = (
    "ALERT_UNKNOWN_CA",
    "ALERT_BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN",
    "UNSUPPORTED_CERTIFICATE",
    "ALERT_ACCESS_DENIED",
)


def of_error(error: Exception, *, ours: bool) -> Detail | None:
    """Return the detail of an error of a connection to the source's host; None if the error is of another kind.

    ours: this host has a certificate to show.
    """
    match error:
        case ssl.SSLCertVerificationError():
            return Detail(code=Code.TLS_VERDICT, at=Place.HOST, numbers=(max(error.verify_code, 0),))
        case ssl.SSLEOFError() | ConnectionResetError() | BrokenPipeError() | http.client.RemoteDisconnected():
            return Detail(code=Code.CLOSED, at=Place.HOST)
        case ssl.SSLError():
            return Detail(code=_of_tls(error.reason or "", ours=ours), at=Place.HOST)
        case TimeoutError():
            return Detail(code=Code.TOO_SLOW, at=Place.HOST)
        case http.client.HTTPException():
            return Detail(code=Code.NOT_HTTP, at=Place.HOST)
        case OSError() if error.errno:
            return of_errno(error, Place.HOST)
    return None


def _of_tls(reason: str, *, ours: bool) -> Code:
    """Return the code for the name that OpenSSL gives an error."""
    if any(word in reason for word in _NOT_TLS):
        return Code.TLS_NONE
    if any(word in reason for word in _REFUSED):
        return Code.TLS_OURS_REFUSED
    if any(word in reason for word in _WANTED):
        return Code.TLS_OURS_REFUSED if ours else Code.TLS_OURS_WANTED
    return Code.TLS_VERSION if any(word in reason for word in _VERSION) else Code.TLS_FAILED
