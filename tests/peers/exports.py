"""The export process as a primary of real resolvers of Debian's, each by the configuration that deploy/ ships.

Rules:
- A shipped file is used as it is but for addresses, ports, paths, accounts, and an upstream on loopback; clients are
  HOST alone, so that every other address is a stranger's. Each of these
  replacements must be found there, so that a line that a test needs cannot go unnoticed.
- Lists are staged and followed as the compile process and the service do it, over the process' socket.
"""

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import msgspec
import trustme

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF
from resolver.feed.exported import ExportRequest, Follow, Followed, Message, Stage, Status, TableRequest, ZoneRequest
from resolver.feed.names.export_zone import wire_of
from tests.fakes.primary import SECRET, key_file
from tests.journeys.running import HOST, PAGE_V4, PAGE_V6, ROOT, free_ports, stop

DEPLOY = ROOT / "deploy"
ZONE = "rpz.isp.example"
KEY = "blocklist"
EXPORT_NAME = "export.isp.example"
CHECKED = "enforced.selftest.invalid"
START_S = 60.0
FLAGS = {
    "": BLOCK_SELF | BLOCK_BELOW,
    "=": BLOCK_SELF,
    "*.": BLOCK_BELOW,
    "!": EXCEPT_SELF | EXCEPT_BELOW,
    "!=": EXCEPT_SELF,
}


def wait_for(holds: Callable[[], object], what: Callable[[], str], seconds: float = START_S) -> float:
    """Look until it holds; the seconds that took."""
    began, pause = time.monotonic(), threading.Event()
    while not holds():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not in {seconds:.0f} s: {what()[-3000:]}")
        pause.wait(0.05)
    return time.monotonic() - began


@dataclass
class Export:
    """A running export process: its folder, ports, and the serials it was given."""

    folder: Path
    plain: int
    tls: int
    process: "subprocess.Popen[bytes]"
    generation: int = 0

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def say(self, message: Message, body: bytes = b"") -> Status:
        """Send a message as the service and the compile process do."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(120)
            one.connect(str(self.folder / "socket"))
            one.sendall(msgspec.json.encode(message) + b"\n" + body)
            one.shutdown(socket.SHUT_WR)
            with one.makefile("rb") as replies:
                return msgspec.json.decode(replies.read(), type=Status)

    def publish(self, lines: Iterable[str]) -> Status:
        """Stage a list of these lines, and put it in force."""
        self.generation += 1
        digest = f"{self.generation:064x}"
        self.stage(lines, digest)
        return self.follow(f"{self.generation}-{digest[:16]}")

    def stage(self, lines: Iterable[str], digest: str) -> None:
        names, flags = [], array("H")
        for line in lines:
            found = re.match(r"(!=|!|=|\*\.)?(.*)", line)
            assert found
            names.append(wire_of(found[2]))
            flags.append(FLAGS[found[1] or ""])
        wires, numbers = b"".join(names), array("I", range(1, len(names) + 1))
        about = Stage(
            list="demo",
            serial=self.generation,
            generation=self.generation,
            digest=digest,
            selftest="a" * 26,
            names=len(wires),
            entries=len(names),
        )
        self.say(about, wires + flags.tobytes() + numbers.tobytes())

    def follow(self, key: str) -> Status:
        """Say that the list of this key is in force, "" for none."""
        one = Followed(list="demo", key=key, serial=self.generation, addresses=(PAGE_V4, PAGE_V6))
        return self.say(Follow(lists=(one,)))


@contextmanager
def exporting(
    folder: Path,
    *,
    profile: str = "bind",
    notify: Sequence[int] = (),
    tables: Sequence[str] = (),
    page: str = "",
) -> Iterator[Export]:
    """The process with one zone for secondaries at HOST, over TCP and TLS; it says NOTIFY to these ports."""
    folder.mkdir(parents=True)
    certificates(folder)
    plain, tls = free_ports(2)
    zone = ZoneRequest(
        name=ZONE,
        lists=("demo",),
        profile=profile,
        keys=(str(key_file(folder, KEY)),),
        secondaries=(f"{HOST}/32",),
        notify=tuple((HOST, port) for port in notify),
        page=page,
    )
    request = ExportRequest(
        socket=str(folder / "socket"),
        directory=str(folder / "export"),
        state=str(folder / "state"),
        demonstration=True,
        listen=((HOST, plain),),
        listen_tls=((HOST, tls),),
        certificate=str(folder / "own.pem"),
        key=str(folder / "own.key"),
        ca=str(folder / "ca.pem"),
        zones=(zone,),
        tables=tuple(TableRequest(file=file, lists=("demo",)) for file in tables),
    )
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "resolver.feed.names.export"], stdin=subprocess.PIPE, stderr=log, cwd=ROOT
        )
    assert process.stdin
    with process.stdin:
        process.stdin.write(msgspec.json.encode(request) + b"\n")
    found = Export(folder, plain, tls, process)
    try:
        wait_for(lambda: "IN PLAINTEXT" in found.said or process.poll() is not None, lambda: found.said)
        assert process.poll() is None, found.said
        yield found
    finally:
        status = stop(process)
    assert status == 0, found.said


def certificates(folder: Path) -> None:
    """An authority, the export's certificate, and a secondary's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, host in (("own", EXPORT_NAME), ("secondary", "secondary.isp.example")):
        made = authority.issue_cert(host)
        made.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        made.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))


