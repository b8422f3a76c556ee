"""Chromium with secure DNS by an administrator's policy: blocked and open names arrive by DoH, and only by it."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.upstream import in_thread, records
from tests.journeys import edges
from tests.journeys.processes import Site, wait_for
from tests.journeys.running import HOST, Service, free_ports
from tests.peers.offered import OPEN_TEXT, web
from tests.peers.test_page_chromium import FLAGS

BLOCKED, OPEN = "blocked.test", "open.test"
HEADING = "This address is blocked"
SECONDS = 120.0
PICTURE_OCTETS = 20_000
"""More than the picture of an empty page has."""


@dataclass(frozen=True)
class Lab:
    """A service with an edge, the ports of its page and of another web server, and the programs."""

    folder: Path
    place: edges.Place
    service: Service
    other: int
    chromium: str
    certutil: str

    def received(self) -> dict[str, float]:
        """Queries that the service has received, by transport."""
        body = self.service.get("/metrics")[1].decode()
        found = re.findall(r'^blocklist_resolver_queries_total{transport="(\w+)"} (\S+)', body, re.MULTILINE)
        return {label: float(value) for label, value in found}

    def visit(self, url: str, home: str, *, trusting: bool, picture: str = "", policy: str = "policy.json") -> str:
        """What Chromium shows of a page: its HTML, or nothing where it has written a picture."""
        folder = self.folder / home
        store = folder / ".pki" / "nssdb"
        if not store.exists():
            store.mkdir(parents=True)
            subprocess.run([self.certutil, "-d", f"sql:{store}", "-N", "--empty-password"], check=True)
            if trusting:
                authority = ["-A", "-t", "C,,", "-n", "edge", "-i", str(self.place.ca)]
                subprocess.run([self.certutil, "-d", f"sql:{store}", *authority], check=True)
        shown = [f"--screenshot={self.folder / picture}", "--window-size=900,700"] if picture else ["--dump-dom"]
        flags = [one for one in FLAGS if "debugging" not in one]
        browser = [self.chromium, *flags, "--no-proxy-server", f"--user-data-dir={folder / 'profile'}", *shown, url]
        # Its policies are those of the whole host: here of a mount namespace of its own.
        own = 'mount -t tmpfs none /etc/chromium && mkdir -p /etc/chromium/policies/managed && cp "$0" '
        own += '/etc/chromium/policies/managed/dns.json && exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", own, str(self.folder / policy), *browser],
            env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, timeout=SECONDS, check=True,
        )  # fmt: skip
        return done.stdout


@pytest.fixture(scope="module")
def lab(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if os.geteuid() != 0:
        reason = "a mount namespace needs root"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # Only a developer without root; CI fails above.
    chromium, certutil = program("chromium"), program("certutil")
    folder = tmp_path_factory.mktemp("secure")
    place, text = edges.configured(folder, [edges.H2])
    for file, host in (("policy.json", HOST), ("ipv6.json", "[::1]")):
        template = f"https://{host}:{place.ports['https']}{edges.PATH}{{?dns}}"
        (folder / file).write_text(json.dumps({"DnsOverHttpsMode": "secure", "DnsOverHttpsTemplates": template}))
    edge = tomllib.loads(text)["edge"]
    edge["https"].append(f"[::1]:{place.ports['https']}")
    answers = records({(OPEN, "A"): [HOST], (BLOCKED, "A"): ["203.0.113.66"]})
    [other] = free_ports(1)
    with in_thread(answers) as upstream, web(HOST, other):
        site = Site(folder, upstreams=[upstream.address])
        site.change("page", addresses=[HOST])
        site.set("edge", **edge)
        site.publish([BLOCKED])
        with site.started() as service, edges.started(place, site.config):
            # Its queries are others.
            wait_for(lambda: service.metric("list_receipt_timestamp_seconds"), "the end of the self-test")
            yield Lab(folder, place, service, other, chromium, certutil)


def test_blocked_and_open_names_arrive_by_doh_alone(lab: Lab) -> None:
    before = lab.received()
    assert HEADING in lab.visit(f"http://{BLOCKED}:{lab.service.page}/", "trusting", trusting=True)
    assert OPEN_TEXT in lab.visit(f"http://{OPEN}:{lab.other}/", "trusting", trusting=True)
    after = lab.received()
    assert after["doh"] > before["doh"] + 1
    assert {label: value for label, value in after.items() if label != "doh"} == {
        label: value for label, value in before.items() if label != "doh"
    }
    lab.visit(f"http://{BLOCKED}:{lab.service.page}/", "trusting", trusting=True, picture="blocked.png")
    assert (lab.folder / "blocked.png").stat().st_size > PICTURE_OCTETS


def test_a_blocked_name_arrives_over_ipv6(lab: Lab) -> None:
    before = lab.received()
    shown = lab.visit(f"http://{BLOCKED}:{lab.service.page}/", "ipv6", trusting=True, policy="ipv6.json")
    assert HEADING in shown
    assert lab.received()["doh"] > before["doh"]


def test_an_edge_that_is_not_trusted_is_not_asked(lab: Lab) -> None:
    """Then nothing resolves: secure DNS has no way round its resolver."""
    before = lab.received()
    assert not lab.visit(f"http://{OPEN}:{lab.other}/", "distrusting", trusting=False), "no page is shown"
    assert lab.received() == before
