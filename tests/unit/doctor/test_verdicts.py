"""doctor/verdicts.py: a leak only with data of the listed name, enforced only what blocked answers look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.doctor import verdicts, wire, zone
from resolver.doctor.verdicts import Expected, Found, Verdict
from resolver.doctor.wire import Malformed, Message, Record
from tests.unit.doctor.resolvers import ENTRY, PAGE4, PAGE6

PAGES = Expected(v4=frozenset({PAGE4}), v6=frozenset({PAGE6}))
ONE_PAGE = Expected(v4=frozenset({PAGE4}))


def reply(
    answer: list[tuple[int, bytes]] = [],  # noqa: B006 - never changed
    rcode: int = 0,
    authority: list[tuple[int, bytes]] = [],  # noqa: B006 - never changed
    additional: list[tuple[int, bytes]] = [],  # noqa: B006 - never changed
) -> Message:
    parts = (answer, authority, additional)
    sections = [tuple(Record(ENTRY, kind, wire.IN, 60, data) for kind, data in part) for part in parts]
    return Message(1, wire.QR, rcode, ((ENTRY, 1, 1),), *sections, options=(), payload=None, do=False)


MARKED = [
    (wire.A, zone.LISTED_V4), (wire.AAAA, zone.LISTED_V6), (wire.TXT, wire.txt(zone.LISTED_TEXT)),
    (wire.HTTPS, wire.svcb(1, (), [(4, zone.LISTED_V4)])), (65_280, zone.LISTED_TEXT),
]  # fmt: skip


@pytest.mark.parametrize("record", MARKED)
@pytest.mark.parametrize("place", ["answer", "authority", "additional"])
def test_data_of_the_listed_name_are_a_leak_wherever_they_are(record: tuple[int, bytes], place: str) -> None:
    said = reply(**{place: [record]})  # type: ignore[arg-type]  # one of three sections
    assert place.upper() in verdicts.leak_in(said)
    for found in (
        verdicts.judge_blocked(said, wire.A, None),
        verdicts.judge_any(said, PAGES),
        verdicts.judge_not_recursed(said, wire.A, PAGES),
        verdicts.judge_led_to(said, wire.HTTPS, PAGES),
        verdicts.judge_hidden(said, wire.MX),
        verdicts.judge_open(said, wire.A, PAGES),
    ):
        assert found.verdict is Verdict.LEAKS


@pytest.mark.parametrize(
    "record",
    [
        (wire.A, PAGE4), (wire.A, zone.OPEN_V4), (wire.AAAA, PAGE6), (wire.CNAME, wire.wire_of(ENTRY)),
        # Octets of a signature are no address.
        (wire.RRSIG, bytes(20) + zone.LISTED_V4),
    ],
)  # fmt: skip
def test_nothing_else_is_a_leak(record: tuple[int, bytes]) -> None:
    assert verdicts.leak_in(reply([record], authority=[record], additional=[record])) == ""


CASES: list[tuple[str, Expected, int, Message, Verdict]] = [
    ("the page", PAGES, wire.A, reply([(wire.A, PAGE4)]), Verdict.ENFORCED),
    ("behind an alias", PAGES, wire.A, reply([(wire.CNAME, b"\0"), (wire.A, PAGE4)]), Verdict.ENFORCED),
    ("an address of nobody's", PAGES, wire.A, reply([(wire.A, bytes(4))]), Verdict.UNKNOWN),
    ("the page and another", PAGES, wire.A, reply([(wire.A, PAGE4), (wire.A, bytes(4))]), Verdict.UNKNOWN),
    ("the page's AAAA", PAGES, wire.AAAA, reply([(wire.AAAA, PAGE6)]), Verdict.ENFORCED),
    ("no data, but it has a page", PAGES, wire.AAAA, reply(), Verdict.UNKNOWN),
    ("no data, it has no page", ONE_PAGE, wire.AAAA, reply(), Verdict.ENFORCED),
    ("an address, it has no page", ONE_PAGE, wire.AAAA, reply([(wire.AAAA, PAGE6)]), Verdict.UNKNOWN),
    ("no data of another type", PAGES, wire.HTTPS, reply(), Verdict.ENFORCED),
    ("data of another type", PAGES, wire.HTTPS, reply([(wire.HTTPS, b"\0\1\0")]), Verdict.UNKNOWN),
    ("an alias alone", PAGES, wire.HTTPS, reply([(wire.CNAME, b"\0")]), Verdict.ENFORCED),
    ("an alias alone is no page", PAGES, wire.A, reply([(wire.CNAME, b"\0")]), Verdict.UNKNOWN),
    ("NXDOMAIN is not the page", PAGES, wire.A, reply(rcode=3), Verdict.UNKNOWN),
    ("SERVFAIL is not the page", PAGES, wire.HTTPS, reply(rcode=2), Verdict.UNKNOWN),
    ("NXDOMAIN", Expected(wire.NXDOMAIN), wire.A, reply(rcode=3), Verdict.ENFORCED),
    ("NXDOMAIN with data", Expected(wire.NXDOMAIN), wire.A, reply([(wire.A, PAGE4)], rcode=3), Verdict.UNKNOWN),
    ("NODATA", Expected(), wire.A, reply(), Verdict.ENFORCED),
    ("NODATA with data", Expected(), wire.A, reply([(wire.A, PAGE4)]), Verdict.UNKNOWN),
    ("REFUSED", Expected(wire.REFUSED), wire.A, reply(rcode=5), Verdict.ENFORCED),
]


@pytest.mark.parametrize(("case", "expected", "kind", "said", "verdict"), CASES, ids=[one[0] for one in CASES])
def test_what_a_blocked_answer_is(case: str, expected: Expected, kind: int, said: Message, verdict: Verdict) -> None:
    assert verdicts.judge_blocked(said, kind, expected).verdict is verdict, case
    assert verdicts.judge_blocked(said, kind, None).verdict is Verdict.UNKNOWN, "never enforced by a guess"


def test_any_may_be_left_unanswered() -> None:
    minimal, page = reply([(wire.HINFO, b"\7RFC8482\0")]), reply([(wire.A, PAGE4)])
    for said in (reply(rcode=4), reply(rcode=5), minimal, page, reply()):
        assert verdicts.judge_any(said, PAGES).verdict is Verdict.ENFORCED
    for said in (reply([(wire.TXT, b"\1x")]), reply(rcode=2), reply([(wire.A, bytes(4))])):
        assert verdicts.judge_any(said, PAGES).verdict is Verdict.UNKNOWN
    assert verdicts.judge_any(reply(), None).verdict is Verdict.UNKNOWN


def test_without_recursion_a_refusal_is_right() -> None:
    assert verdicts.judge_not_recursed(reply(rcode=5), wire.A, PAGES).verdict is Verdict.ENFORCED
    assert verdicts.judge_not_recursed(reply([(wire.A, PAGE4)]), wire.A, PAGES).verdict is Verdict.ENFORCED
    assert verdicts.judge_not_recursed(reply(), wire.A, PAGES).verdict is Verdict.UNKNOWN


def test_what_leads_there_and_what_is_open() -> None:
    named = reply([(wire.HTTPS, wire.svcb(0, ENTRY))])
    assert verdicts.judge_led_to(named, wire.HTTPS, PAGES).verdict is Verdict.WEAK
    assert verdicts.judge_led_to(reply(), wire.HTTPS, PAGES).verdict is Verdict.ENFORCED
    assert verdicts.judge_led_to(reply(rcode=2), wire.HTTPS, PAGES).verdict is Verdict.UNKNOWN
    assert verdicts.judge_hidden(reply([(wire.MX, b"\0\0\0")]), wire.MX).verdict is Verdict.ENFORCED
    assert verdicts.judge_hidden(reply(), wire.MX).verdict is Verdict.UNKNOWN
    assert verdicts.judge_open(reply([(wire.A, zone.OPEN_V4)]), wire.A, PAGES).verdict is Verdict.ENFORCED
    assert verdicts.judge_open(reply([(wire.A, PAGE4)]), wire.A, PAGES).verdict is Verdict.OVER_BLOCKS
    assert verdicts.judge_open(reply(), wire.HTTPS, PAGES).verdict is Verdict.UNKNOWN
    assert verdicts.judge_open(reply(), wire.AAAA, ONE_PAGE).verdict is Verdict.UNKNOWN
    assert verdicts.judge_open(reply(), wire.A, Expected()).verdict is Verdict.OVER_BLOCKS


def test_an_address_that_dns64_makes_of_the_listed_one_is_a_leak() -> None:
    for made in ("64:ff9b::cb00:7142", "2001:db8:cb00:7142::", "2001:db8:1cb:71:42::", "2001:db8:122:cb:0:7142::"):
        came = reply([(wire.AAAA, wire.address(made))])
        assert verdicts.judge_blocked(came, wire.AAAA, PAGES).verdict is Verdict.LEAKS, made


def test_an_open_name_that_fails_is_unknown() -> None:
    assert verdicts.judge_open(reply(rcode=2), wire.A, PAGES).verdict is Verdict.UNKNOWN


def test_what_the_operator_says() -> None:
    assert verdicts.expected_of(["192.0.2.1", "2001:db8::1"]) == PAGES
    assert str(PAGES) == "192.0.2.1 2001:db8::1"
    for word in ("nxdomain", "NODATA", "refused"):
        assert str(verdicts.expected_of([word])) == word.upper()
    for words in (["page"], ["192.0.2.1", "nodata"], ["203.0.113.66"], ["198.51.100.22"]):
        with pytest.raises(verdicts.NotUnderstood):
            verdicts.expected_of(words)


def test_what_is_learnt() -> None:
    learnt = verdicts.learnt(reply([(wire.A, PAGE4)]), reply([(wire.AAAA, PAGE6)]))
    assert learnt == Expected(v4=PAGES.v4, v6=PAGES.v6, learnt=True)
    assert verdicts.learnt(reply(rcode=3), None) == Expected(wire.NXDOMAIN, learnt=True)
    assert verdicts.learnt(reply(), reply()) == Expected(learnt=True)
    assert verdicts.learnt(reply(rcode=2), reply()) is None
    assert verdicts.learnt(reply([(wire.A, zone.LISTED_V4)]), reply()) is None
    half = verdicts.learnt(reply([(wire.A, PAGE4)]), reply([(wire.AAAA, zone.LISTED_V6)]))
    assert half == Expected(v4=PAGES.v4, learnt=True)


def test_the_worst_is_what_counts() -> None:
    found = [Found(one, "x") for one in (Verdict.ENFORCED, Verdict.UNKNOWN, Verdict.LEAKS, Verdict.WEAK)]
    assert verdicts.worst(found).verdict is Verdict.LEAKS
    assert verdicts.worst([]).verdict is Verdict.UNKNOWN


@given(st.binary(max_size=200), st.sampled_from([wire.A, wire.AAAA, wire.HTTPS, wire.ANY, wire.MX]))
def test_whatever_a_resolver_sends_has_a_verdict(octets: bytes, kind: int) -> None:
    head = b"\0\1\x80\0\0\0\0\2\0\0\0\0"
    try:
        said = wire.read(head + octets)
    except Malformed:
        return
    for expected in (PAGES, Expected(wire.NXDOMAIN), None):
        found = [
            verdicts.judge_blocked(said, kind, expected), verdicts.judge_any(said, expected),
            verdicts.judge_led_to(said, kind, expected), verdicts.judge_open(said, kind, expected),
        ]  # fmt: skip
        if not verdicts.leak_in(said):
            assert all(one.verdict is not Verdict.LEAKS for one in found)
