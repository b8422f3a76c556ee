"""Crowds at the page and at /metrics: memory stays, an honest visitor is served, and the kernel keeps no visitor.

Rules:
- Who floods comes from 127.1.0.0/16, each address a prefix of its own; who is honest from 127.0.0.9.
- What is asserted are octets, statuses, memory and the service's own CPU time, not how long anything took.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.bench import load
from tests.fakes.upstream import in_thread
from tests.journeys.processes import asked, child_of, honest, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, serve
from tests.unit.wire import TIME_WAIT, in_kernel

CROWD, PER_CLIENT = 512, 4
FIELDS = [b"X: " + b"x" * 16_300 + b"\r\n"] * 97
HEAD = b"GET / HTTP/1.1\r\nHost: blocked.example\r\nAccept: text/html\r\n"
GREW_KIB = 20_000
HONEST = "127.0.0.9"
PAGE = "resolver.service.page_process"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder, limits = Path(tmp_path_factory.mktemp("page")), "[limits]\nexempt = []"
    with (
        in_thread(honest) as upstream,
        serve(folder, upstreams=[upstream.address], entries=["listed.test"], more=limits) as one,
    ):
        yield one


def rss_kib(service: Service) -> int:
    """What the service and the process that shows its page have in RAM."""
    pids = service.process.pid, child_of(service, PAGE)
    return sum(load.resident_bytes(pid) for pid in pids) // 1024


def cpu_ns(service: Service) -> int:
    """What all threads of the service have run so far."""
    threads = Path(f"/proc/{service.process.pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads)


def prefixes(count: int) -> list[str]:
    return [f"127.1.{number // 250}.{1 + number % 250}" for number in range(count)]


async def opened(port: int, client: str) -> socket.socket:
    one = socket.socket()
    one.setblocking(False)
    one.bind((client, 0))
    await asyncio.get_running_loop().sock_connect(one, (HOST, port))
    return one


async def rest(one: socket.socket) -> bytes:
    """All that comes until the other side ends or resets."""
    loop, received = asyncio.get_running_loop(), b""
    with contextlib.suppress(ConnectionError):
        while chunk := await loop.sock_recv(one, 65536):
            received += chunk
    return received


async def get(port: int, path: str, client: str = HONEST, fields: str = "") -> bytes:
    """The whole response to one visitor, read until its last octet: the visitor closes first, as browsers do."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(client, 0))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: blocked.example\r\n{fields}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        assert found
        return head + await reader.readexactly(int(found[1]))
    finally:
        writer.close()


async def flood(port: int, client: str, parts: list[bytes]) -> tuple[socket.socket, int]:
    """Send a head that never ends until it is refused; returns the socket and how many octets were taken."""
    one, taken = await opened(port, client), 0
    with contextlib.suppress(ConnectionError):
        for part in parts:
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(one, part), 5)
            taken += len(part)
    return one, taken


async def end(floods: Iterable[asyncio.Task[tuple[socket.socket, int]]]) -> int:
    """Wait until all are refused, or hold what was taken; returns how many octets were sent, and leaves them open."""
    ended = await asyncio.gather(*floods, return_exceptions=True)
    return sum(one[1] for one in ended if isinstance(one, tuple))


def close(floods: Iterable[asyncio.Task[tuple[socket.socket, int]]]) -> None:
    for one in floods:
        if one.exception() is None:
            one.result()[0].close()


