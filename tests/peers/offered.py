"""A network of its own whose resolver offers DoT and DoH at their usual ports, for clients that look nowhere else;
HTTP/3 too, if it is wanted.

Rules:
- The thread that enters `offered` is in that network until the block ends; so is what it starts. Its addresses are of
  a cable whose other end is in the same network: a client that wants to be online is, and nothing leaves.
- The certificate is for NAME, ADDRESS and ADDRESS_V6. Only a client that is given `place.ca` trusts it.
- Files below /etc are those of one program, in a mount namespace of its own (`in_own_files`).
"""

import http.server
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.upstream import in_thread, records
from tests.journeys import edges
from tests.journeys.processes import Site, list_of
from tests.journeys.running import HOST, PAGE_V4, Authority, Service
from tests.peers import spaces
from tests.peers.hosts import new_network

ADDRESS, ADDRESS_V6, NAME = "192.0.2.53", "2001:db8::53", edges.NAME
WRONG_NAME = "other.isp.example"
BLOCKED, SCOPED, OPEN = "blocked.test", "scoped.test", "open.test"
"""SCOPED is listed for WARD alone."""
WEB, REAL = "192.0.2.80", "203.0.113.66"
"""Where OPEN is, and where the listed names would be."""
CLIENT, WARD, STRANGER, BALANCER = "198.51.100.2", "198.51.100.66", "203.0.113.9", "198.51.100.1"
BEATS_S = 2.5
"""More than two beats of the counts."""
OPEN_TEXT = "An open page of this test"


@dataclass(frozen=True)
class Offered:
    """The resolver and its edge."""

    folder: Path
    place: edges.Place
    service: Service

    def received(self) -> dict[str, float]:
        """Queries that the service has received, by transport."""
        body = self.service.get("/metrics")[1].decode()
        found = re.findall(r'^blocklist_resolver_queries_total{transport="(\w+)"} (\S+)', body, re.MULTILINE)
        return {label: float(value) for label, value in found}

    def arrived(self) -> dict[str, int]:
        """Packets that have arrived at the edge's port of HTTPS, by protocol."""
        said = spaces.run("nft list counters table inet seen")
        return {name: int(count) for name, count in re.findall(r"counter over_(\w+) \{\s+packets (\d+)", said)}


class _Web(http.server.BaseHTTPRequestHandler):
    """Shows OPEN_TEXT, whatever is asked for."""

    def do_GET(self) -> None:
        body = f"<!DOCTYPE html><title>open</title><h1>{OPEN_TEXT}</h1>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def web(host: str, port: int) -> Iterator[None]:
    """The web server of an open name."""
    with http.server.ThreadingHTTPServer((host, port), _Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _settle(found: Offered) -> None:
    """Wait until what the service asked itself at its start is published: then only clients move the counts."""
    pause, before, now = threading.Event(), dict[str, float](), found.received()
    while before != now:
        pause.wait(BEATS_S)
        before, now = now, found.received()


_SEEN = """table inet seen {
    counter over_tcp {}
    counter over_udp {}
    chain arriving {
        type filter hook input priority 0;
        tcp dport 443 counter name over_tcp
        udp dport 443 counter name over_udp
    }
}
"""


@contextmanager
def offered(folder: Path, *, http3: bool = False) -> Iterator[Offered]:
    """Make the network, and start the service and its edge in it."""
    place = edges.certified(folder, {"tls": 853, "https": 443}, NAME, ADDRESS, ADDRESS_V6)
    both = [f"{ADDRESS}:443", f"[{ADDRESS_V6}]:443"]
    answers = records(
        {(OPEN, "A"): [WEB], (BLOCKED, "A"): [REAL], (SCOPED, "A"): [REAL], (NAME, "A"): [ADDRESS]}
    )
    with ExitStack() as stack:
        stack.enter_context(spaces.inside(new_network()))
        homes = [f"{one}/32" for one in (ADDRESS, PAGE_V4, WEB, CLIENT, WARD, STRANGER, BALANCER)]
        homes.append(f"{ADDRESS_V6}/128 nodad")
        spaces.run("ip link set lo up; ip link add street type veth peer name end; ip link set end up")
        spaces.run("ip link set street up; " + "; ".join(f"ip addr add dev street {one}" for one in homes))
        spaces.run("nft -f -", _SEEN)
        stack.enter_context(web(WEB, 80))
        upstream = stack.enter_context(in_thread(answers))
        site = Site(folder, [upstream.address])
        second = Authority(folder / "second", list_id="second")
        second.publish([SCOPED])
        site.lists.append(list_of(second.folder, "second", clients=[f"{WARD}/32"]))
        allow = ["127.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"]
        site.change("listen", dns=[f"{ADDRESS}:53", f"{HOST}:{site.dns}"], allow=allow, proxy_from=[f"{BALANCER}/32"])
        site.change("page", listen=[f"{PAGE_V4}:80"], addresses=[PAGE_V4])
        site.set(
            "edge", socket=f"{folder}/edge", user="", name=NAME, certificate=f"{folder}/edge.pem",
            key=f"{folder}/edge.key", tls=[f"{ADDRESS}:853"], https=both, http3=both if http3 else [],
        )  # fmt: skip
        site.publish([BLOCKED])
        service = stack.enter_context(site.started())
        stack.enter_context(edges.started(place, site.config))
        found = Offered(folder, place, service)
        _settle(found)
        yield found


def in_own_files(folders: Sequence[str], files: dict[str, Path], *command: object) -> list[str]:
    """A command that sees empty `folders`, and each of `files` at its place, a copy below a folder."""
    script = [f"mount -t tmpfs none {one}" for one in folders]
    for target, source in files.items():
        if any(target.startswith(f"{one}/") for one in folders):
            script.append(f"mkdir -p {Path(target).parent} && cp {source} {target}")
        else:
            script.append(f"mount --bind {source} {target}")
    return ["unshare", "--mount", "sh", "-c", " && ".join([*script, 'exec "$@"']), "sh", *map(str, command)]
