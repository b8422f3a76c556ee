"""Decides whether an operator's host submits to a task, and makes its one submission.

Rules:
- A figure (month and list) is submitted once, and once more in a correction of the same round with the same operators:
  the difference of any two sums is then nobody's figure. Whose roster it is does not matter.
- A correction takes the figures of the first submission again, with new noise: their difference would be a figure too.
- Nothing is submitted before the month is over, after the task has closed, or by a clock behind the roster's date.
- A roster is used only if its digest is the one that the operator has compared with others: an authority that gives
  out two rosters of a month gets a sum of each part.
- The roster names the X25519 key that was this host's newest when it was signed: a thief may have a replaced one.
- A roster with fewer operators or less noise than the operator accepts, or with noise that counts on more operators
  than it does, is refused; also one whose noise hides its own unit less than the operator accepts (epsilon).
- The record is on the disk before the submission is handed out. If it is lost, the same roster, figures and key of the
  noise give the same submission.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver.config.values import many, utc_text
from resolver.count import definition
from resolver.count.national import noise, submission
from resolver.count.national.forms import Refused, Signed
from resolver.count.national.join import public_of
from resolver.count.national.kept import Kept, Record
from resolver.count.national.roster import LEAST, Roster, check_correction
from resolver.signed import statement

Figures = Callable[[Roster], Mapping[str, int]]
"""Returns the figure of each list of a roster for its month; called only if they are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The roster that the operator accepts. digest: its whole digest in hex, as the operators have compared it. scale:
    the least of its noise, 0 accepts none too. honest: the most operators that it counts on. epsilon: the most for the
    roster's unit. operators: the least.
    """

    digest: str
    scale: int
    honest: int
    epsilon: float = 1.0
    operators: int = LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The file of a submission; again: it was made before."""

    data: bytes
    again: bool


def submit(
    task: Signed[Roster],
    first: Signed[Roster] | None,
    kept: Kept,
    key: Ed25519PrivateKey,
    figures: Figures,
    *,
    now: float,
    octets: Callable[[int], bytes],
    accepted: Accepted,
) -> Done:
    """Return this host's submission to a task; Refused with the rule that forbids it, OSError.

    first: the roster of the first round if the task is a correction. octets: secrets.token_bytes, for a new key.
    """
    roster = task.form
    if task.digest != accepted.digest:
        raise Refused(
            f"the digest of the roster is {task.digest}, not the one of --digest: do not submit to it before it is the "
            "one that the other operators have; of two rosters the authority learns the sum of each part"
        )
    records = kept.records()
    made = next((one for one in records if one.roster == task.digest), None)
    if made is not None:
        return Done(data=made.submission.encode(), again=True)
    place = roster.place_of(statement.public_of(key))
    if place is None:
        raise Refused("this host's key is not in the roster: it is not one of its operators")
    agreement = own_key(roster, place, kept)
    _check_clock(roster, now)
    if roster.definition != definition.VERSION:
        raise Refused(f"the roster counts by definition {roster.definition}, this release by {definition.VERSION}")
    if len(roster.operators) < accepted.operators:
        raise Refused(
            f"the roster has {many(len(roster.operators), 'operator')}, below --least-operators {accepted.operators}"
        )
    _check_noise(roster, accepted)
    earlier = _earlier(task, first, records)
    found = {one.list: one.figure for one in earlier.figures} if earlier is not None else figures(roster)
    lost = [name for name in roster.lists if name not in found]
    if lost:
        raise Refused(f"no figure of list {lost[0]}, which the roster names")
    noise_key = kept.noise_key(octets)
    committed = tuple(noise.drawn(noise_key, task.digest, name, found[name], roster.noise) for name in roster.lists)
    data = submission.make(task, {one.list: one for one in committed}, key, agreement)
    kept.keep(
        Record(
            at=int(now),
            month=roster.month,
            round=roster.round,
            roster=task.digest,
            submission=data.decode(),
            figures=committed,
        )
    )
    kept.drop_older(roster.operators[place].agreement, now)
    return Done(data=data, again=False)


def own_key(roster: Roster, place: int, kept: Kept) -> X25519PrivateKey:
    """Return this host's X25519 key, which the roster names at `place`; Refused unless it was the newest when the
    roster was signed.
    """
    own = roster.operators[place]
    found, newest = kept.key_of(own.agreement), kept.newest_key(roster.signed)
    if found is None:
        raise Refused(
            f"the roster names for {own.name} an X25519 key that this host does not have: do not submit to it, and ask "
            "the authority; `national join` hands in this host's key for the next roster"
        )
    if newest is None or public_of(newest).hex() != own.agreement:
        raise Refused(
            f"the roster names for {own.name} an X25519 key that was not this host's newest when the roster was signed "
            f"({utc_text(roster.signed)}): who has a replaced key could read this host's figure. Do not submit to it; "
            "hand the authority a join with the newest key before the next roster"
        )
    return found


def _check_clock(roster: Roster, now: float) -> None:
    if now < roster.signed:
        raise Refused(f"the roster was signed at {utc_text(roster.signed)}, which this host's clock has not reached")
    if now < roster.opens:
        raise Refused(f"{roster.month} is not over (months are UTC): submit from {utc_text(roster.opens)} on")
    if now >= roster.closes:
        late = "wait for its correction" if roster.round == 1 else f"{roster.month} has no national figure"
        raise Refused(f"the round closed at {utc_text(roster.closes)}: {late}")


def _check_noise(roster: Roster, accepted: Accepted) -> None:
    scale = roster.noise.scale if roster.noise is not None else 0
    if scale < accepted.scale:
        raise Refused(
            f"the roster's noise has scale {scale}, below --least-scale {accepted.scale}: if all others and the "
            "authority collude, they read your figure to within about that. A lower --least-scale consents to it"
        )
    if roster.noise is not None and not roster.noise.unit <= accepted.epsilon * roster.noise.scale:
        raise Refused(
            f"the roster's noise hides its unit of {roster.noise.unit:,} attempts with epsilon "
            f"{roster.noise.unit / roster.noise.scale:.6g}, above --most-epsilon {accepted.epsilon:g}. A higher "
            "--most-epsilon consents to it"
        )
    if roster.noise is not None and roster.noise.honest > accepted.honest:
        raise Refused(
            f"the roster's noise counts on {roster.noise.honest} operators that do not collude, above --most-honest "
            f"{accepted.honest}: with fewer, your share of it is often 0. A higher --most-honest consents to it"
        )


def _earlier(task: Signed[Roster], first: Signed[Roster] | None, records: Sequence[Record]) -> Record | None:
    """Return the record of the first round if the task is its correction; Refused if a figure would be given twice."""
    roster = task.form
    if roster.round == 2:
        if first is None:
            raise Refused("the roster is a correction: give the roster that it corrects with --corrects")
        if first.key != task.key:
            raise Refused("the correction is signed by another key than the roster that it corrects")
        check_correction(roster, first)
    for one in records:
        if one.month != roster.month or not one.lists & {*roster.lists}:
            continue
        if roster.round == 2 and one.round == 1 and one.roster == roster.corrects:
            continue
        lists = ", ".join(sorted(one.lists & {*roster.lists}))
        raise Refused(
            f"{lists} of {one.month} has been submitted already, with another roster ({one.roster[:16]}): the "
            "difference of two sums can disclose a figure. A month has one submission, and one more in a correction of "
            "that roster"
        )
    return next((one for one in records if roster.round == 2 and one.roster == roster.corrects), None)
