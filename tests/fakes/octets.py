"""An upstream on loopback that says octets: for what no library would write, or would not write in this way.

Rules:
- What it says is a function from a query to messages, sent one after the other. No message is silence over UDP, and
  over TCP the connection is closed without a word.
- `delay_s` says how long it takes over a query; queries do not wait for each other.
- `asked` holds every query, in the order in which they came, with the moment.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype

from tests.fakes.threads import in_own_thread

HOST = "127.0.0.1"
_PORTS_TRIED = 50


@dataclass(frozen=True)
class Asked:
    """A query as it came: its octets, its transport, the moment (monotonic seconds), and whether others for the same
    question came before: `turn` is their number."""

    wire: bytes
    over: str
    at: float
    turn: int

    @property
    def message(self) -> dns.message.Message:
        return dns.message.from_wire(self.wire)

    @property
    def name(self) -> str:
        """The name asked for, in lower case, without the last dot."""
        return self.message.question[0].name.to_text(omit_final_dot=True).lower()

    @property
    def kind(self) -> str:
        return dns.rdatatype.to_text(self.message.question[0].rdtype)

    @property
    def question(self) -> bytes:
        """The question's octets."""
        end = 12
        while self.wire[end]:
            end += self.wire[end] + 1
        return self.wire[12 : end + 5]

    @property
    def edns(self) -> bool:
        return self.message.edns >= 0

    @property
    def dnssec_ok(self) -> bool:
        return bool(self.message.ednsflags & dns.flags.DO)


Says = Callable[[Asked], Sequence[bytes]]


class OctetsUpstream:
    """The running upstream."""

    def __init__(self, says: Says, *, host: str = HOST) -> None:
        self.says = says
        self.host = host
        self.delay_s: Callable[[Asked], float] = lambda asked: 0.0
        self.asked: list[Asked] = []
        self.port = 0
        self._turns: Counter[bytes] = Counter()
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where it answers, as a configuration names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def count(self, name: str, kind: str = "") -> int:
        """How many queries came for a name, over both transports."""
        return sum(one.name == name.lower() and kind in ("", one.kind) for one in list(self.asked))

    async def start(self) -> None:
        """Take a port that is free for both transports."""
        loop = asyncio.get_running_loop()
        protocol = type("Datagrams", (asyncio.DatagramProtocol,), {})()
        protocol.datagram_received = lambda data, peer: self._begin(self._by_udp(data, peer))
        for _ in range(_PORTS_TRIED):
            self._udp, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=(self.host, 0))
            self.port = self._udp.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._on_connection, self.host, self.port)
            except OSError:
                self._udp.close()
                continue
            return
        raise OSError("no port is free for both transports")

    async def stop(self) -> None:
        """Close what is open and end what still waits."""
        if self._udp:
            self._udp.close()
        if self._tcp:
            self._tcp.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _said(self, data: bytes, over: str) -> Sequence[bytes]:
        asked = Asked(data, over, time.monotonic(), 0)
        question = asked.question.lower()
        asked = replace(asked, turn=self._turns[question])
        self._turns[question] += 1
        self.asked.append(asked)
        if delay_s := self.delay_s(asked):
            await asyncio.sleep(delay_s)
        return self.says(asked)

    async def _by_udp(self, data: bytes, peer: tuple[str, int]) -> None:
        for message in await self._said(data, "udp"):
            assert self._udp
            self._udp.sendto(message, peer)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            while True:
                data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                self._begin(self._by_tcp(data, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The other side has what it wanted.
        finally:
            writer.close()

    async def _by_tcp(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        messages = await self._said(data, "tcp")
        for message in messages:
            writer.write(len(message).to_bytes(2, "big") + message)
        if not messages:
            writer.close()


@asynccontextmanager
async def _serve(says: Says, host: str) -> AsyncIterator[OctetsUpstream]:
    upstream = OctetsUpstream(says, host=host)
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


@contextmanager
def in_thread(says: Says, *, host: str = HOST) -> Iterator[OctetsUpstream]:
    """Such an upstream on a loop of its own in a thread of its own."""
    with in_own_thread(_serve(says, host)) as upstream:
        yield upstream
