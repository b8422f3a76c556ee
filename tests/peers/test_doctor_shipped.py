"""The doctor finds in each configuration of deploy/ what its README names under "What the doctor finds", and no more.

Rules:
- A shipped file is used as it is, but for addresses, ports, paths and accounts (`exports`); clients are one address, so
  that another one of this host is a stranger.
- The rows of the README are what is asserted: file, probes, verdict. A row that begins with "Debian 12" or "Debian 13"
  holds for that release alone. What is unknown for want of an option (UNASKED) is in no table.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from resolver.doctor import wire
from resolver.doctor.ask import Asker, Endpoint
from resolver.doctor.probes import Examination, Examined
from resolver.doctor.verdicts import Verdict
from resolver.doctor.zone import Zone
from tests.journeys import running
from tests.journeys.running import HOST, PAGE_V4, PAGE_V6, ROOT, free_ports
from tests.peers import exports, plugins, servers
from tests.peers.exports import DEPLOY, Export, shipped, wait_for
from tests.peers.probed import ENTRY, ZONE
from tests.unit.doctor.resolvers import responder, saying
from tests.unit.plugin.parts import KEY, published

pytestmark = pytest.mark.timeout(180)

STRANGER = "127.9.9.9"
UNASKED = {"dot", "doh", "doq", "designated", "structured-error"}
NAME = wire.name_of(ENTRY)
HEADING = "## What the doctor finds\n"
ROW = re.compile(r"^\| (?:\*\*(Debian \d+)\*\* )?\[(\S+)\]\(\2\) \| (.*?) \| ([a-z-]+) \| .+ \|$", re.MULTILINE)
DOCUMENTS = {
    "bind/named.conf": "bind/README.md",
    "unbound/unbound.conf": "unbound/README.md",
    "unbound/rpz.conf": "unbound/rpz.md",
    "recursor/recursor.conf": "recursor/README.md",
    "recursor/policy.conf": "recursor/README.md",
    "knot/kresd.conf": "knot/README.md",
    "knot/policy.conf": "knot/README.md",
    "dnsdist/dnsdist.conf": "dnsdist/README.md",
    "dnsdist/policy.conf": "dnsdist/README.md",
    "dnsdist/table.conf": "dnsdist/README.md",
}
Program = Callable[[str], str]


def release() -> str:
    """This machine's Debian."""
    said = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return "Debian " + said["VERSION_ID"].strip('"')


def named(file: str) -> set[tuple[str, str]]:
    """The findings that a README names for a shipped file: probe and verdict."""
    text = (DEPLOY / DOCUMENTS[file]).read_text()
    assert text.count(HEADING) == 1, DOCUMENTS[file]
    part = text.partition(HEADING)[2].partition("\n## ")[0]
    rows = [row for row in ROW.findall(part) if f"{Path(file).parent}/{row[1]}" == file]
    assert rows, f"{DOCUMENTS[file]} has no row of {file}"
    assert part.count("\n| ") == len(ROW.findall(part)) + 1, "each row is understood"
    found = set[tuple[str, str]]()
    for debian, _, probes, verdict in rows:
        assert verdict in {*map(str, Verdict), "nothing"}
        if debian in ("", release()):
            found |= {(probe, verdict) for probe in re.findall(r"`([a-z0-9-]+)`", probes)}
    return found


@pytest.fixture(scope="module")
def place() -> Iterator[Endpoint]:
    """The probe zone's own responder."""
    with saying(responder(Zone(NAME, [HOST]))) as one:
        yield one


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    """An export of the test entry, and its table of it."""
    folder = tmp_path_factory.mktemp("export")
    with exports.exporting(folder / "export", tables=[str(folder / "list.cdb")]) as one:
        one.publish([ENTRY])
        yield one


