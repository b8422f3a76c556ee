"""Openings: an auditor sees the figure that was committed; another figure, salt or key does not fit."""

from pathlib import Path

import pytest

from resolver.count.national import opening, submission
from resolver.count.national.forms import Refused
from tests.unit.count.national.operators import form, hand_in, keeping, kept, members, seed, signed_again, task

FIVE = members(5)
ONE = FIVE[0]
TASK = task(form(FIVE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keeping(tmp_path, ONE)
    hand_in(tmp_path, ONE, TASK)
    return tmp_path


def test_it_opens_the_commitment_of_the_submission(folder: Path) -> None:
    records = kept(folder).records()
    found, committed = opening.read(opening.make(records, "2027-01", 1, "demo", ONE.key))
    said = submission.read(records[0].submission.encode(), TASK).form
    assert (found.key, found.form.figure) == (ONE.public, 5)
    assert committed == said.values[1].commitment


@pytest.mark.parametrize("changes", [{"figure": 6}, {"noise": 0}, {"salt": seed("guess").hex()}, {"list": "court"}])
def test_another_figure_does_not_fit(folder: Path, changes: dict[str, object]) -> None:
    records = kept(folder).records()
    data = opening.make(records, "2027-01", 1, "demo", ONE.key)
    said = submission.read(records[0].submission.encode(), TASK).form
    assert opening.read(signed_again(data, ONE.key, **changes))[1] != said.values[1].commitment
    assert opening.read(signed_again(data, FIVE[1].key))[1] != said.values[1].commitment


def test_what_was_not_submitted_cannot_be_opened(folder: Path) -> None:
    records = kept(folder).records()
    for month, round_, name in (("2026-12", 1, "demo"), ("2027-01", 2, "demo"), ("2027-01", 1, "more")):
        with pytest.raises(Refused, match="has submitted no figure"):
            opening.make(records, month, round_, name, ONE.key)


def test_a_figure_out_of_bounds_is_refused(folder: Path) -> None:
    data = opening.make(kept(folder).records(), "2027-01", 1, "demo", ONE.key)
    for changes in ({"figure": -1}, {"noise": 2**41}, {"figure": 10**30}):
        with pytest.raises(Refused, match=r"not an opening|not as it was signed"):
            opening.read(signed_again(data, ONE.key, **changes))


def test_noise_that_is_a_lie_about_the_figure_is_refused(folder: Path) -> None:
    data = opening.make(kept(folder).records(), "2027-01", 1, "demo", ONE.key)

    def opened(noise: int) -> opening.Opening:
        return opening.read(signed_again(data, ONE.key, noise=noise))[0].form

    for noise in (0, 40 * 480, -40 * 480):
        assert "within 19,200 either way" in opening.check_noise(opened(noise), TASK)
    for noise in (40 * 480 + 1, -40 * 480 - 1, 2**40):
        with pytest.raises(Refused, match="is not the one that is opened"):
            opening.check_noise(opened(noise), TASK)
    with pytest.raises(Refused, match="of another roster"):
        opening.check_noise(opened(0), task(form(FIVE, noise=None)))
    exact = task(form(FIVE, noise=None))
    of_exact = opening.read(signed_again(data, ONE.key, noise=1, roster=exact.digest))[0].form
    with pytest.raises(Refused, match="at most 0 either way"):
        opening.check_noise(of_exact, exact)
