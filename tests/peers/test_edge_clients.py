"""Clients of other makes at the edge: kdig, dig, curl, h2load and dnsperf ask over TLS and HTTPS."""

import re
import subprocess
import tomllib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys import edges
from tests.journeys.edges import DOT, H1, H3, NAME, Place
from tests.journeys.processes import REAL, Site, honest, query_for
from tests.journeys.running import HOST, PAGE_V4

pytestmark = pytest.mark.peers

LISTED = "listed-canary.test"
FREE = "free.example"
WANTED = {LISTED: PAGE_V4, FREE: REAL}
DNS = "application/dns-message"

Program = Callable[[str], str]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Place]:
    """Where a service's edge listens."""
    site = Site(Path(tmp_path_factory.mktemp("edge")), upstreams=(upstream.address,))
    place, table = edges.configured(site.folder, [DOT, H1, H3])
    site.set("edge", **tomllib.loads(table)["edge"])
    site.set("limits", exempt=["127.0.0.0/8"])
    site.publish([LISTED])
    with site.started(), edges.started(place, site.config):
        yield place


def said(*command: object) -> str:
    """What a client says; it has to end well."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("over", ["tls", "https", "https-get"])
def test_kdig_verifies_and_asks(edge: Place, program: Program, over: str, name: str) -> None:
    how = ["+tls"] if over == "tls" else ["+https=/dns-query", *(["+https-get"] if over == "https-get" else [])]
    port = edge.ports["tls"] if over == "tls" else edge.ports["https"]
    trust = (f"+tls-ca={edge.ca}", f"+tls-hostname={NAME}")
    found = said(program("kdig"), f"@{HOST}", "-p", port, *how, *trust, "+padding", name)
    assert "status: NOERROR" in found
    assert WANTED[name] in found
    size = re.search(r"Received (\d+) B", found)
    assert size, found
    assert "TLS1.3" in found


def test_kdig_does_not_take_another_name(edge: Place, program: Program) -> None:
    trust = (f"+tls-ca={edge.ca}", "+tls-hostname=other.example.test")
    command = [program("kdig"), f"@{HOST}", "-p", str(edge.ports["tls"]), "+tls", *trust, "+retry=0", FREE]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert WANTED[FREE] not in ended.stdout
    assert "certificate" in (ended.stdout + ended.stderr).lower()


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("how", [["+tls"], ["+https"], ["+https-get"]], ids=lambda how: how[0])
def test_dig_asks(edge: Place, program: Program, how: list[str], name: str) -> None:
    port = edge.ports["tls"] if how == ["+tls"] else edge.ports["https"]
    found = said(program("dig"), f"@{HOST}", "-p", port, *how, "+short", name)
    assert found.split() == [WANTED[name]]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("name", WANTED)
def test_curl_posts_and_gets_what_caches_are_told(
    edge: Place, program: Program, tmp_path: Path, version: str, name: str
) -> None:
    (tmp_path / "query").write_bytes(query_for(name))
    url = f"https://{NAME}:{edge.ports['https']}/dns-query"
    trust = ("--cacert", edge.ca, "--resolve", f"{NAME}:{edge.ports['https']}:{HOST}")
    found = said(
        program("curl"), "-sS", version, *trust, "-H", f"content-type: {DNS}", "--data-binary",
        f"@{tmp_path / 'query'}", "-D", "-", "-o", tmp_path / "answer", url,
    )  # fmt: skip
    assert re.match(r"HTTP/\S+ 200", found)
    assert ("no-store" in found) == (name == LISTED)
    assert "server:" not in found.lower()
    assert bytes(map(int, WANTED[name].split("."))) in (tmp_path / "answer").read_bytes()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_is_told_of_http3_and_notes_it(edge: Place, program: Program, tmp_path: Path, version: str) -> None:
    text = urlsafe_b64encode(query_for(LISTED)).rstrip(b"=").decode()
    url = f"https://{NAME}:{edge.ports['https']}/dns-query?dns={text}"
    trust = ("--cacert", edge.ca, "--resolve", f"{NAME}:{edge.ports['https']}:{HOST}")
    noted = tmp_path / "alternatives"
    found = said(
        program("curl"), "-sS", version, *trust, "--alt-svc", noted, "-D", "-", "-o", tmp_path / "first", url,
        "-o", tmp_path / "second", url,
    )  # fmt: skip
    told = re.findall(r"(?i)alt-svc: (.*)", found)
    assert told == [f'h3=":{edge.ports["http3"]}"; ma=3600'], "of two answers the first"
    assert f" h3 {NAME} {edge.ports['http3']} " in noted.read_text()


def test_curl_resolves_by_us(edge: Place, program: Program) -> None:
    """What curl connects to is what we have answered: nothing listens at the page's address, and it says which."""
    trust = ("--cacert", edge.ca, "--resolve", f"{NAME}:{edge.ports['https']}:{HOST}")
    url = f"https://{NAME}:{edge.ports['https']}/dns-query"
    command = [program("curl"), "-sSv", "-m", "5", *map(str, trust), "--doh-url", url, f"http://{LISTED}:1/"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert f"Trying {PAGE_V4}:1" in ended.stderr


@pytest.mark.parametrize("version", ["--h1", "--alpn-list=h2"])
def test_h2load_gets_an_answer_to_each_request(edge: Place, program: Program, version: str) -> None:
    text = urlsafe_b64encode(query_for(LISTED)).rstrip(b"=").decode()
    many = ("-n", "1000", "-c", "5", "-m", "10", version)
    how = many if version == "--h1" else (*many[:-1], "--npn-list=h2")
    found = said(program("h2load"), *how, f"https://{HOST}:{edge.ports['https']}/dns-query?dns={text}")
    assert "1000 succeeded, 0 failed, 0 errored, 0 timeout" in found
    assert "status codes: 1000 2xx" in found


def test_dnsperf_loses_nothing_over_tls(edge: Place, program: Program, tmp_path: Path) -> None:
    (tmp_path / "queries").write_text(f"{LISTED} A\n{FREE} A\n")
    found = said(
        program("dnsperf"), "-m", "tls", "-s", HOST, "-p", edge.ports["tls"], "-d", tmp_path / "queries",
        "-n", "1000", "-c", "5", "-q", "50", "-t", "30",
    )  # fmt: skip
    assert re.search(r"Queries completed:\s+2000 \(100", found), found
    assert re.search(r"Response codes:\s+NOERROR 2000 \(100", found), found
