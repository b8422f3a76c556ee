"""Joins: signed by the operator's key, and an X25519 key that must not be used is refused."""

import pytest

from resolver.count.national import join
from resolver.count.national.forms import Refused
from tests.unit.count.national.operators import BEFORE, members, signed_again
from tests.unit.count.national.vectors import made

ONE, TWO, *_ = members(5)


def test_a_join_names_both_keys() -> None:
    found = ONE.join()
    assert (found.form.name, found.form.made, found.key) == (ONE.name, BEFORE, ONE.public)
    assert found.form.agreement == join.public_of(ONE.agreement).hex()


def test_a_join_cannot_be_made_for_another_key() -> None:
    data = join.make(ONE.name, ONE.agreement, ONE.key, BEFORE)
    mine, others = (join.make("x", ONE.agreement, one.key, 0).split(b'"key":')[1][:46] for one in (ONE, TWO))
    claimed = data.replace(mine, others)
    assert claimed != data
    with pytest.raises(Refused, match="not as it was signed"):
        join.read(claimed)


@pytest.mark.parametrize(("about", "keys"), made()["refused_agreements"].items())
def test_an_agreement_key_that_must_not_be_used_is_refused(about: str, keys: list[str]) -> None:
    data = join.make(ONE.name, ONE.agreement, ONE.key, BEFORE)
    words = {"small order": "of small order", "not canonical": "not in canonical form"}
    for key in keys:
        with pytest.raises(Refused, match=words[about]):
            join.read(signed_again(data, ONE.key, agreement=key))


def test_a_name_that_is_not_a_line_is_refused_on_both_sides() -> None:
    with pytest.raises(Refused, match="printable"):
        join.make("two\nlines", ONE.agreement, ONE.key, BEFORE)
    with pytest.raises(Refused, match="printable"):
        join.read(signed_again(join.make("x", ONE.agreement, ONE.key, BEFORE), ONE.key, name="two\nlines"))
