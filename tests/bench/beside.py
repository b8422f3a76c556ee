"""Asks a service what is no UDP query, one thing after the other, for the bench of the page: how long each took."""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from resolver.config.config import Control
from resolver.control import client, requests
from tests.journeys.processes import query_for
from tests.journeys.running import HOST, Service

PATIENCE_S = 30.0


class Asking:
    """DNS over one connection, `/readyz` and `/metrics` over new ones, and the control socket."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._control = Control(socket=str(service.folder / "control"), group="")
        self._dns = socket.create_connection((HOST, service.dns), timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._dns.close()

    def each(self) -> Iterator[tuple[str, float]]:
        """Ask each thing once: what it was, and the seconds that it took."""
        yield "DNS over TCP", _took(self._ask)
        yield "/readyz", _took(lambda: self._get("/readyz"))
        yield "/metrics", _took(lambda: self._get("/metrics"))
        yield "the control socket", _took(self._status)

    def _ask(self) -> None:
        packet = query_for("selftest.invalid")
        self._dns.sendall(len(packet).to_bytes(2) + packet)
        left = int.from_bytes(self._read(2))
        assert self._read(left)[:2] == packet[:2]

    def _read(self, octets: int) -> bytes:
        found = b""
        while len(found) < octets:
            part = self._dns.recv(octets - len(found))
            assert part, "the connection has ended"
            found += part
        return found

    def _get(self, path: str) -> None:
        one = http.client.HTTPConnection(HOST, self._service.metrics, timeout=PATIENCE_S)
        try:
            one.request("GET", path)
            reply = one.getresponse()
            assert reply.status == 200, path
            assert reply.read()
        finally:
            one.close()

    def _status(self) -> None:
        assert isinstance(client.call(self._control, requests.Status()), requests.StatusReply)


def _took(ask: Callable[[], None]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began