def shipped(path: str, changes: Mapping[str, str]) -> str:
    """A file of deploy/ with these replacements, each of which must be found."""
    text = (DEPLOY / path).read_text()
    for old, new in changes.items():
        assert old in text, f"{path}: {old}"
        text = text.replace(old, new)
    return text


@dataclass
class Resolver:
    """A resolver that enforces the zone: its name and port, and what it writes."""

    name: str
    port: int
    folder: Path

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def blocks(self, name: str) -> bool:
        return answers(self.port, [name]).get(name) == PAGE_V4


@contextmanager
def _run(name: str, folder: Path, port: int, command: Sequence[str]) -> Iterator[Resolver]:
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        yield Resolver(name, port, folder)
    finally:
        stop(process)


@contextmanager
def bind(folder: Path, export: Export, upstream: int, port: int, path: str) -> Iterator[Resolver]:
    """BIND, by TLS and TSIG."""
    (folder / "zone").mkdir(parents=True)
    text = shipped(
        "bind/named.conf",
        {
            "/etc/bind/blocklist.key": str(export.folder / f"{KEY}.key"),
            "/etc/bind/secondary.pem": str(export.folder / "secondary.pem"),
            "/etc/bind/secondary.key": str(export.folder / "secondary.key"),
            "/etc/bind/export-ca.pem": str(export.folder / "ca.pem"),
            "192.0.2.10 port 853": f"{HOST} port {export.tls}",
            'directory "/var/cache/bind";': f'directory "{folder}"; pid-file "{folder}/pid"; session-keyfile none;'
            f" forwarders {{ {HOST} port {upstream}; }}; forward only;",
            "/var/cache/bind/blocklist/zone": str(folder / "zone" / "zone"),
            "listen-on port 53 { any; };": f"listen-on port {port} {{ {HOST}; }};",
            "listen-on-v6 port 53 { any; };": "listen-on-v6 { none; };",
            "dnssec-validation auto;": "dnssec-validation no;",
            "127.0.0.0/8; ::1;": f"{HOST}/32;",
        },
    )
    (folder / "named.conf").write_text(text)
    with _run("bind", folder, port, [path, "-f", "-L", str(folder / "log"), "-c", str(folder / "named.conf")]) as found:
        yield found


@contextmanager
def knot_relay(folder: Path, export: Export, ports: tuple[int, int], unbound: int, path: str) -> Iterator[Resolver]:
    """Knot DNS as the relay, at the first of two ports; unbound: whom it tells of a new serial."""
    for name in ("zone", "db"):
        (folder / name).mkdir(parents=True)
    key = f"key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {SECRET}\n"
    (folder / "key.conf").write_text(key)
    text = shipped(
        "knot/knot.conf",
        {
            'rundir: "/run/knot"': f'rundir: "{folder}"',
            "    user: knot:knot\n": "",
            "127.0.0.1@5311": f"{HOST}@{ports[0]}",
            '"/var/lib/knot"': f'"{folder}/db"',
            '"/etc/knot/blocklist.conf"': f'"{folder}/key.conf"',
            "192.0.2.10@5310": f"{HOST}@{export.plain}",
            "127.0.0.1@53\n": f"{HOST}@{unbound}\n",
            "address: 192.0.2.10\n": f"address: {HOST}\n",
            '"/var/lib/knot/blocklist"': f'"{folder}/zone"',
            "target: syslog": "target: stderr",
        },
    )
    (folder / "knot.conf").write_text(text)
    with _run("knot", folder, ports[0], [path, "-c", str(folder / "knot.conf")]) as found:
        yield found


