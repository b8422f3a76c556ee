"""Services that are started more than once, killed, or watched from outside; what `running` does not need.

Rules:
- A Site outlives its processes: authority, configuration, ports and state stay, a process comes and goes.
- The working directory and TMPDIR of a process are folders of the Site, so that whatever it drops there is found.
- Replies are read by dnspython, queries are octets: nothing of ours stands between a test and the wire.
"""

import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype

from resolver.authority import publish
from resolver.core.proxy import SIGNATURE
from tests.journeys.running import (
    HOST,
    LIST_ID,
    NO_CERTIFICATES,
    PAGE_V4,
    PAGE_V6,
    ROOT,
    START_S,
    Authority,
    Service,
    free_ports,
    stop,
)

REAL = "198.51.100.7"
"""What the upstream says of every name."""

CLIENT = "127.0.0.2"
"""Who asks. Not the address that is asked: a client's port there might be the one that a service is about to take."""

RESOLVER = ("-m", "resolver")
Values = dict[str, Any]


def honest(query: dns.message.Message) -> dns.message.Message:
    """An upstream that knows every name: A is REAL, all else is NODATA."""
    reply = dns.message.make_response(query, recursion_available=True)
    if query.question[0].rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", REAL))
    return reply


def list_of(folder: Path, list_id: str = LIST_ID, **values: Any) -> Values:
    """One `[[list]]` with the authority in `folder`."""
    source = {"kind": "tuf", "url": folder.as_uri(), "root": str(folder / "root.json"), "poll": "8h"}
    guard = {"expect_entries": [1, 4_000_000], "growth": 100.0, "shrink": 1.0, "refused": 1.0}
    return {"id": list_id, "demonstration": True, "source": source, "guard": guard, **values}


