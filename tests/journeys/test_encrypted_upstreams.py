"""Encrypted upstreams under a whole service: who is verified is asked, nobody else; the courier may end at any time.

Rules:
- In time is the configured limit and SLACK_S for a loaded machine. Listed names are blocked throughout, at once.
- An upstream's queries are what it has decrypted: a name that is not among them did not leave.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import dns.message
import dns.rrset
import pytest
import trustme

from resolver.config.values import Endpoint
from resolver.query.forward_exchange import MAX_SENDS
from tests.fakes.sealed import NAME, Sealed, Way, in_thread
from tests.fakes.upstream import Upstream
from tests.fakes.upstream import in_thread as in_the_clear
from tests.journeys.burst import NOTHING, burst
from tests.journeys.processes import REAL, Site, asked, child_of, descendants, honest, operate, series, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service
from tests.journeys.test_hand_over import running

BLOCKED = f"{PAGE_V4} EDE 4"
LIMIT_S, SLACK_S = 2.0, 3.0
COURIER = "resolver.courier.process"
KILLS = 20


class Sealing:
    """The CA of these upstreams, in a file."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)


@pytest.fixture(scope="module")
def sealing(tmp_path_factory: pytest.TempPathFactory) -> Sealing:
    return Sealing(tmp_path_factory.mktemp("sealing"))


def text(server: Sealed, *, https: bool = False, name: str = NAME) -> str:
    """The server as a configuration names it."""
    where = f"{name}@{Endpoint(server.host, server.port)}"
    return f"https://{where}/dns-query" if https else f"tls://{where}"


def site(folder: Path, sealing: Sealing, *servers: str, **more: object) -> Site:
    upstream = {"ca": str(sealing.file), **more}
    one = Site(folder, servers, {"upstream": upstream, "cache": {"size": "1MiB", "stale": "0"}})
    one.publish(["listed.test"])
    return one


def names_at(server: Sealed) -> set[str]:
    return {dns.message.from_wire(query).question[0].name.to_text() for query in server.seen}


def up(service: Service, server: str) -> bool:
    return series(service, "upstream_up", upstream=server) == 1


def has_counted(service: Service, labels: dict[str, str]) -> bool:
    return series(service, "upstream_failures_total", **labels) > 0


def pointing(query: dns.message.Message) -> dns.message.Message:
    """An alias of each name below alias.test to a listed one, and its address."""
    reply = honest(query)
    name = query.question[0].name
    if name.to_text().endswith(".alias.test."):
        reply.answer = [
            dns.rrset.from_text(name, 60, "IN", "CNAME", "www.listed.test."),
            dns.rrset.from_text("www.listed.test.", 60, "IN", "A", REAL),
        ]
    return reply


def test_names_go_over_tls_and_https_and_listed_ones_do_not_go(tmp_path: Path, sealing: Sealing) -> None:
    with (
        in_thread(pointing, sealing.ca.issue_cert(NAME)) as dot,
        in_thread(pointing, sealing.ca.issue_cert(NAME), https=True) as doh,
    ):
        zone = {"name": "https.test", "servers": [text(doh, https=True)]}
        one = site(tmp_path, sealing, text(dot), zone=[zone])
        with one.started() as service:
            wait_for(lambda: up(service, text(dot)) and up(service, text(doh, https=True)), "both to be up")
            for number in range(20):
                for name in (f"n{number}.open.test", f"n{number}.https.test"):
                    assert asked(service.dns, name) == REAL
                for name in (f"n{number}.listed.test", f"n{number}.alias.test"):
                    assert asked(service.dns, name) == BLOCKED, "the alias leads to a listed name"
            status = operate(one, "status").stdout
        assert {f"n{number}.{word}.test." for word in ("open", "alias") for number in range(20)} <= names_at(dot)
        assert {f"n{number}.https.test." for number in range(20)} <= names_at(doh)
        assert not any("listed" in name for name in names_at(dot) | names_at(doh))
        fields = {":method", ":scheme", ":authority", ":path", "accept", "content-type", "content-length"}
        assert doh.headers[0].keys() == fields, "no header that names the client"
    assert f"upstream   {text(dot)} up" in status
    assert "Traceback" not in service.said


def test_only_who_is_verified_is_asked_and_the_status_says_why(tmp_path: Path, sealing: Sealing) -> None:
    with ExitStack() as stack:
        good = stack.enter_context(in_thread(honest, sealing.ca.issue_cert(NAME)))
        named = stack.enter_context(in_thread(honest, sealing.ca.issue_cert("other.example")))
        strange = stack.enter_context(in_thread(honest, trustme.CA().issue_cert(NAME), https=True))
        one = site(tmp_path, sealing, text(named), text(strange, https=True), text(good), order="listed")
        service = stack.enter_context(one.started())
        wait_for(lambda: up(service, text(good)), "the good one to be up")
        for number in range(20):
            assert asked(service.dns, f"n{number}.open.test") == REAL, "the next one is asked"
        assert not up(service, text(named))
        assert not up(service, text(strange, https=True))
        said = " ".join(operate(one, "status").stdout.split())
        assert f"certificate of {NAME} not valid: it is for other names; correct the name in upstream.servers" in said
        assert f"certificate of {NAME} not valid: no known CA signed it; set upstream.ca or upstream.pins" in said
        wait_for(
            lambda: series(service, "upstream_failures_total", upstream=text(named), reason="certificate") > 0,
            "the failure to be counted",
        )
        assert named.seen == strange.seen == []
        assert f"upstream {text(named)} does not answer and is taken out (certificate of {NAME}" in service.said


