"""What an answer that is no list says: RCODE, TSIG error, clock, in octets as primaries send them."""

import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.rrset
import dns.tsig
import pytest

from resolver.feed.details import Code, Detail, Place
from resolver.feed.fetch import zone_refused
from resolver.feed.reasons import Reason
from tests.fakes.primary import KEY, ZONE, message, soa

NOW = 1_800_000_000


def answer(rcode: int = 0, error: int = 0, other: bytes = b"", at: int = NOW, algorithm: str = "hmac-sha256.") -> bytes:
    """An answer with a TSIG record that holds this error, not signed: as a primary sends it that knows no key."""
    made = message([] if rcode else [soa(7)], 77, "SOA")
    made.set_rcode(rcode)
    record = dns.rdtypes.ANY.TSIG.TSIG(
        dns.rdataclass.ANY, dns.rdatatype.TSIG, dns.name.from_text(algorithm), at, 300, b"", 77, error, other
    )
    made.additional.append(dns.rrset.from_rdata(KEY.name, 0, record))
    return made.to_wire()


@pytest.mark.parametrize(
    ("wire", "reason", "code"),
    [
        (answer(9, 16), Reason.DENIED, Code.TSIG_BADSIG),
        (answer(9, 17), Reason.DENIED, Code.TSIG_BADKEY),
        (answer(9, 22), Reason.DENIED, Code.TSIG_BADTRUNC),
        (answer(9), Reason.DENIED, Code.ZONE_NOTAUTH),
        (answer(9, 18, b"short"), Reason.DENIED, Code.ZONE_NOTAUTH),
        (answer(9, 99), Reason.DENIED, Code.ZONE_NOTAUTH),
        (answer(5), Reason.DENIED, Code.ZONE_REFUSED),
        (answer(3), Reason.DENIED, Code.ZONE_RCODE),
        (answer(2), Reason.TRANSFER, Code.ZONE_RCODE),
        (answer(1), Reason.TRANSFER, Code.ZONE_RCODE),
    ],
)
def test_what_an_answer_states(wire: bytes, reason: Reason, code: Code) -> None:
    failed = zone_refused.refusal(wire, NOW)
    assert failed is not None
    assert failed.detail is not None
    assert (failed.reason, failed.detail.code, failed.detail.at) == (reason, code, Place.HOST)


@pytest.mark.parametrize(("ahead", "code"), [(600, Code.CLOCK_AHEAD), (-90, Code.CLOCK_BEHIND)])
def test_badtime_says_by_how_much(ahead: int, code: Code) -> None:
    failed = zone_refused.refusal(answer(9, 18, (NOW + ahead).to_bytes(6, "big")), NOW)
    assert failed is not None
    assert failed.detail == Detail(code=code, at=Place.HOST, numbers=(abs(ahead),))


def test_a_good_answer_and_a_query_state_nothing() -> None:
    assert zone_refused.refusal(answer(), NOW) is None
    query = dns.message.make_query(ZONE, "SOA").to_wire()
    assert zone_refused.refusal(query, NOW) is None
    assert zone_refused.refusal(b"", NOW) is None


def test_why_a_signature_does_not_count() -> None:
    unsigned = message([soa(7)], 77, "SOA").to_wire()
    found = [
        zone_refused.unverified(unsigned, KEY, NOW),
        zone_refused.unverified(answer(algorithm="hmac-sha512."), KEY, NOW),
        zone_refused.unverified(answer(at=NOW - 900), KEY, NOW),
        zone_refused.unverified(answer(), KEY, NOW),
    ]
    assert [each.code for each in found] == [
        Code.TSIG_NONE,
        Code.TSIG_ALGORITHM,
        Code.CLOCK_BEHIND,
        Code.TSIG_WRONG,
    ]
    assert found[2].numbers == (900,)


@pytest.mark.parametrize("cut", range(12, 60, 5))
def test_a_message_that_is_cut_has_no_record(cut: int) -> None:
    assert zone_refused.tsig_of(answer()[:cut]) is None
