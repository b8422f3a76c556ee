"""Sums: exact for 24 operators, and without a figure if one submission is missing, extra, different or wrong."""

import hashlib
import json
import random

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from prometheus_client.parser import text_string_to_metric_families

from resolver.count import definition
from resolver.count.draws import laplace_share
from resolver.count.national import submission, total
from resolver.count.national.forms import MOST_FIGURE, Refused
from resolver.count.national.roster import Noise, deviation
from resolver.count.national.submission import Figure
from tests.unit.count.national import operators, vectors
from tests.unit.count.national.operators import CLOSED, OPEN, correction, form, members, submissions, task

FIVE = members(5)


def test_the_sum_of_24_operators_is_exact() -> None:
    by = members(24)
    of = task(form(by, noise=None))
    found = total.add(of, submissions(of, by), OPEN)
    assert found.sums == {"court": sum(1000 * n for n in range(24)), "demo": sum(1000 * n + 1 for n in range(24))}
    assert found.operators == 24


def test_the_sum_is_that_of_the_noisy_figures_and_within_their_deviation() -> None:
    """The noise of 24 operators in 300 sums has the standard deviation that the roster states, to within a fifth."""
    by = members(24)
    for honest, scale in ((1, 480), (12, 24)):
        noise = Noise(unit=scale, scale=scale, honest=honest)
        below = random.Random(honest).randrange
        shares = [[laplace_share(scale, honest, below) for _ in by] for _ in range(300)]
        spread = (sum(sum(one) ** 2 for one in shares) / len(shares)) ** 0.5
        assert spread == pytest.approx(deviation(noise, 24), rel=0.2)
        of = task(form(by, noise=noise, lists=("court",)))
        files = [
            (one.name, submission.make(of, {"court": figure(16_800, share)}, one.key, one.agreement))
            for one, share in zip(by, shares[0], strict=True)
        ]
        found = total.add(of, files, OPEN).sums["court"]
        assert found == 24 * 16_800 + sum(shares[0])
        assert abs(found - 24 * 16_800) < 5 * deviation(noise, 24)


def figure(count: int, noise: int = 0) -> Figure:
    return Figure(list="court", figure=count, noise=noise, salt="00" * 32)


def test_the_largest_figures_do_not_wrap() -> None:
    of = task(form(FIVE, lists=("court",)))
    files = [
        (one.name, submission.make(of, {"court": figure(MOST_FIGURE, MOST_FIGURE)}, one.key, one.agreement))
        for one in FIVE
    ]
    assert total.add(of, files, OPEN).sums == {"court": 5 * 2 * MOST_FIGURE}


def test_who_is_missing_is_named_with_what_to_do() -> None:
    first = task(form(FIVE))
    files = submissions(first, FIVE)[:3]
    names = f"missing: {FIVE[3].name}, {FIVE[4].name} (2 of 5)"
    with pytest.raises(Refused) as refused:
        total.add(first, files, OPEN)
    assert str(refused.value).startswith(names)
    assert str(refused.value).endswith("can submit until 2027-02-15T00:15:00Z")
    with pytest.raises(Refused, match="sign a correction with the same operators"):
        total.add(first, files, CLOSED)
    second = task(correction(first))
    with pytest.raises(Refused, match="2027-01 has no national figure"):
        total.add(second, submissions(second, FIVE)[:3], second.form.closes)
    by = members(40)
    with pytest.raises(Refused, match=r"and 20 more \(40 of 40\)"):
        total.add(task(form(by)), [], OPEN)


def test_the_same_file_twice_counts_once_and_another_one_refuses_the_sum() -> None:
    of = task(form(FIVE))
    files = submissions(of, FIVE)
    assert total.add(of, [*files, files[0]], OPEN).sums == total.add(of, files, OPEN).sums
    again = submissions(of, FIVE, noise=3)[0]
    assert len(set(total.add(of, files, OPEN).files)) == 5
    with pytest.raises(Refused, match=f"a second submission of {FIVE[0].name}, which differs"):
        total.add(of, [*files, ("again.json", again[1])], OPEN)


def test_a_file_that_does_not_fit_is_skipped_with_a_warning() -> None:
    """A stranger, or an operator's old file that anybody can lay there again, cannot stop a sum."""
    of = task(form(FIVE))
    other = task(form(FIVE, closes=CLOSED + 1))
    stranger = operators.Member("Stranger", operators.AUTHORITY, FIVE[0].agreement)
    files, told = submissions(of, FIVE), list[str]()
    old = submissions(other, FIVE)[4]
    extra = operators.signed_again(files[0][1], stranger.key)
    odd = [("x.json", b"{}\n"), ("old.json", old[1]), ("extra.json", extra)]
    found = total.add(of, [*odd, *files], OPEN, told.append)
    assert found == total.add(of, files, OPEN)
    assert [line.split(":")[:3] for line in told] == [
        ["x.json", " skipped", " not as it was signed"],
        ["old.json", " skipped", " made with another roster of this month"],
        ["extra.json", " skipped", " signed by a key that is not in the roster"],
    ]
    with pytest.raises(Refused, match=rf"missing: {FIVE[4].name} \(1 of 5\)"):
        total.add(of, [*odd, *files[:4]], OPEN)