@dataclass
class Fault:
    """What is wrong with a server, how that is counted and said, and what mends it: another certificate, or a way."""

    counted: str
    said: str
    https: bool = False
    way: Way = Way.HONEST
    name: str = NAME
    issued: tuple[str, ...] = ()
    alpn: str = ""
    host: str = HOST
    dates: str = ""


FAULTS = {
    "name": Fault("certificate", "is for other names; correct the name in upstream.servers", issued=("b.example",)),
    "expired": Fault("certificate", "it has expired; have it renewed there", dates="2020-01-01"),
    "pin": Fault("certificate", "its key is not in upstream.pins; ask its operator which it is", name="pin.example"),
    "alpn": Fault("tls", "offers no HTTP/2; use another server, or tls:// if it has that", https=True, alpn="http/1.1"),
    "redirect": Fault("http", "redirects (HTTP 307), which is not followed; correct the path", True, Way.REDIRECT),
    "path": Fault("http", "answers HTTP 404; look at the path in upstream.servers", True, Way.NOT_FOUND),
    "load": Fault("http", "answers HTTP 503; look at", True, Way.UNAVAILABLE, host="::1"),
    "type": Fault("http", "answers with something else than a DNS message; look at", True, Way.OTHER_TYPE),
    "closes": Fault("network", "closes connections and does not answer", way=Way.CLOSES, host="::1"),
}


def test_each_fault_is_said_and_counted_the_next_server_answers_and_a_mended_one_is_asked_again(
    tmp_path: Path, sealing: Sealing
) -> None:
    with ExitStack() as stack:
        running: dict[str, tuple[Sealed, str]] = {}
        for kind, one in FAULTS.items():
            end = one.dates and datetime.fromisoformat(one.dates)
            dates = {"not_before": end - timedelta(days=30), "not_after": end} if end else {}
            certificate = sealing.ca.issue_cert(*(one.issued or (one.name,)), **dates)
            server = stack.enter_context(
                in_thread(honest, certificate, https=one.https, alpn=one.alpn, host=one.host)
            )
            server.way = one.way
            running[kind] = server, text(server, https=one.https, name=one.name)
        good = stack.enter_context(in_thread(honest, sealing.ca.issue_cert(NAME)))
        servers = [*(where for _, where in running.values()), text(good)]
        site_of = site(tmp_path, sealing, *servers, order="listed", pins={'"pin.example"': ["A" * 43 + "="]})
        service = stack.enter_context(site_of.started())
        wait_for(lambda: up(service, text(good)), "the good one to be up")
        faulty = [where for _, where in running.values()]
        # A query is sent a few times: with more before it that nobody has looked at, it does not come to the good one.
        wait_for(lambda: sum(up(service, where) for where in faulty) < MAX_SENDS, "some of the faulty to be out")
        for number in range(20):
            started = time.monotonic()
            assert asked(service.dns, f"n{number}.open.test") == REAL
            assert time.monotonic() - started < LIMIT_S + SLACK_S
        for kind, (_, where) in running.items():
            labels = {"upstream": where, "reason": FAULTS[kind].counted}
            wait_for(partial(has_counted, service, labels), f"{kind} to be counted")
            assert not up(service, where), kind
        lines = operate(site_of, "status").stdout.split("upstream ")
        for kind, (_, where) in running.items():
            (said,) = [" ".join(line.split()) for line in lines if line.startswith(f"{where} ")]
            assert FAULTS[kind].said in said
        mended = [kind for kind, one in FAULTS.items() if one.way is not Way.HONEST]
        for kind in mended:
            running[kind][0].way = Way.HONEST
        for kind in mended:
            wait_for(partial(up, service, running[kind][1]), f"{kind} to be up again", 90)
        assert asked(service.dns, "last.open.test") == REAL
        assert "last.open.test." in names_at(running[mended[0]][0]), "the first of them is asked again"
        assert good.seen
        never = [kind for kind in FAULTS if kind not in mended]
        assert [kind for kind in never if running[kind][0].seen] == []
    assert "Traceback" not in service.said


