"""The UDP side on threads: who is answered from where, what is left to the loop, how it ends."""

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading

import dns.flags
import dns.opcode
import pytest

from resolver.config.values import Endpoint, address_octets
from resolver.core import codes
from resolver.engine import engine as engine_module
from resolver.query.transport import Transport
from tests.unit.engine.relaying import no_descriptors
from tests.unit.engine.running import LISTED, LOOPBACK, LOOPBACK_V6, in_force, is_blocked, made, query, running
from tests.unit.query.parts import until
from tests.unit.query.senders import quiet

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        (LOOPBACK, "127.0.0.1"),
        (LOOPBACK_V6, "::1"),
        (Endpoint("0.0.0.0", 0), "127.0.0.2"),
        (Endpoint("0.0.0.0", 0), "127.83.79.83"),
        (Endpoint("::", 0), "::1"),
    ],
    ids=str,
)
async def test_every_answer_comes_from_the_address_that_was_asked(endpoint: Endpoint, asked: str) -> None:
    async with running(endpoint, asked) as side:
        assert is_blocked(await side.asked(query(LISTED))), "a connected socket takes replies from nowhere else"
        assert side.left.seen == []
        open_name = query("open.test", 2)
        assert (await side.asked(open_name))[:2] == open_name[:2]
        client = address_octets(side.client.getsockname()[0])
        assert side.left.seen == [(open_name, client, Transport.UDP, codes.OUTCOME_FORWARD, 0)]
        side.client.send(query("later.test", 3))
        assert is_blocked(await side.asked(query(LISTED, 4)))
        side.left.release()
        assert (await side.reply())[:2] == b"\0\3"
        assert side.counted("queries_total", "udp") == 4
        assert side.counted("answers_total", "NOERROR") == 2, "what the loop answers, the loop counts"
        assert side.dropped == []


async def test_a_notify_is_left_to_the_loop_and_what_is_no_query_to_nobody() -> None:
    notify = bytearray(query("zone.test", 1, "SOA"))
    notify[2] |= dns.opcode.NOTIFY << 3
    async with running() as side:
        for packet in (b"", b"\0", query(LISTED)[:11], b"\0\1\x81\x80" + query(LISTED)[4:]):
            side.client.send(packet)
        await side.asked(bytes(notify))
        assert [(packet, outcome) for packet, *_, outcome, _ in side.left.seen] == [(bytes(notify), codes.OUTCOME_ASK)]
        assert side.counted("packets_dropped_total", "short") == 3
        assert side.counted("packets_dropped_total", "response") == 1


async def test_silence_is_silence() -> None:
    async with running() as side:
        side.client.send(query("never.test", 1))
        assert (await side.asked(query("open.test", 2)))[:2] == b"\0\2"
        assert [packet[:2] for packet, *_ in side.left.seen] == [b"\0\1", b"\0\2"]


@pytest.mark.parametrize("listened", ["127.0.0.1", "0.0.0.0"])
async def test_no_datagram_is_cut(listened: str) -> None:
    largest = query("open.test")
    largest = largest[:2] + bytes([largest[2] | dns.opcode.NOTIFY << 3]) + largest[3:]
    largest += bytes(65_507 - len(largest))
    async with running(Endpoint(listened, 0), "127.0.0.1") as side:
        side.client.send(largest)
        await until(lambda: side.left.seen)
        assert side.left.seen[0][0] == largest


HEADER = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = HEADER + b"\x20\0\0\0"
NAMED = HEADER + b"\x21\x12\0\x0c" + bytes([192, 0, 2, 7]) + bytes(4) + b"\0\0\0\x35"
NAMED_V6 = HEADER + b"\x21\x22\0\x24" + address_octets("2001:db8::7") + bytes(16) + b"\x30\x39\0\x35"


@pytest.mark.parametrize(
    ("header", "client"), [(NAMED, "192.0.2.7"), (NAMED_V6, "2001:db8::7"), (LOCAL, "127.0.0.1")]
)
async def test_a_load_balancer_names_the_client_and_gets_the_reply(header: bytes, client: str) -> None:
    async with running(tables=in_force(proxies=["127.0.0.1/32"])) as side:
        notify = bytearray(query("zone.test", 1, "SOA"))
        notify[2] |= dns.opcode.NOTIFY << 3  # Answered whoever asks, so that its client is seen.
        await side.asked(header + notify)
        assert [(packet, seen) for packet, seen, *_ in side.left.seen] == [(bytes(notify), address_octets(client))]


async def test_what_names_no_client_is_dropped_and_its_neighbours_in_the_batch_are_not() -> None:
    bad = [query(LISTED, 100), b"", NAMED[:20], NAMED[:-1], query(LISTED, 101) + NAMED, b"PROXY UDP4 x\r\n"]
    good = [NAMED + query(LISTED, number) for number in range(1, 5)]
    packets = [bad[0], good[0], bad[1], bad[2], good[1], good[2], *bad[3:5], good[3], bad[5]]
    async with running(tables=in_force(proxies=["127.0.0.1/32"]), before=packets) as side:
        answers = {await side.reply() for _ in good}
        assert {answer[:2] for answer in answers} == {bytes([0, number]) for number in range(1, 5)}
        assert all(map(is_blocked, answers))
        assert side.counted("packets_dropped_total", "proxy") == len(bad)
        assert side.counted("queries_total", "udp") == len(good)


