"""Decides what may be accepted of a list, and which state follows. Pure rules; `journal` writes their results down.

    fetched -> refused | compiled -> held | in force -> superseded | quarantined

Rules:
- Accepted serials and issue dates only go forward; the same serial comes again only with the same digest,
  as a renewal of its dates. The expiry need not go forward. An issue date of 0 stands for one that is not stated.
- The floor is the list last put in force, and belongs to the set of targets keys that signed it: once a verified root
  has replaced those keys, the floor of the old ones no longer applies.
- Under one pinned root the versions of the root only go forward: keys that a later root replaced never come
  back, even if the metadata that remembered it is lost.
- If the clock is behind a signed date, the clock is wrong: nothing is accepted.
- A list is quarantined with its digest: what was taken out once never comes back, under any serial.
- The previous image is in force again only because the later one failed, and then the state names it.
- The deadline counts from the oldest list that the source has shown and whose names are not in force: a newer serial
  that is not in force either moves it no further.
- A list that a person has taken out is owed to nobody: until the authority publishes another, nothing is late and
  nothing fails.
- At a start the floor's list is the last good one, even if a crash came before the state was written after the floor.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from resolver.feed.actions import Action
from resolver.feed.messages import Facts
from resolver.feed.reasons import Reason

FORMAT: Final = 1

_Name = Annotated[str, Meta(pattern=r"^([0-9]{1,20}\.image)?\Z")]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a state file."""


SINCE_0_1: Final = frozenset(
    (
        "set_aside",
        "set_aside_lines",
        "approved",
        "confirmed",
        "suspended",
        "approvals",
        "exceptions",
        "approved_here",
        "joined",
        "unmet",
        "standing",
        "proposed",
        "standings",
    )
)
"""Keys of the file that version 0.1 does not know: they are left out while empty, so that it can read the file."""


def without_retired(written: dict[str, Any]) -> dict[str, Any]:
    """Return a state as it was written, without the keys that only earlier versions knew.

    They could suspend new entries: who had resumed these has nothing left to decide.
    """
    kept = {key: value for key, value in written.items() if key not in ("told", "approvals")}
    if kept.get("previous"):
        kept["previous"] = {key: value for key, value in kept["previous"].items() if key != "suspended"}
    signed = [one for one in written.get("approvals", ()) if one.get("action") != "resume"]
    return {**kept, "approvals": [{key: value for key, value in one.items() if key != "used"} for one in signed]}


class Record(_Part, frozen=True):
    """One verified list; `image` is a file name, "" for a withdrawal. Times in unix seconds.

    approved: the lines set aside are enforced. confirmed: when a source without dates last confirmed that this is its
    list. exceptions: how many of the entries are exceptions. approved_here: on a fleet's node, persons have approved
    the lines set aside at this node.
    """

    serial: int
    digest: str
    issued: int
    expires: int | None
    withdrawn: bool
    announced: int | None
    entries: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]
    image: _Name
    generation: int
    digest_key: str
    demonstration: bool
    targets_keys: str
    since: int = 0
    pinned: str = ""
    root_version: int = 0
    set_aside: dict[str, int] = {}
    set_aside_lines: dict[str, tuple[int, ...]] = {}
    approved: bool = False
    confirmed: int = 0
    exceptions: int = 0
    approved_here: bool = False

    @property
    def lines(self) -> str:
        """The name of the file with the line number of each entry; there is one if this host has compiled the list.

        It is named after its image, so that it never belongs to another one.
        """
        return self.image and f"{self.image.removesuffix('.image')}.lines"

    @property
    def copy(self) -> str:
        """The name of the file with the sealed copy of the list's zone, if one is kept."""
        return self.image and f"{self.generation}.copy"

    @property
    def identity(self) -> tuple[int, str]:
        """Serial and digest, which identify a list."""
        return self.serial, self.digest


class Held(_Part, frozen=True):
    """A list that waits for a person, and why."""

    record: Record
    reasons: tuple[str, ...]
    since: int


class Unmet(_Part, frozen=True):
    """A list that its source has shown and whose names are not in force.

    issued: its date of issue, or when it was first seen if it has none (unix seconds).
    """

    serial: int
    digest: str
    issued: int
    targets_keys: str = ""

    @property
    def identity(self) -> tuple[int, str]:
        """Serial and digest, which identify a list."""
        return self.serial, self.digest


class Approval(_Part, frozen=True):
    """One person's verified signature under a statement that ends at `expiry` (unix seconds).

    key: the fingerprint of the key that signed.
    """

    action: str
    serial: int
    digest: str
    principal: str
    key: str
    at: int
    expiry: int = 0


class Terms(_Part, frozen=True):
    """What a standing approval allows: lists that are held because they have grown, up to `growth_to` entries, or for
    refused lines, up to `refused_to` of them; 0 allows none.

    number: no other approval of this list has it. keys: the set of targets keys that must have signed the lists. until:
    its end (unix seconds).
    """

    number: int
    keys: str
    until: int
    growth_to: int
    refused_to: int


class Standing(_Part, frozen=True):
    """A standing approval, and who has signed it: fewer than two persons while it is only proposed."""

    terms: Terms
    signatures: tuple[Approval, ...]