def test_one_that_hangs_resets_or_lies_is_replaced_by_the_next(tmp_path: Path, sealing: Sealing) -> None:
    with (
        in_thread(honest, sealing.ca.issue_cert(NAME)) as bad,
        in_thread(honest, sealing.ca.issue_cert(NAME), https=True) as good,
    ):
        one = site(tmp_path, sealing, text(bad), text(good, https=True), order="listed")
        with one.started() as service:
            wait_for(lambda: up(service, text(bad)) and up(service, text(good, https=True)), "both to be up")
            for way in (Way.SILENT, Way.RESETS, Way.GARBAGE, Way.OTHER_ID, Way.OTHER_QUESTION):
                bad.way = way
                started = time.monotonic()
                said = [asked(service.dns, f"n{number}.{way.name.lower()}.open.test") for number in range(10)]
                assert said == [REAL] * 10, way
                assert time.monotonic() - started < 10 * (LIMIT_S + SLACK_S)
            bad.way = Way.HONEST
            wait_for(lambda: up(service, text(bad)), "it to be up again", 60)
        assert "event loop" not in service.said
        assert "Traceback" not in service.said


def test_the_courier_is_killed_under_load_and_no_query_stays_without_an_answer(
    tmp_path: Path, sealing: Sealing
) -> None:
    with in_thread(honest, sealing.ca.issue_cert(NAME)) as server, site(tmp_path, sealing, text(server)).started() as s:
        wait_for(lambda: up(s, text(server)), "it to be up")
        killed, came = [], []
        for turn in range(KILLS):
            killed.append(child_of(s, COURIER))
            os.kill(killed[-1], signal.SIGKILL)
            names = [f"k{turn}-{number}.{'listed' if number % 5 == 4 else 'open'}.test" for number in range(50)]
            came += burst(s.dns, names, per_second=100, wait_s=LIMIT_S + SLACK_S, pid=s.process.pid).each
        listed = [one for one in came if ".listed." in one.name]
        others = [one for one in came if ".open." in one.name]
        answered = sum(one.said == REAL for one in others) / len(others)
        print(f"{KILLS} kills: {answered:.1%} answered, worst {max(one.seconds for one in came):.2f} s")
        assert {one.said for one in listed} == {BLOCKED}
        assert NOTHING not in {one.said for one in others}
        assert answered > 0.8, "the others got SERVFAIL"
        assert len(set(killed)) == KILLS
        wait_for(lambda: asked(s.dns, f"after-{time.monotonic_ns()}.open.test") == REAL, "answers again")
        assert s.process.poll() is None
    assert "event loop" not in s.said


def test_a_courier_that_hangs_is_replaced(tmp_path: Path, sealing: Sealing) -> None:
    with in_thread(honest, sealing.ca.issue_cert(NAME)) as server, site(tmp_path, sealing, text(server)).started() as s:
        wait_for(lambda: up(s, text(server)), "it to be up")
        hangs = child_of(s, COURIER)
        os.kill(hangs, signal.SIGSTOP)
        assert asked(s.dns, "www.listed.test") == BLOCKED
        wait_for(lambda: child_of(s, COURIER) != hangs, "another courier")
        wait_for(lambda: asked(s.dns, f"n{time.monotonic_ns()}.open.test") == REAL, "answers again")
    assert "courier: the process that asks encrypted upstreams ended (signal 9)" in s.said


def test_a_hand_over_starts_another_courier_and_loses_nothing(tmp_path: Path, sealing: Sealing) -> None:
    with in_thread(honest, sealing.ca.issue_cert(NAME)) as server:
        one = site(tmp_path, sealing, text(server))
        with running(one) as service:
            wait_for(lambda: up(service.first, text(server)), "it to be up")
            names = [f"h{number}.open.test" for number in range(300)]
            with ThreadPoolExecutor(1) as aside:
                load = aside.submit(burst, one.dns, names, per_second=100, wait_s=LIMIT_S + SLACK_S)
                service.hand_over()
                came = load.result()
            print(f"over a hand-over: {came.said()}, worst {came.worst():.2f} s")
            assert came.share(REAL) == 1
            wait_for(lambda: not descendants(service.first.process.pid), "the end of the first courier")


@pytest.fixture
def plain() -> Iterator[Upstream]:
    with in_the_clear(honest) as one:
        yield one


def test_a_zone_in_plaintext_beside_encrypted_servers_gets_its_names_alone(
    tmp_path: Path, sealing: Sealing, plain: Upstream
) -> None:
    with in_thread(honest, sealing.ca.issue_cert(NAME)) as server:
        zone = {"name": "corp.test", "servers": [plain.address]}
        with site(tmp_path, sealing, text(server), zone=[zone]).started() as service:
            wait_for(lambda: up(service, text(server)) and up(service, plain.address), "both to be up")
            for number in range(100):
                assert asked(service.dns, f"n{number}.open.test") == REAL
            assert asked(service.dns, "www.corp.test") == REAL
        names = {query.question[0].name.to_text() for query in plain.queries}
        assert names == {"www.corp.test."}, "the engine's threads send no name in plaintext that has encrypted servers"
