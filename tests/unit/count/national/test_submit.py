"""Submitting: once for a month, within its time, with the noise that the operator accepts; all else is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from resolver.count.national import roster, submission, total
from resolver.count.national.forms import Refused, Signed
from resolver.count.national.kept import SPARE_S
from resolver.count.national.roster import Noise, Roster
from tests.unit.count.national.operators import (
    AUTHORITY,
    BEFORE,
    CLOSED,
    FEBRUARY,
    OPEN,
    correction,
    form,
    hand_in,
    keeping,
    kept,
    members,
    task,
)

FIVE = members(5)
ONE = FIVE[0]
TASK = task(form(FIVE))
SECOND = task(correction(TASK))
LATER = SECOND.form.signed + 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return keeping(tmp_path / "national", ONE)


def test_all_hosts_together_give_the_sum_of_their_noisy_figures(tmp_path: Path) -> None:
    files, wanted = [], 0
    for number, one in enumerate(FIVE):
        place = keeping(tmp_path / str(number), one)
        files.append((one.name, hand_in(place, one, TASK, {"court": 16_800, "demo": 1}, drawn=number).data))
        wanted += sum(each.figure + each.noise for each in kept(place).records()[0].figures if each.list == "court")
    assert total.add(TASK, files, OPEN).sums["court"] == wanted != 5 * 16_800


def test_the_same_roster_again_is_the_same_file_whatever_the_figures_are_now(folder: Path) -> None:
    first = hand_in(folder, ONE, TASK)
    again = hand_in(folder, ONE, TASK, {}, now=CLOSED + 1, drawn=2)
    assert (first.again, again.again, again.data) == (False, True, first.data)
    assert len(kept(folder).records()) == 1


def test_the_record_opens_what_was_committed(folder: Path) -> None:
    data = hand_in(folder, ONE, TASK).data
    record = kept(folder).records()[0]
    assert (record.submission.encode(), record.roster, record.at) == (data, TASK.digest, OPEN)
    assert [(one.list, one.figure) for one in record.figures] == [("court", 100), ("demo", 5)]
    assert len({one.salt for one in record.figures}) == 2
    figures = {one.list: one for one in record.figures}
    assert submission.make(TASK, figures, ONE.key, ONE.agreement) == data


OTHER = task(form(members(6)))
"""Six operators: the five and one more."""
OTHERS: dict[str, Signed[Roster]] = {
    "one operator more": OTHER,
    "the same operators again": task(form(FIVE, closes=CLOSED + 1)),
    "one list in common": task(form(FIVE, lists=("court", "more"))),
    "less noise": task(form(FIVE, noise=Noise(unit=480, scale=500, honest=1))),
}


@pytest.mark.parametrize("about", OTHERS)
def test_another_roster_of_the_month_is_refused(folder: Path, about: str) -> None:
    hand_in(folder, ONE, TASK)
    with pytest.raises(Refused, match="has been submitted already, with another roster"):
        hand_in(folder, ONE, OTHERS[about], {"court": 1, "demo": 1, "more": 1})
    assert len(kept(folder).records()) == 1


def test_one_operator_less_is_refused_and_what_it_would_disclose(tmp_path: Path) -> None:
    """Without the refusal, two sums whose rosters differ in one operator give its figure."""
    six = members(6)
    left = next(place for place, one in enumerate(six) if one.public not in {each.public for each in FIVE})
    whole, without = task(form(six, noise=None)), task(form(FIVE, noise=None))
    sums = []
    for of, by in ((whole, six), (without, FIVE)):
        files = []
        for number, one in enumerate(six):
            if one.public in {each.public for each in by}:
                place = keeping(tmp_path / of.digest / str(number), one)
                counts = {"court": 1000 + number, "demo": 0}
                files.append((one.name, hand_in(place, one, of, counts, least_scale=0).data))
        sums.append(total.add(of, files, OPEN).sums["court"])
    assert sums[0] - sums[1] == 1000 + left
    place = keeping(tmp_path / "honest", FIVE[0])
    hand_in(place, FIVE[0], whole, least_scale=0)
    with pytest.raises(Refused, match="the difference of two sums can disclose a figure"):
        hand_in(place, FIVE[0], without, least_scale=0)


def test_another_list_or_month_is_not(folder: Path) -> None:
    hand_in(folder, ONE, TASK)
    hand_in(folder, ONE, task(form(FIVE, lists=("more",))), {"more": 1})
    other = task(form(FIVE, month="2027-02", closes=CLOSED + 40 * 86400))
    hand_in(folder, ONE, other, now=FEBRUARY + 29 * 86400)
    assert len(kept(folder).records()) == 3


def test_two_rosters_of_a_month_give_no_sums_of_parts_to_those_who_compare_digests(tmp_path: Path) -> None:
    """Ten honest operators, two rosters of five: without the comparison the authority gets a sum of each part."""
    ten = members(10)
    parts = [task(form(part, noise=None)) for part in (ten[:5], ten[5:])]
    for of, by in zip(parts, (ten[:5], ten[5:]), strict=True):
        homes = [keeping(tmp_path / one.name, one) for one in by]
        files = []
        for home, one in zip(homes, by, strict=True):
            with pytest.raises(Refused, match=f"digest of the roster is {of.digest}, not the one of --digest"):
                hand_in(home, one, of, least_scale=0, digest=task(form(ten)).digest)
            assert kept(home).records() == ()
            files.append((one.name, hand_in(home, one, of, least_scale=0).data))
        assert total.add(of, files, OPEN).sums["court"] == 500
    with pytest.raises(Refused, match="not the one of --digest"):
        hand_in(tmp_path / ten[0].name, ten[0], parts[0], least_scale=0, digest=parts[0].digest[:63] + "x")


def test_fewer_operators_than_accepted_are_refused(folder: Path) -> None:
    with pytest.raises(Refused, match="the roster has 5 operators, below --least-operators 6"):
        hand_in(folder, ONE, TASK, least_operators=6)
    hand_in(folder, ONE, OTHER, least_operators=6)
    assert len(kept(folder).records()) == 1


def test_a_roster_with_a_key_that_was_replaced_when_it_was_signed_is_refused(folder: Path) -> None:
    """The authority may hold an older join: who has stolen its key would read the figure."""
    keys = json.loads((folder / "agreement.json").read_text())
    keys["keys"].append({"private": "22" * 32, "made": TASK.form.signed})
    (folder / "agreement.json").write_text(json.dumps(keys))
    with pytest.raises(Refused, match="that was not this host's newest when the roster was signed"):
        hand_in(folder, ONE, TASK)
    assert kept(folder).records() == ()
    keys["keys"][1]["made"] = TASK.form.signed + 1
    (folder / "agreement.json").write_text(json.dumps(keys))
    hand_in(folder, ONE, TASK)
    assert len(kept(folder).records()) == 1


def test_a_roster_with_a_key_that_is_newer_than_it_is_refused(folder: Path) -> None:
    keys = json.loads((folder / "agreement.json").read_text())
    keys["keys"][0]["made"] = TASK.form.signed + 1
    (folder / "agreement.json").write_text(json.dumps(keys))
    with pytest.raises(Refused, match="that was not this host's newest when the roster was signed"):
        hand_in(folder, ONE, TASK)


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ("this host's clock has not reached", BEFORE - 1),
        ("2027-01 is not over .* submit from 2027-02-01T00:15:00Z on", FEBRUARY + 899),
        ("the round closed at 2027-02-15T00:15:00Z: wait for its correction", CLOSED),
    ],
)
def test_the_clock(folder: Path, said: str, now: int) -> None:
    with pytest.raises(Refused, match=said):
        hand_in(folder, ONE, TASK, now=now)
    assert kept(folder).records() == ()
    hand_in(folder, ONE, TASK, now=FEBRUARY + 900)


@pytest.mark.parametrize(
    ("said", "changes", "more"),
    [
        ("counts by definition v1, this release by v2", {"definition": "v1"}, {}),
        ("noise has scale 0, below --least-scale 480", {"noise": None}, {}),
        ("noise has scale 479", {"noise": Noise(unit=479, scale=479, honest=1)}, {}),
        ("noise counts on 2 operators .* above --most-honest 1", {"noise": Noise(unit=480, scale=480, honest=2)}, {}),
        ("counts on 5 operators", {"noise": Noise(unit=480, scale=480, honest=5)}, {"most_honest": 4}),
        ("481 attempts with epsilon 1.00208, above", {"noise": Noise(unit=481, scale=480, honest=1)}, {}),
        ("with epsilon 546.133, above", {"noise": Noise(unit=2**18, scale=480, honest=1)}, {"most_epsilon": 31}),
        ("above --most-epsilon nan", {}, {"most_epsilon": float("nan")}),
        ("no figure of list more", {"lists": ("court", "more")}, {}),
    ],
)
def test_a_roster_that_the_operator_does_not_accept(
    folder: Path, said: str, changes: dict[str, Any], more: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match=said):
        hand_in(folder, ONE, task(form(FIVE, **changes)), **more)
    assert kept(folder).records() == ()


def test_a_larger_epsilon_by_consent(folder: Path) -> None:
    hand_in(folder, ONE, task(form(FIVE, noise=Noise(unit=14_880, scale=480, honest=1))), most_epsilon=31)
    assert len(kept(folder).records()) == 1


def test_a_restored_backup_submits_the_same_octets_or_other_noise_for_other_figures(folder: Path) -> None:
    """Else the difference of two submissions under the same masks is known: of two figures, or of two noises."""
    first = hand_in(folder, ONE, TASK, drawn=1)
    record = next(folder.glob("2027*.json"))
    record.unlink()
    again = hand_in(folder, ONE, TASK, drawn=2, now=OPEN + 60)
    assert (again.again, again.data) == (False, first.data)
    noises = [kept(folder).records()[0].figures[0].noise]
    for court in (101, 102, 103):
        record.unlink()
        hand_in(folder, ONE, TASK, {"court": court, "demo": 5})
        noises.append(kept(folder).records()[0].figures[0].noise)
    assert len(set(noises)) > 2


def test_noise_in_parts_by_consent(folder: Path) -> None:
    hand_in(folder, ONE, task(form(FIVE, noise=Noise(unit=480, scale=480, honest=3))), most_honest=3)
    assert len(kept(folder).records()) == 1


def test_without_noise_by_consent_the_noise_is_zero(folder: Path) -> None:
    hand_in(folder, ONE, task(form(FIVE, noise=None)), least_scale=0)
    assert [one.noise for one in kept(folder).records()[0].figures] == [0, 0]


def test_a_stranger_and_a_key_that_is_gone_are_refused(tmp_path: Path, folder: Path) -> None:
    out = next(one for one in members(6) if one.public not in {each.public for each in FIVE})
    with pytest.raises(Refused, match="not one of its operators"):
        hand_in(keeping(tmp_path / "out", out), out, TASK)
    (folder / "agreement.json").unlink()
    with pytest.raises(Refused, match="an X25519 key that this host does not have"):
        hand_in(folder, ONE, TASK)


def test_a_key_older_than_the_one_used_is_removed(folder: Path) -> None:
    keys = json.loads((folder / "agreement.json").read_text())
    keys["keys"].insert(0, {"private": "11" * 32, "made": 0})
    assert keys["keys"][1]["made"] < OPEN - SPARE_S
    (folder / "agreement.json").write_text(json.dumps(keys))
    hand_in(folder, ONE, TASK)
    assert [one["private"] for one in json.loads((folder / "agreement.json").read_text())["keys"]] == [
        ONE.agreement.private_bytes_raw().hex()
    ]


def test_a_correction_has_the_first_figures_and_new_noise(folder: Path) -> None:
    hand_in(folder, ONE, TASK)
    hand_in(folder, ONE, SECOND, {}, first=TASK, now=LATER, drawn=2)
    first, second = kept(folder).records()
    assert [one.figure for one in second.figures] == [one.figure for one in first.figures]
    assert {one.noise for one in second.figures}.isdisjoint(one.noise for one in first.figures)
    assert {one.salt for one in second.figures}.isdisjoint(one.salt for one in first.figures)


def test_a_drop_out_takes_part_in_the_correction(folder: Path) -> None:
    hand_in(folder, ONE, SECOND, {"court": 7, "demo": 8}, first=TASK, now=LATER)
    assert [one.figure for one in kept(folder).records()[0].figures] == [7, 8]


def test_a_correction_is_signed_by_the_key_of_its_first_round(folder: Path) -> None:
    other = roster.read(roster.make(SECOND.form, FIVE[1].key), FIVE[1].public)
    with pytest.raises(Refused, match="signed by another key than the roster that it corrects"):
        hand_in(folder, ONE, other, first=TASK, now=LATER)


def test_a_correction_of_another_round_or_with_others_is_refused(folder: Path) -> None:
    hand_in(folder, ONE, TASK)
    with pytest.raises(Refused, match="give the roster that it corrects"):
        hand_in(folder, ONE, SECOND, now=LATER)
    six = members(6)
    of_six = task(form(six))
    less = task(correction(of_six, operators=form(FIVE).operators))
    with pytest.raises(Refused, match="other operators than the first round"):
        hand_in(folder, ONE, less, first=of_six, now=LATER)
    another = task(form(FIVE, closes=CLOSED - 1))
    with pytest.raises(Refused, match="has been submitted already"):
        hand_in(folder, ONE, task(correction(another)), first=another, now=LATER)
    hand_in(folder, ONE, SECOND, first=TASK, now=LATER)
    twice = task(correction(TASK, signed=CLOSED + 7200))
    with pytest.raises(Refused, match="has been submitted already"):
        hand_in(folder, ONE, twice, first=TASK, now=LATER + 7200)


def test_a_first_round_after_a_correction_is_refused(folder: Path) -> None:
    hand_in(folder, ONE, SECOND, first=TASK, now=LATER)
    with pytest.raises(Refused, match="has been submitted already"):
        hand_in(folder, ONE, task(form(FIVE, closes=LATER + 90_000)), now=LATER)
    with pytest.raises(Refused, match="wait for its correction"):
        hand_in(folder, ONE, TASK, now=LATER)


def test_a_correction_that_has_closed_is_the_end(folder: Path) -> None:
    with pytest.raises(Refused, match="2027-01 has no national figure"):
        hand_in(folder, ONE, SECOND, first=TASK, now=SECOND.form.closes)


def test_nothing_is_handed_out_before_it_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resolver.atomic_file.write", full)
    with pytest.raises(OSError, match="No space left"):
        hand_in(folder, ONE, TASK)
    monkeypatch.undo()
    assert kept(folder).records() == ()


def test_a_roster_by_another_authority_is_no_way_round(folder: Path) -> None:
    """A month and a list have one submission, whose roster it is does not matter."""
    hand_in(folder, ONE, TASK)
    other = roster.read(roster.make(form(FIVE, authority="Another Office"), ONE.key), ONE.public)
    assert other.key != AUTHORITY.public_key().public_bytes_raw()
    with pytest.raises(Refused, match="has been submitted already"):
        hand_in(folder, ONE, other)
