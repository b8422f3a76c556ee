"""Zones with servers of their own, over UDP and TCP: who is asked what, who is blocked, and who is out."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.fakes.upstream import Answer, Upstream, Way, in_thread, records
from tests.journeys.burst import burst
from tests.journeys.processes import REAL, Site, asked, honest, operate, wait_for
from tests.journeys.running import PAGE_V4, ROOT, Service
from tests.journeys.test_upstreams import up

BLOCKED = f"{PAGE_V4} EDE 4"
INSIDE = "198.51.100.20"
TRANSPORTS = ("udp", "tcp")


def inside(query: dns.message.Message) -> dns.message.Message:
    """The inside server: INSIDE for corp.test and below, a name for reverse zones, REFUSED for all else."""
    name, kind = query.question[0].name.to_text().lower(), query.question[0].rdtype.name
    reply = dns.message.make_response(query)
    if kind == "A" and f".{name}".endswith(".corp.test."):
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", INSIDE))
    elif kind == "PTR":
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "PTR", "host.corp.test."))
    else:
        reply.set_rcode(dns.rcode.REFUSED)
    return reply


NOTHING_INSIDE: Answer = records({("open.test", "A"): [REAL], ("second.test", "A"): [REAL]})
"""The outside server: inside names do not exist."""


@contextmanager
def served(
    folder: Path, zones: list[dict[str, object]], *upstreams: str, **values: object
) -> Iterator[tuple[Site, Service]]:
    site = Site(folder, upstreams, {"upstream": {"timeout": "5s", **values}})
    site.sections["upstream"] |= {"servers": list(upstreams)}
    site.publish(["listed.corp.test", "listed.test"])
    text = site.write().read_text()
    tables = "".join(
        f'[[upstream.zone]]\nname = "{one["name"]}"\nservers = {json.dumps(one["servers"])}\n' for one in zones
    )
    site.config.write_text(text.replace("[page]", f"{tables}[page]", 1))
    service = site.launch(write=False)
    try:
        service.until("/readyz")
        yield site, service
    finally:
        service.process.terminate()
        assert service.process.wait(60) == 0, service.said


@pytest.fixture
def corp() -> Iterator[Upstream]:
    with in_thread(inside) as one:
        yield one


@pytest.fixture
def rest() -> Iterator[Upstream]:
    with in_thread(NOTHING_INSIDE) as one:
        yield one


def questions(upstream: Upstream) -> set[str]:
    return {f"{one.question[0].name} {one.question[0].rdtype.name}".lower() for one in upstream.queries}


def test_inside_names_go_inside_and_all_others_outside(tmp_path: Path, corp: Upstream, rest: Upstream) -> None:
    zones: list[dict[str, object]] = [
        {"name": "Corp.Test.", "servers": [corp.address]},
        {"name": "10.in-addr.arpa", "servers": [corp.address]},
    ]
    with served(tmp_path, zones, rest.address) as (site, service):
        came = burst(site.dns, [f"{n}.corp.test" for n in range(200)], per_second=400, wait_s=8)
        print(f"inside names: {came.share(INSIDE):.1%} from the inside server")
        assert came.share(INSIDE) == 1
        for over in TRANSPORTS:
            assert asked(site.dns, f"{over}.corp.test", over=over) == INSIDE
            assert asked(site.dns, "corp.test", over=over) == INSIDE
            assert asked(site.dns, "open.test", over=over) == REAL
            assert asked(site.dns, "xcorp.test", over=over) == "NXDOMAIN"
            assert asked(site.dns, "listed.corp.test", over=over) == BLOCKED, "lists come first"
            assert asked(site.dns, "4.3.2.10.in-addr.arpa", "PTR", over=over) == "host.corp.test."
            assert asked(site.dns, "1.168.192.in-addr.arpa", "PTR", over=over).startswith("NXDOMAIN"), "answered here"
            assert asked(site.dns, "corp.test", "DS", over=over) == "NXDOMAIN", "of the parent"
        outside = questions(rest)
        assert outside == {"open.test. a", "xcorp.test. a", "corp.test. ds"}
        assert not questions(corp) & outside
        assert up(service, corp)
        assert up(service, rest)
        walked = operate(site, "ask", "walked.corp.test", "--as", "127.0.0.1").stdout
        assert "servers of zone corp.test: answered NOERROR" in walked
        status = operate(site, "status").stdout
        assert f"{corp.address} (corp.test, 10.in-addr.arpa) up" in status
        assert f"{rest.address} up" in status


def test_the_longest_zone_wins(tmp_path: Path, corp: Upstream, rest: Upstream) -> None:
    with in_thread(honest) as lab:
        zones: list[dict[str, object]] = [
            {"name": "corp.test", "servers": [corp.address]},
            {"name": "lab.corp.test", "servers": [lab.address]},
        ]
        with served(tmp_path, zones, rest.address) as (site, _):
            for over in TRANSPORTS:
                assert asked(site.dns, "a.lab.corp.test", over=over) == REAL
                assert asked(site.dns, "lab.corp.test", over=over) == REAL
                assert asked(site.dns, "alab.corp.test", over=over) == INSIDE


def test_what_is_out_inside_or_outside_concerns_its_own_names(tmp_path: Path, corp: Upstream, rest: Upstream) -> None:
    zones: list[dict[str, object]] = [{"name": "corp.test", "servers": [corp.address]}]
    with served(tmp_path, zones, rest.address) as (site, service):
        corp.away()
        wait_for(lambda: not up(service, corp), "the inside to be out", 10)
        assert service.get("/readyz") == (200, b"ready\n")
        assert service.metric("upstream_answering") == 1
        assert asked(site.dns, "open.test") == REAL
        assert asked(site.dns, "a.corp.test").startswith("SERVFAIL")
        assert "NO server of zone corp.test answers" in " ".join(operate(site, "status").stdout.split())
        corp.back()
        wait_for(lambda: up(service, corp), "the inside to be back", 10)
        rest.otherwise = (Way.SILENT,)
        wait_for(lambda: service.metric("upstream_answering") == 0, "the outside to be out", 10)
        assert service.get("/readyz")[0] == 503
        for over in TRANSPORTS:
            assert asked(site.dns, f"b-{over}.corp.test", over=over) == INSIDE


def test_a_listed_backup_is_asked_only_when_the_first_fails(tmp_path: Path) -> None:
    with (
        in_thread(honest) as first,
        in_thread(honest) as backup,
        served(tmp_path, [], first.address, backup.address, order="listed") as (site, service),
    ):
        assert all(asked(site.dns, f"{n}.test") == REAL for n in range(100))
        print(f"in peace the backup got {backup.exchanges['udp']} of 100")
        assert backup.exchanges["udp"] <= 10, "what was late at the first one, on a loaded machine"
        first.away()
        wait_for(lambda: not up(service, first), "the first to be out", 10)
        for over in TRANSPORTS:
            assert asked(site.dns, f"later-{over}.test", over=over) == REAL
        first.back()
        wait_for(lambda: up(service, first), "the first to be back", 10)
        before = backup.exchanges["udp"]
        assert all(asked(site.dns, f"again-{n}.test") == REAL for n in range(10))
        assert backup.exchanges["udp"] - before <= 2


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ('name = "."\nservers = ["192.0.2.53:53"]', "upstream.zone[0].name: expected the name of a zone"),
        ('name = "a..test"\nservers = ["192.0.2.53:53"]', "upstream.zone[0].name: expected the name of a zone"),
        ('name = "x.onion"\nservers = ["192.0.2.53:53"]', "upstream.zone[0].name: is always answered here"),
        ('name = "corp.test"\nservers = []', "upstream.zone[0].servers: "),
        ('name = "corp.test"\nservers = ["192.0.2.53:0"]', "upstream.zone[0].servers[0]: expected a port"),
        ('name = "corp.test"\nservers = ["{own}"]', "upstream.zone[0].servers[0]: is one of listen.dns"),
        (
            'name = "corp.test"\nservers = ["192.0.2.53:53"]\n[[upstream.zone]]\nname = "CORP.test."\n'
            'servers = ["192.0.2.54:53"]',
            "upstream.zone[1].name: another zone has this name",
        ),
    ],
)
def test_check_config_names_what_is_wrong_with_a_zone(zone: str, words: str, tmp_path: Path) -> None:
    site = Site(tmp_path)
    text = site.write().read_text()
    tables = f"[[upstream.zone]]\n{zone.format(own=f'127.0.0.1:{site.dns}')}\n"
    site.config.write_text(text.replace("[page]", f"{tables}[page]", 1))
    command = [sys.executable, "-m", "resolver", "check-config", str(site.config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert words in done.stderr
