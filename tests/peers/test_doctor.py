"""The doctor finds in real resolvers what leaks there, and nothing where nothing does; its lines close what they say.

LEAKS and WEAK are what Debian 12's releases do. Not all is in what their projects say of themselves: Recursor gives a
kept alias to RD=0, Unbound names the policy zone beside a kept alias, dnsmasq gives the listed name's own A once an
alias to it was asked for, and BIND's additional addresses end with minimal-responses.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resolver.doctor import wire
from resolver.doctor.ask import Asker, Endpoint
from resolver.doctor.probes import Examination, Examined
from resolver.doctor.verdicts import Verdict
from resolver.doctor.zone import Zone
from tests.journeys import running
from tests.journeys.running import HOST, PAGE_V4, PAGE_V6
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
    assert set(unknown) == {"dot", "doh", "structured-error", "strangers"}, found.results
    assert len(enforced) == len(found.results) - len(unknown)
    assert str(found.expected) == f"{PAGE_V4} {PAGE_V6}"


def test_two_lines_that_the_table_prints_close_two_leaks(
    place: Endpoint, program: Callable[[str], str], tmp_path: Path
) -> None:
    """A default BIND: the lines for DO=1 and for the SOA, each typed where the table says, and no other."""
    options = probed.BIND_DEFAULT | {"policy_options": "break-dnssec yes", "zone_options": "add-soa no"}
    with probed.resolver("bind", tmp_path / "bind", place.port, program("named"), options) as server:
        found = examined(server.port)
    assert of(found, Verdict.LEAKS) == LEAKS["bind"] - {"do", "do-alias", "cd", "policy-named"} | BESIDE
