"""The doctor finds in real resolvers what leaks there, and nothing where nothing does; its lines close what they say.

LEAKS and WEAK are what Debian 12's releases do. Not all is in what their projects say of themselves: Recursor gives a
kept alias to RD=0, Unbound names the policy zone beside a kept alias, dnsmasq gives the listed name's own A once an
alias to it was asked for, and BIND's additional addresses end with minimal-responses.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from resolver.doctor import catalogue, verdicts, wire
from resolver.doctor.ask import Asker, Endpoint
from resolver.doctor.probes import Examination, Examined
from resolver.doctor.verdicts import Verdict
from resolver.doctor.zone import Zone
from tests.journeys import running
from tests.journeys.running import HOST, PAGE_V4, PAGE_V6, free_ports
from tests.peers import probed
from tests.unit.doctor.resolvers import responder, saying

ENTRY = wire.name_of(probed.ENTRY)
STRANGER = "127.9.9.9"
ALIASES = {"alias", "alias-warm", "alias-chain", "dname", "do-alias", "tcp"}
OTHER_TYPES = {"https", "svcb", "mx", "txt", "unknown-type", "child", "deep-child", "underscore-child", "case", "do",
               "no-edns"}  # fmt: skip
BESIDE = {"service-mode"}
"""Hints of a name that only leads to the listed one: no product but ours looks at them."""

LEAKS: dict[str, set[str]] = {
    "bind": {"alias-mode", "additional", "rd0", "do", "do-alias", "cd", "policy-named", "policy-readable",
             "policy-transferable", "strangers"},
    "bind-hardened": set(),
    "unbound": ALIASES - {"alias"} | {"policy-named", "strangers"},
    "unbound-hardened": ALIASES - {"alias"} | {"policy-named"},
    "recursor": {"rd0", "strangers"},
    "recursor-hardened": {"rd0"},
    "knot": ALIASES | {"cd", "strangers"},
    "knot-hardened": ALIASES | {"cd"},
    "dnsdist": ALIASES | OTHER_TYPES | {"aaaa", "alias-mode", "additional", "rd0", "cd", "again", "strangers"},
    "dnsdist-hardened": ALIASES | {"alias-mode", "additional", "rd0", "cd"},
    "dnsmasq": ALIASES | OTHER_TYPES | {"alias-mode", "additional", "rd0", "cd", "again", "strangers"},
}  # fmt: skip
WEAK: dict[str, set[str]] = {
    "bind": {"ede", "version"},
    "bind-hardened": {"ede", "alias-mode"},
    "unbound": {"ede", "version", "alias-mode"},
    "unbound-hardened": {"ede", "alias-mode"},
    "recursor": {"ede", "version", "alias-mode", "cache-in-front"},
    "recursor-hardened": {"alias-mode"},
    "knot": {"alias-mode", "validator"},
    "knot-hardened": {"alias-mode", "validator"},
    "dnsdist": {"ede"},
    "dnsdist-hardened": {"ede"},
    "dnsmasq": {"version"},
}


@pytest.fixture(scope="module")
def place() -> Iterator[Endpoint]:
    """The probe zone's own responder."""
    with saying(responder(Zone(ENTRY, [HOST]))) as one:
        yield one


def examined(port: int, *, stranger: str = STRANGER) -> Examined:
    nobody = Endpoint(HOST, 1)
    asker = Asker(Endpoint(HOST, port), dot=nobody, doh=nobody, wait_s=5.0)
    zones = (wire.name_of(probed.POLICY),)
    return Examination(asker=asker, entry=ENTRY, policy_zones=zones, stranger=stranger).run()


def of(found: Examined, verdict: Verdict) -> set[str]:
    return {one.id for one in found.results if one.verdict is verdict}


