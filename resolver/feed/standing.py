"""Approves beforehand what a list that changes often will be held for: within terms that two persons have signed.

Rules:
- A standing approval is for one list, one set of targets keys, the reasons `growth` and `refused_share`, each up to a
  number, and for at most MOST_S. It accepts a list only if each reason for which that is held is within the terms.
- It never accepts a withdrawal, an emptied zone, a shrink, a first list or lines set aside: persons look at those.
- A statement names the number that the next approval of this list gets. Once one is given, no signature under that
  number counts again: what was revoked or is over cannot come back by the same signatures.
- Two different persons with different keys give it, one takes it back. Its end and a replacement of the keys end it.
- Nothing here has a clock or a disk: `decide` takes the signatures, and `update` asks whether a list is covered.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from resolver.config.values import many, utc_text
from resolver.feed import approve
from resolver.feed.actions import NEEDED, Action
from resolver.feed.approve import Refused, Signer, Subject
from resolver.feed.guard import Hold
from resolver.feed.state import Approval, Record, Standing, State, Terms

MOST_S: Final = 7 * 86400
MOST_PROPOSED: Final = 8


def terms(state: State, *, growth_to: int, refused_to: int, until: int, now: float) -> Terms:
    """Return the terms that a statement has now; Refused if no approval may have these."""
    record = state.in_force
    if record is None or record.withdrawn:
        raise Refused("no list is in force: a first list is decided by itself")
    if not (growth_to or refused_to):
        raise Refused("it would allow nothing: say up to how many entries or refused lines")
    if 0 < growth_to <= record.entries:
        has = many(record.entries, "entry", "entries")
        raise Refused(f"the list in force has {has}: nothing up to {growth_to} is growth")
    if not now < until <= now + MOST_S:
        raise Refused(f"its end must be within {MOST_S // 86400} days from now, not {utc_text(until)}")
    return Terms(
        number=state.standings + 1,
        keys=record.targets_keys,
        until=until,
        growth_to=growth_to,
        refused_to=refused_to,
    )


def statement(list_id: str, about: Terms, expiry: int) -> bytes:
    """Return the bytes to sign."""
    said = {
        "action": Action.STANDING.value,
        "list": list_id,
        "number": about.number,
        "growth_to": about.growth_to,
        "refused_to": about.refused_to,
        "until": utc_text(about.until),
        "keys": about.keys,
        "expiry": utc_text(expiry),
    }
    return msgspec.json.encode(said) + b"\n"


def statements(list_id: str, about: Terms, now: float) -> dict[int, bytes]:
    """Return the statements that are valid now, by their expiry."""
    return {expiry: statement(list_id, about, expiry) for expiry in approve.expiries(now)}


def sign(state: State, about: Terms, signer: Signer, now: float) -> State:
    """Return the state with one more signature under these terms; with two, the approval is given.

    Raise Refused if it adds nothing: the person or the key has signed these terms already.
    """
    before = next((one for one in state.proposed if one.terms == about), Standing(terms=about, signatures=()))
    approve.distinct(before.signatures, signer)
    new = Approval(
        action=Action.STANDING.value,
        serial=about.number,
        digest=digest_of(about),
        principal=signer.principal,
        key=signer.key,
        at=int(now),
        expiry=signer.expiry,
    )
    signed = replace(before, signatures=(*before.signatures, new))
    if missing(signed) == 0:
        return replace(state, standing=signed, proposed=(), standings=about.number)
    others = tuple(one for one in state.proposed if one.terms != about)
    if len(others) >= MOST_PROPOSED:
        raise Refused("too many are proposed: sign one of them, or wait until they expire")
    return replace(state, proposed=(*others, signed))


def digest_of(about: Terms) -> str:
    """Return the SHA-256 of terms, in hex, by which a revocation names them."""
    return hashlib.sha256(msgspec.json.encode(about)).hexdigest()


def subject(state: State) -> Subject:
    """Return what a revocation names; Refused if there is no standing approval."""
    if state.standing is None:
        raise Refused("there is no standing approval")
    return Subject(state.standing.terms.number, digest_of(state.standing.terms))


def revoke(state: State) -> State:
    """Return the state without its standing approval."""
    return replace(state, standing=None)


def covers(state: State, record: Record, reasons: Iterable[str], now: float) -> Standing | None:
    """Return the standing approval by which a list that the guard holds is accepted; None if persons have to look."""
    one = state.standing
    if one is None or now >= one.terms.until or one.terms.keys != record.targets_keys or record.withdrawn:
        return None
    within = {
        Hold.GROWTH.value: record.entries <= one.terms.growth_to,
        Hold.REFUSED_SHARE.value: 0 < sum(record.refused.values()) <= one.terms.refused_to,
    }
    found = tuple(reasons)
    return one if found and all(within.get(reason, False) for reason in found) else None


def kept(state: State, now: float) -> State:
    """Return the state without what is over: an approval past its end, proposals that expired or cannot be signed."""
    record, standing = state.in_force, state.standing
    if standing is not None and (now >= standing.terms.until or not _of_keys(standing, record)):
        standing = None
    proposed = tuple(
        one
        for one in state.proposed
        if one.terms.number > state.standings
        and now < min(one.terms.until, *(each.expiry for each in one.signatures))
        and _of_keys(one, record)
    )
    if (standing, proposed) == (state.standing, state.proposed):
        return state
    return replace(state, standing=standing, proposed=proposed)


def _of_keys(one: Standing, record: Record | None) -> bool:
    return record is not None and one.terms.keys == record.targets_keys


def words(about: Terms) -> str:
    """Return what terms allow, in words."""
    said = []
    if about.growth_to:
        said.append(f"growth to {many(about.growth_to, 'entry', 'entries')}")
    if about.refused_to:
        said.append(f"up to {many(about.refused_to, 'refused line')}")
    return f"{' and '.join(said)} until {utc_text(about.until)}"


def options(about: Terms) -> str:
    """Return the options of `list standing` that mean these terms."""
    said = [f"--growth-to {about.growth_to}"] if about.growth_to else []
    said += [f"--refused-to {about.refused_to}"] if about.refused_to else []
    return " ".join((*said, f"--until {utc_text(about.until)}"))


def missing(one: Standing) -> int:
    """Return how many signatures an approval lacks."""
    return max(0, NEEDED[Action.STANDING] - len(one.signatures))


def persons(one: Standing) -> str:
    """Return who has signed, in words."""
    return " and ".join(each.principal for each in one.signatures)
