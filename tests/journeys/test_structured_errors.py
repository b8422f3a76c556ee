"""Structured errors of a running service, read by a client of dnspython over UDP and TCP, on every way to answer."""

import itertools
import json
import socket
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import pytest

from tests.journeys.processes import Site
from tests.journeys.running import CORES, HOST, LAUNCHERS, PAGE_V4, Core

CODE = 65100
OPERATOR = "Example ISP " + 12 * "of a long name "
ON = {
    "structured_errors": True,
    "option_code": CODE,
    "incident": "programme-1",
    "operator": OPERATOR,
    "contact": "help@isp.example",
    "authority": "Example Court",
    "law": "Act 1",
}
SAID = {
    "c": ["mailto:help@isp.example"],
    "j": "Example Court: Act 1",
    "o": OPERATOR,
    "l": "nl",
    "inc": "programme-1",
}
NAMES = 10_000
TEXT = "Geblokkeerd in opdracht van de autoriteit van deze test"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, [])


def query(name: str, kind: str = "A", *, signals: bool = True, payload: int = 1232) -> dns.message.Message:
    options = [dns.edns.GenericOption(CODE, b"")] if signals else []
    return dns.message.make_query(name, kind, use_edns=0, payload=payload, options=options)


def error_of(answer: dns.message.Message) -> tuple[int, str | None]:
    """The one extended error: its code and its text."""
    (one,) = answer.options
    assert isinstance(one, dns.edns.EDEOption)
    return int(one.code), one.text


@pytest.mark.parametrize("core", CORES)
def test_a_client_that_signals_reads_why_and_gets_no_page(core: Core, site: Site) -> None:
    site.change("page", **ON, language="nl", error_text=TEXT)
    site.publish(["listed.test"])
    with site.started(LAUNCHERS[core]) as service:
        for ask, kind in itertools.product((dns.query.udp, dns.query.tcp), ("A", "AAAA", "HTTPS", "TXT")):
            answer = ask(query("a.listed.test", kind), HOST, timeout=20, port=service.dns)
            code, text = error_of(answer)
            assert (answer.rcode(), answer.answer, code) == (0, [], dns.edns.EDECode.CENSORED)
            assert json.loads(text or "") == SAID
            assert len(answer.to_wire()) <= 1232
            plain = ask(query("a.listed.test", kind, signals=False), HOST, timeout=20, port=service.dns)
            assert error_of(plain) == (dns.edns.EDECode.FORGED_ANSWER, TEXT)
            assert [rrset[0].to_text() for rrset in plain.answer if kind == "A"] == [PAGE_V4] * (kind == "A")
        long = ".".join(["a" * 63] * 3 + ["b" * 40, "listed.test"])
        code, text = error_of(dns.query.udp(query(long, payload=512), HOST, timeout=20, port=service.dns))
        assert (code, json.loads(text or "")) == (dns.edns.EDECode.CENSORED, {"c": SAID["c"], "inc": SAID["inc"]})


def test_no_octet_of_an_error_depends_on_the_name(site: Site) -> None:
    site.change("page", **ON)
    site.publish(f"canary-{number}.test" for number in range(NAMES))
    tails: set[bytes] = set()
    with site.started() as service, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(20)
        one.connect((HOST, service.dns))
        for number in range(NAMES):
            asked = query(f"canary-{number}.test", ("A", "AAAA", "TXT")[number % 3]).to_wire()
            one.send(asked)
            answer = one.recv(1232)
            end = asked.index(b"\x04test\0") + 10
            assert answer[:2] + answer[12:end] == asked[:2] + asked[12:end]
            tails.add(answer[2:12] + answer[end:])
    assert len(tails) == 1
    (tail,) = tails
    assert b"canary" not in tail