class Floor(_Part, frozen=True):
    """The list below whose serial nothing is accepted any more."""

    record: Record
    format: Literal[1] = FORMAT


class State(_Part, frozen=True):
    """The saved state of a list; replaced whole.

    suspended: an earlier version has suspended the new entries; a start enforces them. approvals: signatures of
    decisions, carried out or pending. joined: when this list was first configured here (unix seconds), if this host had
    enforced another list before; 0 if this is one of the host's first lists. unmet: the oldest list whose names are not
    in force, if that is known. standing: the standing approval, if there is one. proposed: those that lack a signature.
    standings: the number of the last standing approval that was given; no later one has it.
    """

    format: Literal[1] = FORMAT
    generation: int = 0
    in_force: Record | None = None
    previous: Record | None = None
    held: Held | None = None
    gone_back_to: tuple[int, str] | None = None
    quarantined: tuple[tuple[int, str], ...] = ()
    suspended: bool = False
    approvals: tuple[Approval, ...] = ()
    joined: int = 0
    unmet: Unmet | None = None
    standing: Standing | None = None
    proposed: tuple[Standing, ...] = ()
    standings: int = 0


def refusal(
    facts: Facts, state: State, floor: Floor | None, *, list_id: str, minimum: int, now: float
) -> Reason | None:
    """Return why verified facts are not accepted; None if they are."""
    custom = facts.custom
    if custom.list != list_id:
        return Reason.WRONG_LIST
    accepted = [] if floor is None else [floor.record]
    if state.held is not None:
        accepted.append(state.held.record)
    if any(facts.pinned == record.pinned and facts.root_version < record.root_version for record in accepted):
        return Reason.ROLLED_BACK
    accepted = [record for record in accepted if record.targets_keys == facts.targets_keys]
    if now < acceptable_at(facts, state, floor):
        return Reason.CLOCK_BEHIND
    if any(digest == facts.digest for _, digest in state.quarantined):
        return Reason.QUARANTINED
    if custom.serial < minimum:
        return Reason.ROLLED_BACK
    for record in accepted:
        if custom.serial < record.serial or 0 < custom.issued < record.issued:
            return Reason.ROLLED_BACK
        if custom.serial == record.serial and facts.digest != record.digest:
            return Reason.SERIAL_REUSED
    return None


def acceptable_at(facts: Facts, state: State, floor: Floor | None) -> int:
    """Return the newest signed date (unix seconds): if the clock is behind it, the clock is wrong."""
    accepted = [] if floor is None else [floor.record]
    if state.held is not None:
        accepted.append(state.held.record)
    known = (record.issued for record in accepted if record.targets_keys == facts.targets_keys)
    return max((facts.custom.issued, *known))


def clock_behind(floor: Floor | None, now: float) -> bool:
    """Return whether the clock is behind the newest issue date that was accepted."""
    return floor is not None and now < floor.record.issued


def due(facts: Facts, record: Record | None) -> bool:
    """Return whether accepted facts differ from `record`, the list in force or the list held."""
    if record is None:
        return True
    custom = facts.custom
    return (
        facts.digest,
        facts.targets_keys,
        custom.serial,
        custom.issued,
        custom.expires,
        custom.withdrawn,
    ) != (
        record.digest,
        record.targets_keys,
        record.serial,
        record.issued,
        record.expires,
        record.withdrawn,
    )


def hold(state: State, record: Record, reasons: tuple[str, ...], now: int) -> State:
    """Return the state in which `record` is held."""
    return replace(
        state,
        held=Held(record=record, reasons=reasons, since=now),
        generation=record.generation,
        unmet=oldest_unmet(state) or unmet_of(record, now),
    )


def unmet_of(record: Record, now: float) -> Unmet:
    """Return a list as one whose names are not in force."""
    return Unmet(
        serial=record.serial,
        digest=record.digest,
        issued=counts_from(record.issued, int(now)),
        targets_keys=record.targets_keys,
    )


def counts_from(issued: int, seen: int) -> int:
    """Return from when the deadline of a list counts: its issue, or when it was first seen if that is not stated."""
    return issued or seen


def owe(state: State, newest: Unmet | None) -> State:
    """Return the state that names the list from which the deadline counts; newest: as of `oldest_unmet`."""
    unmet = oldest_unmet(state, newest)
    return state if unmet == state.unmet else replace(state, unmet=unmet)


def _is_owed(state: State, newest: Unmet | None) -> bool:
    if newest is None or is_taken_out(state, newest.digest):
        return False
    record = state.in_force
    if record is None:
        return True
    older = record.targets_keys == newest.targets_keys and record.issued > newest.issued
    return not (older or record.identity == newest.identity)


def taken_out(state: State) -> tuple[int, str] | None:
    """Return serial and digest of the list that a person has taken out, if the one before it is in force instead."""
    record = state.in_force
    if record is None or state.gone_back_to != record.identity:
        return None
    out = {one.digest for one in state.approvals if (one.action, one.serial) == (Action.ROLLBACK, record.serial)}
    return next((identity for identity in reversed(state.quarantined) if identity[1] in out), None)