async def test_from_anybody_else_a_header_is_octets_of_a_query() -> None:
    async with running(tables=in_force(proxies=["127.0.0.9/32"])) as side:
        reply = await side.asked(NAMED + query(LISTED))
        assert (reply[:2], reply[3] & 15) == (NAMED[:2], codes.NOTIMP)
        assert is_blocked(await side.asked(query(LISTED)))


async def test_both_threads_answer_and_the_kernel_spreads_the_clients() -> None:
    async with running() as side, contextlib.AsyncExitStack() as stack:
        loop, port = asyncio.get_running_loop(), side.engine.addresses[0].port
        for number in range(60):
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            one.connect(("127.0.0.1", port))
            one.send(query(LISTED, number))
            async with asyncio.timeout(10):
                assert is_blocked(await loop.sock_recv(one, 512))
        each = [int(one[codes.counter("queries_total", "udp")]) for one in side.engine.counters]
        assert sum(each) == 60
        assert min(each) > 0


async def test_a_socket_that_was_handed_over_is_read_by_every_thread() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as given:
        given.bind(("127.0.0.1", 0))
        place = Endpoint(*given.getsockname())
        async with running(place, given=[given.dup()]) as side:
            assert side.engine.addresses == side.engine.reachable == [place]
            for number in range(100):
                assert is_blocked(await side.asked(query(LISTED, number)))


async def test_a_handed_over_socket_of_another_address_is_refused() -> None:
    async with quiet():
        engine, *_ = made()
        with socket.socket(type=socket.SOCK_DGRAM) as given:
            given.bind(("127.0.0.1", 0))
            with pytest.raises(ValueError, match="handed over"):
                engine.open([LOOPBACK], [given])
        await engine.drained()


async def test_an_address_that_comes_later_is_answered_on() -> None:
    async with running() as side:
        more = socket.socket(type=socket.SOCK_DGRAM)
        more.bind(("127.0.0.3", 0))
        side.engine.add(more)
        assert [one.host for one in side.engine.addresses] == ["127.0.0.1", "127.0.0.3"]
        side.client.connect(tuple(side.engine.addresses[1]))
        assert is_blocked(await side.asked(query(LISTED)))


async def test_an_address_is_one_services_alone() -> None:
    async with running() as side:
        other, *_ = made()
        with pytest.raises(OSError, match="in use"):
            other.open([side.engine.addresses[0]])
        assert other.addresses == []
        await other.drained()
        assert is_blocked(await side.asked(query(LISTED)))


async def test_a_full_ring_drops_as_overload_and_what_is_listed_is_answered_all_the_same() -> None:
    large = bytearray(query("never.test", 1, "SOA"))
    large[2] |= dns.opcode.NOTIFY << 3
    large += bytes(60_000)
    async with running() as side:
        side.client.setblocking(True)
        side.client.settimeout(10)
        for number in range(1, 41):
            side.client.send(bytes(large))
            side.client.send(query(LISTED, number))
            assert side.client.recv(512)[:2] == bytes([0, number]), "the loop does not run, the threads do"
        side.client.setblocking(False)
        lost = side.counted("packets_dropped_total", "overload")
        await until(lambda: len(side.left.seen) == 40 - lost)
        assert 20 <= lost < 40
        assert {packet for packet, *_ in side.left.seen} == {bytes(large)}
        before = len(side.left.seen)
        side.client.send(bytes(large))
        await until(lambda: len(side.left.seen) > before)


async def test_what_waited_longer_than_a_client_does_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE_MS", -1)
    async with running() as side:
        side.client.send(query("open.test"))
        await until(lambda: side.dropped)
        assert (side.dropped, side.left.seen) == (["overload"], [])


async def test_a_reply_that_cannot_be_sent_is_lost_and_counted() -> None:
    async with running() as side:
        side.client.send(query("huge.test", 1))
        assert (await side.asked(query("open.test", 2)))[:2] == b"\0\2"
        await until(lambda: side.dropped == ["unsent"])


async def test_a_swap_under_load_gives_no_wrong_answer_and_lets_the_old_lists_go() -> None:
    stop, wrong, asked = threading.Event(), list[bytes](), [0]

    def ask(port: int) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", port))
            one.settimeout(10)
            while not stop.is_set():
                for number in range(20):
                    one.send(query(LISTED, number))
                wrong.extend(reply for reply in (one.recv(512) for _ in range(20)) if not is_blocked(reply))
                asked[0] += 20

    async with running() as side:
        client = threading.Thread(target=ask, args=(side.engine.addresses[0].port,))
        client.start()
        try:
            for number in range(2, 300):
                side.engine.use(in_force(number, [LISTED, f"{number}.test"]))
                if number % 10 == 0:
                    before = asked[0]
                    await until(lambda before=before: asked[0] > before)
        finally:
            stop.set()
            await asyncio.to_thread(client.join)
        assert wrong == []
        assert asked[0] > 0
        await until(lambda: not side.engine.releasing)


