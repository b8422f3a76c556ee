"""An upstream in a process of its own, whose answer follows from the question alone.

    python -m tests.soak.upstream --port 5301 --says mixed|plain

Rules:
- Two resolvers that ask it the same question get the same octets, whenever they ask: names, sizes, TTLs and what is
  wrong with an answer are drawn from a digest of the question in lower case, with its DO and CD.
- `mixed`: the first label of a name says what comes (SAYINGS); `rNN.example` is the reply NN of parity/corpus; every
  other name gets a reply drawn by parity/wires, with names of LISTED in it, or addresses.
- `plain`: an address for every name; `d<N>.leads.example` is an alias of `l<N>.listed.test`, and `e<N>.leads.example`
  one of `s<N>.sometimes.test`.
- A reply has the id and the question of its query: what has not is no reply, and would only be waited for.
- SIGTERM ends it, and its port then refuses; SIGSTOP makes it silent.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvloop

from tests.journeys.running import HOST, NO_CERTIFICATES, ROOT
from tests.parity import make_corpus, wires

REAL = bytes([198, 51, 100, 7])
LISTED = ("ads.example.test", "www.a.test", "listed.example", "c.listed.example", "b.example", "shop.test")
"""What the replies of `mixed` lead to, and the lists hold (tests.soak.same)."""
_KNOWN = tuple([label.encode() for label in name.split(".")] for name in LISTED)
_CORPUS = tuple(path.read_bytes() for path in sorted(make_corpus.FOLDER.glob("reply-*.bin")))
CORPUS_NAMES = tuple(f"r{number:02d}.example" for number in range(len(_CORPUS)))
_TTLS = (0, 1, 5, 60, 300, 3600, 86400)
_SOA = b"\0\0\6\0\1\0\0\1\x2c\0\x20\2ns\xc0\x0c\4host\xc0\x0c" + b"\0\0\0\1" * 3 + b"\0\0\0\1\0\0\0\x3c"
_OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
_TC = 2
_PLAIN_TTLS = 9

Says = Callable[[bytes, bool], bytes]


def _record(owner: bytes, kind: int, data: bytes, ttl: int) -> bytes:
    return owner + kind.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


def _name(name: str) -> bytes:
    return wires.wire([label.encode() for label in name.split(".")])


def _message(asked: bytes, end: int, records: tuple[list[bytes], list[bytes], list[bytes]], rcode: int = 0) -> bytes:
    counts = b"".join(len(one).to_bytes(2, "big") for one in records)
    head = asked[:2] + bytes([0x80 | asked[2] & 1, 0x80 | rcode]) + b"\0\1" + counts
    return head + asked[12:end] + b"".join(b"".join(one) for one in records)


def _address(kind: int, number: int) -> bytes:
    return bytes([198, 51, 100, number & 255]) if kind == 1 else b"\x20\x01\x0d\xb8" + number.to_bytes(12, "big")


def _addresses(kind: int, count: int, ttl: int) -> list[bytes]:
    if kind not in (1, 28):
        return [_record(b"\xc0\x0c", 16, b"\4text", ttl)] if kind == 16 else []
    return [_record(b"\xc0\x0c", kind, _address(kind, number), ttl) for number in range(1, count + 1)]


class Mixed:
    """One answer of `mixed`: the query, and what is drawn for it."""

    def __init__(self, asked: bytes, *, stream: bool) -> None:
        end = 12
        while asked[end]:
            end += asked[end] + 1
        self.asked, self.end, self.stream = asked, end + 5, stream
        self.kind = int.from_bytes(asked[end + 1 : end + 3], "big")
        self.name = bytes(asked[12 : end + 1]).lower()
        dnssec_ok = len(asked) >= self.end + 11 and asked[self.end + 7] & 0x80
        form = bytes([asked[3] & 0x10, bool(dnssec_ok)])
        self.draw = random.Random(self.name + asked[end + 1 : end + 5] + form)
        self.ttl = self.draw.choice(_TTLS)

    def said(self) -> bytes:
        """The reply's octets."""
        first = self.name[1 : 1 + self.name[0]]
        if self.name.endswith(b"\7example\0") and len(first) == 3 and first[:1] == b"r" and first[1:].isdigit():
            return self._of_corpus(int(first[1:]))
        way = SAYINGS.get(first[:2])
        if way is not None:
            return way(self, int(first[2:] or b"0") if first[2:].isdigit() else 0)
        if len(first) == 26:
            return self.negative(3)
        if self.draw.random() < 0.6:
            return self._drawn()
        return self.plain(self.draw.choice((1, 1, 2, 3, 8)))

    def _of_corpus(self, number: int) -> bytes:
        one = _CORPUS[number % len(_CORPUS)]
        return self.asked[:2] + one[2:12] + self.asked[12 : self.end] + one[self.end :]

    def _drawn(self) -> bytes:
        one = bytearray(wires.reply(self.draw, self.asked, self.end, _KNOWN))
        if len(one) < self.end:
            one = bytearray(_message(self.asked, self.end, ([], [], [])))
        one[:2], one[2], one[4:6] = self.asked[:2], one[2] | 0x80, b"\0\1"
        one[12 : self.end] = self.asked[12 : self.end]
        return bytes(one)

    def plain(self, count: int) -> bytes:
        return _message(self.asked, self.end, (_addresses(self.kind, count, self.ttl), [], [_OPT]))

    def negative(self, rcode: int) -> bytes:
        return _message(self.asked, self.end, ([], [_SOA], [_OPT]), rcode)

    def failed(self, rcode: int) -> bytes:
        text = b"\0\x17" + b"of this upstream"
        option = b"\0\x0f" + len(text).to_bytes(2, "big") + text
        opt = _OPT[:-2] + len(option).to_bytes(2, "big") + option
        return _message(self.asked, self.end, ([], [], [opt]), rcode)

    def truncated(self, number: int) -> bytes:
        if self.stream:
            return self.plain(20 + number % 100)
        one = bytearray(_message(self.asked, self.end, ([], [], [])))
        one[2] |= _TC
        return bytes(one)

    def chain(self, number: int) -> bytes:
        """An alias of an alias; where the number is odd, the last one is listed."""
        names = [_name(f"alias{step}.example") for step in range(number % 7)]
        names.append(_name(self.draw.choice(LISTED) if number & 1 else "open.example"))
        owner, found = b"\xc0\x0c", []
        for target in names:
            found.append(_record(owner, 5, target, self.ttl))
            owner = target
        found += [_record(owner, self.kind, _address(self.kind, 9), self.ttl)] if self.kind in (1, 28) else []
        return _message(self.asked, self.end, (found, [], [_OPT]))

    def dname(self, number: int) -> bytes:
        """A DNAME at the name's parent, to a listed name or to an open one, and the alias that follows from it."""
        parent = self.name[1 + self.name[0] :]
        target = _name(self.draw.choice(LISTED) if number & 1 else "open.example")
        alias = self.name[: 1 + self.name[0]] + target
        found = [_record(parent, 39, target, self.ttl), _record(b"\xc0\x0c", 5, alias, self.ttl)]
        return _message(self.asked, self.end, (found, [], []))

    def service(self, number: int) -> bytes:
        target = _name(self.draw.choice(LISTED) if number & 1 else "open.example")
        found = [_record(b"\xc0\x0c", self.kind, b"\0\1" + target, self.ttl)] if self.kind in (64, 65) else []
        return _message(self.asked, self.end, (found, [], [_OPT]))


