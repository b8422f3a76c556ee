"""Reads DNS queries out of HTTP requests, and states what a response carries (RFC 8484), for every version of HTTP.

Rules:
- A request is for the one path, whole: GET with the variable `dns` (base64url, RFC 4648 5; padding is tolerated), or
  POST with content-type application/dns-message. Anything else has a status of its own, and no content.
- What can be refused by its head is refused by its head, before any content is taken.
- A response has the time that its client may keep it, or no-store; a cache of several clients may not, since lists may
  be for some clients alone. It repeats nothing of the request.
- Where HTTP/3 is offered at the same name, the first answer of a connection over HTTP/2 or HTTP/1.1 says so (RFC 7838):
  a client that has learnt it keeps it for longer than the connection lasts. The value is the same for all clients.
"""

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Final

MEDIA_TYPE: Final = b"application/dns-message"
LEAST_OCTETS: Final = 12
MOST_OCTETS: Final = 65535
TARGET_OCTETS: Final = 4 * (MOST_OCTETS // 3 + 1) + 1024
"""The octets that a target may have: a message of MOST_OCTETS in base64, the path, and other variables."""

MAX_AGE_NONE: Final = 0xFFFFFFFF
ALTERNATIVE_S: Final = 3600
"""How long a client may take HTTP/3 to be offered, in seconds: longer than a connection lives (bounds.LIFE_S)."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
METHOD_NOT_ALLOWED: Final = 405
CONTENT_TOO_LARGE: Final = 413
URI_TOO_LONG: Final = 414
UNSUPPORTED_MEDIA_TYPE: Final = 415

Fields = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""
NO_FIELDS: Final[Fields] = ()


def refused_by_head(method: bytes, target: bytes, content_type: bytes, content_octets: int, path: bytes) -> int:
    """Return the status that refuses a request by its head, 0 if none does.

    content_type: b"" for none. content_octets: what the head announces, 0 for nothing.
    """
    if len(target) > TARGET_OCTETS:
        return URI_TOO_LONG
    if target.partition(b"?")[0] != path:
        return NOT_FOUND
    if method == b"GET":
        return 0
    if method != b"POST":
        return METHOD_NOT_ALLOWED
    if content_type.partition(b";")[0].strip().lower() != MEDIA_TYPE:
        return UNSUPPORTED_MEDIA_TYPE
    return CONTENT_TOO_LARGE if content_octets > MOST_OCTETS else 0


def query_of(method: bytes, target: bytes, content: bytes) -> bytes | int:
    """Return the DNS query of a request that `refused_by_head` lets pass, or the status that refuses it."""
    if method == b"POST":
        query = content
    else:
        variable = _variable(target)
        if variable is None:
            return BAD_REQUEST
        query = variable
    if len(query) > MOST_OCTETS:
        return CONTENT_TOO_LARGE
    return query if len(query) >= LEAST_OCTETS else BAD_REQUEST


def alternative_fields(port: int) -> Fields:
    """Return the fields that say that HTTP/3 is offered at a port of the same name (RFC 7838 3); none if it is 0."""
    return [(b"alt-svc", b'h3=":%d"; ma=%d' % (port, ALTERNATIVE_S))] if port else []


def answer_fields(message: bytes, max_age: int) -> Fields:
    """Return the fields of a response with a DNS answer. max_age: in seconds, MAX_AGE_NONE for no-store."""
    kept = b"no-store" if max_age == MAX_AGE_NONE else b"private, max-age=%d" % max_age
    return [(b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(message)), (b"cache-control", kept)]


def refusal_fields(status: int) -> Fields:
    """Return the fields of a response without content."""
    allowed = [(b"allow", b"GET, POST")] if status == METHOD_NOT_ALLOWED else []
    return [(b"content-length", b"0"), (b"cache-control", b"no-store"), *allowed]


def _variable(target: bytes) -> bytes | None:
    """Return the octets of the variable `dns`; None if it is missing, there twice, or no base64url."""
    found = [item[4:] for item in target.partition(b"?")[2].split(b"&") if item.startswith(b"dns=")]
    if len(found) != 1:
        return None
    text = found[0].rstrip(b"=")
    if text.translate(None, _ALPHABET):  # Python's decoder would pass over these octets
        return None
    try:
        return urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return None
