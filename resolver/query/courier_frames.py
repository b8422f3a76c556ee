"""What the service and the courier process say to each other: frames over a pair of sockets.

Rules:
- A frame is its length (4 octets, big endian) without these four, its kind (one octet), and its body. A frame that has
  another form ends the connection, and with it the process.
- The service sends SERVERS once, then ASK (number, server, query), FORGET (number) and ALIVE; the courier sends ANSWER
  (number, message), FAILED (number, reason, detail), NOTICE (server, reason, detail) and ALIVE. A number that is asked
  twice is one query: the second time it is sent over another connection. A notice says why a connection has ended,
  if perhaps no query has failed by that; its detail, of one of FAULTS, is how many have.
- A query is our own, as core.exchange writes it: no frame carries a client, a verdict, or what else a client sent.
- Of a failure the courier says a reason of a closed set and one number. What a server sent never becomes a text here.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from resolver.config.values import Encrypted

SERVERS: Final = 0x53
ASK: Final = 0x51
FORGET: Final = 0x46
ALIVE: Final = 0x50
ANSWER: Final = 0x41
FAILED: Final = 0x45
NOTICE: Final = 0x4E

LARGEST_MESSAGE: Final = 65_535
LARGEST_FRAME: Final = 2**20
_LEAST_MESSAGE: Final = 12
_FOUR: Final = struct.Struct("!I")
_ASK: Final = struct.Struct("!IBIH")
_ANSWER: Final = struct.Struct("!IBI")
_ASKED: Final = struct.Struct("!IH")


class Reason(IntEnum):
    """Why a server did not answer. What `detail` is stands beside a reason that has one."""

    REFUSED = 1
    NETWORK = 2
    SLOW = 3  # no connection in time
    CLOSED = 4
    BUSY = 5  # all connections are full
    EXPIRED = 6
    NOT_YET = 7
    OTHER_NAME = 8
    UNTRUSTED = 9
    INVALID = 10  # of a certificate; OpenSSL's code
    OTHER_KEY = 11
    NO_CA = 12  # the file of CAs cannot be used
    TLS = 13
    NO_HTTP2 = 14
    REDIRECTED = 15  # HTTP's status
    STATUS = 16  # HTTP's status
    CONTENT = 17
    LARGE = 18
    GARBLED = 19  # no DNS, or no HTTP/2
    FLOOD = 20  # of TLS or HTTP/2 messages that bring nothing


FAULTS: Final = frozenset((Reason.GARBLED, Reason.FLOOD))
"""Why a connection ends whose server was verified and does what it must not."""


class Settings(NamedTuple):
    """One server as the courier knows it. pins: base64, () for none. ca: a path, "" for the system's CAs."""

    server: Encrypted
    pins: tuple[str, ...] = ()
    ca: str = ""


class Malformed(Exception):
    """What came is no frame."""


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def taken(self, data: bytes) -> Iterator[tuple[int, memoryview]]:
        """Yield kind and body of each frame that is now complete; Malformed for what is none."""
        data = self._rest + data if self._rest else data
        view, at, end = memoryview(data), 0, len(data)
        while end - at >= _FOUR.size:
            (size,) = _FOUR.unpack_from(data, at)
            after = at + _FOUR.size + size
            if not 0 < size <= LARGEST_FRAME - _FOUR.size:
                raise Malformed
            if after > end:
                break
            yield data[at + 4], view[at + 5 : after]
            at = after
        self._rest = data[at:]


def frame(kind: int, *parts: bytes | memoryview) -> bytes:
    """Return a frame with this body."""
    return b"".join(((1 + sum(map(len, parts))).to_bytes(4), kind.to_bytes(1), *parts))


def servers(settings: Sequence[Settings]) -> bytes:
    """Return the frame that says which servers there are; a query names one by its place."""
    files = list(dict.fromkeys(one.ca for one in settings))
    said = [(tuple(one.server), one.pins, files.index(one.ca)) for one in settings]
    return frame(SERVERS, json.dumps((files, said)).encode())


def settings_in(body: memoryview) -> tuple[Settings, ...]:
    """Return what `servers` wrote."""
    files, said = json.loads(bytes(body))
    return tuple(Settings(Encrypted(*server), tuple(pins), files[file]) for server, pins, file in said)


def ask(number: int, server: int, query: bytes) -> bytes:
    """Return the frame that asks a server."""
    return _ASK.pack(_ASK.size - _FOUR.size + len(query), ASK, number, server) + query


def asked_in(body: memoryview) -> tuple[int, int, bytes]:
    """Return number, server and query; Malformed."""
    if len(body) < 6 + _LEAST_MESSAGE:
        raise Malformed
    number, server = _ASKED.unpack_from(body)
    return number, server, bytes(body[6:])


def number_in(body: memoryview) -> int:
    """Return the number of a query; Malformed."""
    if len(body) < 4:
        raise Malformed
    number: int = _FOUR.unpack_from(body)[0]
    return number


def forget(number: int) -> bytes:
    """Return the frame that says that nobody waits for an answer any more."""
    return frame(FORGET, number.to_bytes(4))


def answer(number: int, message: bytes) -> bytes:
    """Return the frame with a server's answer, which has the id of the query."""
    return _ANSWER.pack(_ANSWER.size - _FOUR.size + len(message), ANSWER, number) + message


def answer_in(body: memoryview) -> tuple[int, bytes]:
    """Return number and message; Malformed."""
    if not 4 + _LEAST_MESSAGE <= len(body) <= 4 + LARGEST_MESSAGE:
        raise Malformed
    return number_in(body), bytes(body[4:])


def failed(number: int, reason: Reason, detail: int = 0) -> bytes:
    """Return the frame that says why there is no answer. detail: 0 to 65,535."""
    return frame(FAILED, number.to_bytes(4), reason.to_bytes(1), min(max(detail, 0), 0xFFFF).to_bytes(2))


def failed_in(body: memoryview) -> tuple[int, Reason, int]:
    """Return number, reason and detail; Malformed."""
    try:
        return number_in(body), Reason(body[4]), int.from_bytes(body[5:7])
    except (ValueError, IndexError):
        raise Malformed from None


def notice(server: int, reason: Reason, detail: int = 0) -> bytes:
    """Return the frame that says why a connection to this server has ended. detail: 0 to 65,535."""
    return frame(NOTICE, server.to_bytes(2), reason.to_bytes(1), min(max(detail, 0), 0xFFFF).to_bytes(2))


def noticed_in(body: memoryview) -> tuple[int, Reason, int]:
    """Return server, reason and detail; Malformed."""
    try:
        return int.from_bytes(body[:2]), Reason(body[2]), int.from_bytes(body[3:5])
    except (ValueError, IndexError):
        raise Malformed from None