@contextmanager
def unbound(folder: Path, relay: int, upstream: int, port: int, path: str) -> Iterator[Resolver]:
    """Unbound, behind the relay."""
    (folder / "zone").mkdir(parents=True)
    text = shipped(
        "unbound/rpz.conf",
        {
            "interface: 192.0.2.53\n    interface: 127.0.0.1\n": f"interface: {HOST}@{port}\n    username: \"\"\n"
            f'    chroot: ""\n    directory: "{folder}"\n    pidfile: "{folder}/pid"\n    use-syslog: no\n'
            '    num-threads: 1\n    do-daemonize: no\n    local-zone: "test." nodefault\n',
            '    auto-trust-anchor-file: "/var/lib/unbound/root.key"\n': "",
            # It allows 127.0.0.0/8 by itself unless it is told otherwise.
            "    access-control: 127.0.0.0/8 allow\n": "    access-control: 127.0.0.0/8 refuse\n"
            f"    access-control: {HOST}/32 allow\n",
            "127.0.0.1@5311": f"{HOST}@{relay}",
            "/var/lib/unbound/blocklist/rpz.zone": f"{folder}/zone/rpz.zone",
            "remote-control:": f"forward-zone:\n    name: \".\"\n    forward-addr: {HOST}@{upstream}\nremote-control:",
        },
    )
    (folder / "unbound.conf").write_text(text)
    with _run("unbound", folder, port, [path, "-d", "-c", str(folder / "unbound.conf")]) as found:
        yield found


@contextmanager
def recursor(
    folder: Path, export: Export, upstream: int, port: int, path: str, *, unsigned: str = ""
) -> Iterator[Resolver]:
    """PowerDNS Recursor, by TSIG; it takes no NOTIFY. unsigned: a zone that it shall not validate."""
    folder.mkdir(parents=True)
    lua = shipped(
        "recursor/recursor.lua",
        {
            "192.0.2.10:5310": f"{HOST}:{export.plain}",
            "REPLACE-ME": SECRET,
            "/var/lib/pdns-blocklist": str(folder),
            "refresh = 10": "refresh = 1",
        },
    )
    (folder / "recursor.lua").write_text(lua + (f'addNTA("{unsigned}")\n' if unsigned else ""))
    text = shipped(
        "recursor/recursor.conf",
        {
            "local-address=192.0.2.53, 127.0.0.1": f"local-address={HOST}\nlocal-port={port}\nsocket-dir={folder}\n"
            f"forward-zones-recurse=.={HOST}:{upstream}\nthreads=1\nmax-mthreads=512\ndaemon=no\nwrite-pid=no",
            "allow-from=127.0.0.0/8, ::1/128": f"allow-from={HOST}/32",
            "/etc/powerdns/recursor.lua": str(folder / "recursor.lua"),
        },
    )
    (folder / "recursor.conf").write_text(text)
    with _run("recursor", folder, port, [path, f"--config-dir={folder}"]) as found:
        yield found


@contextmanager
def kresd(
    folder: Path, zone: Path, upstream: int, port: int, path: str, *, signed: bool = False
) -> Iterator[Resolver]:
    """Knot Resolver 5, by the file that the relay writes. signed: it asks for signatures, and validates none."""
    first, ask = ('trust_anchors.remove(".")\n', "FORWARD") if signed else ("", "STUB")
    folder.mkdir(parents=True)
    text = shipped(
        "knot/kresd.conf",
        {
            'local doors = { "192.0.2.53" }': "local doors = { }",
            'net.listen("127.0.0.1", 53,': f'net.listen("{HOST}", {port},',
            "/var/lib/knot/blocklist/rpz.zone": str(zone),
            '"127.0.0.0/8", "::1/128"': f'"{HOST}/32"',
            "-- And nobody else": f'{first}policy.add(policy.all(policy.{ask}("{HOST}@{upstream}")))\n'
            "-- And nobody else",
            "200 * MB": "20 * MB",
        },
    )
    (folder / "kresd.conf").write_text(text)
    command = [path, "-n", "-q", "-c", str(folder / "kresd.conf"), str(folder)]
    with _run("kresd", folder, port, command) as found:
        yield found


def answers(port: int, names: Sequence[str], kind: str = "A", window: int = 64) -> dict[str, str]:
    """What a server says of each name: an address or other data, NODATA, or a response code; absent if it is silent."""

    async def ask() -> dict[str, str]:
        loop, found = asyncio.get_running_loop(), dict[str, str]()
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            one.connect((HOST, port))
            for attempt in range(3):
                left = [name for name in names if name not in found]
                for first in range(0, len(left), window):
                    waiting = {}
                    for number, name in enumerate(left[first : first + window]):
                        query = dns.message.make_query(name, kind, use_edns=0, id=attempt << 8 | number)
                        waiting[query.id] = name
                        await loop.sock_sendall(one, query.to_wire())
                    try:
                        async with asyncio.timeout(3):
                            while waiting:
                                reply = dns.message.from_wire(await loop.sock_recv(one, 4096))
                                name = waiting.pop(reply.id, "")
                                if name and str(reply.question[0].name).lower() == f"{name}.":
                                    found[name] = _said(reply)
                    except (TimeoutError, OSError):
                        continue  # A busy machine: what is left is asked again.
        return found

    return asyncio.run(ask())


def _said(reply: dns.message.Message) -> str:
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    data = sorted(str(one) for each in reply.answer for one in each)
    return " ".join(data) or "NODATA"
