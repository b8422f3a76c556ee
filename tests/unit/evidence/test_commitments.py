"""Commitments in evidence: in the bundle of the month of the submission, and an opened figure must fit."""

from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path

import msgspec
import pytest

from resolver.config import config
from resolver.count.national import opening, submission
from resolver.count.national.kept import Record, alone
from resolver.evidence import bundle, check, collect, commitments, month
from resolver.evidence.bundle import Bundle
from resolver.feed import seal
from resolver.signed import statement
from tests.unit.count.national.operators import Member, figures, form, members, task
from tests.unit.evidence import april
from tests.unit.evidence.conftest import Change, host, issued, of_april, signed_again, written

__all__ = ["Change", "host", "issued", "of_april", "signed_again", "written"]

FIVE = members(5)
APRIL = month.whole("2025-04")


def submitted(folder: Path, at: int) -> Record:
    """A submission of this host, kept below its state folder as `national submit` keeps it."""
    key = seal.host_key(folder / "state", make=False)
    of = task(form([Member(FIVE[0].name, key, FIVE[0].agreement), *FIVE[1:]]))
    found = figures(of, 3)
    record = Record(
        at=at,
        month=of.form.month,
        round=1,
        roster=of.digest,
        submission=submission.make(of, found, key, FIVE[0].agreement).decode(),
        figures=tuple(found.values()),
    )
    with alone(folder / "state/national") as mine:
        mine.keep(record)
    return record


def signed(host: Path) -> bytes:
    place = bundle.Chain(number=1, before=None, previous_month=None)
    loaded = config.load(host / "resolver.toml")
    made = collect.collect(loaded, APRIL, place, None, version="1.2.3", now=april.NOW)
    return statement.sign(bundle.statement_of(made), seal.host_key(host / "state", make=False))


def test_a_bundle_holds_the_commitments_of_its_month_and_no_figure(host: Path) -> None:
    record = submitted(host, APRIL.begin)
    data = signed(host)
    one = check.opened(data)
    proved, _ = check.verified(one, pinned=False)
    assert any("It commits to 2 figures" in line for line in proved)
    (found,) = one.bundle.national
    assert (found.month, found.roster, found.file, found.at) == ("2027-01", record.roster, record.sha256, APRIL.begin)
    assert [each.list for each in found.figures] == ["court", "demo"]
    assert not [each.salt for each in record.figures if each.salt.encode() in data]


def test_an_opened_figure_fits_the_bundle(host: Path) -> None:
    record = submitted(host, APRIL.begin)
    one = check.opened(signed(host))
    key = seal.host_key(host / "state", make=False)
    opened = opening.read(opening.make([record], "2027-01", 1, "court", key))
    proved, not_proved = commitments.compared(one, *opened)
    assert "committed to 3,000 attempts of list court in 2027-01" in proved
    assert not_proved.startswith("Not proved: that the figure is true")
    lie = msgspec.structs.replace(record, figures=(msgspec.structs.replace(record.figures[0], figure=1),))
    with pytest.raises(check.Refused, match="does not commit to this figure"):
        commitments.compared(one, *opening.read(opening.make([lie], "2027-01", 1, "court", key)))
    with pytest.raises(check.Refused, match="another key"):
        commitments.compared(changed(one, key=bytes(32)), *opened)


def test_a_submission_of_another_month_is_in_another_bundle(host: Path) -> None:
    submitted(host, APRIL.end)
    assert commitments.read(host / "state/national", APRIL) == ()
    assert len(commitments.read(host / "state/national", month.whole("2025-05"))) == 1
    assert check.opened(signed(host)).bundle.national == ()


def test_without_submissions_a_bundle_is_as_before(of_april: Bundle) -> None:
    assert "national" not in bundle.statement_of(of_april)


def test_a_bundle_with_a_submission_of_another_month_is_refused(
    of_april: Bundle, signed_again: Callable[[Bundle], bytes]
) -> None:
    other = bundle.Submitted(month="2025-03", round=1, roster="0" * 64, at=APRIL.end, file="0" * 64, figures=())
    forged = signed_again(msgspec.structs.replace(of_april, national=(other,)))
    with pytest.raises(check.Refused, match="a submission to the national figure is of another month"):
        check.verified(check.opened(forged), pinned=False)


def test_a_damaged_record_is_named(host: Path) -> None:
    submitted(host, APRIL.begin)
    path = next((host / "state/national").glob("2027*.json"))
    path.write_text("{")
    with pytest.raises(commitments.RecordsUnusable, match="damaged"):
        commitments.read(host / "state/national", APRIL)
