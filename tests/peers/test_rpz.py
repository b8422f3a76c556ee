"""Real primaries feed us: BIND, Knot and NSD serve a zone with TSIG, over TCP and TLS, and tell of its changes."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace

from resolver.config.lists import List, Source
from resolver.feed import detail_text, processes
from resolver.feed.fetch import zone as source_zone
from resolver.feed.fetch.zone_stream import Connection
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed
from tests import canaries
from tests.fakes.enforcer import all_bytes_below
from tests.fakes.primary import key_file
from tests.fakes.upstream import Upstream, in_thread, records
from tests.journeys.running import HOST, PAGE_V4, Authority, Service, configure, free_ports, launch, stop
from tests.peers.primaries import KEY, PROGRAMS, ZONE, Certificate, primary

pytestmark = [pytest.mark.peers, pytest.mark.timeout(120)]

REAL = "198.51.100.7"
HOSTNAME = "primary.test"
KINDS = tuple(PROGRAMS)
ZONE_RECORDS = (
    "bad.test CNAME .",
    "*.below.test CNAME *.",
    "both.test CNAME .",
    "*.both.test CNAME rpz-drop.",
    "ok.both.test CNAME rpz-passthru.",
    "local.test A 192.0.2.66",
    "local.test TXT text",
    "32.1.2.0.192.rpz-ip CNAME .",
    "tcp.test CNAME rpz-tcp-only.",
)
BLOCKED = ("bad.test", "x.below.test", "a.b.below.test", "both.test", "x.both.test", "x.ok.both.test", "local.test")
PASSED = ("x.bad.test", "below.test", "ok.both.test", "x.local.test", "tcp.test")

# Knot 3.2 serves no zone over TLS.
WAYS = [(kind, False) for kind in KINDS] + [("bind", True), ("nsd", True)]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Knows the primary by name, and the names that are asked for."""
    table = {(f"{name}.", "A"): [REAL] for name in (*BLOCKED, *PASSED, "later.test")}
    with in_thread(records({**table, (f"{HOSTNAME}.", "A"): [HOST]})) as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("pki")
    ca = trustme.CA()
    own = ca.issue_cert(HOSTNAME)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    own.private_key_pem.write_to_path(str(folder / "key.pem"))
    for one in own.cert_chain_pems:
        one.write_to_path(str(folder / "chain.pem"), append=True)
    return Certificate(chain=folder / "chain.pem", key=folder / "key.pem")


@contextmanager
def fed(
    folder: Path, upstream: Upstream, source: str, ports: Sequence[int], serial: int, keys: str = ""
) -> Iterator[Service]:
    """The service, fed by a zone, once this serial is in force; it polls once a day."""
    folder.mkdir()
    config = configure(folder, [upstream.address], ports, "refused = 1.0\n")
    text = config.read_text().replace("[state]\n", f"[state]\nkeys = '{keys}'\n")
    before, rest = text.split("[list.source]\n")
    config.write_text(f"{before}[list.source]\n{source}poll = '8h'\n[list.guard]\n{rest.partition('[list.guard]')[2]}")
    process = launch(folder, config, "compiled")
    dns, page, metrics = ports
    nobody = Authority(folder / "authority")
    service = Service(dns=dns, page=page, metrics=metrics, folder=folder, authority=nobody, process=process)
    try:
        service.until("/healthz")
        service.until_serial(serial)
        yield service
    finally:
        status = stop(process)
    assert status == 0, service.said


def keys_apart(folder: Path) -> str:
    """A folder with the keys of a host, outside its state."""
    folder.mkdir()
    for name, size in (("digest.key", 16), ("seal.key", 32)):
        (folder / name).write_bytes(os.urandom(size))
        (folder / name).chmod(0o600)
    return str(folder)


