"""`python -m tests.bench.instructions`: instructions that one query costs a thread of the engine, by function.

Rules:
- One carrier runs on a thread of a process of its own, with LISTED names and all that core does for a query; this
  process is its clients and its upstream. The service itself is not looked into: its processes may not be traced.
- Callgrind counts from after the warm-up until the last answer: instructions of the process, not of the kernel. They
  depend neither on the machine nor on who else uses it, but a little on how many packets a batch has.
- Questions have no OPT, or one (`edns`), or one with a cookie: without a server's part (`new`), or good (`good`).
- Each question of `miss` is for another name, and from one of CLIENTS clients. Questions are sent WINDOW at a time.
"""

import argparse
import functools
import itertools
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from resolver.config import for_core
from resolver.config.config import Listen
from resolver.config.values import prefixes
from resolver.core import admit, cache, crash_shape, sketch, store, tally
from resolver.core.cookie import Cookies, check
from resolver.core.exchange import Route
from resolver.core.question import Question, parse
from resolver.core.scratch import Scratch
from resolver.core.shares import Shares
from resolver.engine.relay import address_of
from resolver.engine.shared import Shared
from resolver.engine.udp import Carrier
from tests.bench import names
from tests.peers import servers
from tests.unit.query.parts import KEY, config, generation, tables_of

LISTED = 10_000
KEPT = 1_000
WINDOW = 64
CLIENTS = 16
KINDS = ("blocked", "cached", "miss")
OPTIONS = ("none", "edns", "new", "good")
_PATIENCE_MS = 60_000
_ANSWER_S = 60.0
_SHOWN = 40
_RD = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
_A_IN = b"\x00\x01\x00\x01"
# An authoritative answer with one record and the OPT that was sent.
_HEAD = b"\x85\x00\x00\x01\x00\x01\x00\x00\x00\x01"
_ANSWER = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc6\x33\x64\x01"


def tables() -> object:
    """The tables of the process that is measured: all is on, and no client reaches a limit."""
    listen = Listen(allow=prefixes("127.0.0.0/8"))
    limits = msgspec.structs.replace(config(), listen=listen)
    access = for_core.access(limits, bytearray(admit.BUCKET_OCTETS * admit.WAYS * 1024), KEY)
    small = tables_of(generation(1, [names.listed(LISTED)]), access)
    return small.replaced(
        store=store.Store(bytearray(2**25), KEY),
        shares=Shares(bytearray(cache.SHARES_OCTETS), KEY),
        tally=tally.Tally(bytearray(tally.TABLES * 2**18), KEY),
        asked=sketch.Sketch(bytearray(sketch.SET_OCTETS * 2**13), KEY),
        cookies=Cookies((KEY,), memoryview(bytearray(int(_epoch_ms()).to_bytes(8, sys.byteorder))).cast("Q")),
    )


def _epoch_ms() -> float:
    """What the clock of the steps is behind Unix time, in milliseconds."""
    return (time.time() - time.monotonic()) * 1000


