"""An answer and a walk as they are shown."""

import json
from dataclasses import replace

from resolver.cli import screen_answer
from resolver.dns_client.encrypted import Secured
from tests.unit.dns_client.test_client import full, understood
from tests.unit.query.parts import SOA

STEPS = (("client", "is one of listen.allow", 0.00002), ("lists", "no list blocks the name", 0.0015))
LINES = [
    "NOERROR  flags rd ra ad  1.5 ms",
    "extended error 4 (Forged Answer)",
    "extended error 4000 (see RFC 8914)",
    "answer     open.test. 60 A 192.0.2.1",
    f"authority  test. 60 SOA {SOA}",
    "additional ns.test. 60 A 198.51.100.8",
]
FACTS = {
    "rcode": "NOERROR",
    "flags": ["rd", "ra", "ad"],
    "extended_errors": [{"code": 4, "name": "Forged Answer"}, {"code": 4000, "name": "see RFC 8914"}],
    "answer": ["open.test. 60 A 192.0.2.1"],
    "authority": [f"test. 60 SOA {SOA}"],
    "additional": ["ns.test. 60 A 198.51.100.8"],
    "milliseconds": 1.5,
}


def test_an_answer_as_a_person_reads_it() -> None:
    assert screen_answer.screen(understood(full)).splitlines() == LINES


SECURED = Secured(octets=b"", over="https", version="TLSv1.3", name="dns.isp.example", until=1_800_000_000.0)


def test_a_secured_answer_says_how_it_came_and_until_when_the_certificate_is_valid() -> None:
    answer = replace(understood(full), secured=SECURED)
    first, second, *rest = screen_answer.screen(answer).splitlines()
    assert [first, *rest] == LINES
    assert second == (
        "DNS over HTTPS (HTTP/2), TLSv1.3, certificate verified for dns.isp.example, until 2027-01-15T08:00:00Z"
    )
    said = json.loads(screen_answer.as_json(answer))
    assert said == {
        **FACTS,
        "over": "https",
        "tls": "TLSv1.3",
        "verified_for": "dns.isp.example",
        "certificate_until": "2027-01-15T08:00:00Z",
    }


def test_an_answer_as_a_program_reads_it() -> None:
    assert json.loads(screen_answer.as_json(understood(full))) == FACTS


def test_a_walk_as_a_person_reads_it() -> None:
    client, lists, empty, *answer = screen_answer.walk_screen(STEPS, understood(full)).splitlines()
    assert client.split() == ["client", "is", "one", "of", "listen.allow", "0.02", "ms"]
    assert lists.split()[-2:] == ["1.50", "ms"]
    assert (empty, answer) == ("", LINES)
    assert screen_answer.walk_screen(STEPS, None).splitlines()[-1] == "no answer is sent"


def test_a_walk_as_a_program_reads_it() -> None:
    walked = json.loads(screen_answer.walk_as_json(STEPS, understood(full)))
    assert walked["steps"][0] == {"step": "client", "said": "is one of listen.allow", "milliseconds": 0.02}
    assert walked["reply"] == FACTS
    assert json.loads(screen_answer.walk_as_json(STEPS, None))["reply"] is None
