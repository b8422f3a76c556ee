"""A bundle that was changed anywhere is refused: by its signature, and where it was signed anew, by itself."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from resolver.evidence import bundle, check, counts
from resolver.evidence.bundle import Bundle, Issue, NoiseBudget, Receipt, Sums
from resolver.evidence.check import Refused
from resolver.feed import audit
from resolver.signed import statement
from tests.unit.evidence import april

Said = dict[str, Any]
Again = Callable[[Bundle], bytes]


def holds(data: bytes, previous: bytes | None = None) -> tuple[list[str], list[str]]:
    earlier = None if previous is None else check.opened(previous)
    return check.verified(check.opened(data), pinned=False, previous=earlier)


def test_what_holds_is_told_and_what_it_does_not_prove(issued: tuple[bytes, bytes]) -> None:
    proved, not_proved = holds(*issued[:1])
    assert "first bundle of its host" in proved[-1]
    assert any("give --host-key" in one for one in not_proved)
    assert any("no visitor reached a listed name" in one for one in not_proved)
    assert not any("list is blocked" in one for one in (*proved, *not_proved))
    proved, not_proved = holds(issued[1], issued[0])
    assert "continues that of the month before" in proved[-1]
    assert not any("--previous" in one for one in not_proved)
    assert any("give --previous" in one for one in holds(issued[1])[1])
    opened = check.opened(issued[0])
    assert not any("host-key" in one for one in check.verified(opened, pinned=True)[1])


def test_what_is_doubtful_is_told(of_april: Bundle, signed_again: Again) -> None:
    receipt = of_april.receipts[0]
    doubtful = {
        "no valid signature": replace(of_april, receipts_passed_over=2),
        "another key than the bundle": with_receipt(of_april, replace(receipt, key="a" * 64)),
        "does not show it": with_receipt(of_april, replace(receipt, serial=99)),
        "unknown to this release": replace(of_april, definition=replace(of_april.definition, version="v9")),
    }
    before = holds(signed_again(of_april))[1]
    for said, one in doubtful.items():
        assert not any(said in told for told in before)
        assert any(said in told for told in holds(signed_again(one))[1])


def with_receipt(one: Bundle, receipt: Receipt) -> Bundle:
    return replace(one, receipts=(receipt, *one.receipts[1:]))


def test_the_pinned_key_alone_will_do(issued: tuple[bytes, bytes]) -> None:
    key = check.opened(issued[0]).key
    assert check.opened(issued[0], key).bundle.month == "2025-04"
    with pytest.raises(Refused, match="not signed by the key of --host-key"):
        check.opened(issued[0], bytes(32))


def test_a_byte_changed_anywhere_is_refused(issued: tuple[bytes, bytes]) -> None:
    data = issued[0]
    # Every 37th octet, and all of the last 200: key, signature, end of the line.
    for at in (*range(0, len(data), 37), *range(len(data) - 200, len(data))):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(Refused):
            check.opened(bytes(changed))


@pytest.mark.parametrize("change", [b" ", b"\n", b"x", b"{}"])
def test_what_stands_around_it_is_refused(issued: tuple[bytes, bytes], change: bytes) -> None:
    for changed in (change + issued[0], issued[0] + change):
        with pytest.raises(Refused):
            check.opened(changed)


def test_what_is_cut_short_is_refused(issued: tuple[bytes, bytes]) -> None:
    for length in (0, 1, 100, len(issued[0]) // 2, len(issued[0]) - 1):
        with pytest.raises(Refused):
            check.opened(issued[0][:length])


def test_the_same_signed_anew_by_another_is_another_bundle(of_april: Bundle, issued: tuple[bytes, bytes]) -> None:
    thief = Ed25519PrivateKey.generate()
    forged = statement.sign(bundle.statement_of(of_april), thief)
    with pytest.raises(Refused, match="not signed by the key"):
        check.opened(forged, check.opened(issued[0]).key)
    with pytest.raises(Refused, match="does not name the file of --previous"):
        holds(issued[1], forged)


def test_a_receipt_is_no_bundle(written: Any) -> None:
    data = next((written / "state/receipts").glob("*.json")).read_bytes()
    with pytest.raises(Refused, match="not a bundle of evidence"):
        check.opened(data)


# What its own host could sign, and does not hold: every field, one after another.


def leaves(said: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value that is no container."""
    if isinstance(said, dict | list):
        for key, inner in said.items() if isinstance(said, dict) else enumerate(said):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str() if len(value) == 64 and value.isalnum():
            return f"{value[:-1]}{'0' if value[-1] != '0' else '1'}"
        case str():
            return f"{value}x"
        case _:
            return 1