@pytest.mark.parametrize("kind", probed.PROGRAMS)
def test_it_finds_what_leaks_and_nothing_else(
    kind: str, place: Endpoint, program: Callable[[str], str], tmp_path: Path, figures: dict[str, str]
) -> None:
    path = program(probed.PROGRAMS[kind])
    with probed.resolver(kind, tmp_path / kind, place.port, path) as server:
        found = examined(server.port)
    said = ", ".join(f"{one.id} {one.verdict}" for one in found.results if one.verdict is not Verdict.ENFORCED)
    figures[f"doctor: {kind}"] = f"{said}; {found.queries} queries"
    assert of(found, Verdict.LEAKS) == LEAKS[kind] | BESIDE, found.results
    assert of(found, Verdict.WEAK) == WEAK[kind], found.results
    assert of(found, Verdict.OVER_BLOCKS) == set()
    assert str(found.expected).startswith(PAGE_V4)


def test_our_own_service_enforces_all_of_it(place: Endpoint, tmp_path: Path, figures: dict[str, str]) -> None:
    with running.serve(tmp_path, upstreams=[str(place)], entries=[probed.ENTRY]) as service:
        found = examined(service.dns, stranger="")
    enforced = of(found, Verdict.ENFORCED)
    unknown = {one.id: one.said for one in found.results if one.verdict is Verdict.UNKNOWN}
    figures["doctor: our own service"] = f"{len(enforced)} enforced; unknown: {', '.join(unknown)}"
    assert set(unknown) == {"dot", "doh", "doq", "structured-error", "strangers"}, found.results
    assert len(enforced) == len(found.results) - len(unknown)
    assert str(found.expected) == f"{PAGE_V4} {PAGE_V6}"


def test_dot_and_doh_are_asked_where_they_answer(
    place: Endpoint, program: Callable[[str], str], tmp_path: Path
) -> None:
    """BIND's DoH is HTTP/2 alone; a certificate of another name is not taken."""
    authority = trustme.CA()
    ends = authority.issue_cert("resolver.test")
    ends.cert_chain_pems[0].write_to_path(tmp_path / "certificate")
    ends.private_key_pem.write_to_path(tmp_path / "key")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    dot, doh = free_ports(2)
    doors = f'tls own {{ cert-file "{tmp_path}/certificate"; key-file "{tmp_path}/key"; }};'
    listen = f"listen-on port {dot} tls own {{ {HOST}; }}; listen-on port {doh} tls own http default {{ {HOST}; }};"
    options = probed.BIND_HARDENED | {"doors": doors, "options": f"{probed.BIND_HARDENED['options']} {listen}"}
    with probed.resolver("bind", tmp_path / "bind", place.port, program("named"), options) as server:
        found = {}
        for name in ("resolver.test", "another.test"):
            asker = Asker(
                Endpoint(HOST, server.port), tls_name=name, ca=tmp_path / "ca", dot=Endpoint(HOST, dot),
                doh=Endpoint(HOST, doh), wait_s=20.0,
            )  # fmt: skip
            run = Examination(asker=asker, entry=ENTRY)
            run.expected = run.look()
            puts = [catalogue.BY_ID[one] for one in ("dot", "doh")]
            found[name] = [verdicts.worst(run.judged(probe)) for probe in puts]
    assert [one.verdict for one in found["resolver.test"]] == [Verdict.ENFORCED] * 2, found
    assert {one.said for one in found["another.test"]} == {"the certificate does not verify: --tls-name, --ca"}


def test_two_lines_that_the_table_prints_close_two_leaks(
    place: Endpoint, program: Callable[[str], str], tmp_path: Path
) -> None:
    """A default BIND: the lines for DO=1 and for the SOA, each typed where the table says, and no other."""
    options = probed.BIND_DEFAULT | {"policy_options": "break-dnssec yes", "zone_options": "add-soa no"}
    with probed.resolver("bind", tmp_path / "bind", place.port, program("named"), options) as server:
        found = examined(server.port)
    assert of(found, Verdict.LEAKS) == LEAKS["bind"] - {"do", "do-alias", "cd", "policy-named"} | BESIDE