@dataclass
class Site:
    """What stays: the authority, the ports, the state. `sections` are the configuration's tables but the lists."""

    folder: Path
    upstreams: Sequence[str] = (f"{HOST}:9",)
    sections: dict[str, Values] = field(default_factory=dict)
    lists: list[Values] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authority = Authority(self.folder / "authority")
        self.lists = self.lists or [list_of(self.authority.folder)]
        self.ports = free_ports(3)
        dns_port, page, metrics = self.ports
        texts = {name: f"The {name} of this test" for name in ("operator", "contact", "authority", "law")}
        self.set("listen", dns=[f"{HOST}:{dns_port}"])
        self.set("upstream", servers=list(self.upstreams), timeout="2s")
        self.set("page", addresses=[PAGE_V4, PAGE_V6], listen=[f"{HOST}:{page}"], **texts)
        self.set("metrics", listen=f"{HOST}:{metrics}")
        self.set("count", publish_every="1s", batch=1)
        self.set("state", directory=str(self.folder / "state"))
        self.set("control", socket=str(self.folder / "control"), group="")
        for name in ("tmp", "work"):
            (self.folder / name).mkdir()

    @property
    def config(self) -> Path:
        return self.folder / "resolver.toml"

    @property
    def dns(self) -> int:
        return self.ports[0]

    def set(self, section: str, **values: Any) -> None:
        """Change keys of a table; what the caller gave first wins over a default."""
        self.sections[section] = {**values, **self.sections.get(section, {})}

    def change(self, section: str, **values: Any) -> None:
        """Change keys of a table and write the file."""
        self.sections[section] = {**self.sections.get(section, {}), **values}
        self.write()

    def write(self) -> Path:
        """Write the configuration."""
        self.config.write_text(toml(self.sections, self.lists))
        return self.config

    def publish(self, entries: Iterable[str], list_id: str = LIST_ID) -> int:
        """Sign and serve the next serial of a list."""
        self.authority.serial += 1
        data = "".join(f"{entry}\n" for entry in entries).encode()
        spared = len({line for line in data.splitlines() if line.startswith(b"!")})
        issue = publish.Issue(list_id=list_id, data=data, serial=self.authority.serial, expect_exceptions=spared)
        assert publish.publish(self.authority.folder, issue, now=time.time()).published
        return self.authority.serial

    def launch(self, launcher: Sequence[str] = RESOLVER, *, write: bool = True) -> Service:
        """Start a process; `launcher` are Python's arguments before those of the service."""
        if write:
            self.write()
        environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder / "tmp"), "PYTHONUNBUFFERED": "1"}
        environment |= NO_CERTIFICATES
        with open(self.folder / "stdout", "ab") as out, open(self.folder / "stderr", "ab") as err:
            process = subprocess.Popen(
                [sys.executable, *launcher, "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=self.folder / "work",
            )
        dns_port, page, metrics = self.ports
        return Service(
            dns=dns_port, page=page, metrics=metrics, folder=self.folder, authority=self.authority, process=process
        )

    @contextmanager
    def started(
        self, launcher: Sequence[str] = RESOLVER, *, until: str = "/readyz", seconds: float = START_S
    ) -> Iterator[Service]:
        """A service that answers `until` within `seconds`; it ends with the block, and has to end with 0."""
        service = self.launch(launcher)
        try:
            if until:
                service.until(until, seconds=seconds)
            yield service
        finally:
            status = stop(service.process)
        assert status == 0, f"the service ended with {status}:\n{service.said}"


def toml(sections: dict[str, Values], lists: Iterable[Values]) -> str:
    """TOML of tables of texts, numbers and truth values, which it writes as JSON does, of lists and of tables."""
    lines: list[str] = []
    for name, values in sections.items():
        lines += [f"[{name}]", *_pairs(values)]
    for one in lists:
        lines += ["[[list]]", *_pairs({key: value for key, value in one.items() if not isinstance(value, dict)})]
        for name in ("source", "guard"):
            lines += [f"[list.{name}]", *_pairs(one[name])]
    return "\n".join(lines) + "\n"


def _pairs(values: Values) -> list[str]:
    return [f"{key} = {_written(value)}" for key, value in values.items()]


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return f"{{{', '.join(_pairs(value))}}}" if isinstance(value, dict) else json.dumps(value)


def header_of(client: str) -> bytes:
    """The PROXY v2 header (TCP or UDP alike to us) with which a load balancer names a client."""
    address = ipaddress.ip_address(client)
    kind = b"\x21\x11\0\x0c" if address.version == 4 else b"\x21\x21\0\x24"
    return SIGNATURE + kind + address.packed * 2 + b"\x30\x39\0\x35"


def query_for(name: str, qtype: str = "A") -> bytes:
    """A query's octets, with EDNS."""
    return dns.message.make_query(name, qtype, use_edns=0).to_wire()


def exchange(
    port: int, query: bytes, *, over: str = "udp", source: str = CLIENT, seconds: float = 30.0, header: bytes = b""
) -> bytes:
    """The reply's octets; TimeoutError or another OSError without one. `header` comes before the query."""
    kind = socket.SOCK_DGRAM if over == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as one:
        one.settimeout(seconds)
        one.bind((source, 0))
        one.connect((HOST, port))
        if over == "udp":
            one.send(header + query)
            return one.recv(65535)
        one.sendall(header + len(query).to_bytes(2, "big") + query)
        with one.makefile("rb") as stream:
            size = int.from_bytes(stream.read(2), "big")
            reply = stream.read(size)
        if not size or len(reply) < size:
            raise ConnectionAbortedError
        return reply


def came(reply: bytes) -> str:
    """What a reply says, in a word: the addresses, else NODATA, else the rcode; with the extended error's number."""
    message = dns.message.from_wire(reply)
    found = " ".join(str(item) for rrset in message.answer for item in rrset)
    said = found or ("NODATA" if message.rcode() == dns.rcode.NOERROR else dns.rcode.to_text(message.rcode()))
    errors = "".join(f" EDE {option.code}" for option in message.options if isinstance(option, dns.edns.EDEOption))
    return said + errors


def asked(port: int, name: str, qtype: str = "A", **how: Any) -> str:
    """What comes for a name."""
    return came(exchange(port, query_for(name, qtype), **how))


def wait_for(condition: Callable[[], object], what: str, seconds: float = START_S) -> None:
    """Look until the condition holds; AssertionError with `what` where it does not in time."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {seconds:.0f} s: {what}")
        pause.wait(0.005)


def descendants(parent: int) -> list[int]:
    """Processes below a process, by what /proc says of everybody's parent."""
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_bytes()
                parents[int(entry.name)] = int(stat.rpartition(b")")[2].split()[1])
    found = [parent]
    for one in found:
        found += [child for child, above in parents.items() if above == one]
    return found[1:]


def command_of(pid: int) -> bytes:
    """The arguments of a process; none where it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def child_of(service: Service, module: str) -> int:
    """Wait for the service's child that runs `module`; returns its id."""
    found: list[int] = []

    def seen() -> bool:
        found[:] = [pid for pid in descendants(service.process.pid) if module.encode() in command_of(pid)]
        return bool(found)

    wait_for(seen, f"a process of {module}")
    return found[0]


def operate(site: Site, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command line of an operator, print what it says, and return it."""
    done = subprocess.run(
        [sys.executable, *RESOLVER, *words, "--config", str(site.config)],
        input=typed,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=START_S,
        check=False,
    )
    print(f"$ blocklist-resolver {' '.join(words)}\n{done.stdout}{done.stderr}(exit {done.returncode})\n")
    return done


def hang_up(service: Service) -> None:
    """Have the service poll and read its configuration again."""
    service.process.send_signal(signal.SIGHUP)


def series(service: Service, name: str, **labels: str) -> float:
    """The value of one live series."""
    for line in service.get("/metrics")[1].decode().splitlines():
        if line.startswith(f"blocklist_resolver_{name}{{") and all(f'{key}="{labels[key]}"' in line for key in labels):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no series {name} {labels}")