async def test_what_is_on_its_way_at_the_end_is_answered_and_what_comes_after_is_not() -> None:
    async with running() as side:
        side.client.send(query("later.test", 1))
        await until(lambda: side.left.seen)
        assert side.engine.runs()
        side.engine.close()
        await until(lambda: not side.engine.runs())
        side.client.send(query(LISTED, 2))
        ending = asyncio.ensure_future(side.engine.drained())
        await asyncio.sleep(0)
        assert not ending.done()
        side.left.release()
        assert (await side.reply())[:2] == b"\0\1"
        await ending
        assert side.engine.addresses == []
        assert side.counted("queries_total", "udp") == 1


async def test_another_process_takes_over_and_no_query_is_lost() -> None:
    """It has the first socket; the other threads' sockets get nothing more, and what they hold is answered."""
    stop, lost, asked = threading.Event(), list[int](), [0]

    def ask(port: int) -> None:
        number = 0
        while not stop.is_set():
            # From another port each time, so that every socket has its share.
            with socket.socket(type=socket.SOCK_DGRAM) as one:
                one.connect(("127.0.0.1", port))
                one.settimeout(10)
                for _ in range(5):
                    one.send(query(LISTED, number := (number + 1) % 65536))
                try:
                    asked[0] += sum(is_blocked(one.recv(512)) for _ in range(5))
                except TimeoutError:
                    lost.append(number)

    async with running(threads=3) as side, quiet():
        port = side.engine.addresses[0].port
        clients = [threading.Thread(target=ask, args=(port,)) for _ in range(3)]
        for client in clients:
            client.start()
        new, _, _ = made(threads=2)
        try:
            await until(lambda: asked[0] > 200)
            (first,) = side.engine.sockets
            new.open(side.engine.addresses, [socket.socket(fileno=os.dup(first.fileno()))])
            new.start()
            await until(lambda: sum(one.packets for one in new.carriers) > 50)
            side.engine.close()
            await side.engine.drained()
            before = asked[0]
            await until(lambda: asked[0] > before + 200)
        finally:
            stop.set()
            for client in clients:
                await asyncio.to_thread(client.join)
            new.close()
            await new.drained()
        assert lost == []


async def test_what_the_threads_left_at_the_end_is_taken() -> None:
    """The loop does not run between the query and the end."""
    async with running() as side:
        side.client.setblocking(True)
        side.client.settimeout(10)
        for number in range(1, 201):
            side.client.send(query("open.test", number))
            if number % 50 == 0:
                side.client.send(query(LISTED, 999))
                side.client.recv(512)
        side.engine.close()
        side.client.setblocking(False)
        await side.engine.drained()
        assert len(side.left.seen) == 200
        assert {(await side.reply())[:2] for _ in range(200)} == {
            number.to_bytes(2, "big") for number in range(1, 201)
        }


ASKS = f"""
import socket, sys, time
one = socket.socket(type=socket.SOCK_DGRAM)
one.connect(("127.0.0.1", int(sys.argv[1])))
one.settimeout(1)
print("ready", flush=True)
sys.stdin.read(1)
answered, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    one.send({query(LISTED)!r})
    answered += one.recv(512)[:2] == b"\\0\\1"
print(answered)
"""


def asking(port: int) -> subprocess.Popen[bytes]:
    """A client in a process of its own: once told to, it asks for two seconds, and says how often it was answered."""
    return subprocess.Popen([sys.executable, "-c", ASKS, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def test_listed_names_are_answered_while_nobody_gives_the_gil_back() -> None:
    async with running() as side:
        port = side.engine.addresses[0].port
        with asking(port) as client:
            assert client.stdin
            assert client.stdout
            assert client.stdout.readline() == b"ready\n"
            client.stdin.write(b"!")
            client.stdin.flush()
            # Without giving the GIL back: no line of Python runs here until the client has got its answers.
            ctypes.PyDLL(None).usleep(3_000_000)
            assert client.wait(0.5) == 0, "it was answered in these three seconds, not after"
            assert int(client.stdout.read()) > 100


async def test_how_busy_the_threads_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LEAST_WINDOW_S", 0.0)
    async with running(threads=1) as side:
        await until(side.engine.runs)
        side.engine.busy()

        def ask() -> bool:
            for number in range(200):
                side.client.send(query(LISTED, number))
            return max(side.engine.busy()) > 0

        await until(ask)
        assert all(0 <= one <= 100 for one in side.engine.busy())


async def test_an_engine_that_never_started_ends() -> None:
    async with quiet():
        engine, *_ = made()
        engine.open([LOOPBACK, LOOPBACK_V6])
        assert engine.busy() == [0, 0]
        assert engine.errors() == 0
        engine.close()
        await engine.drained()


async def test_without_descriptors_it_does_not_start_and_says_so() -> None:
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        made()
