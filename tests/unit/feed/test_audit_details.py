"""What is written into an audit line's detail is read from it again; anything else says nothing."""

import pytest

from resolver.feed import audit_details

AT = 1_745_000_000
KEY = "SHA256:" + "x" * 43


def test_what_is_written_is_read() -> None:
    assert audit_details.issued_of(audit_details.issued(AT)) == AT
    assert audit_details.issued_of(audit_details.held(("growth", "refused"), AT)) == AT
    assert audit_details.reasons_of(audit_details.held(("growth", "refused"), AT)) == ("growth", "refused")
    assert audit_details.approved_of(audit_details.approved("approve-set-aside", "anna@isp.example", KEY, 1000)) == (
        "approve-set-aside",
        "anna@isp.example",
        KEY,
        1000,
    )
    found = audit_details.release_of(audit_details.of_release(3, 1733, audit_details.released(AT, 0)))
    assert found == (3, 1733, f"until {AT}, by uid 0")
    assert audit_details.released_of(found.said) == (AT, 0)
    found = audit_details.release_of(audit_details.of_release(3, None, audit_details.confirmed("ben", KEY)))
    assert found == (3, None, f"by ben {KEY}")
    assert audit_details.confirmed_of(found.said) == ("ben", KEY)


def test_a_list_without_a_date_is_held_for_its_reasons_alone() -> None:
    assert audit_details.held(("growth", "refused"), 0) == "growth refused"
    assert audit_details.issued(0) == ""
    assert audit_details.reasons_of("growth refused") == ("growth", "refused")
    assert audit_details.issued_of("growth refused") == 0


@pytest.mark.parametrize(
    "detail",
    [
        "",
        "selftest",
        "targets keys replaced",
        "issued yesterday",
        "issued 2025-13-41T00:00:00Z",
        "anna, by uid 7",
        "by",
    ],
)
def test_what_has_another_form_says_nothing(detail: str) -> None:
    assert audit_details.issued_of(detail) == 0
    assert audit_details.approved_of(detail) is None
    assert audit_details.release_of(detail) is None
    assert audit_details.released_of(detail) is None
    assert audit_details.confirmed_of(detail) is None


def test_a_person_reads_dates_and_whatever_else_a_detail_says() -> None:
    said = audit_details.of_release(3, 17, audit_details.released(AT, 1000))
    assert audit_details.in_words(said) == "release 3 line 17: until 2025-04-18T18:13:20Z, by uid 1000"
    for other in ("", "by test", audit_details.held(("growth",), AT), audit_details.of_release(3, None, "by ben x")):
        assert audit_details.in_words(other) == other
