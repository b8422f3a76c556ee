# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Checks the DNS cookie of a query and makes that of its answer (RFC 7873, RFC 9018).

Rules:
- A server cookie has 16 octets: version 1, three reserved octets, the time in seconds, and SipHash-2-4 over the
  client's cookie, these eight octets and the client's address (RFC 9018 4). Servers with one secret make the same.
- It is good if one of the secrets has made it, at most AGE_S ago and at most AHEAD_S from now; times are compared as
  serial numbers (RFC 9018 4.3). A good one shows that the client's address is not forged.
- A good cookie that is younger than RENEW_S and made by the first secret goes back as it came; every other query with a
  cookie gets one that is made now, by the first secret. A bad one counts as none (RFC 7873 5.2.4).
- No state is kept for a client. Without a secret a query's cookie is not looked at.
"""

import cython

from .codes import COOKIE_BAD, COOKIE_GOOD, COOKIE_NEW, COOKIE_NONE
from .question import COOKIE_OCTETS

if not cython.compiled:
    from .admit import is_mapped
    from .octets import copy, get, put
    from .siphash import siphash64

SECRET_OCTETS = 16
MOST_SECRETS = 4
AGE_S = 3600
AHEAD_S = 300
RENEW_S = 1800

_NONE = COOKIE_NONE
_NEW = COOKIE_NEW
_GOOD = COOKIE_GOOD
_BAD = COOKIE_BAD
_AGE_S = AGE_S
_AHEAD_S = AHEAD_S
_RENEW_S = RENEW_S
_OCTETS = COOKIE_OCTETS
_CLIENT = 8
_WHOLE = 24
_MASK = 0xFFFFFFFF
_SECOND_MS = 1000


class Cookies:
    """The secrets, SECRET_OCTETS each: the first makes cookies, all are accepted; without one, cookies are off.

    epoch_ms: a view of one number, which the owner keeps right: what the clock of the steps (`now_ms`) is behind Unix
    time, in milliseconds.
    """

    def __init__(self, secrets=(), epoch_ms=None):
        if len(secrets) > MOST_SECRETS or any(len(secret) != SECRET_OCTETS for secret in secrets):
            raise ValueError("secrets: too many, or not of 16 octets")
        self.secrets = memoryview(b"".join(secrets) or bytes(8)).cast("Q")
        self.count = len(secrets)
        self.epoch_ms = memoryview(bytearray(8)).cast("Q") if epoch_ms is None else epoch_ms


def check(cookies, packet, question, client, now_ms, scratch):
    """Check the cookie of a query, and note the answer's in `question`; return COOKIE_* of core.codes.

    client: 16 octets. COOKIE_NONE: there is none, or cookies are off.
    """
    if cookies.count == 0 or question.cookie_size == 0 or not question.has_opt:
        return _NONE
    now_s = (cookies.epoch_ms[0] + now_ms) // _SECOND_MS & _MASK
    at = question.cookie_at
    said = _NEW
    # In two parts: the number by which `get` says "perhaps an error" takes the GIL, and no client may choose it.
    question.cookie_client = get(packet, at, 4) | get(packet, at + 4, 4) << 32
    if question.cookie_size > _CLIENT:
        said = _BAD
        if question.cookie_size == _WHOLE:
            question.cookie_stamp = get(packet, at + 8, 4) | get(packet, at + 12, 4) << 32
            question.cookie_hash = get(packet, at + 16, 4) | get(packet, at + 20, 4) << 32
            age_s = (now_s - _swapped(question.cookie_stamp >> 32)) & _MASK
            ahead_s = (_MASK + 1 - age_s) & _MASK
            if question.cookie_stamp & 255 == 1 and (age_s <= _AGE_S or ahead_s <= _AHEAD_S):
                number = _made_by(cookies, question, client, scratch)
                if number == 0 and (age_s < _RENEW_S or ahead_s <= _AHEAD_S):
                    question.opt_octets += _OCTETS
                    return _GOOD
                if number >= 0:
                    said = _GOOD
    question.cookie_stamp = 1 | _swapped(now_s) << 32
    question.cookie_hash = siphash64(cookies.secrets, 0, scratch.text, 0, _text(question, client, scratch))
    question.opt_octets += _OCTETS
    return said


def _made_by(cookies, question, client, scratch):
    """Return the number of the secret that has made the server cookie in `question`, -1 for none."""
    size = _text(question, client, scratch)
    number = 0
    while number < cookies.count:
        if siphash64(cookies.secrets, number, scratch.text, 0, size) == question.cookie_hash:
            return number
        number += 1
    return -1


def _text(question, client, scratch):
    """Write what is hashed to scratch.text; return its octets."""
    put(scratch.text, 0, question.cookie_client, 8)
    put(scratch.text, 8, question.cookie_stamp, 8)
    if is_mapped(client):
        copy(scratch.text, 16, client, 12, 4)
        return 20
    copy(scratch.text, 16, client, 0, 16)
    return 32


def _swapped(word):
    """Return the four octets of a number in the other order."""
    return (word & 0xFF) << 24 | (word & 0xFF00) << 8 | (word >> 8 & 0xFF00) | word >> 24
