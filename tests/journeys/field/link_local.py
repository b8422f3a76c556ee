"""Link-local addresses as upstream and listener, in a network of its own: `unshare --net` starts it.

It prints one line: what is seen by UDP, by TCP, and by a client of the link-local listener; after `edge`, what is seen
by `ask` of an edge that listens there, over TLS, HTTPS and QUIC.
"""

import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import dns.message

from tests.fakes.octets import Asked, in_thread
from tests.journeys import edges
from tests.journeys.cases.packets import wire
from tests.journeys.field.rows import ADDRESS, PTR, A, Reply, cut_to, rr
from tests.journeys.processes import Site, asked, came, exchange, operate, query_for
from tests.journeys.running import HOST

LINK = "d0"
START_S = 90.0
UPSTREAM, LISTENER = f"fe80::53%{LINK}", f"fe80::54%{LINK}"
MANY = cut_to(Reply(answer=[rr(PTR, wire(f"host{number}.test")) for number in range(800)]))
_SPACE = (
    "ip link set lo up",
    f"ip tuntap add {LINK} mode tap",
    f"ip link set {LINK} up",
    *(f"ip addr add {one.partition('%')[0]}/64 dev {LINK} nodad" for one in (UPSTREAM, LISTENER)),
)


def says(query: Asked) -> Sequence[bytes]:
    """An address, or so many names that TCP is needed."""
    return MANY(query) if query.kind == "PTR" else [Reply(answer=[rr(A, ADDRESS)]).to(query)]


def over_the_link(port: int) -> str:
    """What comes from the link-local listener."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.connect((LISTENER.partition("%")[0], port, 0, socket.if_nametoindex(LINK)))
        one.send(query_for("listener.test"))
        return came(one.recv(65_535))


def by_edge(folder: Path) -> str:
    """Start a service, and an edge at the address, ask, and return what was seen."""
    place, text = edges.configured(folder)
    table = tomllib.loads(text)["edge"]
    for key, port in place.ports.items():
        table[key] = [f"[{LISTENER}]:{port}"]
    with in_thread(says, host=UPSTREAM) as upstream:
        site = Site(folder, [upstream.address])
        site.set("edge", **table)
        site.set("listen", allow=["127.0.0.0/8", "fe80::/10"])
        site.publish(["listed.test"])
        with site.started(seconds=START_S), edges.started(place, site.config):
            found = {_asked(over, table[over][0], place, site) for over in ("tls", "https", "quic")}
    return f"asked at fe80::54 {' '.join(sorted(found))}"


def _asked(over: str, server: str, place: edges.Place, site: Site) -> str:
    """The address that `ask` shows."""
    words = ("ask", f"{over}.test", "--over", over, "--server", server, "--tls-name", edges.NAME, "--ca", str(place.ca))
    done = operate(site, *words)
    found = re.search(r"^answer +\S+ \d+ A (\S+)$", done.stdout, re.MULTILINE)
    return found[1] if found else f"{over}: {done.stdout}{done.stderr}"


def play(folder: Path, launcher: Sequence[str]) -> str:
    """Start a service between both addresses, ask, and return what was seen."""
    with in_thread(says, host=UPSTREAM) as upstream:
        site = Site(folder, [upstream.address])
        places = [f"{HOST}:{site.dns}", f"[{LISTENER}]:{site.dns}"]
        site.change("listen", dns=places, allow=["127.0.0.0/8", "fe80::/10"])
        site.publish(["listed.test"])
        with site.started(launcher, seconds=START_S):
            by_udp = asked(site.dns, "udp.test")
            reply = exchange(site.dns, query_for("tcp.test", "PTR"), over="tcp")
            count = sum(len(rrset) for rrset in dns.message.from_wire(reply).answer)
            return f"by UDP {by_udp}; by TCP {count} PTR; asked at fe80::54 {over_the_link(site.dns)}"


if __name__ == "__main__":
    for _command in _SPACE:
        subprocess.run(_command.split(), check=True)
    _folder, *_launcher = sys.argv[1:]
    print(by_edge(Path(_folder)) if _launcher == ["edge"] else play(Path(_folder), _launcher))
