"""Files of other programs, in those programs: what they block is held against what the converted list blocks.

Unbound, dnsmasq (its configuration, and its hosts files) and BIND (a response policy zone) each load a file and are
asked for its names, and names beside, above and below. The list that `authority convert` makes of the same file blocks
nothing that they let through, and all that they block as far as the file has no line that was dropped.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from resolver.authority.convert import convert
from tests.fakes.upstream import in_thread
from tests.journeys.running import HOST, free_ports
from tests.peers.servers import running, unbound
from tests.unit.authority.test_convert import blocks, scopes

MARK = "198.51.100.7"
"""What the upstream answers of every name."""

_UNBOUND = """
local-zone: "nx.test" always_nxdomain
local-zone: "refuse.test." refuse
local-zone: 'static.test' static
local-zone: "deep.nx.test" transparent
local-zone: "inform.nx.test" inform
local-zone: "null.test" always_null
local-zone: "again.deep.nx.test" always_nodata
local-zone: "redirect.test" redirect
local-data: "redirect.test A 0.0.0.0"
local-zone: "elsewhere.test" redirect
local-data: "elsewhere.test A 192.0.2.9"
local-data: "alone.test 60 IN A 127.0.0.1"
local-data: "other.test A 192.0.2.9"
local-data: "spared.static.test A 192.0.2.9"
"""
_DNSMASQ = """
# a list
address=/nx.test/
address=/null.test/#
address=/zero.test/two.test/0.0.0.0
server=/deep.nx.test/#
address=/again.deep.nx.test/#
local=/local.test/
address=/other.test/192.0.2.9
address=/other.nx.test/192.0.2.9
cache-size=500
"""
_HOSTS = "127.0.0.1 localhost\n0.0.0.0 alone.test two.test # why\n192.0.2.9 other.test\n:: six.test\n0.0.0.0 six.test\n"
_RPZ = """$TTL 60
@ SOA ns.example. mail.example. 1 3600 600 86400 60
@ NS ns.example.
nx.test CNAME .
*.nx.test CNAME .
below.test.rpz.example. CNAME *.
*.only.test CNAME .
deep.nx.test CNAME rpz-passthru.
*.data.test A 192.0.2.80
"""
_ASKED = (
    "nx refuse static deep.nx inform.nx null again.deep.nx redirect elsewhere alone other spared.static zero two local "
    "other.nx six below only data free"
)
NAMES = [f"{before}{name}.test" for name in _ASKED.split() for before in ("", "x.", "y.x.")]


def _answer(query: dns.message.Message) -> dns.message.Message:
    reply = dns.message.make_response(query)
    (question,) = query.question
    if question.rdtype == 1:
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", MARK))
    else:
        reply.authority.append(dns.rrset.from_text(question.name, 60, "IN", "SOA", "a. b. 1 1 1 1 1"))
    return reply


@contextmanager
def _dnsmasq(path: str, folder: Path, upstream: int, text: str, *, hosts: bool) -> Iterator[int]:
    folder.mkdir()
    (folder / "file").write_text(text)
    (port,) = free_ports(1)
    said = [
        *("--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts", "--no-poll", "--bind-interfaces"),
        *("--pid-file=", f"--listen-address={HOST}", f"--port={port}", f"--server={HOST}#{upstream}", "--user="),
        *(("--conf-file=/dev/null", f"--addn-hosts={folder}/file") if hosts else (f"--conf-file={folder}/file",)),
    ]
    with running([path, *said], folder, port, "free.test") as server:
        yield server.port


@contextmanager
def _named(path: str, folder: Path, upstream: int, text: str) -> Iterator[int]:
    folder.mkdir()
    (folder / "zone").write_text(text)
    (port,) = free_ports(1)
    (folder / "config").write_text(
        f'options {{ directory "{folder}"; pid-file "{folder}/pid"; session-keyfile none; empty-zones-enable no;\n'
        f"listen-on port {port} {{ {HOST}; }}; listen-on-v6 {{ none; }}; recursion yes; dnssec-validation no;\n"
        f"forwarders {{ {HOST} port {upstream}; }}; forward only;\n"
        'response-policy { zone "rpz.example"; } qname-wait-recurse no break-dnssec yes; };\n'
        'controls { };\nzone "rpz.example" { type primary; file "zone"; };\n'
    )
    with running([path, "-g", "-c", str(folder / "config")], folder, port, "free.test") as server:
        yield server.port


@contextmanager
def _serving(source: str, program: Callable[[str], str], folder: Path, upstream: "object") -> Iterator[tuple[str, int]]:
    at: int = upstream.port  # type: ignore[attr-defined]  # of an upstream
    if source == "unbound":
        options = _UNBOUND.strip().split("\n")
        with unbound(folder / "unbound", upstream, ["test."], more=options, path=program("unbound")) as server:  # type: ignore[arg-type]  # its port is asked for alone
            yield _UNBOUND, server.port
    elif source == "rpz":
        with _named(program("named"), folder / "named", at, _RPZ) as port:
            yield _RPZ.replace("$TTL 60\n", "$ORIGIN rpz.example.\n$TTL 60\n"), port
    else:
        text = _HOSTS if source == "hosts" else _DNSMASQ
        with _dnsmasq(program("dnsmasq"), folder / "dnsmasq", at, text, hosts=source == "hosts") as port:
            yield text, port


def _lets_through(port: int, name: str) -> bool:
    """Whether the answer is an address that leads somewhere: the upstream's, or another of the file."""
    reply = dns.query.udp(dns.message.make_query(name, "A"), HOST, port=port, timeout=5)
    addresses = {str(item) for one in reply.answer if one.rdtype == 1 for item in one}
    return reply.rcode() == dns.rcode.NOERROR and bool(addresses - {"0.0.0.0", "127.0.0.1"})


@pytest.mark.parametrize("source", ["unbound", "dnsmasq", "hosts", "rpz"])
def test_the_converted_list_blocks_what_the_program_blocks(
    source: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    with in_thread(_answer) as upstream, _serving(source, program, tmp_path, upstream) as (text, port):
        made = scopes(convert(text.encode(), source))
        passes = {name: _lets_through(port, name) for name in NAMES}
    ours = {name: not blocks(made, name) for name in NAMES}
    if source == "rpz":
        # blocklists/README.md says where our rule for such zones is another one: local data block, and a record below a
        # wildcard takes nothing but its own name from it.
        ruled = ("data.test", ".deep.nx.test")
        passes |= {name: ours[name] for name in NAMES if name.endswith(ruled)}
    assert [name for name in NAMES if passes[name] and not ours[name]] == []
    assert [name for name in NAMES if not passes[name] and ours[name]] == []
    assert any(passes.values())
    assert not all(passes.values())
