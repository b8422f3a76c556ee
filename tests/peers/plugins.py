"""What the tests of plugins share: NSD with the leak table's zones, a service that publishes its policy, and
configurations of deploy/ with a test's addresses.

Rules:
- A row is asked over UDP and TCP, in both zones, without EDNS, with DO, and with CD; each twice: cold and warm.
"""

import itertools
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.edns
import dns.message

from resolver.plugin import folder as plugin_folder
from resolver.plugin.folder import Writer
from resolver.plugin.lua_tables import PATH as LUA
from tests.journeys import running
from tests.journeys.running import HOST, Service
from tests.peers import leak_rows, servers
from tests.peers.exports import shipped
from tests.peers.leak_rows import LISTED, SERIAL, SIGNED, UNSIGNED, Row
from tests.peers.servers import Server
from tests.unit.plugin.parts import structured, tables
from tests.unit.query import parts

TRANSPORTS = {"udp": servers.ask_over_udp, "tcp": servers.ask_over_tcp}
WAYS = (
    {"edns": False, "do": False, "cd": False},
    {"edns": True, "do": True, "cd": False},
    {"edns": True, "do": True, "cd": True},
)

PATIENCE = 100
SIGNAL = 65001

tags = (f"p{number}" for number in itertools.count())


@dataclass(frozen=True)
class Site:
    """NSD, the service beside the resolver, and what a plugin reads."""

    nsd: Server
    service: Service
    policy: Path

    @property
    def key(self) -> Path:
        """The digest key."""
        return self.service.folder / "state" / "digest.key"

    def damaged(self, folder: Path, what: str) -> Path:
        """A copy of the policy with one wrong bit in its "image" or "policy", or with "nothing there"."""
        folder.mkdir()
        for path in self.policy.iterdir() if what != "nothing there" else ():
            if path.is_file():
                shutil.copy(path, folder)
        for path in folder.iterdir():
            if what == ("policy" if path.name == plugin_folder.POLICY else "image"):
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 1
                path.write_bytes(data)
        return folder

    def holds(self, *words: bytes) -> bool:
        """Whether one of these words is in a file that plugins read."""
        data = b"".join(path.read_bytes() for path in self.policy.iterdir() if path.is_file())
        return any(word in data for word in words)


@contextmanager
def site(program: Callable[[str], str], folder: Path, more: str = "") -> Iterator[Site]:
    """NSD and the service; `more` are keys of its [plugin]."""
    zones, _ = leak_rows.zones(time.time())
    policy, home = folder / "policy", folder / "service"
    policy.mkdir()
    home.mkdir()
    plugin = f'[plugin]\nfolder = "{policy}"\n{more}\n'
    with (
        servers.nsd(folder / "nsd", zones, path=program("nsd")) as nsd,
        running.serve(home, upstreams=[nsd.address], entries=LISTED, first_serial=SERIAL, more=plugin) as service,
    ):
        yield Site(nsd, service, policy)


INSTALLED = {
    "/usr/lib/blocklist-resolver/lib/python3.11/site-packages/resolver/plugin/lua/blocklist.lua": str(LUA),
}


def recursor(
    folder: Path, upstream: str, port: int, policy: Path, key: Path, path: str, clients: str = "127.0.0.0/8"
) -> list[str]:
    """Write deploy/recursor/policy.conf, from 5.0 policy.yml, and its script for a Recursor before `upstream`.

    path: the program. Return its arguments.
    """
    paths = {"/run/blocklist-resolver-plugin": str(policy), "/etc/powerdns/blocklist.key": str(key), **INSTALLED}
    (folder / "policy.lua").write_text(shipped("recursor/policy.lua", paths))
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    if re.search(r"Recursor [1-4]\.", said.stdout + said.stderr):
        changes = {
            "local-address=192.0.2.53, 127.0.0.1": f"local-address={HOST}\nlocal-port={port}\nsocket-dir={folder}\n"
            f"forward-zones-recurse=.={upstream}\ndont-query=\nsetuid=\nsetgid=\ndaemon=no\nwrite-pid=no\n"
            "security-poll-suffix=\nmax-mthreads=512",
            "127.0.0.0/8, ::1/128": clients,
            "dnssec=validate": "dnssec=process-no-validate",
        }
        name, shipped_name = "recursor.conf", "recursor/policy.conf"
    else:
        changes = {
            "    - 192.0.2.53\n    - 127.0.0.1\n": f"    - {HOST}:{port}\n",
            "    - 127.0.0.0/8\n    - ::1/128\n": f"    - {clients}\n",
            "recursor:\n": f"recursor:\n  socket_dir: {folder}\n  security_poll_suffix: ''\n  max_mthreads: 512\n"
            f"  forward_zones_recurse:\n    - zone: .\n      forwarders: [\"{upstream}\"]\n",
            "validation: validate": "validation: process-no-validate",
            "outgoing:\n": "outgoing:\n  dont_query: []\n",
        }
        name, shipped_name = "recursor.yml", "recursor/policy.yml"
    changes["/etc/powerdns/policy.lua"] = str(folder / "policy.lua")
    (folder / name).write_text(shipped(shipped_name, changes))
    return [f"--config-dir={folder}"]