def serve(upstream: int) -> None:
    """Be the process that is measured, until standard input ends; prints the port that it answers on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO, as the service has it.
        listening.setblocking(False)
        shared = Shared(tables(), [address_of(("127.0.0.1", upstream))], (1000, 10_000, 100_000))
        shared.use_route(Route((0,), (_PATIENCE_MS,), timeout_ms=_PATIENCE_MS, pool=128))
        carrier = Carrier(shared, 0, 512, 1232)
        carrier.add(listening.fileno(), False)
        shape = crash_shape.Shape(memoryview(bytearray(8 * len(crash_shape.NUMBERS))).cast("q"))
        thread = threading.Thread(target=carrier.run, args=(shape,))
        thread.start()
        print(listening.getsockname()[1], flush=True)
        sys.stdin.read()
        print(carrier.batches, carrier.packets, flush=True)
        shared.end()
        thread.join()
        carrier.close()
        shared.close()


class Side:
    """The clients and the upstream of the process that is measured."""

    def __init__(self, upstream: socket.socket, clients: Sequence[socket.socket]) -> None:
        self.upstream = upstream
        self.clients = clients
        self.asked = 0

    def ask(self, questions: Sequence[bytes]) -> None:
        """Ask all of them, WINDOW at a time; an answer to each must come, NOERROR, with a record."""
        for start in range(0, len(questions), WINDOW):
            window = questions[start : start + WINDOW]
            for number, question in enumerate(window):
                self.clients[number % len(self.clients)].send(number.to_bytes(2, "big") + question)
            left = len(window)
            while left:
                ready, _, _ = select.select([self.upstream, *self.clients], [], [], _ANSWER_S)
                assert ready, f"{left} not answered"
                for one in ready:
                    if one is self.upstream:
                        self._answer()
                    else:
                        reply = one.recv(4096)
                        assert reply[3] & 15 == 0, "not answered"
                        assert reply[7] > 0, "no record"
                        left -= 1

    def _answer(self) -> None:
        """Answer all that has come, as an authoritative server does."""
        replies = []
        while select.select([self.upstream], [], [], 0)[0]:
            sent, peer = self.upstream.recvfrom(4096)
            end = sent.index(0, 12) + 5
            replies.append((sent[:2] + _HEAD + sent[12:end] + _ANSWER + sent[end:], peer))
        for reply, peer in replies:
            self.asked += 1
            self.upstream.sendto(reply, peer)


def question(name: str) -> bytes:
    """The octets of a query after its id."""
    return _RD + names.wire(name) + _A_IN


def questions(kind: str, number: int, count: int) -> list[bytes]:
    """So many questions of a kind; those of `miss` are others for each number."""
    if kind == "blocked":
        listed = names.listed(LISTED)
        return [question(("www." if at % 2 else "") + listed[at % LISTED]) for at in range(count)]
    if kind == "cached":
        return [question(f"host{at % KEPT}.zone{at % 50}.{names.ALLOWED}") for at in range(count)]
    return [question(f"m{at}x{number}x{at * 7919 % 10**9}.{names.ALLOWED}") for at in range(count)]


def with_option(option: str, questions: Sequence[bytes]) -> list[bytes]:
    """The questions, as the clients ask them one after the other, each with what `option` names (OPTIONS)."""
    if option == "none":
        return list(questions)
    made = []
    for at, asked in enumerate(questions):
        cookie = b"" if option == "edns" else b"a cookie" if option == "new" else _good(at % WINDOW % CLIENTS)
        rdata = b"\0\x0a\0" + bytes([len(cookie)]) + cookie if cookie else b""
        made.append(asked[:9] + b"\1" + asked[10:] + b"\0\0\x29\x04\xd0\0\0\0\0\0" + bytes([len(rdata)]) + rdata)
    return made


@functools.cache
def _good(client: int) -> bytes:
    """A good cookie of a client."""
    asked = Question()
    packet = memoryview(b"\0\0" + with_option("new", [question("a.test")])[0])
    parse(packet, len(packet), asked)
    of_client = memoryview(bytes(10) + b"\xff\xff\x7f\0\0" + bytes([2 + client]))
    secrets = Cookies((KEY,), memoryview(int(time.time() * 1000).to_bytes(8, sys.byteorder)).cast("Q"))
    check(secrets, packet, asked, of_client, 0, Scratch())
    return b"".join(part.to_bytes(8, "little") for part in (asked.cookie_client, asked.cookie_stamp, asked.cookie_hash))


class Counted(NamedTuple):
    """What callgrind has counted: instructions in all, and by function."""

    instructions: int
    by_function: dict[str, int]


def read_annotated(said: str) -> Counted:
    """Read what callgrind_annotate prints."""
    total = re.search(r"^\s*([\d,]+) \([\d.]+%\)\s+PROGRAM TOTALS", said, re.MULTILINE)
    assert total, said[:400]
    rows = re.findall(r"^\s*([\d,]+) \([ \d.]+%\)\s+(?:[^\s:]*:)(\S+)", said, re.MULTILINE)
    found: dict[str, int] = {}
    for count, name in rows:
        found[name] = found.get(name, 0) + int(count.replace(",", ""))
    return Counted(int(total[1].replace(",", "")), found)


def short(name: str) -> str:
    """A function's name as its module and its own."""
    made = re.sub(r"^__pyx_f(use)?_", "", name)
    return re.sub(r"^(?:\d+)?resolver_\d+(\w+?)_\d+", r"\1 ", made)


@contextmanager
def _measured(folder: Path) -> Iterator[tuple[Side, int]]:
    """The process under callgrind, and its other side."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("127.0.0.1", 0))
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        command = [
            "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out.%p",
            sys.executable, "-m", "tests.bench.instructions", "--serve", str(upstream.getsockname()[1]),
        ]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
            assert run.stdout
            assert run.stdin
            port = int(run.stdout.readline())
            clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(CLIENTS)]
            try:
                for number, one in enumerate(clients):
                    one.bind((f"127.0.0.{2 + number}", 0))
                    one.connect(("127.0.0.1", port))
                yield Side(upstream, clients), run.pid
                run.stdin.close()
                batches, packets = map(int, run.stdout.readline().split())
                print(f"packets a batch {packets / max(1, batches):.1f}", flush=True)
            finally:
                for one in clients:
                    one.close()
                run.stdin.close()
                run.wait()


def _control(*orders: str) -> None:
    done = subprocess.run(["callgrind_control", *orders], capture_output=True, text=True, check=True)
    if "OK." not in done.stdout:
        raise AssertionError(f"callgrind_control {orders}: {done.stdout}{done.stderr}")


def measure(folder: Path, kind: str, count: int, option: str = "none") -> Counted:
    """Instructions of so many queries of a kind, after as many that are not counted."""
    folder.mkdir()
    with _measured(folder) as (side, pid):
        if kind == "cached":
            side.ask(with_option(option, questions(kind, 0, KEPT)))
        side.ask(with_option(option, questions(kind, 0, count)))
        _control("-i", "on", str(pid))
        side.ask(with_option(option, questions(kind, 1, count)))
        _control("--dump", str(pid))
    (made,) = folder.glob("out.*.1")
    said = subprocess.run(
        ["callgrind_annotate", "--threshold=100", str(made)], capture_output=True, text=True, check=True
    )
    return read_annotated(said.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 2 where a tool is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--queries", type=int, default=2048)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--options", nargs="+", choices=OPTIONS, default=OPTIONS[:1])
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.serve:
        serve(arguments.serve)
        return 0
    if servers.find("valgrind") is None:
        sys.stderr.write("missing: valgrind\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for kind, option in itertools.product(arguments.kinds, arguments.options):
            counted = measure(Path(name) / f"{kind}-{option}", kind, arguments.queries, option)
            print(f"{kind}, {option}: {counted.instructions / arguments.queries:,.0f} instructions a query")
            most = sorted(counted.by_function.items(), key=lambda one: -one[1])
            for function, instructions in most[:_SHOWN]:
                print(f"  {instructions / arguments.queries:8,.0f}  {short(function)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
