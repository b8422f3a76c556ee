"""Puts the commitments of a host's national submissions into its evidence, and compares an opened figure with them.

Rules:
- A bundle holds the submissions that were made in its month: of a month that was over by then. It holds commitments
  and masked values' digests, no figure and no salt.
- An opening counts only if the key that signed the bundle signed it too.
"""

from collections.abc import Iterable
from pathlib import Path

from resolver.config.values import noun, utc_text
from resolver.count.national import forms
from resolver.count.national.forms import Signed
from resolver.count.national.kept import Kept
from resolver.count.national.opening import Opening
from resolver.count.national.submission import Submission
from resolver.evidence.bundle import Committed, Submitted
from resolver.evidence.check import Opened, Refused
from resolver.evidence.month import Month


class RecordsUnusable(Exception):
    """A record of a submission cannot be read; the text names its file and says what to do."""


def read(folder: Path, month: Month) -> tuple[Submitted, ...]:
    """Return the submissions that this host made within a month, in their order; RecordsUnusable, OSError."""
    try:
        found = []
        for record in Kept(folder).records():
            said = forms.read(record.submission.encode(), Submission).form
            found.append(
                Submitted(
                    month=record.month,
                    round=record.round,
                    roster=record.roster,
                    at=record.at,
                    file=record.sha256,
                    figures=tuple(Committed(list=one.list, commitment=one.commitment) for one in said.values),
                )
            )
    except forms.Refused as error:
        raise RecordsUnusable(str(error)) from None
    return within(found, month)


def within(submitted: Iterable[Submitted], month: Month) -> tuple[Submitted, ...]:
    """Return the submissions that were made within a month, in the order of their times."""
    return tuple(sorted((one for one in submitted if month.begin <= one.at < month.end), key=lambda one: one.at))


def compared(one: Opened, opening: Signed[Opening], commitment: str) -> list[str]:
    """Return what an opening proves with a verified bundle, in sentences; Refused if the bundle holds no such one."""
    if opening.key != one.key:
        raise Refused("the opening is signed by another key than the bundle")
    said = opening.form
    wanted = Committed(list=said.list, commitment=commitment)
    task = (said.month, said.round, said.roster)
    of_task = (each for each in one.bundle.national if (each.month, each.round, each.roster) == task)
    found = next((each for each in of_task if wanted in each.figures), None)
    if found is None:
        raise Refused(
            f"the bundle of {one.bundle.month} does not commit to this figure: take the bundle of the month in which "
            "it was submitted; if it is that one, the operator has opened another figure"
        )
    return [
        f"Proved: host {one.bundle.host} committed to {said.figure:,} {noun(said.figure, 'attempt')} of list "
        f"{said.list} in {said.month} (round {said.round}, noise {said.noise:+,}) when it submitted at "
        f"{utc_text(found.at)}. The file of the submission has the SHA-256 {found.file}.",
        f"Not proved: that the figure is true. Compare it with the attempts in the evidence of {said.month}.",
    ]
