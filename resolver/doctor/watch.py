"""Shows what the doctor finds to Prometheus: `doctor --watch ADDR:PORT`.

Rules:
- A scrape shows the last examination; it never causes one. One runs each `every` seconds.
- Labels come from the catalogue alone: no name, no client. Nothing of a scrape is logged.
- An examination that fails sets `up` to 0 and takes the verdicts away: an old verdict is never shown as a new one.
"""

import http.server
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

from resolver.doctor.ask import Endpoint, shut
from resolver.doctor.probes import Examined, NotProbed
from resolver.doctor.verdicts import ORDER

LEAST_S: Final = 30.0
MOST_S: Final = 86_400.0
PREFIX: Final = "blocklist_doctor"
LONGEST_S: Final = 1.0
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


def metrics(found: Examined | None, at: float) -> str:
    """Return the exposition of an examination that ended at `at`; None: of one that failed."""
    return "".join(f"{line}\n" for line in _series(found, at))


def _series(found: Examined | None, at: float) -> Iterator[str]:
    yield from _head("up", "1: the last examination reached the probe zone through the resolver.")
    yield f"{PREFIX}_up {int(found is not None)}"
    yield from _head("examined_timestamp_seconds", "When the last examination ended.")
    yield f"{PREFIX}_examined_timestamp_seconds {at:.3f}"
    if found is None:
        return
    yield from _head("probe_verdict", "1 for the verdict of each probe, 0 for the others.")
    for one in found.results:
        for verdict in ORDER:
            yield f'{PREFIX}_probe_verdict{{probe="{one.id}",verdict="{verdict}"}} {int(one.verdict is verdict)}'
    yield from _head("probes", "How many probes have a verdict.")
    for verdict in ORDER:
        yield f'{PREFIX}_probes{{verdict="{verdict}"}} {found.count(verdict)}'
    yield from _head("queries", "Queries of the last examination.")
    yield f"{PREFIX}_queries {found.queries}"


def _head(name: str, said: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}_{name} {said}"
    yield f"# TYPE {PREFIX}_{name} gauge"


class Watch:
    """Examines again and again, and serves what was found last."""

    def __init__(self, examine: Callable[[], Examined], every_s: float, clock: Callable[[], float] = time.time) -> None:
        self._examine = examine
        self._every_s = every_s
        self._clock = clock
        self._shown = ""
        self.ended = threading.Event()

    def look(self) -> str:
        """Examine once, and show it; return the reason if the zone was not reached."""
        reason = ""
        found = None
        try:
            found = self._examine()
        except NotProbed as error:
            reason = str(error)
        self._shown = metrics(found, self._clock())
        return reason

    def serve(self, place: Endpoint, started: Callable[[int], None], failed: Callable[[str], None]) -> None:
        """Serve until `ended` is set; `started` gets the port, `failed` each new reason. OSError if it is in use."""
        said = ""
        with _Server(place, lambda: self._shown) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2})
            thread.start()
            try:
                started(server.server_address[1])
                while not self.ended.is_set():
                    reason = self.look()
                    if reason and reason != said:
                        failed(reason)
                    said = reason
                    self.ended.wait(self._every_s)
            finally:
                server.shutdown()
                thread.join()


class _Server(http.server.HTTPServer):
    """One connection at a time, for a few seconds at most, however slowly it sends: a scrape needs no more."""

    def __init__(self, place: Endpoint, shown: Callable[[], str]) -> None:
        self.address_family = place.family
        self.shown = shown
        super().__init__((place.host, place.port), _Request)

    def server_bind(self) -> None:
        """Bind it. HTTPServer would also ask a resolver for the name of the address."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection, or end it."""
        with closing(request.dup()) as same:
            timer = threading.Timer(LONGEST_S, shut, (same,))
            timer.start()
            try:
                super().finish_request(request, client_address)
            finally:
                timer.cancel()
                timer.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that leaves early is no fault, and its address is nobody's."""


class _Request(http.server.BaseHTTPRequestHandler):
    timeout = LONGEST_S
    server: _Server

    def do_GET(self) -> None:
        """Answer /metrics."""
        known = self.path == "/metrics" and bool(self.server.shown())
        body = self.server.shown().encode() if known else b"not found\n"
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", _TEXT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing: the line would hold the client's address."""
