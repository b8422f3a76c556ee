"""A service in a network namespace of its own, with a link-local upstream; prints what came, as JSON.

Rules:
- Run as `unshare -nm python -m tests.journeys.own_network FOLDER WAY CORE`. The interface leads nowhere: what is sent
  to one of its addresses arrives over loopback, with the interface's number. CORE is one of running.LAUNCHERS.
- WAY is `named` (the configuration names the upstream), `resolv` (/etc/resolv.conf does), `early` (an address to
  listen on comes after the start) or `homed` (the wildcard addresses of a host that has several of its own).
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message

from tests.journeys.processes import Site, asked, came, honest, query_for, wait_for
from tests.journeys.running import LAUNCHERS

INTERFACE, ADDRESS = "d0", "fe80::53"
EARLY = "192.0.2.53"
HOMES = ("192.0.2.54", "192.0.2.55", "2001:db8::53", "2001:db8::54")
DNS, OTHER = 53, 5355


def command(*words: str) -> None:
    subprocess.run(words, check=True)


def place(port: int) -> tuple[str, int, int, int]:
    return ADDRESS, port, 0, socket.if_nametoindex(INTERFACE)


def begin(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def upstream(datagram: socket.socket, listening: socket.socket) -> None:
    """Answer every query: names with `big` over TCP only."""

    def by_datagram() -> None:
        while True:
            data, peer = datagram.recvfrom(4096)
            query = dns.message.from_wire(data)
            reply = honest(query)
            if query.question[0].name.to_text().startswith("big"):
                reply.answer.clear()
                reply.flags |= dns.flags.TC
            datagram.sendto(reply.to_wire(), peer)

    def by_stream() -> None:
        while True:
            one, _ = listening.accept()
            with one, one.makefile("rb") as stream:
                while head := stream.read(2):
                    wire = honest(dns.message.from_wire(stream.read(int.from_bytes(head, "big")))).to_wire()
                    one.sendall(len(wire).to_bytes(2, "big") + wire)

    begin(by_datagram)
    begin(by_stream)


def asked_at(where: tuple[Any, ...], name: str, kind: socket.SocketKind) -> str:
    """What the service answers at this address."""
    with socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, kind) as one:
        one.settimeout(5)
        one.connect(where)
        query = query_for(name)
        if kind == socket.SOCK_DGRAM:
            one.send(query)
            return came(one.recv(4096))
        one.sendall(len(query).to_bytes(2, "big") + query)
        with one.makefile("rb") as stream:
            return came(stream.read(int.from_bytes(stream.read(2), "big")))


def listening_on_both() -> tuple[socket.socket, socket.socket]:
    datagram = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    stream = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    for one in (datagram, stream):
        one.bind(place(DNS))
    stream.listen()
    return datagram, stream


def found(site: Site, way: str, core: str) -> dict[str, Any]:
    """What came in this way."""
    with site.started(LAUNCHERS[core]) as service:
        said: dict[str, Any] = {
            "udp": asked(site.dns, "small.test"),
            "upstream tcp": asked(site.dns, "big.test"),
            "blocked": asked(site.dns, "x.listed.test"),
        }
        wait_for(lambda: service.metric("selftest_success") == 1, "the self-test")
        where: tuple[Any, ...] = place(OTHER)
        if way == "early":
            command("ip", "addr", "add", f"{EARLY}/32", "dev", "lo")
            where = (EARLY, site.dns)
        for over, kind in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
            said[f"there {over}"] = asked_at(where, "there.test", kind)
        if way == "homed":
            homes = [(home, site.dns) for home in HOMES] + [place(site.dns)]
            said["homes"] = [
                asked_at(home, name, socket.SOCK_DGRAM) for home in homes for name in ("x.listed.test", "there.test")
            ]
        said["answering"] = service.metric("upstream_answering")
    said["late"] = "not in time" in service.said
    said["log"] = [line for line in service.said.splitlines() if "not an address" in line]
    return said


def main(folder: Path, way: str, core: str) -> None:
    """Set up the network, run the service, and print what came."""
    command("ip", "link", "set", "lo", "up")
    command("ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", "d1")
    command("ip", "link", "set", INTERFACE, "up")
    command("ip", "addr", "add", f"{ADDRESS}/64", "dev", INTERFACE, "nodad")
    upstream(*listening_on_both())
    site = Site(folder, [f"[{ADDRESS}%{INTERFACE}]:{DNS}"])
    own = f"127.0.0.1:{site.dns}"
    there = f"{EARLY}:{site.dns}" if way == "early" else f"[{ADDRESS}%{INTERFACE}]:{OTHER}"
    site.sections["listen"]["dns"] = [own, there]
    if way == "homed":
        for home in HOMES:
            command("ip", "addr", "add", f"{home}/{128 if ':' in home else 32}", "dev", "lo")
        site.sections["listen"]["dns"] = [f"0.0.0.0:{site.dns}", f"[::]:{site.dns}", there]
    if way == "resolv":
        del site.sections["upstream"]["servers"]
        (folder / "resolv.conf").write_text(f"nameserver {ADDRESS}\nnameserver {ADDRESS}%{INTERFACE}\n")
        command("mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf")
    site.sections["listen"]["allow"] = ["127.0.0.0/8", "fe80::/10", f"{EARLY}/32", "192.0.2.0/24", "2001:db8::/32"]
    site.publish(["listed.test"])
    said = found(site, way, core)
    done = subprocess.run(
        [sys.executable, "-m", "resolver", "check-config", str(site.config)],
        capture_output=True,
        text=True,
        check=False,
    )
    said["check-config"] = [done.returncode, done.stderr]
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