def knot(
    folder: Path,
    upstream: str,
    port: int,
    policy: Path,
    key: Path,
    clients: str = "127.0.0.0/8",
    way: str = "STUB",
) -> list[str]:
    """Write deploy/knot/policy.conf for a Knot Resolver before `upstream`; return its arguments.

    way: in which it asks. FORWARD asks for signatures too; nothing is validated.
    """
    asked = f'trust_anchors.remove(".")\npolicy.add(policy.all(policy.{way}("{upstream.replace(":", "@")}")))\n'
    text = shipped(
        "knot/policy.conf",
        {
            'local doors = { "192.0.2.53" }': "local doors = { }",
            'net.listen("127.0.0.1", 53,': f'net.listen("{HOST}", {port},',
            '"127.0.0.0/8", "::1/128"': f'"{clients}"',
            "200 * MB": "20 * MB",
            "/run/blocklist-resolver-plugin": str(policy),
            "/etc/knot-resolver/blocklist.key": str(key),
            **INSTALLED,
            "-- Nobody but": f"{asked}-- Nobody but",
        },
    )
    (folder / "kresd.conf").write_text(text)
    return ["-n", "-q", "-c", str(folder / "kresd.conf"), str(folder)]


def ask(port: int, query: dns.message.Message, over: str = "udp", source: str = HOST) -> str:
    """What comes back, in a word of the leak table."""
    try:
        return leak_rows.outcome(TRANSPORTS[over](port, query.to_wire(), source), query)
    except OSError as error:
        return f"no answer: {type(error).__name__}"


def outcome(port: int, name: str, kind: str = "A") -> str:
    """The same for a question in the usual way."""
    return ask(port, dns.message.make_query(name, kind, use_edns=0))


def found_by(port: int, row: Row) -> set[str]:
    """All that a row's ways give."""
    found = set()
    for over, zone, way in itertools.product(TRANSPORTS, (SIGNED, UNSIGNED), WAYS):
        query = leak_rows.query_of(row, zone, next(tags), **way)
        found |= {ask(port, query, over), ask(port, query, over)}
    return found


def swaps(port: int, folder: Path, count: int) -> None:
    """Publish so many policies in turn, each listing another of two names, and ask after each: nothing is lost or late.

    A synthetic name makes the resolver look at once; what it kept of the name before has to go.
    """
    writer = Writer(folder, parts.KEY)
    lists = (["odd.test", "bad.test"], ["even.test", "bad.test"])
    synthetic = f"{'s' * 26}.selftest.invalid"
    for number in range(1, count + 1):
        writer.write(tables((lists[number % 2],), number))
        # SERVFAIL says that its time has ended before all that was kept was judged: on a busy machine once or twice.
        said = (outcome(port, synthetic) for _ in range(PATIENCE))
        assert next(one for one in said if one != leak_rows.SERVFAIL) == leak_rows.PAGE
        listed, other = ("odd.test", "even.test")[:: -1 if number % 2 else 1]
        # The other name has no data: it is NXDOMAIN, which Unbound keeps until its name is listed again.
        assert (outcome(port, listed), outcome(port, other)) == (leak_rows.PAGE, leak_rows.NXDOMAIN), number
        assert outcome(port, "bad.test") == leak_rows.PAGE


def signals(port: int, folder: Path, number: int) -> None:
    """Publish a list with structured errors: who signals gets them in place of the page, and nobody else does."""
    Writer(folder, parts.KEY).write(structured(tables((["bad.test"],), number), SIGNAL, b'{"c":"why"}', b"{}"))
    assert outcome(port, f"{'s' * 26}.selftest.invalid") != leak_rows.NXDOMAIN
    for name, signalled in itertools.product(("bad.test", f"{next(tags)}.alias.test"), (True, False)):
        options = [dns.edns.GenericOption(SIGNAL, b"")] if signalled else []
        query = dns.message.make_query(name, "A", use_edns=0, options=options)
        reply = dns.message.from_wire(servers.ask_over_udp(port, query.to_wire()))
        (error,) = (one for one in reply.options if isinstance(one, dns.edns.EDEOption))
        expected = (dns.edns.EDECode.BLOCKED, '{"c":"why"}') if signalled else (dns.edns.EDECode.FORGED_ANSWER, "why")
        assert (error.code, error.text) == expected
        assert bool(reply.answer) is not signalled
