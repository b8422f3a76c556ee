"""Submissions: one length whatever the figures are, and each that does not fit the task is refused."""

from typing import Any

import pytest

from resolver.count.national import submission
from resolver.count.national.forms import MOST_FIGURE, Refused
from resolver.count.national.submission import Figure
from tests.unit.count.national.operators import figures, form, members, seed, signed_again, task

FIVE = members(5)
TASK = task(form(FIVE))
ONE = FIVE[0]


def of(figure: int, noise: int = 0) -> dict[str, Figure]:
    return {name: Figure(list=name, figure=figure, noise=noise, salt=seed(name).hex()) for name in TASK.form.lists}


def test_its_size_is_the_same_for_every_figure() -> None:
    made = {submission.make(TASK, of(*one), ONE.key, ONE.agreement) for one in ((0, 0), (16_800, -7), (MOST_FIGURE, 9))}
    assert len(made) == 3
    assert {len(data) for data in made} == {len(next(iter(made)))}


def test_it_is_read_with_the_key_that_made_it() -> None:
    found = submission.read(submission.make(TASK, figures(TASK, 1), ONE.key, ONE.agreement), TASK)
    assert (found.key, found.form.roster) == (ONE.public, TASK.digest)
    assert [one.list for one in found.form.values] == ["court", "demo"]


@pytest.mark.parametrize(
    ("figure", "noise"), [(-1, 0), (MOST_FIGURE + 1, 0), (0, MOST_FIGURE + 1), (0, -MOST_FIGURE - 1)]
)
def test_a_figure_that_could_wrap_a_sum_is_refused(figure: int, noise: int) -> None:
    with pytest.raises(Refused, match=r"not between 0 and 2\^40"):
        submission.make(TASK, of(figure, noise), ONE.key, ONE.agreement)


def test_a_list_without_a_figure_and_a_stranger_are_refused() -> None:
    with pytest.raises(Refused, match="no figure of list demo"):
        submission.make(TASK, {"court": of(1)["court"]}, ONE.key, ONE.agreement)
    stranger = members(6)
    out = next(one for one in stranger if one.public not in {each.public for each in FIVE})
    with pytest.raises(Refused, match="not in the roster"):
        submission.make(TASK, of(1), out.key, out.agreement)


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("of 2026-12, round 1, not of 2027-01", {"month": "2026-12"}),
        ("of 2027-01, round 2, not of 2027-01, round 1", {"round": 2}),
        ("made with another roster", {"roster": "0" * 64}),
        ("does not hold the 2 lists", {"values": []}),
        ("not a submission", {"check": "0"}),
    ],
)
def test_a_submission_that_does_not_fit_the_task_is_refused(said: str, changes: dict[str, Any]) -> None:
    data = submission.make(TASK, of(1), ONE.key, ONE.agreement)
    with pytest.raises(Refused, match=said):
        submission.read(signed_again(data, ONE.key, **changes), TASK)


def test_an_extra_submission_is_refused() -> None:
    out = next(one for one in members(6) if one.public not in {each.public for each in FIVE})
    data = submission.make(TASK, of(1), ONE.key, ONE.agreement)
    with pytest.raises(Refused, match="an extra submission"):
        submission.read(signed_again(data, out.key), TASK)