@contextmanager
def relayed(folder: Path, export: Export, program: Program) -> Iterator[tuple[int, Path]]:
    """The port of a relay that has the zone, and the file that it has written."""
    relay, spare, nobody = free_ports(3)
    with exports.knot_relay(folder, export, (relay, spare), nobody, program("knotd")) as knot:
        zone = knot.folder / "zone" / "rpz.zone"
        wait_for(zone.exists, lambda: knot.said + export.said)
        yield relay, zone


def policy_of(folder: Path) -> tuple[Path, Path]:
    """A published policy of the test entry, and the file of its key."""
    policy, key = folder / "policy", folder / "key"
    policy.mkdir()
    published(policy, [ENTRY])
    key.write_bytes(KEY)
    key.chmod(0o400)
    return policy, key


@contextmanager
def plugin_in_unbound(folder: Path, upstream: int, port: int, path: str) -> Iterator[None]:
    """Unbound as Debian sets it up, with the shipped part and its starter."""
    folder.mkdir()
    policy_of(folder)
    starter = shipped(
        "unbound/blocklist.py",
        {
            '"/usr/lib/blocklist-resolver/lib/python3.11/site-packages"': f'"{ROOT}"',
            '"/run/blocklist-resolver-plugin"': f'"{folder}/policy"',
            '"/etc/unbound/blocklist.key"': f'"{folder}/key"',
            '"/var/lib/unbound"': f'"{folder}"',
        },
    )
    (folder / "blocklist.py").write_text(starter)
    part = shipped("unbound/unbound.conf", {"/etc/unbound/blocklist.py": str(folder / "blocklist.py")})
    (folder / "part.conf").write_text(part)
    # The door, the clients and the forwarding are the operator's own; the rest is what keeps it within this folder.
    (folder / "unbound.conf").write_text(
        f"server:\n  interface: {HOST}@{port}\n  access-control: 127.0.0.0/8 refuse\n"
        f"  access-control: {HOST}/32 allow\n  hide-version: yes\n  hide-identity: yes\n"
        f'  username: ""\n  chroot: ""\n  directory: "{folder}"\n  pidfile: "{folder}/pid"\n  do-daemonize: no\n'
        f"  use-syslog: no\n  num-threads: 1\n  do-ip6: no\n  do-not-query-localhost: no\n"
        f"forward-zone:\n  name: \"{ZONE}\"\n  forward-addr: {HOST}@{upstream}\n"
        f"remote-control:\n  control-enable: no\n"
        f'include: "{folder}/part.conf"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", "/usr/lib/python3/dist-packages")
        with servers.running([path, "-d", "-c", str(folder / "unbound.conf")], folder, port, ZONE):
            yield


@contextmanager
def dnsdist(folder: Path, text: str, port: int, path: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    (folder / "dnsdist.conf").write_text(text)
    command = [path, "-C", str(folder / "dnsdist.conf"), "--supervised", "--disable-syslog"]
    with servers.running(command, folder, port, ZONE):
        yield


def before(upstream: int, port: int, part: str) -> str:
    """A part of dnsdist's configuration, behind what every dnsdist has: a door, clients and a server."""
    return (
        f'setLocal("{HOST}:{port}")\nsetACL("{HOST}/32")\nsetSecurityPollSuffix("")\n'
        f'newServer({{ address = "{HOST}:{upstream}", healthCheckMode = "up" }})\n{part}'
    )


@contextmanager
def started(file: str, folder: Path, place: Endpoint, export: Export, program: Program) -> Iterator[int]:
    """A resolver with a shipped file, before the probe zone; its port."""
    (port,), upstream = free_ports(1), place.port
    with ExitStack() as stack:
        enter = stack.enter_context
        if file == "bind/named.conf":
            enter(exports.bind(folder / "bind", export, upstream, port, program("named")))
        elif file == "unbound/unbound.conf":
            enter(plugin_in_unbound(folder / "unbound", upstream, port, program("unbound")))
        elif file == "unbound/rpz.conf":
            relay, _ = enter(relayed(folder / "knot", export, program))
            enter(exports.unbound(folder / "unbound", relay, upstream, port, program("unbound")))
        elif file == "recursor/recursor.conf":
            enter(exports.recursor(folder / "rec", export, upstream, port, program("pdns_recursor"), unsigned=ZONE))
        elif file == "knot/kresd.conf":
            _, zone = enter(relayed(folder / "knot", export, program))
            # STUB would leave out signatures, which it does not do when it asks authoritative servers by itself.
            enter(exports.kresd(folder / "kresd", zone, upstream, port, program("kresd"), signed=True))
        elif file == "dnsdist/dnsdist.conf":
            trust = f'proxy_from = ["{HOST}/32"]'
            ours = enter(running.serve(folder, upstreams=[str(place)], entries=[ENTRY], listen=trust))
            changes = {
                '{ "192.0.2.53:53", "[2001:db8::53]:53" }': f'{{ "{HOST}:{port}" }}',
                '"127.0.0.0/8"': f'"{HOST}/32"',
                '{ "192.0.2.11:53", "192.0.2.12:53", "192.0.2.13:53" }': f'{{ "{HOST}:{ours.dns}" }}',
            }
            enter(dnsdist(folder / "dnsdist", shipped(file, changes), port, program("dnsdist")))
        elif file in ("recursor/policy.conf", "knot/policy.conf"):
            policy, key = policy_of(folder)
            given = (folder, str(place), port, policy, key)
            if file == "knot/policy.conf":
                path = program("kresd")
                # As above: STUB would leave out signatures.
                arguments = plugins.knot(*given, f"{HOST}/32", "FORWARD")
            else:
                path = program("pdns_recursor")
                arguments = plugins.recursor(*given, path, f"{HOST}/32")
            enter(servers.running([path, *arguments], folder, port, ZONE))
        elif file == "dnsdist/policy.conf":
            policy, key = policy_of(folder)
            changes = {
                "/run/blocklist-resolver-plugin": str(policy),
                "/etc/dnsdist/blocklist.key": str(key),
                **plugins.INSTALLED,
            }
            text = before(upstream, port, shipped(file, changes))
            enter(dnsdist(folder / "dnsdist", text, port, program("dnsdist")))
        else:
            table = next(iter(export.folder.parent.glob("*.cdb")))
            changes = {
                "/var/lib/blocklist-table/list.cdb": str(table),
                "192.0.2.1": PAGE_V4,
                "2001:db8::1": PAGE_V6,
            }
            text = before(upstream, port, shipped(file, changes))
            enter(dnsdist(folder / "dnsdist", text, port, program("dnsdist")))
        wait_for(lambda: exports.answers(port, [ENTRY]) == {ENTRY: PAGE_V4}, lambda: file)
        yield port


def examined(port: int) -> Examined:
    nobody = Endpoint(HOST, 1)
    asker = Asker(Endpoint(HOST, port), dot=nobody, doh=nobody, wait_s=2.5)
    zones = (wire.name_of(exports.ZONE),)
    return Examination(asker=asker, entry=NAME, policy_zones=zones, stranger=STRANGER).run()


@pytest.mark.parametrize("file", DOCUMENTS)
def test_a_readme_names_what_is_found_with_its_file(
    file: str, place: Endpoint, export: Export, program: Program, tmp_path: Path, figures: dict[str, str]
) -> None:
    expected = named(file)
    with started(file, tmp_path, place, export, program) as port:
        found = examined(port)
    said = {(one.id, str(one.verdict)) for one in found.results if one.verdict is not Verdict.ENFORCED}
    figures[f"doctor: deploy/{file}"] = "; ".join(
        f"{one.id} {one.verdict}: {one.said}" for one in found.results if one.verdict is not Verdict.ENFORCED
    )
    assert str(found.expected) == f"{PAGE_V4} {PAGE_V6}"
    assert said - {(one, "unknown") for one in UNASKED} == expected, found.results
