"""Carries out what persons decide about a list: takes a signature, counts it, and acts once there are enough.

Rules:
- A signature is on the disk, in the audit log and in the state, before it is acted on; a crash loses none. If a crash
  comes before the decision is carried out, a person who has signed sends the request again.
- A decision that has begun is carried out to its end, even if the client has left.
- A reply has the list's id, serials, persons and keys; never a listed name.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from resolver.feed import approve, audit_details, decisions, standing
from resolver.feed.actions import NEEDED, Action
from resolver.feed.approve import Refused, Subject
from resolver.feed.audit import Event
from resolver.feed.state import Record
from resolver.feed.update import ListUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The result of a signature. principal, key: who has signed. missing: how many signatures are still needed. done:
    the decision was carried out. confirmed: a rollback was confirmed. number: of a standing approval."""

    principal: str
    key: str
    missing: int
    done: bool
    confirmed: bool = False
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature as received. serial: as the caller has named it. uid: the caller's, as reported by the kernel."""

    action: Action
    serial: int
    signature: bytes
    uid: int


async def decide(one: ListUpdate, signed: Signed, approvers: Path, now: Callable[[], float]) -> Decided:
    """Count a signature, and carry the decision out if no other is needed.

    Raise approve.Refused if the signature does not count, UpdateFailed or OSError if the list could not be put in
    force.
    """
    return await _to_its_end(_decide(one, signed, approvers, now))


async def _decide(one: ListUpdate, signed: Signed, approvers: Path, now: Callable[[], float]) -> Decided:
    async with one.one_at_a_time:
        action, at = signed.action, now()
        about = decisions.subject(one.state, action)
        if about.serial != signed.serial and action is Action.REVOKE:
            raise Refused(f"{signed.serial} is not the standing approval: that is {about.serial}")
        if about.serial != signed.serial:
            raise Refused(f"serial {signed.serial} is not what is to be decided: that is serial {about.serial}")
        held = approve.statements(action, one.list.id, about, at)
        signer = await approve.signer_of(signed.signature, held, approvers)
        confirms = action is Action.ROLLBACK and approve.unconfirmed(one.state) is not None
        new = approve.add(approve.kept(one.state, at), action, about, signer, at)
        if new != one.state:
            event = Event.ROLLBACK_CONFIRMED if confirms else Event.APPROVED
            said = audit_details.standing(about.serial) if action is Action.REVOKE else ""
            detail = audit_details.approved(action.value, signer.principal, signer.key, signed.uid, said)
            one.note(event, _named(one, action, about), detail, new)
        missing = approve.missing(one.state, action, about)
        done = missing == 0 and not confirms
        if done:
            by = " and ".join(each.principal for each in approve.waiting(one.state, action, about))
            await _carry_out(one, action, by)
        return Decided(principal=signer.principal, key=signer.key, missing=missing, done=done, confirmed=confirms)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTerms:
    """A signature under a standing approval as received, and the terms that the person has asked for. uid: as of
    Signed."""

    growth_to: int
    refused_to: int
    until: int
    signature: bytes
    uid: int


async def stand(one: ListUpdate, signed: SignedTerms, approvers: Path, now: Callable[[], float]) -> Decided:
    """Count a signature under a standing approval; once two have signed, a list held within its terms is accepted.

    Raise as `decide`.
    """
    return await _to_its_end(_stand(one, signed, approvers, now))


async def _stand(one: ListUpdate, signed: SignedTerms, approvers: Path, now: Callable[[], float]) -> Decided:
    async with one.one_at_a_time:
        at = now()
        before = standing.kept(approve.kept(one.state, at), at)
        about = standing.terms(
            before, growth_to=signed.growth_to, refused_to=signed.refused_to, until=signed.until, now=at
        )
        signer = await approve.signer_of(signed.signature, standing.statements(one.list.id, about, at), approvers)
        new = standing.sign(before, about, signer, at)
        given = new.standing if new.standing is not None and new.standing.terms == about else None
        said = audit_details.standing(about.number, standing.words(about))
        detail = audit_details.approved(Action.STANDING.value, signer.principal, signer.key, signed.uid, said)
        if new.in_force is not None:
            one.note(Event.APPROVED, new.in_force, detail, new)
        if given is not None:
            await one.accept_covered()
        missing = 0 if given is not None else NEEDED[Action.STANDING] - 1
        return Decided(
            principal=signer.principal, key=signer.key, missing=missing, done=given is not None, number=about.number
        )


def _named(one: ListUpdate, action: Action, about: Subject) -> Record:
    """Return the record for the audit log's entry."""
    state = one.state
    if action is Action.REVOKE and state.in_force is not None:
        return state.in_force
    found = [state.held.record] if state.held else []
    found += [record for record in (state.in_force, state.previous) if record is not None]
    named = next((record for record in found if record.serial == about.serial), found[0])
    return replace(named, serial=about.serial)


async def _carry_out(one: ListUpdate, action: Action, by: str) -> None:
    match action:
        case Action.APPROVE:
            await one.accept_held(by)
        case Action.APPROVE_SET_ASIDE:
            await one.approve_set_aside()
        case Action.REVOKE:
            one.revoke_standing()
        case _:
            await one.go_back(by)


async def _to_its_end(work: Awaitable[Decided]) -> Decided:
    """Return the result of `work`, which goes on even if its client leaves."""
    task = asyncio.ensure_future(work)
    _UNDER_WAY.add(task)
    task.add_done_callback(_UNDER_WAY.discard)
    task.add_done_callback(_seen)
    return await asyncio.shield(task)


_UNDER_WAY: set["asyncio.Future[Decided]"] = set()


def _seen(task: "asyncio.Future[Decided]") -> None:
    """Retrieve the error of a decision whose client has left, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()

