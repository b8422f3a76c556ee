"""A steady load that misses nothing: each query has one answer to wait for, and at the end the answers that never came.

    python -m tests.journeys.steady --port 5300 --rate 2000 --ask blocked blocked.test 192.0.2.1 [--ask ...]

It asks until its stdin ends, waits for what is still due, and prints one line of JSON. It needs nothing but Python, so
that it runs beside a service in a bare tree of Debian.

Rules:
- Over UDP a query is asked once: no retry hides a loss. A `*` in a name is a number that no other query has.
- Over TCP one thread makes a connection for each query, where a failure is a loss; one keeps a connection, and asks
  again by a new one if the service has closed it, as every client must (RFC 7766 6.2.4).
- No more than `most` queries wait for an answer: on a busy machine the load is less, and the service is not flooded.
- `--upstream` answers every name by the address of the last kind, in the same process.
- The answer is the address that its kind must have, or it is wrong.
"""

import argparse
import json
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

HOST = "127.0.0.1"
SOCKETS = 4
TURN_S = 0.002
MOST_A_TURN = 64
"""A generator that was kept from running catches up slowly: it is the service that is measured, not a burst."""
WAIT_S = 8.0
STREAM_S = 0.03
BUFFER_OCTETS = 2**22


@dataclass
class Kind:
    """What is asked, and the address that answers it."""

    name: str
    question: str
    address: bytes


@dataclass
class Seen:
    """The results, by kind."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    slowest_s: dict[str, float] = field(default_factory=dict)
    again: int = 0

    def came(self, name: str, reply: bytes, address: bytes, took_s: float) -> None:
        """Note an answer."""
        self.answered[name] += 1
        self.slowest_s[name] = max(self.slowest_s.get(name, 0.0), took_s)
        if reply[3] & 15 or not reply.endswith(address):
            self.wrong[name] += 1


def query(number: int, name: str) -> bytes:
    """A query for A without EDNS, so that an answer ends in its address."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    return number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


class Asker:
    """Asks the kinds in turn, `rate` a second over UDP."""

    def __init__(self, port: int, rate: float, most: int, kinds: Sequence[Kind]) -> None:
        self.seen = Seen()
        self._most = most
        self._where = (HOST, port)
        self._rate = rate
        self._kinds = kinds
        self._numbers = count(1)
        self._due: dict[tuple[int, int], tuple[Kind, float]] = {}

    def datagrams(self, until: Callable[[], bool]) -> None:
        """Ask until told to stop, and then wait for what is due."""
        sockets = [self._opened() for _ in range(SOCKETS)]
        poll = select.poll()
        for one in sockets:
            poll.register(one, select.POLLIN)
        began, asked = time.monotonic(), 0
        while not until():
            wanted = int((time.monotonic() - began) * self._rate) - asked
            for _ in range(min(wanted, MOST_A_TURN, self._most - len(self._due))):
                self._ask(sockets, asked)
                asked += 1
            if wanted > MOST_A_TURN:
                began = time.monotonic() - asked / self._rate
            self._read(poll, sockets)
        last = time.monotonic() + WAIT_S
        while self._due and time.monotonic() < last:
            self._read(poll, sockets)
        for kind, _ in self._due.values():
            self.seen.lost[kind.name] += 1
        for one in sockets:
            one.close()

    def _opened(self) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
        one.bind(("127.0.0.2", 0))
        one.setblocking(False)
        return one

    def _ask(self, sockets: Sequence[socket.socket], asked: int) -> None:
        kind = self._kinds[asked % len(self._kinds)]
        number, at = (asked // SOCKETS) % 65536, asked % SOCKETS
        self._due[at, number] = kind, time.monotonic()
        self.seen.sent[kind.name] += 1
        sockets[at].sendto(query(number, kind.question.replace("*", str(next(self._numbers)))), self._where)

    def _read(self, poll: Any, sockets: Sequence[socket.socket]) -> None:
        ready = {number for number, _ in poll.poll(TURN_S * 1000)}
        for at, one in enumerate(sockets):
            while one.fileno() in ready:
                try:
                    reply = one.recv(4096)
                except BlockingIOError:
                    break
                found = self._due.pop((at, int.from_bytes(reply[:2], "big")), None)
                if found is not None:
                    self.seen.came(found[0].name, reply, found[0].address, time.monotonic() - found[1])

    def streams(self, until: Callable[[], bool], *, kept: bool) -> None:
        """Ask over TCP until told to stop: by a connection for each query, or by one that is kept."""
        seen, pause, connection = self.seen, threading.Event(), None
        for kind in _turns(self._kinds):
            if until():
                break
            name, began = f"{kind.name} over {'one' if kept else 'a'} connection", time.monotonic()
            seen.sent[name] += 1
            asked = query(1, kind.question.replace("*", str(next(self._numbers))))
            for _ in range(3 if kept else 1):
                try:
                    connection = connection or self._connected()
                    reply = exchanged(connection, asked)
                except OSError:
                    seen.again += kept
                    connection = None
                else:
                    seen.came(name, reply, kind.address, time.monotonic() - began)
                    break
            else:
                seen.lost[name] += 1
            if not kept and connection is not None:
                connection.close()
                connection = None
            pause.wait(STREAM_S)

    def _connected(self) -> socket.socket:
        one = socket.socket()
        one.settimeout(WAIT_S)
        one.bind(("127.0.0.2", 0))
        one.connect(self._where)
        return one


def answer_all(one: socket.socket, address: bytes) -> None:
    """Answer each query at an upstream's socket, whatever its name."""
    while True:
        asked, peer = one.recvfrom(4096)
        end = 12
        while asked[end]:
            end += 1 + asked[end]
        record = b"\xc0\x0c\0\1\0\1\0\0\x01\x2c\0\4" + address
        one.sendto(asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12 : end + 5] + record, peer)


def exchanged(one: socket.socket, asked: bytes) -> bytes:
    """The reply to a query over a connection; OSError without one."""
    one.sendall(len(asked).to_bytes(2, "big") + asked)
    reply = b""
    while len(reply) < 2 or len(reply) < 2 + int.from_bytes(reply[:2], "big"):
        part = one.recv(4096)
        if not part:
            raise ConnectionAbortedError
        reply += part
    return reply[2:]


def _turns(kinds: Sequence[Kind]) -> Any:
    while True:
        yield from kinds


def main() -> None:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(description="a steady load that misses nothing")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--most", type=int, default=256)
    parser.add_argument("--upstream", type=int, default=0, metavar="PORT")
    parser.add_argument("--no-streams", action="store_true")
    parser.add_argument("--ask", nargs=3, action="append", required=True, metavar=("KIND", "NAME", "ADDRESS"))
    arguments = parser.parse_args()
    kinds = [Kind(name, asked, socket.inet_aton(address)) for name, asked, address in arguments.ask]
    if arguments.upstream:
        upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        upstream.bind((HOST, arguments.upstream))
        threading.Thread(target=answer_all, args=(upstream, kinds[-1].address), daemon=True).start()
    ended = threading.Event()
    asker = Asker(arguments.port, arguments.rate, arguments.most, kinds)
    threads = [threading.Thread(target=asker.datagrams, args=(ended.is_set,))]
    if not arguments.no_streams:
        streams = partial(asker.streams, ended.is_set)
        threads += [threading.Thread(target=streams, kwargs={"kept": kept}) for kept in (False, True)]
    for one in threads:
        one.start()
    print("asking", flush=True)
    sys.stdin.read()
    ended.set()
    for one in threads:
        one.join()
    print(json.dumps(vars(asker.seen)))


if __name__ == "__main__":
    main()