def is_taken_out(state: State, digest: str) -> bool:
    """Return whether a person has taken the list of this digest out, and nothing newer is in force."""
    found = taken_out(state)
    return found is not None and found[1] == digest


def put_in_force(state: State, record: Record) -> State:
    """Return the state in which `record` is in force. The list it supersedes is kept; a renewal supersedes nothing."""
    old = state.in_force
    renewal = old is None or old.identity == record.identity
    return replace(
        state,
        generation=max(state.generation, record.generation),
        in_force=record,
        previous=state.previous if old is None or renewal else old,
        held=None,
        gone_back_to=None,
        unmet=None if state.unmet is None or _meets(record, state.unmet) else state.unmet,
    )


def _meets(record: Record, unmet: Unmet) -> bool:
    """Return whether nothing is owed of an unmet list once `record` is in force; a word by other keys ends the old."""
    return record.targets_keys != unmet.targets_keys or is_met(
        unmet.serial, unmet.issued, by_serial=record.serial, by_issued=record.issued
    )


def is_met(serial: int, issued: int, *, by_serial: int, by_issued: int) -> bool:
    """Return whether nothing is owed of an unmet list once another of the same keys is in force: that list, or a later
    word.
    """
    return by_serial >= serial or by_issued > issued


def quarantine(state: State, record: Record) -> State:
    """Return the state in which `record`, which is not in force, never comes into force."""
    held = state.held if state.held and state.held.record.identity != record.identity else None
    generation = max(state.generation, record.generation)
    if record.identity in state.quarantined:
        return replace(state, held=held, generation=generation)
    return replace(state, held=held, generation=generation, quarantined=(*state.quarantined, record.identity))


def go_back(state: State) -> State:
    """Return the state in which the list in force is quarantined, and the previous one, if any, in force."""
    if state.in_force is None:
        return state
    back = state.previous
    if back is not None and back.identity in state.quarantined:
        back = None
    return replace(
        quarantine(state, state.in_force),
        in_force=back,
        previous=None,
        gone_back_to=back.identity if back else None,
    )


def follow(state: State, record: Record) -> State:
    """Return the state in which a fleet's node enforces what its compile host enforces: `record`."""
    current = state.in_force
    if taken_back(state, record) and current is not None:
        state = quarantine(state, current)  # nobody returns to a list that was taken back
    return put_in_force(state, record)


def taken_back(state: State, record: Record) -> bool:
    """Return whether `record`, which a compile host has in force, is older than the list in force here."""
    current = state.in_force
    return current is not None and record.serial < current.serial and current.targets_keys == record.targets_keys


def at_start(state: State, floor: Floor | None) -> State:
    """Return the state that a start goes on from: the floor's list in force, or the list that the state returned to."""
    if floor is None:
        # Nothing was ever put in force: no rule here writes a state that says otherwise.
        return replace(state, in_force=None, previous=None, gone_back_to=None)
    kept = state.in_force
    if kept is not None and (state.gone_back_to == kept.identity or kept.generation == floor.record.generation):
        return state
    if floor.record.identity in state.quarantined:
        return replace(state, in_force=None, previous=None, gone_back_to=None)
    return put_in_force(state, floor.record)


def oldest_unmet(state: State, newest: Unmet | None = None) -> Unmet | None:
    """Return the list from which the deadline counts; None if none is late or will be.

    newest: the newest list that the source has shown, if known.
    """
    if state.unmet is not None:
        return state.unmet
    if state.held is not None:  # as an earlier version has written it
        return unmet_of(state.held.record, state.held.since)
    return newest if _is_owed(state, newest) else None


def due_by(state: State, newest: Unmet | None, within: float) -> int:
    """Return the deadline of the oldest list whose names are not in force, in unix seconds; 0 if there is none.

    newest: as of `oldest_unmet`. within: the time from its issue to its deadline, in seconds.
    """
    unmet = oldest_unmet(state, newest)
    return 0 if unmet is None else int(unmet.issued + within)


def hard_limit_at(record: Record, hard_limit: float) -> float:
    """Return when the right of `record` to be in force ends, in unix seconds: at its signed expiry, or at the hard
    limit if that is earlier.

    hard_limit: in seconds from its issue; if the source states no dates, from the last time that it confirmed the list,
    or from the time at which the list was put in force.
    """
    by_limit = (max(record.issued, record.confirmed) or record.since) + hard_limit
    return by_limit if record.expires is None else min(by_limit, record.expires)


def forwards_without(state: State, without_list: str) -> bool:
    """Return whether names that no list blocks are forwarded while this list is not in force.

    without_list: the list's key; "" forwards for a list that joined a host which had enforced another, as long as the
    state has no serial of it in force. An image in force that cannot be used is a fault, and stops them.
    """
    if without_list:
        return without_list == "forward"
    return state.joined > 0 and state.in_force is None


def is_lifted(record: Record, hard_limit: float, expire: str | None, now: float) -> bool:
    """Return whether the list in force blocks nothing: it is withdrawn, or past its hard limit with `expire` "lift"."""
    return record.withdrawn or (expire == "lift" and now >= hard_limit_at(record, hard_limit))
