"""The roster: the authority's signed description of one task (a DAP task: who, which month, which lists, until when).

Rules:
- A roster of a month is signed before the month begins, names at least LEAST operators, and never changes: its digest
  is part of every mask.
- Each operator's entry holds the signature of its join: the authority chooses who is in a roster, never with which key
  an operator masks. Who reads a roster verifies them all.
- An operator, a key and a name stand once. Operators are in the order of their Ed25519 keys, lists in that of their
  ids.
- A correction (round 2) repeats a month whose first round did not come together. It has the same operators, lists,
  definition and noise: if one operator less were in it, the difference of the two sums would be that operator's figure.
- There is no third round.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from resolver.config.values import many, utc_text
from resolver.count.national import forms
from resolver.count.national.forms import Form, Hash, ListId, Moment, Month, Refused, Signature, Signed
from resolver.count.national.join import Join
from resolver.count.national.keys import check_agreement, check_signer
from resolver.count.report.days import midnight

LEAST: Final = 5
MOST: Final = 2**14
MOST_LISTS: Final = 16
MOST_SCALE: Final = 2**18
"""All that an IPv6 /48 can add in a month is less; a share of such noise takes seconds to draw."""
SETTLED_S: Final = 900
"""Time after the end of a month by which the last counts of it are written, in seconds."""
OPEN_LEAST_S: Final = 86400
"""The shortest time in which operators can submit, in seconds."""

_Scale = Annotated[int, Meta(ge=1, le=MOST_SCALE)]


class Operator(Form, frozen=True, kw_only=True):
    """One operator: contact name, raw Ed25519 key (signs), raw X25519 key (agrees on masks); made and signature are
    those of its join.
    """

    name: str
    key: Hash
    agreement: Hash
    made: Moment
    signature: Signature


class Noise(Form, frozen=True, kw_only=True):
    """The noise: any `honest` shares together are discrete Laplace noise of `scale`, which hides a change of `unit`
    attempts in one operator's figure with epsilon = unit / scale.
    """

    unit: _Scale
    scale: _Scale
    honest: Annotated[int, Meta(ge=1, le=MOST)]


class Roster(Form, frozen=True, kw_only=True):
    """One task. corrects: in round 2 the digest of the roster of round 1, else "". signed, closes: unix seconds.

    noise: None if the sum is exact; an operator agrees to that by itself.
    """

    kind: Literal["national-roster"] = "national-roster"
    format: Literal[1] = 1
    authority: str
    month: Month
    round: Literal[1, 2]
    corrects: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
    definition: Annotated[str, Meta(pattern=r"^v[0-9]{1,3}\Z")]
    lists: tuple[ListId, ...]
    signed: Moment
    closes: Moment
    noise: Noise | None
    operators: tuple[Operator, ...]

    @property
    def begins(self) -> int:
        """Return the first second of its month (unix time, UTC)."""
        return midnight(date(int(self.month[:4]), int(self.month[5:]), 1))

    @property
    def opens(self) -> int:
        """Return the first moment to submit: when the month is over, and in round 2 when its roster is signed."""
        year, number = int(self.month[:4]), int(self.month[5:])
        end = midnight(date(year + number // 12, number % 12 + 1, 1)) + SETTLED_S
        return end if self.round == 1 else max(end, self.signed)

    def place_of(self, key: bytes) -> int | None:
        """Return the number of the operator with this Ed25519 key, from 0; None if it is not in the roster."""
        wanted = key.hex()
        place = bisect_left(self.operators, wanted, key=lambda one: one.key)
        return place if place < len(self.operators) and self.operators[place].key == wanted else None


def read(data: bytes, authority: bytes) -> Signed[Roster]:
    """Return the roster in a file; Refused unless the authority's raw Ed25519 key signed it and it keeps the rules."""
    found = forms.read(data, Roster)
    if found.key != authority:
        raise Refused("the roster is not signed by the key of --authority")
    check(found.form)
    return found


def make(roster: Roster, key: Ed25519PrivateKey) -> bytes:
    """Return the file of a roster; Refused if it does not keep the rules."""
    check(roster)
    return forms.sign(roster, key)


