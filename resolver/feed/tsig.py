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

from resolver.feed.details import Code, Detail, Place, Word, of_errno

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
    """The file holds no usable TSIG key; `detail` says why."""

    def __init__(self, detail: Detail) -> None:
        super().__init__(detail.code.value)
        self.detail = detail


def _unusable(code: Code, word: Word = Word.NONE, numbers: tuple[int, ...] = ()) -> KeyUnusable:
    return KeyUnusable(Detail(code=code, at=Place.ROOT_FILE, word=word, numbers=numbers))


class NotVerified(Exception):
    """A message or a stream is not signed as required; `forged`: it has a signature, and a wrong one. message: the
    one that does not verify, b"" if a signature is missing."""

    def __init__(self, *, forged: bool = False, message: bytes = b"") -> None:
        super().__init__("not verified")
        self.forged = forged
        self.message = message


def key_of(text: str) -> dns.tsig.Key:
    """Parse the text of a key file; KeyUnusable unless it holds exactly one key of an allowed algorithm."""
    text = _COMMENT.sub(" ", text)
    bind, knot = _BIND.match(text), _KNOT.match(text)
    if bind:
        parts = _BIND_PART.findall(bind[2])
        if len(parts) != 2 or _BIND_PART.sub("", bind[2]).strip():
            raise _unusable(Code.KEY_FORM)
        said = dict(parts)
        name, algorithm, secret = bind[1], said.get("algorithm", ""), said.get("secret", "")
    elif knot:
        name, algorithm, secret = knot.groups()
    else:
        raise _unusable(Code.KEY_FORM)
    algorithm = algorithm.lower().removesuffix(".")
    try:
        octets = base64.b64decode(secret, validate=True)
        if algorithm not in ALGORITHMS:
            raise _unusable(Code.KEY_ALGORITHM, _word_of(algorithm))
        if len(octets) < MIN_SECRET_BYTES:
            raise _unusable(Code.KEY_SHORT, numbers=(len(octets), MIN_SECRET_BYTES))
        return dns.tsig.Key(dns.name.from_text(name.lower()), octets, algorithm)
    except (binascii.Error, dns.exception.DNSException):
        raise _unusable(Code.KEY_FORM) from None


def _word_of(algorithm: str) -> Word:
    """Return the word for an algorithm that is not accepted."""
    known = {"hmac-md5": Word.HMAC_MD5, "hmac-md5.sig-alg.reg.int": Word.HMAC_MD5, "hmac-sha1": Word.HMAC_SHA1}
    return known.get(algorithm, Word.TRUNCATED if algorithm.startswith(ALGORITHMS) else Word.OTHER)


def read_key(path: str) -> dns.tsig.Key:
    """Read the key in a file; KeyUnusable if it holds none or cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            return key_of(file.read(MAX_KEY_BYTES))
    except OSError as error:
        raise KeyUnusable(of_errno(error, Place.ROOT_FILE)) from None
    except UnicodeDecodeError:
        raise _unusable(Code.KEY_FORM) from None


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
            raise NotVerified(forged=True, message=message) from None
        except (dns.exception.DNSException, NotImplementedError):
            raise NotVerified(message=message) from None
