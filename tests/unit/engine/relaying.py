"""One thread of the engine that may ask an upstream, which the test plays by itself on a socket of its own.

Rules:
- The thread's queries arrive at `Relaying.upstream`; the test answers them, or does not. What the thread hands over
  waits in `left()`, where the event loop of a service would take it.
- Patience is long (PATIENT_MS) where a test answers, and short (HASTY_MS) where it looks at what is handed over.
"""

import contextlib
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dns.message
import dns.rrset

from resolver.core import crash_shape
from resolver.core.exchange import Route
from resolver.core.lane import Tables
from resolver.engine.relay import address_of
from resolver.engine.shared import Shared
from resolver.engine.udp import Carrier
from tests.unit.engine.running import in_force, query

PATIENT_MS = 60_000
HASTY_MS = 20
BOUNDS_US = (1000, 10_000, 100_000)
ADDRESS = "192.0.2.80"
Peer = tuple[str, int]


def answer(sent: bytes, address: str = ADDRESS, **flags: int) -> bytes:
    """An honest answer to a query as it was sent; `rcode` and `tc` may be set."""
    asked = dns.message.from_wire(sent)
    reply = dns.message.make_response(asked, recursion_available=True)
    if not flags:
        reply.answer.append(dns.rrset.from_text(asked.question[0].name, 300, "IN", "A", address))
    reply.set_rcode(flags.get("rcode", 0))
    wire = bytearray(reply.to_wire())
    wire[2] |= 2 if flags.get("tc") else 0
    return bytes(wire)


@dataclass
class Relaying:
    """The thread, its upstream's sockets, and a client's."""

    shared: Shared
    carrier: Carrier
    upstreams: list[socket.socket]
    client: socket.socket
    others: list[socket.socket]

    @property
    def upstream(self) -> socket.socket:
        return self.upstreams[0]

    def route(self, servers: Sequence[int] = (0,), patience_ms: int = PATIENT_MS, **more: object) -> None:
        """Let the thread ask these servers."""
        fields: dict[str, object] = {"timeout_ms": 500, "pool": 4, **more}
        self.shared.use_route(Route(servers, [patience_ms] * len(servers), **fields))

    def ask(self, name: str, number: int = 1) -> None:
        self.client.send(query(name, number))

    def answers(self, name: str, number: int = 1) -> Peer:
        """Ask for a name, answer it, and look at what comes; returns by which socket it was asked."""
        self.ask(name, number)
        octets, peer = self.sent()
        self.upstream.sendto(answer(octets), peer)
        assert self.addresses() == [ADDRESS]
        return peer

    def sent(self, number: int = 0) -> tuple[bytes, Peer]:
        """The next query at an upstream, and where it came from."""
        octets, peer = self.upstreams[number].recvfrom(4096)
        return octets, peer

    def reply(self) -> bytes:
        """The next answer at the client."""
        return self.client.recv(4096)

    def addresses(self) -> list[str]:
        """The addresses of the next answer at the client."""
        return [str(one) for rrset in dns.message.from_wire(self.reply()).answer for one in rrset]

    def left(self, count: int = 1) -> list[bytes]:
        """The packets of so many queries that were handed over."""
        packets: list[bytes] = []
        self.until(lambda: packets.extend(one[0] for one in self.carrier.left(64)) or len(packets) >= count)
        return packets

    def records(self, count: int = 1) -> list[tuple]:
        """What waits for the event loop: so many records as `Carrier.left` has them."""
        found: list[tuple] = []
        self.until(lambda: found.extend(self.carrier.left(64)) or len(found) >= count)
        return found

    def came(self) -> list[str] | bytes:
        """The addresses of the next answer at the client, or the packet of the next query that is handed over."""
        packets: list[bytes] = []
        while not packets and not select.select([self.client], [], [], 0.001)[0]:
            packets.extend(one[0] for one in self.carrier.left(1))
        return packets[0] if packets else self.addresses()

    def figures(self, number: int = 0) -> dict[str, int]:
        names = ("asked", "answered", "handed", "strange", "trailing", "sum_us")
        return dict(zip(names, self.carrier.relay.figures(number)[:6], strict=True))

    def until(self, condition: Callable[[], object]) -> None:
        """Look until the condition holds."""
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "not in 10 s"
            time.sleep(0.002)  # A thread without the GIL has no way to say it.


def bound(host: str = "127.0.0.1") -> socket.socket:
    """A socket of the test's that waits for ten seconds at most."""
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((host, 0))
    one.settimeout(10)
    return one


def sockets_to(upstream: socket.socket) -> list[int]:
    """The descriptors of the thread's sockets towards an upstream."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{each}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(each))) as one:
                    if one.getpeername() == upstream.getsockname():
                        found.append(int(each))
    return found


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No file and no socket can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        # One that is above those that are open; what is free below it is taken. poll() wants room for its descriptors.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, before[1]))
        with contextlib.suppress(OSError):
            while True:
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


@contextmanager
def relaying(
    tables: Tables | None = None,
    *,
    servers: int = 1,
    host: str = "127.0.0.1",
    clients: int = 0,
    first: Callable[[int], None] = lambda listening: None,
) -> Iterator[Relaying]:
    """A running thread with so many upstreams; it asks none of them before `route`.

    first: what the thread does before it carries; gets the descriptor at which it listens.
    """
    upstreams, client, listening = [bound(host) for _ in range(servers)], bound(), bound()
    others = [bound() for _ in range(clients)]
    listening.setblocking(False)
    for one in (client, *others):
        one.connect(listening.getsockname())
    addresses = [address_of(one.getsockname()) for one in upstreams]
    shared = Shared(in_force() if tables is None else tables, addresses, BOUNDS_US)
    carrier = Carrier(shared, 0, 512, 1232)
    carrier.add(listening.fileno(), False)
    shape = crash_shape.Shape(memoryview(bytearray(64)).cast("q"))

    def run() -> None:
        first(listening.fileno())
        carrier.run(shape)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Relaying(shared, carrier, upstreams, client, others)
    finally:
        shared.end()
        until = time.monotonic() + 10
        while thread.is_alive() and time.monotonic() < until:
            carrier.left(64)
            thread.join(0.01)
        assert not thread.is_alive()
        carrier.close()
        shared.close()
        for one in (*upstreams, client, listening, *others):
            one.close()