def test_an_old_file_of_an_operator_beside_its_own_does_not_stop_the_sum() -> None:
    """Anybody can lay there again what an operator has signed for another roster, round or month."""
    of = task(form(FIVE))
    files = submissions(of, FIVE)
    rosters = (
        form(FIVE, closes=CLOSED + 1),
        correction(of),
        form(FIVE, month="2027-02", closes=CLOSED + 40 * 86400),
        form(FIVE, lists=("court",)),
    )
    old = [(f"old {place}.json", submissions(task(one), FIVE)[2][1]) for place, one in enumerate(rosters)]
    wanted = total.add(of, files, OPEN)
    for laid in ([*old, *files], [*files, *old]):
        told = list[str]()
        assert total.add(of, laid, OPEN, told.append) == wanted
        assert [line.split(":")[:2] for line in told] == [[name, " skipped"] for name, _ in old]


def test_the_sum_names_the_hash_of_each_submission() -> None:
    of = task(form(FIVE))
    files = submissions(of, FIVE)
    found = total.add(of, files[::-1], OPEN)
    hashes = [hashlib.sha256(data).hexdigest() for _, data in files]
    said = json.loads(total.as_json(found))["submissions"]
    assert [(one["name"], one["sha256"]) for one in said] == [
        (one.name, file) for one, file in zip(FIVE, hashes, strict=True)
    ]
    assert total.as_text(found).splitlines()[-5:] == [
        f"{file}  {one.name}" for one, file in zip(FIVE, hashes, strict=True)
    ]


def test_masks_that_do_not_cancel_give_no_figure() -> None:
    """An operator who signs with its key but masks with another one than the roster names."""
    of = task(form(FIVE))
    files = submissions(of, FIVE)
    wrong = X25519PrivateKey.from_private_bytes(operators.seed("wrong"))
    files[0] = ("wrong.json", submission.make(of, operators.figures(of, 0), FIVE[0].key, wrong))
    with pytest.raises(Refused, match="the masks do not cancel"):
        total.add(of, files, OPEN)


def test_a_figure_out_of_bounds_is_no_figure() -> None:
    of = task(form(FIVE))
    files = submissions(of, FIVE)
    said = submission.read(files[0][1], of).form
    values = [msgspec.to_builtins(one) for one in said.values]
    values[0]["masked"] = f"{(int(values[0]['masked'], 16) + 2**60) % 2**64:016x}"
    files[0] = ("large.json", operators.signed_again(files[0][1], FIVE[0].key, values=values))
    with pytest.raises(Refused, match="the masks do not cancel"):
        total.add(of, files, OPEN)


def test_outputs_are_the_same_octets_with_noise_and_caveat_said() -> None:
    of = task(form(FIVE))
    found = total.add(of, submissions(of, FIVE), OPEN)
    again = total.add(of, submissions(of, FIVE)[::-1], OPEN + 99)
    assert total.as_json(found) == total.as_json(again)
    said = json.loads(total.as_json(found))
    assert said["sums"] == [{"list": "court", "attempts": 10_000}, {"list": "demo", "attempts": 10_005}]
    assert said["noise"] == msgspec.to_builtins(operators.NOISE) | {"standard_deviation": deviation(operators.NOISE, 5)}
    assert (said["roster"], said["operators"], said["caveat"]) == (of.digest, 5, definition.CAVEAT)
    assert total.as_text(found).splitlines()[1:3] == ["court: 10,000 attempts", "demo: 10,005 attempts"]
    exact = task(form(FIVE, noise=None))
    assert json.loads(total.as_json(total.add(exact, submissions(exact, FIVE), OPEN)))["noise"] is None


def test_metrics_are_prometheus_text() -> None:
    of = task(form(FIVE))
    lines = total.as_metrics(total.add(of, submissions(of, FIVE), OPEN)).decode().splitlines()
    assert 'blocklist_national_attempts{month="2027-01",list="court"} 10000' in lines
    assert 'blocklist_national_operators{month="2027-01"} 5' in lines
    families = list(text_string_to_metric_families("\n".join(lines) + "\n"))
    assert {one.name: len(one.samples) for one in families} == {
        "blocklist_national_attempts": 2,
        "blocklist_national_deviation": 1,
        "blocklist_national_operators": 1,
    }
    assert [one.split()[1:3] for one in lines if one.startswith("# TYPE")] == [
        ["TYPE", f"blocklist_national_{name}"] for name in ("attempts", "deviation", "operators")
    ]


def test_the_published_vectors_are_what_this_code_makes() -> None:
    assert vectors.FILE.read_text() == vectors.text()
    for one in vectors.made()["tasks"]:
        for place, (name, found) in enumerate(one["sums"].items()):
            assert found == sum(each[place]["figure"] + each[place]["noise"] for each in one["figures"]), name
