"""What asks encrypted fakes without a service: one Upstream of the courier, and who takes what it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import trustme

from resolver.config.values import Encrypted
from resolver.courier.connection import Connection, Flight
from resolver.courier.upstream import Upstream
from resolver.query.courier_frames import Reason, Settings
from resolver.query.forward import build_query
from tests.fakes.sealed import NAME, Sealed, serving
from tests.fakes.upstream import records
from tests.unit.query.forwarding import parsed
from tests.unit.query.parts import until

TABLE = records({("open.test", "A"): ["198.51.100.7"]})


class Service:
    """What the service would be told."""

    def __init__(self) -> None:
        self.answers: dict[int, bytes] = {}
        self.failures: dict[int, tuple[Reason, int]] = {}
        self.notices: list[tuple[Reason, int]] = []

    def answer(self, number: int, message: bytes) -> None:
        self.answers[number] = message

    def fail(self, number: int, reason: Reason, detail: int) -> None:
        self.failures[number] = reason, detail

    def notice(self, reason: Reason, detail: int) -> None:
        self.notices.append((reason, detail))


class Authority:
    """A CA, its file, and the certificates that it gives."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)

    def certificate(self, *names: str) -> trustme.LeafCert:
        return self.ca.issue_cert(*(names or (NAME,)))


def query(name: str = "open.test") -> bytes:
    packet = dns.message.make_query(name, "A", use_edns=0).to_wire()
    return build_query(packet, parsed(packet))


def at(server: Sealed, *, https: bool = False) -> Encrypted:
    return Encrypted(server.host, server.port, "https" if https else "tls", NAME, "/dns-query" if https else "")


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[tuple[Upstream, Service]]:
    service = Service()
    one = Upstream(settings, service.answer, service.fail, service.notice)
    try:
        yield one, service
    finally:
        one.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def both(authority: Authority, *, https: bool = False) -> AsyncIterator[tuple[Sealed, Upstream, Service]]:
    """An honest server, and what asks it."""
    async with (
        serving(TABLE, authority.certificate(), https=https) as server,
        asking(Settings(at(server, https=https), ca=str(authority.file))) as (one, service),
    ):
        yield server, one, service


async def answered(service: Service, *numbers: int) -> None:
    await until(lambda: all(number in service.answers for number in numbers))


async def failed(service: Service, number: int) -> tuple[Reason, int]:
    await until(lambda: number in service.failures)
    return service.failures[number]


def flight_of(line: Connection, number: int) -> Flight:
    """The query of this number on a connection."""
    return next(one for one in line.flights.values() if one.number == number)
