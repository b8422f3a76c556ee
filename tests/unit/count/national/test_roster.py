"""Rosters: each rule that keeps a figure from being read is a refusal, on both sides."""

import json
import math
from datetime import date
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver.count.national import roster
from resolver.count.national.forms import Refused
from resolver.count.national.roster import Noise
from resolver.signed import statement
from tests.unit.count.national import operators, vectors
from tests.unit.count.national.operators import (
    AUTHORITY,
    BEFORE,
    FEBRUARY,
    JANUARY,
    PINNED,
    correction,
    form,
    members,
    task,
)

FIVE = members(5)
SIX = members(6)


def test_a_roster_is_read_by_the_pinned_key_alone() -> None:
    data = roster.make(form(FIVE), AUTHORITY)
    assert roster.read(data, PINNED).form == form(FIVE)
    thief = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(Refused, match="not signed by the key of --authority"):
        roster.read(roster.make(form(FIVE), thief), PINNED)


def test_the_digest_is_that_of_the_whole_text() -> None:
    changes: list[dict[str, Any]] = [{}, {"closes": operators.CLOSED + 1}, {"definition": "v3"}, {"lists": ("court",)}]
    digests = {task(form(FIVE, **one)).digest for one in (*changes, {"noise": None})}
    assert len(digests) == 5


def test_when_it_opens() -> None:
    assert form(FIVE).begins == JANUARY
    assert form(FIVE).opens == FEBRUARY + 900
    assert form(FIVE, month="2027-12").opens == roster.midnight(date(2028, 1, 1)) + 900
    second = correction(task(form(FIVE)))
    assert second.opens == second.signed


def test_a_place_is_that_of_the_key() -> None:
    made = form(FIVE)
    assert [made.place_of(one.public) for one in FIVE] == [0, 1, 2, 3, 4]
    assert made.place_of(bytes(32)) is None


@pytest.mark.parametrize("case", vectors.made()["refused_rosters"], ids=lambda case: str(case["about"]))
def test_a_roster_against_the_rules_is_refused_by_who_reads_it(case: dict[str, str]) -> None:
    signed = statement.claimed(case["roster"].encode())
    assert signed[1] == PINNED
    with pytest.raises(Refused) as refused:
        roster.read(case["roster"].encode(), PINNED)
    assert len(str(refused.value)) > 20


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("5 to 16,384 operators", {"operators": form(FIVE).operators[1:]}),
        ("before 2027-01 began", {"signed": JANUARY}),
        ("in the order of their ids", {"lists": ("demo", "court")}),
        ("1 to 16 lists", {"lists": ()}),
        ("less than a day", {"closes": FEBRUARY + 900 + 86399}),
        ("corrects no other", {"corrects": "0" * 64}),
        ("names the roster that it corrects", {"round": 2}),
        ("more honest operators", {"noise": Noise(unit=480, scale=480, honest=6)}),
        ("printable line", {"authority": "two\nlines"}),
    ],
)
def test_a_roster_against_the_rules_is_not_signed(said: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=said):
        roster.make(form(FIVE, **changes), AUTHORITY)


@pytest.mark.parametrize("field", ["name", "key", "agreement"])
def test_a_key_or_a_name_stands_once(field: str) -> None:
    first, second, *others = form(SIX).operators
    twice = msgspec.structs.replace(second, **{field: getattr(first, field)})
    # The rule is told before the signature, which the change breaks too.
    with pytest.raises(Refused, match="stands twice in the roster"):
        roster.make(form(SIX, operators=(first, twice, *others)), AUTHORITY)


def test_a_key_of_small_order_is_not_signed() -> None:
    first, *others = form(FIVE).operators
    with pytest.raises(Refused, match="small order"):
        roster.make(form(FIVE, operators=(msgspec.structs.replace(first, agreement="00" * 32), *others)), AUTHORITY)


def swapped(victim: int) -> dict[str, tuple[roster.Operator, ...]]:
    """Operators of which an authority knows the X25519 keys, all but the victim's, in each way to write them."""
    genuine = form(FIVE).operators
    own = [X25519PrivateKey.from_private_bytes(operators.seed(f"of the authority {place}")) for place in range(5)]
    joins = [operators.Member(one.name, AUTHORITY, key).join() for one, key in zip(FIVE, own, strict=True)]
    every = {
        "the joins' signatures": [one.signature for one in genuine],
        "signatures by the authority": [one.signature.hex() for one in joins],
        "no signatures": ["00" * 64] * 5,
    }
    return {
        about: tuple(
            one
            if place == victim
            else msgspec.structs.replace(one, agreement=joins[place].form.agreement, signature=signatures[place])
            for place, one in enumerate(genuine)
        )
        for about, signatures in every.items()
    }