def operators_of(joins: Iterable[Signed[Join]]) -> tuple[Operator, ...]:
    """Return the operators of these joins in a roster's order; of several joins of one key the newest counts."""
    newest: dict[bytes, Signed[Join]] = {}
    for one in joins:
        known = newest.get(one.key)
        if known is not None and known.form.made == one.form.made and known.form != one.form:
            raise Refused(f"{one.form.name}: two joins of the same moment; ask the operator which one counts")
        if known is None or known.form.made < one.form.made:
            newest[one.key] = one
    return tuple(
        Operator(
            name=join.form.name,
            key=key.hex(),
            agreement=join.form.agreement,
            made=join.form.made,
            signature=join.signature.hex(),
        )
        for key, join in sorted(newest.items())
    )


def check(roster: Roster) -> None:
    """Check a roster by the rules of this module; Refused with the rule that it breaks."""
    forms.check_name(roster.authority)
    _check_operators(roster.operators)
    for one in roster.operators:
        _check_operator(one)
    if not 1 <= len(roster.lists) <= MOST_LISTS or list(roster.lists) != sorted(set(roster.lists)):
        raise Refused(f"a roster names 1 to {MOST_LISTS} lists, each once, in the order of their ids")
    if roster.noise is not None and roster.noise.honest > len(roster.operators):
        raise Refused("its noise counts on more honest operators than it has")
    if roster.round == 1:
        if roster.corrects:
            raise Refused("a first round corrects no other")
        if roster.signed >= roster.begins:
            raise Refused(f"it was not signed before {roster.month} began: a roster is fixed before its month")
    elif not roster.corrects:
        raise Refused("a correction names the roster that it corrects")
    if roster.closes < roster.opens + OPEN_LEAST_S:
        raise Refused(f"it closes less than a day after it opens ({utc_text(roster.opens)})")


def check_correction(second: Roster, first: Signed[Roster]) -> None:
    """Check that a correction repeats the round that it names; Refused. Both rosters keep the rules by themselves."""
    before = first.form
    if second.round != 2 or before.round != 1 or second.corrects != first.digest:
        raise Refused("the correction does not name this roster as the round that it corrects")
    if second.signed < before.closes:
        raise Refused(f"the correction was signed before the first round closed ({utc_text(before.closes)})")
    keys = [one.key for one in before.operators]
    if [one.key for one in second.operators] != keys:
        raise Refused(
            "the correction has other operators than the first round: the difference of the two sums would be the "
            "figure of those who are in one of them alone"
        )
    same = ("month", "definition", "lists", "noise", "authority")
    changed = [name for name in same if getattr(before, name) != getattr(second, name)]
    if changed:
        raise Refused(f"the correction has another {changed[0]} than the first round")


def deviation(noise: Noise | None, operators: int) -> int:
    """Return the standard deviation of the noise in the sum of all operators' figures, rounded up."""
    if noise is None:
        return 0
    alpha = math.exp(-1 / noise.scale)
    return math.ceil(math.sqrt(operators / noise.honest * 2 * alpha) / (1 - alpha))


def _check_operators(operators: tuple[Operator, ...]) -> None:
    if not LEAST <= len(operators) <= MOST:
        said = many(len(operators), "operator")
        raise Refused(f"a roster has {LEAST} to {MOST:,} operators, this one {said}: the sum of a few discloses them")
    keys = [one.key for one in operators]
    for what, values in (
        ("Ed25519 key", keys),
        ("X25519 key", [one.agreement for one in operators]),
        ("name", [one.name.casefold() for one in operators]),
    ):
        if len(set(values)) != len(values):
            twice = next(one.name for one, value in zip(operators, values, strict=True) if values.count(value) > 1)
            raise Refused(f"a {what} stands twice in the roster (operator {twice})")
    if keys != sorted(keys):
        raise Refused("its operators are not in the order of their keys")


def _check_operator(one: Operator) -> None:
    forms.check_name(one.name)
    key = bytes.fromhex(one.key)
    try:
        check_agreement(one.agreement)
        check_signer(key)
    except Refused as error:
        raise Refused(f"operator {one.name}: {error}") from None
    join = Join(name=one.name, agreement=one.agreement, made=one.made)
    if not forms.has_signed(join, key, bytes.fromhex(one.signature)):
        raise Refused(
            f"operator {one.name} has not signed this name and X25519 key as its join: with another key there, its "
            "owner could read the figures that are masked with it. Do not use this roster, and warn the other operators"
        )