def dug(dig: str, service: Service, name: str) -> str:
    """The addresses that a client of Debian's is told."""
    command = [dig, "+short", f"@{HOST}", "-p", str(service.dns), name, "A"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(("kind", "tls"), WAYS, ids=[f"{kind}-{'tls' if tls else 'tcp'}" for kind, tls in WAYS])
def test_a_zone_is_in_force_and_a_notify_brings_the_next_serial(
    kind: str,
    tls: bool,
    tmp_path: Path,
    upstream: Upstream,
    certificate: Certificate,
    program: Callable[[str], str],
) -> None:
    program(PROGRAMS[kind])
    tools = [program("dig"), program("kdig")]
    ports = free_ports(3)
    folder = tmp_path / "primary"
    with primary(
        kind, folder, ZONE_RECORDS, serial=2**32 - 1, notify=ports[:1], certificate=certificate if tls else None
    ) as serving:
        url = f"tls://{HOSTNAME}:{serving.tls}/{ZONE}" if tls else serving.url
        source = f"kind = 'zone'\nurl = '{url}'\nroot = '{folder / KEY}.key'\n"
        source += f"ca = '{certificate.chain.parent / 'ca.pem'}'\n" if tls else ""
        with fed(tmp_path / "service", upstream, source, ports, 2**32 - 1) as service:
            assert {(name, dug(tool, service, name)) for tool in tools for name in BLOCKED} == {
                (name, PAGE_V4) for name in BLOCKED
            }
            assert {(name, dug(tool, service, name)) for tool in tools for name in PASSED} == {
                (name, REAL) for name in PASSED
            }
            shown = service.get("/metrics")[1].decode()
            assert 'reason="trigger"} 1' in shown
            assert 'reason="action"} 1' in shown
            assert dug(tools[0], service, "later.test") == REAL
            # The serial wraps around, and goes on.
            serving.publish(4, [*ZONE_RECORDS, "later.test CNAME ."])
            service.until_serial(2**32 + 4)
            assert dug(tools[0], service, "later.test") == PAGE_V4
            assert "update failed" not in service.said
            assert b"below" not in all_bytes_below(tmp_path / "service")


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_large_zone_what_has_changed_is_asked_for(
    kind: str, tmp_path: Path, upstream: Upstream, program: Callable[[str], str]
) -> None:
    program(PROGRAMS[kind])
    dig, ports, folder = program("dig"), free_ports(3), tmp_path / "primary"
    names = [f"{canaries.label()}.test" for _ in range(500)]
    more = [f"{owner} CNAME ." for name in names for owner in (name, f"*.{name}")]
    local = ["local.test A 192.0.2.66", "local.test A 192.0.2.67"]
    with primary(kind, folder, [*more, *local], notify=ports[:1]) as serving:
        source = f"kind = 'zone'\nurl = '{serving.url}'\nroot = '{folder / KEY}.key'\nincremental = true\n"
        with fed(tmp_path / "service", upstream, source, ports, 1, keys_apart(tmp_path / "keys")) as service:
            assert dug(dig, service, "local.test") == PAGE_V4
            # One of two records of a name goes, and one name comes.
            serving.publish(2, [*more, local[0], "later.test CNAME ."])
            service.until_serial(2)
            assert [dug(dig, service, name) for name in ("local.test", "later.test", names[7])] == [PAGE_V4] * 3
            serving.publish(3, [*more[:-2], "later.test CNAME ."])
            service.until_serial(3)
            assert dug(dig, service, "local.test") == REAL
            assert dug(dig, service, f"x.{names[7]}") == PAGE_V4
            assert [f"serial {serial} received as a difference (IXFR)" in service.said for serial in (1, 2, 3)] == [
                False,
                True,
                True,
            ]
            assert "update failed" not in service.said
            copies = list((tmp_path / "service").rglob("*.copy"))
            assert len(copies) == 1
            found = canaries.Canaries(names[:20])
            assert found.found_in(all_bytes_below(tmp_path / "service")) == []
            assert found.found_in(all_bytes_below(folder)) != []


@pytest.mark.parametrize("kind", KINDS)
def test_a_difference_is_small_and_leads_to_the_list_that_a_transfer_gives(
    kind: str, tmp_path: Path, program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(PROGRAMS[kind])
    sizes: list[int] = []
    messages = Connection.messages

    def counted(connection: Connection, most: int) -> Iterator[bytes]:
        for one in messages(connection, most):
            sizes.append(len(one))
            yield one

    monkeypatch.setattr(Connection, "messages", counted)
    records = [*ZONE_RECORDS, *(f"name-{number}.test CNAME ." for number in range(2000))]
    with primary(kind, tmp_path / "primary", records, serial=7) as serving:
        key, copies = processes.memory_file("key", bytes(32)), [processes.memory_file("copy") for _ in range(2)]
        request = replace(request_of(serving.url, serving.folder / f"{KEY}.key"), copy_key=key, copy_output=copies[0])
        facts = written(request)
        whole = sum(sizes)
        # Two serials in a row, each with names that go and come, and a record of a name that keeps another.
        left = [one for one in records if one != "local.test TXT text"]
        serving.publish(8, left[:-3])
        serving.publish(9, [*left[:-2], "later.test CNAME *."])
        sizes.clear()
        known = {"serial": 7, "issued": facts.custom.issued, "digest": facts.digest, "targets_keys": facts.targets_keys}
        changed = written(replace(request, copy=copies[0], copy_output=copies[1], **known))
        assert (changed.difference, changed.custom.serial, facts.difference) == (True, 9, False)
        assert sum(sizes) < 2000 < whole / 5
        assert changed.digest == written(replace(request, copy_key=-1, copy_output=-1)).digest != facts.digest
        for handle in (key, *copies):
            os.close(handle)


def written(request: FetchRequest) -> Facts:
    """The facts of a list that is wanted."""
    told: list[Facts] = []
    request = replace(request, output=processes.memory_file("list"))
    source_zone.fetch(request, lambda facts: not told.append(facts))
    os.close(request.output)
    return told[0]


def request_of(url: str, root: Path) -> FetchRequest:
    return FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=processes.memory_file("list"),
        url=url,
        root=str(root),
        target="",
        metadata="",
        ca="",
        certificate="",
        key="",
        max_bytes=2**20,
        memory_bytes=2**31,
        seconds=20.0,
    )


def fetched(request: FetchRequest) -> Facts | str:
    """The facts, or the reason why there are none."""
    told: list[Facts] = []
    try:
        source_zone.fetch(request, lambda facts: bool(told.append(facts)))
    except Failed as failed:
        return failed.reason
    finally:
        os.close(request.output)
    return told[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_key_no_key_and_no_zone(kind: str, tmp_path: Path, program: Callable[[str], str]) -> None:
    program(PROGRAMS[kind])
    with primary(kind, tmp_path / "primary", ZONE_RECORDS) as serving:
        right = serving.folder / f"{KEY}.key"
        other = key_file(tmp_path, KEY, secret="b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Q=")
        unknown = key_file(tmp_path, "unknown.example")
        assert isinstance(fetched(request_of(serving.url, right)), Facts)
        assert fetched(request_of(serving.url, other)) == Reason.DENIED
        assert fetched(request_of(serving.url, unknown)) == Reason.DENIED
        assert fetched(request_of(f"{serving.url}x", right)) == Reason.DENIED
        assert fetched(request_of(serving.url, tmp_path / "none")) == Reason.KEY_UNUSABLE


def told(request: FetchRequest) -> str:
    """What the operator reads of a fetch that fails."""
    one = List(id="demo", source=Source(kind="zone", url=request.url, root=request.root))
    try:
        source_zone.fetch(request, lambda _: True, clock=time.time)  # the clock of now, which a test may have moved
    except Failed as failed:
        return f"{failed.reason}: {detail_text.text(failed.detail, one)}"
    finally:
        os.close(request.output)
    return "fetched"


@pytest.mark.parametrize("kind", KINDS)
def test_one_thing_wrong_with_a_transfer_is_named(
    kind: str, tmp_path: Path, program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secret, key name, algorithm, zone, clock: each was once `transfer`."""
    program(PROGRAMS[kind])
    with primary(kind, tmp_path / "primary", ZONE_RECORDS) as serving:
        right, host = serving.folder / f"{KEY}.key", serving.url.split("/")[2]
        other = key_file(tmp_path, KEY, secret="b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Q=")
        assert told(request_of(serving.url, other)).startswith(f"denied: {host} says BADSIG: ")
        unknown = key_file(tmp_path, "unknown.example")
        assert told(request_of(serving.url, unknown)).startswith(f"denied: {host} says BADKEY: ")
        longer = key_file(tmp_path, KEY, algorithm="hmac-sha512")
        says = "REFUSED" if kind == "nsd" else "BADKEY"
        assert told(request_of(serving.url, longer)).startswith(f"denied: {host} says {says}: ")
        assert told(request_of(f"{serving.url}x", right)).startswith(f"denied: {host} says REFUSED: ")
        real = time.time
        for shift, word in ((-1200, "ahead of"), (1200, "behind")):
            monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
            said = told(request_of(serving.url, right))
            assert re.fullmatch(rf"denied: the clock of {host} is (20|19) min {word} this host's \(BADTIME\)", said)
        monkeypatch.setattr(time, "time", lambda: real() + 120)
        assert told(request_of(serving.url, right)) == "fetched"


def test_every_primary_of_a_zone_gives_the_same_digest(tmp_path: Path, program: Callable[[str], str]) -> None:
    facts = []
    for kind in KINDS:
        program(PROGRAMS[kind])
        with primary(kind, tmp_path / kind, ZONE_RECORDS) as serving:
            facts.append(fetched(request_of(serving.url, serving.folder / f"{KEY}.key")))
    assert all(isinstance(one, Facts) for one in facts)
    assert len({one.digest for one in facts if isinstance(one, Facts)}) == 1