@pytest.mark.asyncio
@pytest.mark.parametrize("clients", [[HOST] * CROWD, prefixes(CROWD // PER_CLIENT) * PER_CLIENT], ids=["one", "many"])
@pytest.mark.parametrize("parts", [[HEAD, *FIELDS], [HEAD + b"X: " + b"x" * 8000]], ids=["sent", "held"])
async def test_heads_that_never_end_take_no_memory_and_no_visitor(
    service: Service, clients: list[str], parts: list[bytes]
) -> None:
    assert (await get(service.page, "/")).startswith(b"HTTP/1.1 451 ")
    before = most = rss_kib(service)
    floods = [asyncio.ensure_future(flood(service.page, client, parts)) for client in clients]
    sent = 0
    for visit in range(20):
        if visit == 10:
            sent = await end(floods)
        shown = await get(service.page, "/")
        assert shown.startswith(b"HTTP/1.1 451 ")
        assert shown.rstrip().endswith(b"</html>")
        most = max(most, rss_kib(service))
    close(floods)
    print(f"{CROWD} connections of {len(set(clients))} prefixes: RSS {before} to {most} KiB, {sent} octets sent")
    assert most - before < GREW_KIB
    assert await asyncio.to_thread(asked, service.dns, "listed.test") == f"{PAGE_V4} EDE 4"


@pytest.mark.asyncio
async def test_whole_requests_of_a_crowd_do_not_shut_a_visitor_out(service: Service) -> None:
    stop = asyncio.Event()

    async def hammer(client: str) -> int:
        served = 0
        while not stop.is_set():
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await get(service.page, "/", client)
                served += 1
        return served

    hammers = [asyncio.ensure_future(hammer(client)) for client in prefixes(100)]
    for _ in range(10):
        assert (await get(service.page, "/")).startswith(b"HTTP/1.1 451 ")
    stop.set()
    assert sum(await asyncio.gather(*hammers)) > 0


@pytest.mark.asyncio
async def test_many_scrapes_cost_little_more_than_one(service: Service) -> None:
    async def cost(path: str, count: int) -> float:
        """CPU of the service for one request."""
        began = cpu_ns(service)
        for _ in range(count // 10):
            got = await asyncio.gather(*(get(service.metrics, path, client) for client in prefixes(10)))
            assert all(one.startswith(b"HTTP/1.1 200 ") for one in got)
        return (cpu_ns(service) - began) / count / 1000

    await cost("/metrics", 100)
    health, scrape = await cost("/healthz", 300), await cost("/metrics", 300)
    print(f"CPU of the service: /healthz {health:.0f} us, /metrics {scrape:.0f} us")
    assert scrape < 6 * health


@pytest.mark.asyncio
async def test_a_load_balancer_is_answered_while_others_crowd_the_port(service: Service) -> None:
    stop = asyncio.Event()

    async def hammer(client: str) -> None:
        while not stop.is_set():
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await get(service.metrics, "/metrics", client)

    mute = [await opened(service.metrics, client) for client in prefixes(32) * PER_CLIENT]
    hammers = [asyncio.ensure_future(hammer(client)) for client in prefixes(50)]
    for path in ("/readyz", "/healthz") * 5:
        assert (await get(service.metrics, path)).startswith(b"HTTP/1.1 200 ")
    stop.set()
    await asyncio.gather(*hammers)
    for one in mute:
        one.close()


@pytest.mark.asyncio
async def test_the_kernel_keeps_no_visitor(service: Service) -> None:
    wait_for(lambda: not in_kernel(service.page), "earlier visitors to be gone", seconds=30)
    assert (await get(service.page, "/")).startswith(b"HTTP/1.1 451 ")
    advance = [await opened(service.page, HONEST) for _ in range(2)]
    sockets = [await opened(service.page, HONEST) for _ in range(PER_CLIENT)]
    for one in advance:
        assert await rest(one) == b"", "a prefix has so many places"
        one.close()
    for one, request in zip(sockets, (HEAD + b"\r\n", HEAD + b"\r\n", HEAD + b"x" * 9000, b""), strict=True):
        await asyncio.get_running_loop().sock_sendall(one, request)
    assert (await rest(sockets[0])).startswith(b"HTTP/1.1 451 ")
    assert (await rest(sockets[2])).startswith(b"HTTP/1.1 431 ")
    sockets[3].close()
    sockets[1].close()  # with all of the response unread
    for one in sockets:
        one.close()
    assert in_kernel(service.page, TIME_WAIT) == []
    wait_for(lambda: not in_kernel(service.page), "the visitors to be gone", seconds=30)
