"""A service with an edge before it, as an operator starts both: by the command line, with one configuration."""

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.journeys.processes import Site
from tests.journeys.running import HOST, ROOT, free_ports, stop
from tests.unit.edge.certificates import NAME, Files

PATIENCE_S = 60.0


@dataclass
class Encrypted:
    """The edge of a site: its ports and its certificate's files."""

    site: Site
    files: Files
    tls: int
    https: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def said(self) -> Path:
        return self.site.folder / "edge-said"

    def start(self, number: int = 1) -> "subprocess.Popen[bytes]":
        """Start an edge, and wait until it takes connections."""
        command = [sys.executable, "-m", "resolver", "edge", "--config", str(self.site.config), "--number", str(number)]
        with open(self.said, "ab") as said:
            one = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=ROOT)
        self.process = self.process or one
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert one.poll() is None, self.said.read_text()
            with contextlib.suppress(OSError), self.connect() as client:
                client.close()
                return one
            time.sleep(0.05)  # between two looks
        raise AssertionError("the edge takes no connections")

    def stop(self) -> int:
        """End the edge in order; return its status."""
        assert self.process is not None
        one, self.process = self.process, None
        return stop(one)

    def kill(self) -> None:
        """End the edge as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    @property
    def context(self) -> ssl.SSLContext:
        """A client that verifies."""
        context = ssl.create_default_context()
        self.files.authority.configure_trust(context)
        return context

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        below = socket.create_connection((HOST, self.tls), timeout=PATIENCE_S)
        try:
            return (context or self.context).wrap_socket(below, server_hostname=NAME)
        except BaseException:
            below.close()
            raise

    def over_tls(self, *queries: bytes) -> list[bytes]:
        """Ask over one connection, all at once; return the answers as they come."""
        with self.connect() as one:
            return ask(one, *queries)

    def over_https(
        self, method: str, target: str, body: bytes | None = None, **fields: str
    ) -> http.client.HTTPResponse:
        """Send one request over HTTP/1.1; return its response, read."""
        one = http.client.HTTPSConnection(HOST, self.https, timeout=PATIENCE_S, context=self.context)
        one.sock = self.context.wrap_socket(
            socket.create_connection((HOST, self.https), timeout=PATIENCE_S), server_hostname=NAME
        )
        with contextlib.closing(one):
            one.request(method, target, body, {name.replace("_", "-"): value for name, value in fields.items()})
            response = one.getresponse()
            response.content = response.read()  # type: ignore[attr-defined]  # kept with it
            return response


def ask(one: ssl.SSLSocket, *queries: bytes) -> list[bytes]:
    """Send queries over a connection, all at once; return the answers as they come."""
    one.sendall(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
    found, unread = [], b""
    while len(found) < len(queries):
        data = one.recv(2**16)
        if not data:
            raise ConnectionAbortedError
        unread += data
        while len(unread) >= 2 and len(unread) >= (size := 2 + int.from_bytes(unread[:2], "big")):
            found.append(unread[2:size])
            unread = unread[size:]
    return found


def encrypted(site: Site) -> Encrypted:
    """Configure an edge for a site, whose service is not yet started."""
    tls, https = free_ports(2)
    files = Files(site.folder)
    files.issue(days=3650)
    site.set(
        "edge",
        socket=str(site.folder / "queries"),
        user="",
        name=NAME,
        tls=[f"{HOST}:{tls}"],
        https=[f"{HOST}:{https}"],
        certificate=str(files.certificate),
        key=str(files.key),
    )
    return Encrypted(site, files, tls, https)


@contextlib.contextmanager
def started(one: Encrypted) -> Iterator[Encrypted]:
    """An edge that runs; it ends with the block, and has to end with 0."""
    one.start()
    try:
        yield one
    finally:
        if one.process is not None:
            assert one.stop() == 0, one.said.read_text()