@pytest.mark.parametrize("about", swapped(2))
def test_an_authority_cannot_put_its_own_x25519_keys_beside_a_victim(about: str) -> None:
    """With them it would know all of the victim's masks, and read its figure (and noise) from one submission."""
    data = operators.forms.sign(form(FIVE, operators=swapped(2)[about]), AUTHORITY)
    with pytest.raises(Refused, match=f"operator {FIVE[0].name} has not signed this name and X25519 key as its join"):
        roster.read(data, PINNED)
    one = swapped(2)[about][0]
    alone = (one, *form(FIVE).operators[1:])
    with pytest.raises(Refused, match="has not signed this name and X25519 key"):
        roster.make(form(FIVE, operators=alone), AUTHORITY)


@pytest.mark.parametrize("changes", [{"name": "Another"}, {"made": BEFORE + 1}, {"signature": "00" * 64}])
def test_an_entry_is_the_join_that_the_operator_signed(changes: dict[str, Any]) -> None:
    first, *others = form(FIVE).operators
    changed = msgspec.structs.replace(first, **changes)
    with pytest.raises(Refused, match="has not signed this name and X25519 key as its join"):
        roster.make(form(FIVE, operators=(changed, *others)), AUTHORITY)


def test_the_newest_join_of_an_operator_counts() -> None:
    old, new = FIVE[0].join(1), operators.Member("Renamed", FIVE[0].key, FIVE[1].agreement).join(2)
    found = roster.operators_of([new, old, FIVE[2].join()])
    assert [one.name for one in found] == ["Renamed", FIVE[2].name]
    again = operators.Member("Other", FIVE[0].key, FIVE[0].agreement).join(1)
    with pytest.raises(Refused, match="two joins of the same moment"):
        roster.operators_of([old, again])


def test_a_correction_repeats_its_round() -> None:
    first = task(form(SIX))
    fresh = [X25519PrivateKey.from_private_bytes(operators.seed(f"fresh {place}")) for place in range(6)]
    renewed = roster.operators_of(
        operators.Member(one.name, one.key, key).join(operators.CLOSED) for one, key in zip(SIX, fresh, strict=True)
    )
    assert {one.agreement for one in renewed}.isdisjoint(one.agreement for one in first.form.operators)
    for second in (correction(first), correction(first, operators=renewed)):
        roster.check(second)
        roster.check_correction(second, first)


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("other operators", {"operators": form(SIX).operators[1:]}),
        ("other operators", {"operators": form(members(7)).operators}),
        ("another month", {"month": "2026-12"}),
        ("another definition", {"definition": "v3"}),
        ("another lists", {"lists": ("court",)}),
        ("another noise", {"noise": None}),
        ("another authority", {"authority": "Someone Else"}),
        ("before the first round closed", {"signed": operators.CLOSED - 1}),
        ("does not name this roster", {"corrects": "0" * 64}),
        ("does not name this roster", {"round": 1}),
    ],
)
def test_a_correction_that_differs_is_refused(said: str, changes: dict[str, Any]) -> None:
    first = task(form(SIX))
    with pytest.raises(Refused, match=said):
        roster.check_correction(correction(first, **changes), first)


def test_a_moment_that_no_calendar_has_is_refused() -> None:
    data = operators.signed_again(roster.make(form(FIVE), AUTHORITY), AUTHORITY, closes=2**40)
    with pytest.raises(Refused, match="not a roster of the national figure"):
        roster.read(data, PINNED)


def test_there_is_no_third_round() -> None:
    first = task(form(FIVE))
    second = task(correction(first))
    with pytest.raises(Refused, match="does not name this roster"):
        roster.check_correction(correction(second), second)
    third = operators.signed_again(roster.make(second.form, AUTHORITY), AUTHORITY, round=3)
    with pytest.raises(Refused, match="not a roster of the national figure"):
        roster.read(third, PINNED)


def test_the_deviation_is_that_of_the_noise() -> None:
    assert roster.deviation(None, 24) == 0
    assert roster.deviation(Noise(unit=480, scale=480, honest=1), 1) == pytest.approx(480 * math.sqrt(2), abs=1)
    assert roster.deviation(Noise(unit=480, scale=480, honest=12), 24) == pytest.approx(480 * 2, abs=1)


def test_a_roster_of_the_most_operators_with_the_longest_names_fits_into_a_file() -> None:
    made = form(FIVE)
    many = tuple(
        roster.Operator(
            name=f"{number:05} " + "\U00010348" * 58,
            key=f"{number:064x}",
            agreement=f"{number:064x}",
            made=operators.BEFORE,
            signature="ab" * 64,
        )
        for number in range(roster.MOST)
    )
    data = operators.forms.sign(msgspec.structs.replace(made, operators=many), AUTHORITY)
    assert len(json.loads(data)["statement"]) < len(data) < operators.forms.MOST_BYTES
    assert len(operators.forms.read(data, roster.Roster).form.operators) == roster.MOST
