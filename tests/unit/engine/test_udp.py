"""One thread's part alone: its sockets, its ring, and which tables are still in use."""

import errno
import socket
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.rcode
import pytest

from resolver.config import for_core
from resolver.core import admit, codes, crash_shape, upstream_zones
from resolver.core.lane import Tables
from resolver.engine.shared import Shared
from resolver.engine.udp import MOST_PLACES, Carrier
from tests.fakes.refused import refuse
from tests.unit.engine.relaying import HASTY_MS, Relaying, answer, relaying
from tests.unit.engine.running import LISTED, in_force, is_blocked, query
from tests.unit.query.parts import KEY, config

SHAPE = crash_shape.Shape(memoryview(bytearray(64)).cast("q"))


def carrier_of(shared: Shared) -> Carrier:
    return Carrier(shared, 0, 512, 1232)


@pytest.fixture
def shared() -> Shared:
    return Shared(in_force())


def bound() -> socket.socket:
    one = socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    one.bind(("127.0.0.1", 0))
    return one


def test_it_carries_until_the_end_and_what_is_left_waits(shared: Shared) -> None:
    carrier = carrier_of(shared)
    with bound() as one, bound() as client:
        client.setblocking(True)
        client.settimeout(10)
        client.connect(one.getsockname())
        carrier.add(one.fileno(), False)
        assert carrier.busy_ns() == 0, "no thread runs it yet"
        thread = threading.Thread(target=carrier.run, args=(SHAPE,))
        thread.start()
        open_name = query("open.test", 7)
        client.send(open_name)
        client.send(query(LISTED, 8))
        assert is_blocked(client.recv(512))
        assert carrier.busy_ns() > 0
        shared.end()
        thread.join(10)
        assert not thread.is_alive()
        assert (carrier.packets, carrier.failures) == (2, 0)
        assert 1 <= carrier.batches <= 2
        ((packet, asking, outcome, found, waited_ms, origin, handed),) = carrier.left(10)
        assert handed is None
        assert (packet, outcome, found) == (open_name, codes.OUTCOME_FORWARD, 0)
        assert asking == bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1")
        assert waited_ms < 60_000
        assert carrier.left(10) == []
        assert carrier.send(origin, b"answer")
        assert client.recv(512) == b"answer"
        assert not carrier.send(origin, bytes(70_000)), "no datagram is so large"
    carrier.close()
    shared.close()


def test_the_ring_comes_round_and_loses_and_mixes_nothing(shared: Shared) -> None:
    """Packets of many sizes, three times what the ring holds."""
    carrier = carrier_of(shared)
    with bound() as one, bound() as client:
        client.setblocking(True)
        client.settimeout(10)
        client.connect(one.getsockname())
        carrier.add(one.fileno(), False)
        thread = threading.Thread(target=carrier.run, args=(SHAPE,))
        thread.start()
        for number in range(200):
            notify = bytearray(query("zone.test", number, "SOA"))
            notify[2] |= 4 << 3
            notify += bytes((number * 7919) % 40_000)
            client.send(bytes(notify))
            client.send(query(LISTED, number))
            assert is_blocked(client.recv(512))
            ((packet, *_),) = carrier.left(10)
            assert packet == bytes(notify)
        shared.end()
        thread.join(10)
    assert carrier.lane.counters[codes.counter("packets_dropped_total", "overload")] == 0
    carrier.close()
    shared.close()


def test_more_sockets_than_there_is_room_for_are_refused(shared: Shared) -> None:
    carrier = carrier_of(shared)
    many = [bound() for _ in range(MOST_PLACES + 1)]
    for one in many[:MOST_PLACES]:
        carrier.add(one.fileno(), False)
    with pytest.raises(OSError, match="too many"):
        carrier.add(many[MOST_PLACES].fileno(), False)
    other = carrier_of(shared)
    other.add(many[0].fileno(), False)
    with pytest.raises(FileExistsError):
        other.add(many[0].fileno(), False)
    with pytest.raises(OSError, match="descriptor"):
        other.add(-1, False)
    other.close()
    for one in many:
        one.close()
    carrier.close()
    shared.close()


# Sockets that take no answer.


@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.EMSGSIZE, errno.EPERM, errno.ENETUNREACH])
def test_an_answer_that_the_kernel_refuses_is_dropped_and_counted_and_those_behind_it_are_sent(error: int) -> None:
    """Two answers at once are refused, one alone is not: the first is given up, the second goes out."""
    with one_batch(error) as one:
        assert one.reply()[:2] == b"\0\2"
        assert counted(one, "unsent") == 1
        one.ask(LISTED, 3)
        assert one.reply()[:2] == b"\0\3"
        assert (counted(one, "unsent"), one.carrier.failures, one.carrier.lane.errors) == (1, 0, 0)


def test_if_the_queue_is_full_all_that_is_left_of_a_batch_is_dropped_and_counted() -> None:
    with one_batch(errno.EAGAIN) as one:
        one.until(lambda: counted(one, "unsent") == 2)
        one.ask(LISTED, 3)
        assert one.reply()[:2] == b"\0\3"


