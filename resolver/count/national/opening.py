"""Opens a commitment to an auditor: the figure, its noise and the salt of one list of one submission.

Rules:
- The salt never leaves the operator but in an opening; without it a commitment does not show whether a guess is right.
- Noise that is larger than honest noise can be is refused: it would be a lie about the figure in the sum.
- An opening is for an auditor who may read the figure, never for the authority: the file holds the figure in clear.
"""

from collections.abc import Iterable
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.count.national import forms
from resolver.count.national.forms import Count, Form, Hash, ListId, Month, Refused, Share, Signed
from resolver.count.national.kept import Record
from resolver.count.national.masks import commitment
from resolver.count.national.roster import Roster

MOST_SCALES: Final = 40
"""The largest share of noise, in scales. It is exceeded with a probability below 2 exp(-40), once in 10^17 draws."""


class Opening(Form, frozen=True, kw_only=True):
    """The figure of one list in a submission, and what its commitment was made of."""

    kind: Literal["national-opening"] = "national-opening"
    format: Literal[1] = 1
    month: Month
    round: Literal[1, 2]
    roster: Hash
    list: ListId
    figure: Count
    noise: Share
    salt: Hash


def make(records: Iterable[Record], month: str, round_: int, list_id: str, key: Ed25519PrivateKey) -> bytes:
    """Return the file that opens the figure of a list; Refused if it was not submitted by this host."""
    for record in records:
        for one in record.figures:
            if (record.month, record.round, one.list) == (month, round_, list_id):
                opening = Opening(
                    month=record.month,
                    round=record.round,
                    roster=record.roster,
                    list=one.list,
                    figure=one.figure,
                    noise=one.noise,
                    salt=one.salt,
                )
                return forms.sign(opening, key)
    raise Refused(f"this host has submitted no figure of list {list_id} for {month}, round {round_}")


def read(data: bytes) -> tuple[Signed[Opening], str]:
    """Return the opening in a file, and the commitment that it opens; Refused if it is not valid."""
    found = forms.read(data, Opening)
    said = found.form
    return found, commitment(said.list, said.figure, said.noise, bytes.fromhex(said.salt), said.roster, found.key)


def check_noise(opening: Opening, task: Signed[Roster]) -> str:
    """Return in a sentence how large the roster's noise can be; Refused if the opening's cannot be a share of it."""
    noise = task.form.noise
    if opening.roster != task.digest:
        raise Refused(f"the opening is of another roster ({opening.roster[:16]}) than --roster")
    most = MOST_SCALES * noise.scale if noise is not None else 0
    if abs(opening.noise) > most:
        raise Refused(
            f"the opening holds noise of {opening.noise:+,}; the roster's noise is at most {most:,} either way. The "
            "figure that went into the sum is not the one that is opened: ask the operator for its ledger"
        )
    return f"Checked: the noise is within {most:,} either way, as the roster has it."
