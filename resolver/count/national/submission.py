"""The submission: one operator's masked figures for one task, signed by the key of its evidence.

Rules:
- A submission has the same length whatever its figures are, and holds no time.
- The noise is added to the figure before it is masked: the sum of the submissions is the exact sum of noisy figures.
- A figure and its share of noise are bounded (`forms.MOST_FIGURE`), so that no sum wraps.
"""

from collections.abc import Mapping
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver.config.values import many
from resolver.count.national import forms
from resolver.count.national.forms import MOST_FIGURE, Count, Form, Hash, ListId, Month, Refused, Share, Signed, Word
from resolver.count.national.masks import MODULUS, commitment, masks
from resolver.count.national.roster import Roster
from resolver.signed import statement


class Value(Form, frozen=True, kw_only=True):
    """The masked figure of one list, and the commitment to it."""

    list: ListId
    masked: Word
    commitment: Hash


class Submission(Form, frozen=True, kw_only=True):
    """A submission; roster: the digest of its task; check: the masked zero."""

    kind: Literal["national-submission"] = "national-submission"
    format: Literal[1] = 1
    month: Month
    round: Literal[1, 2]
    roster: Hash
    check: Word
    values: tuple[Value, ...]


class Figure(Form, frozen=True, kw_only=True):
    """What an operator keeps of one list: its figure, its share of noise, and the salt of the commitment."""

    list: ListId
    figure: Count
    noise: Share
    salt: Hash


def make(
    task: Signed[Roster], figures: Mapping[str, Figure], key: Ed25519PrivateKey, agreement: X25519PrivateKey
) -> bytes:
    """Return the file of a submission; Refused if a figure is missing or out of bounds, or the key is not in the
    roster. figures: by list id.
    """
    roster, public = task.form, statement.public_of(key)
    place = roster.place_of(public)
    if place is None:
        raise Refused("this host's key is not in the roster: it is not one of its operators")
    for list_id in roster.lists:
        if list_id not in figures:
            raise Refused(f"no figure of list {list_id}, which the roster names")
        one = figures[list_id]
        if not (0 <= one.figure <= MOST_FIGURE and abs(one.noise) <= MOST_FIGURE):
            raise Refused(f"the figure of list {list_id} is not between 0 and 2^40")
    check, *hidden = masks(roster, task.digest, place, agreement)
    values = []
    for list_id, mask in zip(roster.lists, hidden, strict=True):
        one = figures[list_id]
        committed = commitment(list_id, one.figure, one.noise, bytes.fromhex(one.salt), task.digest, public)
        masked = (one.figure + one.noise + mask) % MODULUS
        values.append(Value(list=list_id, masked=f"{masked:016x}", commitment=committed))
    made = Submission(
        month=roster.month, round=roster.round, roster=task.digest, check=f"{check:016x}", values=tuple(values)
    )
    return forms.sign(made, key)


def read(data: bytes, task: Signed[Roster]) -> Signed[Submission]:
    """Return the submission in a file; Refused unless it is one of this task, by an operator of its roster."""
    found = forms.read(data, Submission)
    said, roster = found.form, task.form
    if roster.place_of(found.key) is None:
        raise Refused("signed by a key that is not in the roster: an extra submission")
    if (said.month, said.round) != (roster.month, roster.round):
        wanted = f"{roster.month}, round {roster.round}"
        raise Refused(f"of {said.month}, round {said.round}, not of {wanted}")
    if said.roster != task.digest:
        raise Refused("made with another roster of this month: both sides compare the digest of their rosters")
    if tuple(one.list for one in said.values) != roster.lists:
        raise Refused(f"it does not hold the {many(len(roster.lists), 'list')} of the roster")
    return found