def test_an_answer_from_upstream_that_no_client_can_get_is_kept_and_nobody_waits_on() -> None:
    with relaying(first=lambda listening: refuse("sendmmsg", errno.ENOBUFS, first=listening)) as one:
        one.route()
        for number in (1, 2):
            one.ask("open.test", number)
        one.until(lambda: one.carrier.relay.waiting == 2)
        sent, peer = one.sent()
        one.upstream.sendto(answer(sent), peer)
        one.until(lambda: one.carrier.relay.waiting == 0)
        one.until(lambda: counted(one, "unsent") == 2)
        one.ask("open.test", 3)
        one.until(lambda: counted(one, "unsent") == 3)
        assert one.figures()["asked"] == 1, "the third was answered from what was kept"
        assert one.carrier.left(64) == []


def test_what_is_handed_over_waits_until_a_full_ring_has_room_again() -> None:
    with relaying() as one:
        one.route(patience_ms=HASTY_MS)
        notify = bytearray(query("zone.test", 1, "SOA"))
        notify[2] |= 4 << 3
        filling, sent = list[bytes](), 0
        for more in (40_000, 0):
            before = counted(one, "overload")
            while counted(one, "overload") == before:
                filling.append(bytes(notify) + bytes(more))
                one.client.send(filling[-1])
                sent += 1
                one.until(lambda sent=sent: one.carrier.packets == sent)
            filling.pop()
        one.ask("open.test", 7)
        one.sent()
        until = time.monotonic() + 5 * HASTY_MS / 1000
        while time.monotonic() < until:
            one.ask(LISTED, 8)
            assert is_blocked(one.reply()), "what is listed is answered all the same"
        assert one.carrier.relay.waiting == 1, "its patience is over, but there is no room"
        assert one.left(len(filling) + 1) == [*filling, query("open.test", 7)]
        assert (counted(one, "overload"), one.carrier.relay.waiting) == (2, 0)


@contextmanager
def one_batch(error: int) -> Iterator[Relaying]:
    """A thread that has two queries before it begins, and may not send two answers at once."""
    ready = threading.Event()

    def first(listening: int) -> None:
        refuse("sendmmsg", error, first=listening, least=2)
        assert ready.wait(10)

    with relaying(first=first) as one:
        for number in (1, 2):
            one.ask(LISTED, number)
        ready.set()
        yield one


def counted(one: Relaying, reason: str) -> int:
    return int(one.carrier.lane.counters[codes.counter("packets_dropped_total", reason)])


# An exception in core costs one query its way through this thread, and no more.


def test_a_question_at_which_forwarding_fails_is_the_loops_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with relaying() as one:
        # The table of the zones ends within a row.
        monkeypatch.setattr(upstream_zones, "wire_of", LongerThanItIs)
        one.route(zones=upstream_zones.UpstreamZones(("test",)))
        one.ask("open.test")
        assert one.left() == [query("open.test")]
        assert (one.carrier.failures, one.figures()["asked"]) == (1, 0)
        one.route()
        one.answers("open.test")


class LongerThanItIs(bytes):
    def __new__(cls, text: str) -> "LongerThanItIs":
        return super().__new__(cls)

    def __len__(self) -> int:
        return len(b"\4test\0")


def test_whom_an_answer_cannot_be_given_gets_servfail_and_all_others_go_on() -> None:
    with relaying(clients=1) as one:
        one.route()
        one.ask("open.test", 1)
        one.others[0].send(query("open.test", 2))
        one.until(lambda: one.carrier.relay.waiting == 2)
        sent, peer = one.sent()
        # The scope of a list ends behind the ranges.
        broken = for_core.access(
            config(allow=["127.0.0.0/8"], exempt={0: "192.0.2.99/32"}), bytearray(admit.BUCKET_OCTETS * 64), KEY
        )
        bounds = memoryview(broken.bounds)
        bounds[2:4] = array("Q", [0, 3200])
        whole = in_force()
        more = {"store": whole.store, "shares": whole.shares, "tally": whole.tally, "asked": whole.asked}
        one.shared.use(Tables(whole.generation, broken, whole.complete, whole.zones, **more))
        one.upstream.sendto(answer(sent), peer)
        for number, client in enumerate((one.client, one.others[0]), 1):
            reply = dns.message.from_wire(client.recv(512))
            assert (reply.id, reply.rcode()) == (number, dns.rcode.SERVFAIL)
        assert one.carrier.lane.errors == 2
        one.shared.use(in_force())
        one.answers("other.test")
        assert one.carrier.relay.waiting == 0


def test_an_answer_that_cannot_be_kept_is_given_all_the_same_and_the_next_query_asks_again() -> None:
    tables = in_force()
    with relaying(tables, clients=1) as one:
        one.route()
        one.ask("open.test", 1)
        one.others[0].send(query("open.test", 2))
        one.until(lambda: one.carrier.relay.waiting == 2)
        sent, peer = one.sent()
        # By the size of the ring is divided, before the lock is taken, for the share of a client.
        sizes = memoryview(tables.store.sizes)
        size, sizes[0] = sizes[0], 0
        one.upstream.sendto(answer(sent), peer)
        for number, client in enumerate((one.client, one.others[0]), 1):
            reply = dns.message.from_wire(client.recv(512))
            assert (reply.id, reply.rcode(), len(reply.answer)) == (number, dns.rcode.NOERROR, 1)
        assert (one.carrier.lane.errors, one.carrier.failures) == (1, 0)
        sizes[0] = size
        one.answers("open.test", 3)
        assert (one.figures()["asked"], one.carrier.relay.waiting) == (2, 0), "it was not kept"
