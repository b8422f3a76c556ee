"""Makes and checks the tokens of QUIC that need no state: those of Retry (RFC 9000 8.1.2) and of resets (10.3).

Rules:
- Their keys are derived from the certificate's key, which all edges of a host have, and the next process too: a client
  may get its Retry from one process and come back to another, and a process that knows nothing of a connection can
  reset it.
- A token of Retry is for one address and port, one pair of connection ids, and RETRY_S.
- A token of a reset is for one connection id at one address and port. So nobody learns the token of a connection from
  an edge that does not have it (RFC 9000 21.11): from another address the answer is another token, and what comes with
  a client's own address reaches the edge that has its connection.
"""

import hmac
from hashlib import blake2b
from struct import Struct
from typing import Final

RETRY_S: Final = 10

_MAC_OCTETS: Final = 16
_RESET_OCTETS: Final = 16
_TIME: Final = Struct(">I")


class Tokens:
    """The tokens under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._retry = blake2b(secret, digest_size=32, person=b"quic retry").digest()
        self._reset = blake2b(secret, digest_size=32, person=b"quic reset").digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and hmac.compare_digest(self._retry, other._retry)

    def __hash__(self) -> int:
        return hash(self._retry)

    def retry(self, place: bytes, original: bytes, retried: bytes, now: float) -> bytes:
        """Return a token for a client. place: its address and port. original, retried: connection ids. now: seconds."""
        said = _TIME.pack(int(now) & 0xFFFFFFFF) + original
        return self._mac(place, retried, said) + said

    def original(self, token: bytes, place: bytes, retried: bytes, now: float) -> bytes | None:
        """Return the first connection id of a client that shows its token; None if that is not valid, or too old."""
        mac, said = token[:_MAC_OCTETS], token[_MAC_OCTETS:]
        if len(said) < _TIME.size or not hmac.compare_digest(mac, self._mac(place, retried, said)):
            return None
        age = (int(now) - _TIME.unpack_from(said)[0]) & 0xFFFFFFFF
        return said[_TIME.size :] if age <= RETRY_S else None

    def reset(self, place: bytes, connection_id: bytes) -> bytes:
        """Return the token that resets a connection. place: its client's address and port."""
        said = bytes((len(place),)) + place + connection_id
        return blake2b(said, digest_size=_RESET_OCTETS, key=self._reset).digest()

    def _mac(self, place: bytes, retried: bytes, said: bytes) -> bytes:
        parts = bytes((len(place), len(retried))) + place + retried + said
        return blake2b(parts, digest_size=_MAC_OCTETS, key=self._retry).digest()