# What a bundle says alone, that nothing else in it follows from or goes with.
SAYS_ALONE = {
    "audit.first",
    "audit.verified",
    "caveats",
    "coverage.beats",
    "coverage.subscribers_least",
    "coverage.subscribers_most",
    "definition.used",
    "definition.version",
    "host",
    "lists.days.gap",
    "lists.demonstration",
    "lists.gaps.enforced_s",
    "lists.gaps.since",
    "lists.gaps.why",
    "lists.legal_reference",
    "lists.not_comparable",
    "lists.peak_day",
    "lists.ratio",
    "lists.saturated_beats",
    "made",
    "receipts.approved",
    "receipts.at",
    "receipts.digest",
    "receipts.entries",
    "receipts.file",
    "receipts.issued",
    "receipts.key",
    "receipts.refused",
    "receipts.serial",
    "receipts.set_aside",
    "receipts.tested",
    "receipts_passed_over",
    "region",
    "version",
}


def test_every_field_that_follows_from_another_is_held_against_it(
    issued: tuple[bytes, bytes], signed_again: Again
) -> None:
    said = json.loads(json.dumps(bundle.statement_of(check.opened(issued[0]).bundle)))
    missed = set()
    # The first two of each kind are enough: all others are read by the same lines.
    for path in leaves(said):
        if path[:2] == ("lists", 1) or any(isinstance(key, int) and key > 1 for key in path):
            continue
        other = json.loads(json.dumps(said))
        place = other
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = changed(place[path[-1]])
        try:
            holds(signed_again(bundle.bundle_of(other)))
        except (Refused, bundle.NotEvidence):
            continue
        missed.add(".".join(key for key in path if isinstance(key, str)))
    assert missed == SAYS_ALONE


