"""Encrypted resolvers by DHCP and router advertisements (RFC 9463): the lines of deploy/edge-discovery.md in Kea,
dnsmasq, ISC dhcpd and BIRD, and what arrives at a host: the octets that `discovery` prints, and what they say."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from resolver.cli import verbs_discovery
from resolver.config import designated
from resolver.config.edge import Edge
from resolver.config.values import endpoint
from tests.journeys.running import ROOT
from tests.peers import network_clients as host
from tests.peers import spaces
from tests.peers.hosts import new_network, running, wait_for
from tests.peers.network_clients import Told

Program = Callable[[str], str]
STREET, HOME = "street", "home"
GATE_V4, GATE_V6 = "198.51.100.1", "2001:db8:5::1"
V4, V6, RA = "DHCPv4", "DHCPv6", "router advertisements"
SECTIONS = {V4: "for DHCPv4", V6: "for DHCPv6", RA: "for router advertisements"}
PROGRAMS = {"Kea": (V4, V6), "dnsmasq": (V4, V6), "dhcpd": (V4, V6), "BIRD": (RA,)}
FIRST_BIRD = (2, 17)
"""Of Debian 13 on; Debian 12's has no custom options."""


def edge_of_the_document() -> Edge:
    """The table [edge] that deploy/edge.md shows."""
    text = (ROOT / "deploy" / "edge.md").read_text()
    [block] = re.findall(r"^    \[edge\]\n(?:    .+\n)+", text, re.MULTILINE)
    said = tomllib.loads(block)["edge"]
    return Edge(**{
        key: tuple(map(endpoint, value)) if isinstance(value, list) else value for key, value in said.items()
    })  # fmt: skip


EDGE = edge_of_the_document()
OCTETS: dict[str, list[bytes]] = {
    V4: [designated.option_dhcpv4(EDGE)],
    V6: designated.options_dhcpv6(EDGE),
    RA: designated.options_ra(EDGE),
}


def lines(text: str) -> dict[tuple[str, str], str]:
    """The line of each program for each way, of what `discovery` prints or the document shows."""
    found, way = {}, ""
    for line in text.splitlines():
        [*begun] = (name for name, begin in SECTIONS.items() if line.strip().startswith(begin))
        way = begun[0] if begun else way
        word, _, rest = line.strip().partition(" ")
        if way and word in PROGRAMS:
            assert (word, way) not in found
            found[word, way] = rest.strip()
    return found


def documented() -> dict[tuple[str, str], str]:
    text = (ROOT / "deploy" / "edge-discovery.md").read_text()
    [block] = re.findall(r"^    for DHCPv4.*\n(?:    .*\n)+", text, re.MULTILINE)
    return lines(block)


LINES = documented()


def test_the_document_shows_what_is_printed() -> None:
    assert lines("\n".join(verbs_discovery.text(EDGE))) == LINES
    assert list(LINES) == [(name, way) for way in SECTIONS for name, ways in PROGRAMS.items() if way in ways]


@dataclass(frozen=True)
class Street:
    """Where the network's servers are, and the home of a host, with no address yet."""

    server: int
    home: int


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    found = Street(new_network(), new_network())
    for space in (found.server, found.home):
        with spaces.inside(space):  # addresses are there at once
            spaces.run("for one in all default; do echo 0 > /proc/sys/net/ipv6/conf/$one/accept_dad; done")
    with spaces.inside(found.server):
        spaces.join(found.home, names=(STREET, HOME), ours=(f"{GATE_V4}/24", f"{GATE_V6}/64"), theirs=())
    yield found
    os.close(found.server)
    os.close(found.home)


def own(program: Program, name: str, folder: Path) -> str:
    """A copy of a program: what AppArmor says of the program by its path does not let it read a test's folder."""
    return shutil.copy(program(name), folder / name)


_KEA_V4 = {"subnet": "198.51.100.0/24", "pools": [{"pool": "198.51.100.100-198.51.100.200"}]}
_KEA_V6 = {"subnet": "2001:db8:5::/64", "interface": STREET, "pools": [{"pool": "2001:db8:5::100-2001:db8:5::1ff"}]}
_DNSMASQ = f"""port=0
interface={STREET}
bind-interfaces
user=root
leasefile-ro
dhcp-range=198.51.100.100,198.51.100.200
dhcp-range=2001:db8:5::100,2001:db8:5::1ff,64
"""
_DHCPD = {
    V4: "subnet 198.51.100.0 netmask 255.255.255.0 { range 198.51.100.100 198.51.100.200; }\n",
    V6: "subnet6 2001:db8:5::/64 { range6 2001:db8:5::100 2001:db8:5::1ff; }\n",
}
_BIRD = """router id 198.51.100.1;
protocol device {}
protocol radv { interface "%s" { max ra interval 4; prefix 2001:db8:5::/64 {}; %s }; }
"""


