"""What threads share: old tables and routes are released where no thread uses them, and the end is told to all."""

import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter

import dns.message
import pytest

from resolver.core import crash_shape
from resolver.core.exchange import Route
from resolver.core.lane import Tables
from resolver.engine.relay import address_of
from resolver.engine.shared import Shared
from resolver.engine.udp import Carrier
from tests.unit.engine.relaying import ADDRESS, answer, bound, relaying
from tests.unit.engine.running import LISTED, in_force, query
from tests.unit.query.parts import PAGE_V4

THREADS = 2


@pytest.fixture
def shared() -> Shared:
    return Shared(in_force())


def test_old_tables_and_routes_are_released_where_no_thread_uses_them(shared: Shared) -> None:
    carrier = Carrier(shared, 0, 512, 1232)
    for number in range(2, 5):
        shared.use(in_force(number))
        shared.use_route(Route([0], [number]))
        assert not shared.release()
    carrier.close()
    shared.close()


def test_the_end_and_the_bell_are_closed_once(shared: Shared) -> None:
    bell = shared.bell
    shared.end()
    shared.close()
    shared.close()
    assert shared.bell == -1
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(bell)


def test_routes_are_swapped_under_load_and_none_stays() -> None:
    with relaying() as one:
        for number in range(300):
            one.route(patience_ms=1000 + number)
            one.ask(f"n-{number}.test", number)
            sent, peer = one.sent()
            one.upstream.sendto(answer(sent), peer)
            one.reply()
        one.until(lambda: not one.shared.release())
        assert not one.shared.release(), "and none is left behind"


class Upstream(threading.Thread):
    """Answers every name with ADDRESS; one in eight twice: the second time nobody waits any more."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = bound()
        self.ends = threading.Event()

    def run(self) -> None:
        self.socket.settimeout(0.05)
        while not self.ends.is_set():
            with contextlib.suppress(TimeoutError):
                sent, peer = self.socket.recvfrom(4096)
                for _ in range(2 if sent[1] % 8 == 0 else 1):
                    self.socket.sendto(reply(sent), peer)
        self.socket.close()


def reply(sent: bytes) -> bytes:
    """An answer for five seconds, without what follows the question."""
    end = sent.index(0, 12) + 5
    head = sent[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
    return head + sent[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(ADDRESS)


def swapped(first: Tables, count: int) -> list[Tables]:
    """Tables of rising numbers with the memory of the first: every second one lists `sometimes.test`, too."""
    more = {"store": first.store, "shares": first.shares, "tally": first.tally, "asked": first.asked}
    found = []
    for number in range(2, count + 2):
        one = in_force(number, [LISTED, "sometimes.test"] if number % 2 else [LISTED])
        found.append(Tables(one.generation, one.access, one.complete, one.zones, **more))
    return found


@pytest.mark.timeout(300)
def test_threads_ask_keep_and_give_the_same_while_lists_and_routes_are_swapped() -> None:
    """A table of kept answers for a few of them, so that each writes over what another reads."""
    first, draws, ends = in_force(1), random.Random(1), threading.Event()
    upstream = Upstream()
    shared = Shared(first, [address_of(upstream.socket.getsockname())], (1000, 100_000))
    tables = swapped(first, 40)
    listening, clients = [bound() for _ in range(THREADS)], [bound() for _ in range(THREADS)]
    carriers = [Carrier(shared, number, 512, 1232) for number in range(THREADS)]
    for one, at, client in zip(carriers, listening, clients, strict=True):
        at.setblocking(False)
        client.connect(at.getsockname())
        client.setblocking(False)
        one.add(at.fileno(), False)

    def swap() -> None:
        for number in range(len(tables) * 100):
            if ends.wait(0.002):
                return
            if number % 4 == 0 and number < 4 * len(tables):
                shared.use(tables[number // 4])
            shared.use_route(Route([0], [10_000], timeout_ms=500, pool=4, exact=number % 2 == 1))

    shapes = [crash_shape.Shape(memoryview(bytearray(64)).cast("q")) for _ in carriers]
    beside = [
        threading.Thread(target=one.run, args=(shape,)) for one, shape in zip(carriers, shapes, strict=True)
    ] + [upstream, threading.Thread(target=swap)]
    for one in beside:
        one.start()
    said: Counter[tuple[str, str]] = Counter()
    for _ in range(60):
        names = [draws.choice(("open.test", "sometimes.test", LISTED)) for _ in range(16)]
        waiting = {}
        for number, name in enumerate(names):
            waiting |= {(which, number): name for which in range(THREADS)}
            asked = query(f"n-{draws.randrange(60)}.{name}", number)
            for client in clients:
                client.send(asked)
        until = time.monotonic() + 60
        while waiting:
            assert time.monotonic() < until, f"never answered: {waiting}"
            for which, (one, client) in enumerate(zip(carriers, clients, strict=True)):
                one.relay.figures(0), one.relay.recent_us(0, 64), one.busy_ns()
                for packet in filter(None, [left[0] for left in one.left(64)]):
                    said[waiting.pop((which, int.from_bytes(packet[:2]))), "left"] += 1
                with contextlib.suppress(BlockingIOError):
                    while True:
                        message = dns.message.from_wire(client.recv(4096))
                        (address,) = [str(each) for rrset in message.answer for each in rrset]
                        said[waiting.pop((which, message.id)), address] += 1
    ends.set()
    shared.end()
    for one in beside[:THREADS]:
        one.join(60)
        assert not one.is_alive()
    upstream.ends.set()
    for one in beside[THREADS:]:
        one.join(60)
    assert not shared.release(), "no old tables stay"
    assert {name: address for name, address in said if name == LISTED} == {LISTED: PAGE_V4}
    assert said["open.test", PAGE_V4] == 0
    assert said["open.test", ADDRESS] > said["open.test", "left"]
    assert said["sometimes.test", ADDRESS] > 0
    assert said["sometimes.test", PAGE_V4] > 0
    for one in carriers:
        figures = one.relay.figures(0)
        asked, answered, _, strange = figures[:4]
        assert answered > 0.5 * asked > 20
        assert strange > 0
        assert (one.lane.errors, one.failures, one.relay.waiting) == (0, 0, 0)
        one.close()
    shared.close()
    for each in (*listening, *clients):
        each.close()