SAYINGS: dict[bytes, Callable[[Mixed, int], bytes]] = {
    b"nx": lambda one, number: one.negative(3),
    b"no": lambda one, number: one.negative(0),
    b"sf": lambda one, number: one.failed(2),
    b"rf": lambda one, number: one.failed(5),
    b"fe": lambda one, number: one.failed(1),
    b"ni": lambda one, number: one.failed(4),
    b"yx": lambda one, number: one.failed(6),
    b"tc": Mixed.truncated,
    b"bg": lambda one, number: one.plain(number % 120),
    b"ch": Mixed.chain,
    b"dn": Mixed.dname,
    b"sv": Mixed.service,
}
"""What the first two octets of a name say; a number may follow them."""
CLEAN = (b"nx", b"no", b"bg", b"ch", b"dn", b"sv")
"""Those that answer the question."""


def mixed(asked: bytes, stream: bool) -> bytes:
    """Whatever an upstream may say."""
    return Mixed(asked, stream=stream).said()


def plain(asked: bytes, stream: bool) -> bytes:
    """An address, or an alias of a name that is listed now or sometimes."""
    del stream
    end = 12
    while asked[end]:
        end += asked[end] + 1
    first = asked[13 : 13 + asked[12]].lower()
    ttl = 1 + zlib.crc32(first) % _PLAIN_TTLS
    if b"\5leads\7example" in asked[12:end].lower():
        alias = _name({100: "l{}.listed.test", 101: "s{}.sometimes.test"}[first[0]].format(int(first[1:])))
        found = [_record(b"\xc0\x0c", 5, alias, ttl), _record(alias, 1, REAL, ttl)]
    else:
        found = [_record(b"\xc0\x0c", 1, REAL, ttl)]
    return _message(asked, end + 5, (found, [], [_OPT]))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, says: Says) -> None:
        self.says = says

    # asyncio gives a datagram protocol this transport; its types say any.
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.says(data, False), addr)


async def _serve(port: int, says: Says) -> None:
    loop = asyncio.get_running_loop()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                said = says(data, True)
                writer.write(len(said).to_bytes(2, "big") + said)
        writer.close()

    await loop.create_datagram_endpoint(lambda: _Datagrams(says), local_addr=(HOST, port))
    await asyncio.start_server(stream, HOST, port)
    print("ready", flush=True)
    # SIGTERM ends it at once, with what is open.
    await asyncio.Event().wait()


class Process:
    """A running upstream that can leave and return."""

    def __init__(self, port: int, says: str) -> None:
        self.words = [sys.executable, "-m", "tests.soak.upstream", "--port", str(port), "--says", says]
        self.process: subprocess.Popen[bytes] | None = None
        self.back()

    def back(self) -> None:
        """Answer, from now on."""
        environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ.get("PATH", ""), **NO_CERTIFICATES}
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"

    def away(self) -> None:
        """Close the port, which then refuses."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout
        self.process.stdout.close()

    def silent(self, seconds: float) -> None:
        """Answer nothing for a while, then all that came meanwhile."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)  # the silence itself
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running(port: int, says: str) -> Iterator[Process]:
    """An upstream on this port of loopback."""
    one = Process(port, says)
    try:
        yield one
    finally:
        one.away()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--says", choices=("mixed", "plain"), required=True)
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, {"mixed": mixed, "plain": plain}[arguments.says]))