def kea(way: str) -> str:
    """A configuration with the documented object among option-data."""
    number = way[-1]
    said = {
        "interfaces-config": {"interfaces": [STREET]},
        "lease-database": {"type": "memfile", "persist": False},
        "option-data": [json.loads(LINES["Kea", way])],
        f"subnet{number}": [{"id": 1, **(_KEA_V4 if way == V4 else _KEA_V6)}],
        **({"server-id": {"type": "LL", "persist": False}} if way == V6 else {}),
    }
    return json.dumps({f"Dhcp{number}": said})


@contextmanager
def serving(street: Street, program: Program, folder: Path, name: str, way: str) -> Iterator[None]:
    """Run a server with the documented line; it has to run until the block ends."""
    file, number = folder / "configuration", way[-1]
    match name:
        case "Kea":
            file.write_text(kea(way))
            command = [own(program, f"kea-dhcp{number}", folder), "-c", str(file)]
        case "dnsmasq":
            file.write_text(_DNSMASQ + LINES[name, way] + "\n")
            command = [program("dnsmasq"), "--keep-in-foreground", f"--conf-file={file}", "--pid-file"]
        case "dhcpd":
            file.write_text(LINES[name, way] + "\n" + _DHCPD[way])
            leases = folder / "leases"
            leases.touch()
            at = ["-cf", str(file), "-lf", str(leases), "-pf", str(folder / "pid")]
            command = [own(program, "dhcpd", folder), f"-{number}", "-f", *at, STREET]
        case _:
            file.write_text(_BIRD % (STREET, LINES[name, way]))
            command = [program("bird"), "-f", "-c", str(file), "-s", str(folder / "control")]
    environment = {**os.environ, "KEA_PIDFILE_DIR": str(folder), "KEA_LOCKFILE_DIR": str(folder)}
    with (
        spaces.inside(street.server),
        running(*command, log=folder / "said", env=environment) as process,
        spaces.inside(street.home),
    ):
        yield
        assert process.poll() is None, (folder / "said").read_text()


def told(way: str, arrived: list[bytes]) -> list[Told]:
    if way == V4:
        return host.told_v4(b"".join(arrived))
    return [(host.told_v6 if way == V6 else host.told_by_router)(one) for one in arrived]


@pytest.mark.parametrize(("name", "way"), LINES, ids=map("-".join, LINES))
def test_what_arrives_is_what_is_printed(street: Street, program: Program, tmp_path: Path, name: str, way: str) -> None:
    if name == "BIRD" and version(program("bird")) < FIRST_BIRD:
        pytest.skip("this BIRD has no custom options: Debian 13's has")  # In CI too: nothing else sends it there.
    with serving(street, program, tmp_path, name, way):
        match way:
            case "DHCPv4":
                arrived = host.over_dhcpv4(HOME, designated.OPTION_DHCPV4)
            case "DHCPv6":
                arrived = host.over_dhcpv6(HOME, designated.OPTION_DHCPV6)
            case _:
                arrived = host.by_advertisement(HOME, designated.OPTION_RA)
    assert arrived == OCTETS[way]
    address = "192.0.2.53" if way == V4 else "2001:db8::53"
    parameters = host.as_parameters(f"alpn=dot,h2 dohpath={EDGE.path}{{?dns}}")
    assert told(way, arrived) == [Told(1, EDGE.name, (address,), parameters)]


def version(bird: str) -> tuple[int, ...]:
    said = subprocess.run([bird, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.(\d+)", said.stdout + said.stderr)
    assert found is not None, said
    return tuple(map(int, found.groups()))


_DHCLIENT = {
    V4: ("option dnr code 162 = string;\nalso request dnr;\n", "new_dnr"),
    V6: ("option dhcp6.dnr code 144 = string;\nalso request dhcp6.dnr;\n", "new_dhcp6_dnr"),
}


@pytest.mark.parametrize("way", [V4, V6])
def test_a_host_s_client_gets_them(street: Street, program: Program, tmp_path: Path, way: str) -> None:
    """ISC dhclient hands what it has got to a script."""
    asks, variable = _DHCLIENT[way]
    (tmp_path / "asks").write_text(asks)
    found, script = tmp_path / "found", tmp_path / "script"
    kept = f'echo "${variable}" > {found}.new && mv {found}.new {found}'
    script.write_text(f'#!/bin/sh\nif [ -n "${variable}" ]; then {kept}; fi\n')
    script.chmod(0o755)
    at = [word for one in ("lf", "pf") for word in (f"-{one}", str(tmp_path / f"client-{one}"))]
    how = ["-4"] if way == V4 else ["-6", "-S"]
    command = [own(program, "dhclient", tmp_path), *how, "-d", "-cf", str(tmp_path / "asks"), "-sf", str(script), *at]
    with serving(street, program, tmp_path, "dnsmasq", way), running(*command, HOME, log=tmp_path / "client-said"):
        wait_for(found.exists, "dhclient has an answer", host.PATIENCE_S)
    octets = bytes(int(one, 16) for one in found.read_text().strip().split(":"))
    assert [octets] == OCTETS[way]
