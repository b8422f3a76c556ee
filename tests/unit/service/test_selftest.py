"""The proof on real sockets: what counts as the list's answer, what as another one, and what as none."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.edns
import dns.message
import dns.rrset
import pytest

from resolver.config.values import Endpoint
from resolver.query.transport import Transport
from resolver.service import selftest

pytestmark = [pytest.mark.asyncio, pytest.mark.loops]
LABEL = b"a" * 26


def echoed(packet: bytes, over: Transport) -> bytes:
    """What the list answers here: the question with a tail, by transport."""
    return packet + over.label.encode()


def bound(family: socket.AddressFamily, host: str) -> tuple[socket.socket, socket.socket]:
    """A TCP and a UDP socket at one port, which the kernel chose for the first and nobody has for the second."""
    for _ in range(20):
        stream, datagram = socket.socket(family), socket.socket(family, socket.SOCK_DGRAM)
        stream.bind((host, 0))
        try:
            datagram.bind((host, stream.getsockname()[1]))
        except OSError:
            stream.close()
            datagram.close()
        else:
            return stream, datagram
    raise AssertionError("no port is free for both TCP and UDP")


@contextmanager
def served(
    answer: Callable[[bytes, Transport], bytes | None], host: str = "127.0.0.1"
) -> Iterator[list[selftest.Place]]:
    """Two sockets at one port that answer what `answer` says, None for silence."""
    stream, datagram = bound(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    port = stream.getsockname()[1]
    stream.listen()
    # A socket that is shut down ends whoever waits for it.
    ended = threading.Event()

    def by_stream() -> None:
        while not ended.is_set():
            try:
                one, _ = stream.accept()
            except OSError:
                return
            with one, one.makefile("rwb") as file:
                begun = file.read(2)
                if begun == b"\r\n":
                    file.read(14)
                    begun = file.read(2)
                packet = file.read(struct.unpack("!H", begun)[0])
                said = answer(packet, Transport.TCP)
                if said is not None:
                    file.write(len(said).to_bytes(2, "big") + said)
                else:
                    file.read(1)

    def by_datagram() -> None:
        while not ended.is_set():
            packet, peer = datagram.recvfrom(65535)
            said = answer(packet.removeprefix(selftest.LOCAL_HEADER), Transport.UDP) if packet else None
            if said is not None:
                datagram.sendto(said, peer)

    threads = [threading.Thread(target=work, daemon=True) for work in (by_stream, by_datagram)]
    for thread in threads:
        thread.start()
    try:
        yield [selftest.Place(Endpoint(host, port), over) for over in (Transport.UDP, Transport.TCP)]
    finally:
        ended.set()
        stream.shutdown(socket.SHUT_RDWR)
        with socket.socket(datagram.family, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (host, port))
        for thread in threads:
            thread.join(10)
        stream.close()
        datagram.close()


async def outcome(places: list[selftest.Place], seconds: float = 5.0, trusted: bool = False) -> selftest.Outcome:
    return await selftest.prove(places, LABEL, echoed, lambda host: trusted, seconds)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_every_socket_is_asked_for_every_type(host: str) -> None:
    asked: list[bytes] = []

    def answer(packet: bytes, over: Transport) -> bytes:
        asked.append(packet[12:-11])
        return echoed(packet, over)

    with served(answer, host) as places:
        assert await outcome(places) == selftest.Outcome(2, 6, 0, 0)
    name = b"\x1a" + LABEL + b"\x08selftest\x07invalid\x00"
    assert sorted(asked) == sorted(2 * [name + bytes([0, qtype, 0, 1]) for qtype in (1, 28, 65)])


async def test_an_answer_that_differs_in_an_octet_is_wrong() -> None:
    with served(lambda packet, over: packet + b"tcq" if over.is_stream else echoed(packet, over)) as places:
        assert await outcome(places) == selftest.Outcome(2, 6, 3, 0)


async def test_what_is_wrong_once_is_asked_for_once_more() -> None:
    """The configuration may have been replaced between the answer and what is held against it."""
    met: set[bytes] = set()

    def answer(packet: bytes, over: Transport) -> bytes:
        first = packet not in met
        met.add(packet)
        return b"other" if first else echoed(packet, over)

    with served(answer) as places:
        assert await outcome(places) == selftest.Outcome(2, 6, 0, 0)


async def test_silence_is_no_wrong_answer_and_ends_in_time() -> None:
    with served(lambda packet, over: None if over.is_stream else echoed(packet, over)) as places:
        assert await outcome(places[:1] + places[1:], 0.3) == selftest.Outcome(2, 6, 0, 3)


async def test_a_datagram_that_was_lost_is_sent_again() -> None:
    seen: set[bytes] = set()

    def answer(packet: bytes, over: Transport) -> bytes | None:
        lost = packet not in seen
        seen.add(packet)
        return None if lost else echoed(packet, over)

    with served(answer) as places:
        assert await outcome(places[:1]) == selftest.Outcome(1, 3, 0, 0)


async def test_a_socket_that_is_not_there_is_silent() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        place = selftest.Place(Endpoint(*one.getsockname()), Transport.TCP)
        assert await outcome([place]) == selftest.Outcome(1, 3, 0, 3)


async def test_where_its_address_is_a_balancers_it_says_local() -> None:
    with served(echoed) as places:
        assert await outcome(places, trusted=True) == selftest.Outcome(2, 6, 0, 0)


async def test_without_a_socket_nothing_is_asked() -> None:
    assert await outcome([]) == selftest.Outcome(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("bound", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1"), ("::1", "::1")]
)
async def test_a_wildcard_is_asked_on_loopback(bound: str, asked: str) -> None:
    await asyncio.sleep(0)
    assert selftest.Place(Endpoint(bound, 53), Transport.UDP).asked == Endpoint(asked, 53)


def answered(rcode: int = 0, address: str = "192.0.2.1", *, compressed: bool = True) -> bytes:
    """An answer as a resolver writes it, with the list's extended error."""
    query = dns.message.make_query("a.selftest.invalid", "A", use_edns=0)
    reply = dns.message.make_response(query)
    reply.set_rcode(rcode)
    reply.answer = [dns.rrset.from_text("a.selftest.invalid.", 60, "IN", "A", address)]
    reply.use_edns(0, 0, 1232 if compressed else 4096, options=[dns.edns.EDEOption(4)])
    return reply.to_wire()


async def test_a_resolver_with_our_plugin_is_right_by_what_it_says_and_never_wrong() -> None:
    """Its octets are its own; what it does not say yet, it may say at the next look."""
    for said, right in (
        (answered(compressed=False), True),
        (answered(address="192.0.2.2"), False),
        (answered(rcode=2), False),
        (answered()[:-1], False),
        (None, False),
    ):
        with served(lambda packet, over, said=said: said) as (place, _):
            foreign = selftest.Place(place.bound, Transport.UDP, foreign=True)
            found = await selftest.prove([foreign], LABEL, lambda packet, over: answered(), lambda host: True)
        assert (found.sockets, found.questions, found.wrong) == (1, 3, 0)
        assert found.silent == (0 if right else 3)