CHANGES: dict[str, tuple[str, Callable[[Bundle], Bundle]]] = {
    "a list is left out": ("left out", lambda one: replace(one, lists=one.lists[:1], totals=one.lists[0].sums)),
    "a list is told twice": ("stands twice", lambda one: replace(one, lists=one.lists[:1] * 2, totals=doubled(one))),
    "a day is left out": ("its days are not", lambda one: first(one, days=one.lists[0].days[1:])),
    "a line of the log is left out": (
        "is broken",
        lambda one: replace(one, audit=replace(one.audit, lines=(*one.audit.lines[:3], *one.audit.lines[4:]))),
    ),
    "the log is cut": ("does not end", lambda one: replace(one, audit=replace(one.audit, lines=one.audit.lines[:-1]))),
    "the log did not hold": ("was broken", lambda one: replace(one, audit=replace(one.audit, broken="line 3"))),
    "a missed deadline is left out": (
        "does not follow from the audit log",
        lambda one: first(one, course=replace(one.lists[0].course, deadlines=one.lists[0].course.deadlines[:1])),
    ),
    "the deadline was longer": ("does not follow from the audit log", lambda one: first(one, deadline_s=10 * 86400)),
    "a receipt is left out": ("self-tests", lambda one: replace(one, receipts=one.receipts[1:])),
    "a receipt of another month": (
        "another month",
        lambda one: replace(one, receipts=(replace(one.receipts[0], at=1), *one.receipts[1:])),
    ),
    "gaps out of order": ("its gaps", lambda one: first(one, gaps=one.lists[0].gaps[::-1])),
    "a month too long": ("not the sum of its days", lambda one: first(one, enforced_s=32 * 86400)),
    "dated before its end": ("dated before", lambda one: replace(one, made=1)),
    "another text of the definition": (
        "not the real one",
        lambda one: replace(one, definition=replace(one.definition, text=("An attempt is a person.",))),
    ),
    "without its place": ("place in the chain", lambda one: replace(one, chain=None)),
    "with a number that does not follow": ("does not follow that", lambda one: placed(one, number=3)),
    "naming another month before": (
        "another month",
        lambda one: placed(one, number=2, before=NAMED, previous_month=replace(NAMED, month="2025-02")),
    ),
    "replacing another month": (
        "of another month",
        lambda one: placed(one, number=2, before=NAMED, replaces=NAMED, why="x"),
    ),
    "a correction without a reason": ("must name the bundle that it replaces", lambda one: placed(one, why="x")),
    "so far, but whole": ("place in the chain", lambda one: replace(one, complete=False)),
    "so far to another month": (
        "last day is not",
        lambda one: replace(one, complete=False, chain=None, through="2025-05-02"),
    ),
    "a budget overspent": ("overspent", lambda one: replace(one, noise=(replace(BUDGET, spent=40001),))),
    "a day overspent": ("overspent", lambda one: replace(one, noise=(replace(BUDGET, dearest_day=201),))),
    "a day dearer than its year": ("do not add up", lambda one: replace(one, noise=(replace(BUDGET, spent=50),))),
    "a budget of another year": ("another year", lambda one: replace(one, noise=(replace(BUDGET, year=2024),))),
    "whole, but not to the end": ("does not reach the last day", lambda one: replace(one, through="2025-04-29")),
}
BUDGET = NoiseBudget(list="demo", year=2025, spent=3000, most=40000, dearest_day=100, most_a_day=200)
NAMED = Issue(number=1, month="2025-03", sha256="a" * 64)


def doubled(one: Bundle) -> Sums:
    return counts.together((one.lists[0].sums, one.lists[0].sums))


def first(one: Bundle, **new: Any) -> Bundle:
    return replace(one, lists=(replace(one.lists[0], **new), *one.lists[1:]))


def placed(one: Bundle, **new: Any) -> Bundle:
    assert one.chain is not None
    return replace(one, chain=replace(one.chain, **new))


@pytest.mark.parametrize(("said", "change"), CHANGES.values(), ids=CHANGES)
def test_what_its_own_host_signs_has_to_hold(
    said: str, change: Callable[[Bundle], Bundle], of_april: Bundle, signed_again: Again
) -> None:
    holds(signed_again(of_april))
    with pytest.raises(Refused, match=said):
        holds(signed_again(change(of_april)))


def test_the_bundle_before_has_to_be_the_one_that_is_named(
    issued: tuple[bytes, bytes], of_april: Bundle, signed_again: Again
) -> None:
    april, may = issued
    with pytest.raises(Refused, match="does not name the file of --previous"):
        holds(may, may)
    with pytest.raises(Refused, match="does not name the file of --previous"):
        holds(may, signed_again(replace(of_april, region="elsewhere")))
    told = check.opened(may).bundle
    assert told.chain is not None
    named = replace(told.chain.before, number=7)
    with pytest.raises(Refused, match="another number or month"):
        holds(
            signed_again(replace(told, chain=replace(told.chain, number=8, before=named, previous_month=named))), april
        )


def test_the_log_has_to_go_on_where_the_month_before_ended(issued: tuple[bytes, bytes], signed_again: Again) -> None:
    april, may = issued
    told = check.opened(may).bundle
    entries, _ = audit.chained(line.encode() for line in told.audit.lines)
    begun = audit.Head(entries[0].number - 1, "b" * 64)
    lines, head = [], begun
    for entry in entries:
        line = audit.line_of(replace(entry, previous=head.hash))
        lines.append(line.decode())
        head = audit.Head(entry.number, bundle.hash_of(line))
    rewritten = replace(
        told.audit,
        before=bundle.Mark(number=begun.number, hash=begun.hash),
        end=bundle.Mark(number=head.number, hash=head.hash),
        lines=tuple(lines),
    )
    data = signed_again(replace(told, audit=rewritten))
    holds(data)
    with pytest.raises(Refused, match="does not continue that of --previous"):
        holds(data, april)


