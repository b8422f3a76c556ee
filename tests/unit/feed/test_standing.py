"""Standing approvals as pure rules: what they accept, what they never accept, and what ends them."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from resolver.feed import approve, standing
from resolver.feed.actions import Action
from resolver.feed.approve import Refused, Signer
from resolver.feed.state import Held, Record, Standing, State, Terms
from tests.unit.feed.test_state import record

NOW = 1_800_000_000.0
UNTIL = int(NOW) + 3600
IN_FORCE = State(in_force=record(entries=1000))
ANNA, BEN = Signer("anna", "SHA256:anna", int(NOW) + 86400), Signer("ben", "SHA256:ben", int(NOW) + 86400)


def terms(state: State = IN_FORCE, **changes: Any) -> Terms:
    return standing.terms(state, **{"growth_to": 5000, "refused_to": 0, "until": UNTIL, "now": NOW, **changes})


def given(state: State = IN_FORCE, **changes: Any) -> State:
    about = terms(state, **changes)
    return standing.sign(standing.sign(state, about, ANNA, NOW), about, BEN, NOW)


def covers(
    found: Record, reasons: tuple[str, ...], state: State | None = None, now: float = NOW
) -> Standing | None:
    return standing.covers(given() if state is None else state, found, reasons, now)


@pytest.mark.parametrize(
    ("state", "changes", "why"),
    [
        (State(), {}, "no list is in force"),
        (State(in_force=record(withdrawn=True)), {}, "no list is in force"),
        (IN_FORCE, {"growth_to": 0}, "would allow nothing"),
        (IN_FORCE, {"growth_to": 1000}, "nothing up to 1000 is growth"),
        (IN_FORCE, {"until": int(NOW)}, "within 7 days"),
        (IN_FORCE, {"until": int(NOW) + standing.MOST_S + 1}, "within 7 days"),
    ],
)
def test_terms_that_no_approval_may_have(state: State, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        terms(state, **changes)


def test_terms_are_bound_to_the_keys_and_to_a_number_that_is_new() -> None:
    assert terms(growth_to=1001, until=int(NOW) + standing.MOST_S) == Terms(
        number=1, keys="keys", until=int(NOW) + standing.MOST_S, growth_to=1001, refused_to=0
    )
    assert terms(replace(IN_FORCE, standings=4)).number == 5


def test_the_statement_says_exactly_what_it_allows() -> None:
    first, second = standing.statements("demo", terms(refused_to=9), NOW).values()
    assert first.endswith(b"}\n")
    assert json.loads(first) == {
        "action": "standing",
        "list": "demo",
        "number": 1,
        "growth_to": 5000,
        "refused_to": 9,
        "until": "2027-01-15T09:00:00Z",
        "keys": "keys",
        "expiry": "2027-01-17T00:00:00Z",
    }
    assert {**json.loads(second), "expiry": ""} == {**json.loads(first), "expiry": ""}
    seen = {
        standing.statement("demo", terms(), 1),
        standing.statement("other", terms(), 1),
        standing.statement("demo", terms(), 2),
        *(standing.statement("demo", replace(terms(), **{key: value}), 1) for key, value in CHANGED.items()),
    }
    assert len(seen) == 3 + len(CHANGED)


CHANGED = {"number": 2, "keys": "others", "until": UNTIL + 1, "growth_to": 5001, "refused_to": 1}


def test_two_persons_with_two_keys_give_it() -> None:
    about = terms()
    one = standing.sign(IN_FORCE, about, ANNA, NOW)
    assert (one.standing, standing.missing(one.proposed[0]), one.standings) == (None, 1, 0)
    for again, why in (
        (ANNA, "counts already"),
        (Signer("anna", "SHA256:other", 1), "another key"),
        (Signer("carl", "SHA256:anna", 1), "another name"),
    ):
        with pytest.raises(Refused, match=why):
            standing.sign(one, about, again, NOW)
    two = standing.sign(one, about, BEN, NOW)
    assert (two.proposed, two.standings) == ((), 1)
    assert two.standing is not None
    assert (two.standing.terms, standing.persons(two.standing), standing.missing(two.standing)) == (
        about,
        "anna and ben",
        0,
    )
    signature = two.standing.signatures[1]
    assert (signature.action, signature.serial, signature.at, signature.expiry) == (
        Action.STANDING,
        1,
        int(NOW),
        BEN.expiry,
    )


def test_signatures_under_other_terms_do_not_add_up() -> None:
    one = standing.sign(IN_FORCE, terms(), ANNA, NOW)
    other = standing.sign(one, terms(growth_to=9999), BEN, NOW)
    assert (other.standing, len(other.proposed)) == (None, 2)
    done = standing.sign(other, terms(growth_to=9999), ANNA, NOW)
    assert done.standing is not None
    assert (done.standing.terms.growth_to, done.proposed) == (9999, ())


def test_there_is_an_end_to_what_is_proposed() -> None:
    found = IN_FORCE
    for number in range(standing.MOST_PROPOSED):
        found = standing.sign(found, terms(growth_to=2000 + number), ANNA, NOW)
    with pytest.raises(Refused, match="too many"):
        standing.sign(found, terms(growth_to=9000), ANNA, NOW)
    assert standing.sign(found, terms(growth_to=2000), BEN, NOW).standing is not None


@pytest.mark.parametrize(
    ("found", "reasons", "accepted"),
    [
        (record(8, entries=5000), ("growth",), True),
        (record(8, entries=5001), ("growth",), False),
        (record(8, entries=1200, refused={"url": 1}), ("refused_share",), False),
        (record(8, entries=1200), ("growth", "refused_share"), False),
        (record(8, entries=1200), ("growth", "set_aside"), False),
        (record(8, entries=900), ("shrink",), False),
        (record(8, entries=900), ("first_size",), False),
        (record(8, entries=900), ("exceptions",), False),
        (record(8, entries=0, withdrawn=True), ("withdrawn",), False),
        (record(8, entries=0, withdrawn=True), ("emptied",), False),
        (record(8, entries=0, withdrawn=True), ("growth",), False),
        (record(8, entries=1200, targets_keys="new keys"), ("growth",), False),
        (record(8, entries=1200), (), False),
    ],
)
def test_growth_within_the_terms_is_accepted_and_nothing_else(
    found: Record, reasons: tuple[str, ...], accepted: bool
) -> None:
    assert (covers(found, reasons) is not None) is accepted


def test_refused_lines_have_a_number_of_their_own() -> None:
    state = given(growth_to=0, refused_to=9)
    for refused, reasons, accepted in (
        ({"url": 5, "tld": 4}, ("refused_share",), True),
        ({"url": 5, "tld": 5}, ("refused_share",), False),
        ({"url": 1}, ("growth", "refused_share"), False),
    ):
        assert (covers(record(8, entries=2000, refused=refused), reasons, state) is not None) is accepted
    both = given(refused_to=9)
    assert covers(record(8, entries=2000, refused={"url": 9}), ("growth", "refused_share"), both)


def test_it_ends_in_its_very_second_with_its_keys_and_when_one_takes_it_back() -> None:
    state, grown = given(), record(8, entries=2000)
    assert covers(grown, ("growth",), state, UNTIL - 0.1)
    assert covers(grown, ("growth",), state, UNTIL) is None
    assert standing.kept(state, UNTIL - 1) is state
    assert standing.kept(state, UNTIL).standing is None
    rotated = replace(state, in_force=record(9, targets_keys="new keys"))
    assert standing.kept(rotated, NOW).standing is None
    assert standing.kept(replace(state, in_force=None), NOW).standing is None
    assert standing.subject(state) == (1, standing.digest_of(terms()))
    gone = standing.revoke(state)
    assert covers(grown, ("growth",), gone) is None
    with pytest.raises(Refused, match="no standing approval"):
        standing.subject(gone)


def test_what_was_taken_back_or_is_over_does_not_come_back_by_the_same_signatures() -> None:
    """The number that signatures name is used up: the next statement has another one."""
    for gone in (standing.revoke(given()), standing.kept(given(), UNTIL)):
        again = terms(gone, until=UNTIL + 3600, now=UNTIL)
        assert (gone.standings, again.number) == (1, 2)
        stale = replace(gone, proposed=(Standing(terms=terms(), signatures=given().standing.signatures[:1]),))
        assert standing.kept(stale, NOW).proposed == ()
    assert standing.digest_of(terms()) != standing.digest_of(terms(growth_to=5001))


def test_what_is_proposed_ends_with_its_statement_its_end_and_its_keys() -> None:
    one = standing.sign(IN_FORCE, terms(until=int(NOW) + 2 * 86400), ANNA, NOW)
    assert standing.kept(one, ANNA.expiry - 1) is one
    assert standing.kept(one, ANNA.expiry).proposed == ()
    short = standing.sign(IN_FORCE, terms(), ANNA, NOW)
    assert standing.kept(short, UNTIL).proposed == ()
    assert standing.kept(replace(short, in_force=record(9, targets_keys="new keys")), NOW).proposed == ()


def test_a_revocation_counts_for_the_approval_that_it_names() -> None:
    state = given()
    new = approve.add(state, Action.REVOKE, standing.subject(state), ANNA, NOW)
    assert approve.missing(new, Action.REVOKE, standing.subject(state)) == 0
    assert approve.kept(new, NOW) == new
    assert approve.kept(standing.revoke(new), NOW).approvals == ()
    later = replace(new, standing=replace(state.standing, terms=replace(terms(), number=2)))
    assert approve.kept(later, NOW).approvals == ()
    assert approve.kept(new, ANNA.expiry).approvals == ()


def test_it_is_told_in_words_and_as_options() -> None:
    about = terms(refused_to=9)
    assert standing.words(about) == "growth to 5000 entries and up to 9 refused lines until 2027-01-15T09:00:00Z"
    assert standing.options(about) == "--growth-to 5000 --refused-to 9 --until 2027-01-15T09:00:00Z"
    assert standing.words(terms(growth_to=0, refused_to=9)) == "up to 9 refused lines until 2027-01-15T09:00:00Z"
    assert standing.options(terms(growth_to=0, refused_to=9)) == "--refused-to 9 --until 2027-01-15T09:00:00Z"


def test_what_is_held_says_nothing_of_the_terms() -> None:
    held = replace(IN_FORCE, held=Held(record=record(8, entries=9000), reasons=("growth",), since=1))
    assert terms(held) == terms()
