"""Reads a TSIG key from its file, and verifies the signatures of a stream of messages (RFC 8945).

Rules:
- The file holds one key, as tsig-keygen or Knot's keymgr writes it; hmac-md5, hmac-sha1 and truncated MACs are refused.
- The first and the last message of a stream are signed, and at most 99 in a row are not (RFC 8945 section 5.3.1).
- A stream counts only once its last message is verified.
"""

import base64
import binascii
import hashlib
import re
from typing import Any, Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.wire

MAX_KEY_BYTES: Final = 65_536
MIN_SECRET_BYTES: Final = 16
MAX_UNSIGNED: Final = 99
ALGORITHMS: Final = ("hmac-sha256", "hmac-sha384", "hmac-sha512")

_COMMENT: Final = re.compile(r"/\*.*?\*/|(?://|#)[^\n]*", re.DOTALL)
_BIND: Final = re.compile(r'\s*key\s+"?([^\s"{};]+)"?\s*\{([^{}]*)\}\s*;?\s*\Z')
_BIND_PART: Final = re.compile(r'\s*(algorithm|secret)\s+"?([^\s"{};]+)"?\s*;')
_KNOT: Final = re.compile(
    r'\s*key:\s*-\s+id:\s*"?([^\s"]+)"?\s+algorithm:\s*"?([^\s"]+)"?\s+secret:\s*"?([^\s"]+)"?\s*\Z'
)


class KeyUnusable(Exception):
    """The file holds no usable TSIG key."""


class NotVerified(Exception):
    """A message or a stream is not signed as required; `forged`: it has a signature, and a wrong one."""

    def __init__(self, *, forged: bool = False) -> None:
        super().__init__("not verified")
        self.forged = forged


def key_of(text: str) -> dns.tsig.Key:
    """Parse the text of a key file; KeyUnusable unless it holds exactly one key of an allowed algorithm."""
    text = _COMMENT.sub(" ", text)
    bind, knot = _BIND.match(text), _KNOT.match(text)
    if bind:
        parts = _BIND_PART.findall(bind[2])
        if len(parts) != 2 or _BIND_PART.sub("", bind[2]).strip():
            raise KeyUnusable
        said = dict(parts)
        name, algorithm, secret = bind[1], said.get("algorithm", ""), said.get("secret", "")
    elif knot:
        name, algorithm, secret = knot.groups()
    else:
        raise KeyUnusable
    algorithm = algorithm.lower().removesuffix(".")
    try:
        octets = base64.b64decode(secret, validate=True)
        if algorithm not in ALGORITHMS or len(octets) < MIN_SECRET_BYTES:
            raise KeyUnusable
        return dns.tsig.Key(dns.name.from_text(name.lower()), octets, algorithm)
    except (binascii.Error, dns.exception.DNSException):
        raise KeyUnusable from None


def read_key(path: str) -> dns.tsig.Key:
    """Read the key in a file; KeyUnusable if it holds none or cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            return key_of(file.read(MAX_KEY_BYTES))
    except (OSError, UnicodeDecodeError):
        raise KeyUnusable from None


def fingerprint(key: dns.tsig.Key) -> str:
    """Return an identifier of a key that reveals nothing of it: a hash of name, algorithm and secret, in hex."""
    parts = b" ".join((key.name.to_digestable(), key.algorithm.to_digestable(), key.secret))
    return hashlib.sha256(b"blocklist-resolver tsig\0" + parts).hexdigest()[:32]


class Stream:
    """Verifies the messages that answer one signed request, in order; `mac` is that of the request."""

    def __init__(self, key: dns.tsig.Key, mac: bytes) -> None:
        self._key = key
        self._mac = mac
        self._context: Any = None
        self._unsigned = 0

    def take(self, message: bytes, tsig_at: int, now: int, *, last: bool) -> None:
        """Verify the next message; NotVerified. tsig_at: offset of its TSIG record, 0 if it has none."""
        if tsig_at:
            self._unsigned = 0
            self._context = self._verified(message, tsig_at, now)
            return
        self._unsigned += 1
        if self._context is None or last or self._unsigned > MAX_UNSIGNED:
            raise NotVerified
        self._context.update(message)

    def _verified(self, message: bytes, tsig_at: int, now: int) -> Any:
        try:
            parser = dns.wire.Parser(message, tsig_at)
            owner = parser.get_name(decompress=True)
            kind, rdclass, _, size = parser.get_struct("!HHIH")
            if kind != dns.rdatatype.TSIG or rdclass != dns.rdataclass.ANY:
                raise NotVerified
            with parser.restrict_to(size):
                record = dns.rdata.from_wire_parser(rdclass, kind, parser)
            validate: Any = dns.tsig.validate
            return validate(message, self._key, owner, record, now, self._mac, tsig_at, self._context, multi=True)
        except dns.tsig.BadSignature:
            raise NotVerified(forged=True) from None
        except (dns.exception.DNSException, NotImplementedError):
            raise NotVerified from None