def test_a_list_begins_the_month_as_the_one_before_left_it(issued: tuple[bytes, bytes], signed_again: Again) -> None:
    april, may = issued
    told = check.opened(may).bundle
    # Without its releases of before, the course of May still follows from its own lines.
    second = told.lists[1]
    begun = replace(second.at_begin, suspension=bundle.Suspension(serial=4, at=5))
    course = replace(second.course, suspensions=(bundle.Suspension(serial=4, at=5),))
    data = signed_again(replace(told, lists=(told.lists[0], replace(second, at_begin=begun, course=course))))
    holds(data)
    with pytest.raises(Refused, match="not the one in which the month before ended"):
        holds(data, april)


def test_a_key_in_another_writing_is_refused(issued: tuple[bytes, bytes]) -> None:
    """Base64 has spare bits, JSON has escapes: a signature holds under them, the file is another."""
    signed = json.loads(issued[0])
    key = signed["key"]
    spare = key[:-2] + chr(ord(key[-2]) + 1) + "="
    assert base64.b64decode(spare) == base64.b64decode(key)
    for other in (signed | {"key": spare}, signed | {"note": "x"}):
        data = json.dumps(other, separators=(",", ":")).encode() + b"\n"
        statement.claimed(data)
        with pytest.raises(Refused, match="changed since it was written"):
            check.opened(data)


def test_the_fingerprint_is_told(issued: tuple[bytes, bytes]) -> None:
    opened = check.opened(issued[0])
    assert check.fingerprint(opened.key) in holds(issued[0])[0][0]
    assert len(check.fingerprint(opened.key)) == 16


PARTLY: dict[str, tuple[str, dict[str, Any]]] = {
    "before the month": ("do not begin within", {"host_since": 1}),
    "after an entry": ("begin before the time", {"host_since": april.at("04-29 00:00")}),
}


@pytest.mark.parametrize(("said", "new"), PARTLY.values(), ids=PARTLY)
def test_a_host_cannot_state_that_it_began_after_what_it_has_written(
    said: str, new: dict[str, Any], of_april: Bundle, signed_again: Again
) -> None:
    unknown = Sums(attempts=None, blocked_queries=None, capped=None)
    lists = (replace(one, days=(), sums=unknown, per_100k=None, enforced_s=0) for one in of_april.lists)
    without_days = replace(of_april, lists=tuple(lists), totals=unknown)
    with pytest.raises(Refused, match=said):
        holds(signed_again(replace(without_days, **new)))


def test_counts_before_a_host_existed_are_refused(of_april: Bundle, signed_again: Again) -> None:
    with pytest.raises(Refused, match="counted before the host's records begin"):
        holds(signed_again(replace(of_april, host_since=april.at("04-29 00:00"))))
    since = of_april.lists[0].gaps[0]
    early = first(of_april, gaps=(replace(since, why=counts.NO_HOST), *of_april.lists[0].gaps[1:]))
    with pytest.raises(Refused, match="a gap before the host existed"):
        holds(signed_again(early))


def test_a_bundle_of_a_whole_month_has_no_key_that_older_releases_do_not_know(of_april: Bundle) -> None:
    assert "host_since" not in bundle.statement_of(of_april)
    assert "deadlines" not in bundle.statement_of(of_april)
    assert "unmet" not in bundle.statement_of(of_april)["lists"][0]["at_begin"]
    assert "noise" not in bundle.statement_of(of_april)
    assert bundle.statement_of(replace(of_april, host_since=5))["host_since"] == 5


def test_a_budget_that_holds_is_no_proof_that_nothing_else_was_drawn(of_april: Bundle, signed_again: Again) -> None:
    _, not_proved = holds(signed_again(replace(of_april, noise=(BUDGET,))))
    assert any("no figure with noise was drawn elsewhere" in one for one in not_proved)
