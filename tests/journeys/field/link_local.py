"""Link-local addresses as upstream and listener, in a network of its own: `unshare --net` starts it.

It prints one line: what is seen by UDP, by TCP, and by a client of the link-local listener.
"""

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dns.message

from tests.fakes.octets import Asked, in_thread
from tests.journeys.cases.packets import wire
from tests.journeys.field.rows import ADDRESS, PTR, A, Reply, cut_to, rr
from tests.journeys.processes import Site, asked, came, exchange, query_for
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


def play(folder: Path, launcher: Sequence[str]) -> str:
    """Start a service between both addresses, ask, and return what was seen."""
    for command in _SPACE:
        subprocess.run(command.split(), check=True)
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
    print(play(Path(sys.argv[1]), sys.argv[2:]))
