"""The edge as a process, over QUIC: DoQ and HTTP/3 with dnspython's client, its reports, reload, stop and crash."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.query
import msgspec
import pytest

from resolver.core import codes
from tests.journeys.running import HOST, free_ports
from tests.unit.edge.quic_lab import AUTHORITY, NAME, QUERY, client
from tests.unit.edge.requests import request
from tests.unit.edge.services import Service, service

PATIENCE_S = 60.0
FRAMED = len(QUERY).to_bytes(2, "big") + QUERY
ASKED = dns.message.from_wire(QUERY)


@dataclass
class Running:
    """An edge, its service, and its ports of DoQ and of HTTP/3."""

    process: asyncio.subprocess.Process
    service: Service
    port: int
    http3: int
    folder: Path

    async def ends(self) -> str:
        """Wait for the end; return what it has logged."""
        _, said = await asyncio.wait_for(self.process.communicate(), PATIENCE_S)
        return said.decode()


def issue(folder: Path, name: str) -> None:
    """Write a certificate and its key, as a client of ACME does."""
    issued = AUTHORITY.issue_cert(name)
    for path, octets in (
        ("certificate", b"".join(one.bytes() for one in issued.cert_chain_pems)),
        ("key", issued.private_key_pem.bytes()),
    ):
        (folder / f"new-{path}").write_bytes(octets)
        (folder / f"new-{path}").replace(folder / path)


async def begun(folder: Path, ports: tuple[int, int], *more: str) -> asyncio.subprocess.Process:
    """Start an edge."""
    quic, http3 = ports
    said = request(
        name=NAME,
        socket=str(folder / "queries"),
        quic=((HOST, quic),),
        http3=((HOST, http3),),
        certificate=str(folder / "certificate"),
        key=str(folder / "key"),
    )
    one = await asyncio.create_subprocess_exec(
        sys.executable, *(more or ("-m", "resolver.edge.process")), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert one.stdin is not None
    one.stdin.write(msgspec.json.encode(said) + b"\n")
    await one.stdin.drain()
    return one


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """Run an edge with a service that answers each query with itself."""
    issue(folder, NAME)
    ports = tuple(free_ports(2))
    async with service(folder) as behind:
        one = await begun(folder, ports)
        try:
            await until(lambda: bool(behind.reports) or one.returncode is not None)
            assert one.returncode is None, "it has ended"
            yield Running(one, behind, *ports, folder)
        finally:
            if one.returncode is None:
                one.kill()
            await one.communicate()


async def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so, for PATIENCE_S."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.02)  # between two looks


async def over_quic(edge: Running) -> dns.message.Message:
    """Ask over DoQ with dnspython."""
    return await dns.asyncquery.quic(
        dns.message.from_wire(QUERY),
        HOST,
        PATIENCE_S,
        edge.port,
        verify=str(edge.folder / "authority"),
        server_hostname=NAME,
    )


async def over_http3(edge: Running, *, post: bool) -> dns.message.Message:
    """Ask over HTTP/3 with dnspython."""
    return await dns.asyncquery.https(
        dns.message.from_wire(QUERY),
        f"https://{NAME}:{edge.http3}/dns-query",
        PATIENCE_S,
        verify=str(edge.folder / "authority"),
        bootstrap_address=HOST,
        http_version=dns.query.HTTPVersion.H3,
        post=post,
    )


@pytest.mark.asyncio
async def test_both_are_answered_reported_reloaded_and_ended(tmp_path: Path) -> None:
    (tmp_path / "authority").write_bytes(AUTHORITY.cert_pem.bytes())
    async with running(tmp_path) as edge:
        assert (await over_quic(edge)).question == ASKED.question
        for post in (True, False):
            assert (await over_http3(edge, post=post)).question == ASKED.question
        asked = [(one.transport, one.message[:2]) for one in edge.service.queries]
        assert asked == [(codes.DOQ, b"\0\0"), (codes.DOH, b"\0\0"), (codes.DOH, b"\0\0")]

        issue(tmp_path, "renewed.isp.example")
        edge.process.send_signal(signal.SIGHUP)
        issue(tmp_path, NAME)
        edge.process.send_signal(signal.SIGHUP)
        async with client(edge, "doq") as one:
            one.send(0, FRAMED)
            assert len(await one.whole(0)) == len(FRAMED)
            edge.service.answers = lambda query: None
            one.send(4, FRAMED)
            await until(lambda: len(edge.service.queries) == 5)
            edge.process.send_signal(signal.SIGTERM)
            edge.service.give(edge.service.queries[-1])
            assert len(await one.whole(4)) == len(FRAMED), "what is in flight is answered"
            assert await one.code() == 0
        said = await edge.ends()
        assert edge.process.returncode == 0
        assert HOST not in said
        assert "example.com" not in said
        assert "127" not in "".join(msgspec.json.encode(one).decode() for one in edge.service.reports[-1:])


@pytest.mark.asyncio
async def test_the_edge_after_a_crash_resets_the_connections_of_the_one_before(tmp_path: Path) -> None:
    async with running(tmp_path) as edge, client(edge, "doq") as one:
        one.send(0, FRAMED)
        await one.whole(0)
        edge.process.kill()
        await edge.process.communicate()
        edge.service.reports.clear()
        after = await begun(tmp_path, (edge.port, edge.http3))
        try:
            await until(lambda: bool(edge.service.reports))
            one.datagrams.clear()
            one.send(4, FRAMED)
            await until(lambda: bool(one.datagrams))
            assert one.datagrams[0][-16:] in one.peer.parameters, "the token that the client got at the handshake"
            async with client(edge, "doq") as another:
                another.send(0, FRAMED)
                assert len(await another.whole(0)) == len(FRAMED)
        finally:
            after.kill()
            await after.communicate()


@pytest.mark.asyncio
async def test_without_aioquic_it_says_what_to_install(tmp_path: Path) -> None:
    issue(tmp_path, NAME)
    hidden = "import runpy, sys\nsys.modules['aioquic'] = None\n"
    hidden += "runpy.run_module('resolver.edge.process', run_name='__main__')"
    one = await begun(tmp_path, tuple(free_ports(2)), "-c", hidden)
    _, said = await asyncio.wait_for(one.communicate(), PATIENCE_S)
    assert one.returncode == 2
    assert b"aioquic" in said
    assert b"blocklist-resolver[quic]" in said
    assert said.count(b"\n") == 1
