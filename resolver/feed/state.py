"""The life of a list: what may be accepted, and what becomes of it. Pure rules; feed.store writes them down.

    fetched -> refused | compiled -> held | in force -> superseded | quarantined

Rules:
- Accepted serials and issue dates only go forward; the same serial comes again only with the same digest,
  as a renewal of its dates. The expiry need not go forward. An issue date of 0 is one that is not said.
- The floor is the list last put in force, and belongs to the set of targets keys that signed it: where a
  verified root has replaced those keys, the floor of the old ones says nothing.
- Under one pinned root the versions of the root only go forward: keys that a later root replaced never come
  back, even where the metadata that remembered it is lost.
- Where the clock stands before a signed date, the clock is wrong: nothing is accepted.
- A list is quarantined with its digest: what was taken out once never comes back, under whatever serial.
- A withdrawn list has no entries: none of it is suspended.
- The previous image is in force again only because the later one failed, and then the state names it; its new entries
  are suspended where they were, not because those of the later one are.
- At start the floor's list is the last good one, even where the state was not written any more after the
  floor.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from resolver.feed.messages import Facts
from resolver.feed.reasons import Reason

FORMAT: Final = 1

_Name = Annotated[str, Meta(pattern=r"^([0-9]{1,20}\.image)?\Z")]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something written down."""


SINCE_0_1: Final = frozenset(
    ("set_aside", "set_aside_lines", "approved", "confirmed", "suspended", "approvals", "exceptions", "told")
)
"""Keys that 0.1 does not know: they are left out where they hold nothing, so that it reads what is written."""


class Record(_Part, frozen=True):
    """One verified list; `image` is a file name, "" for a withdrawal. Times in unix seconds.

    approved: whether the lines set aside count. confirmed: when a source that carries no dates last said that this is
    its list. suspended: of the previous list, whether its new entries were out when it was superseded. exceptions: how
    many of the entries are.
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
    suspended: bool = False
    exceptions: int = 0

    @property
    def lines(self) -> str:
        """The name of the file that knows the line of each entry, where this host has compiled the list: beside its
        image, so that it is never another image's."""
        return self.image and f"{self.image.removesuffix('.image')}.lines"

    @property
    def copy(self) -> str:
        """The name of the file with the sealed copy of the list's zone, where one is kept."""
        return self.image and f"{self.generation}.copy"

    @property
    def identity(self) -> tuple[int, str]:
        """Serial and digest: what tells one list from another."""
        return self.serial, self.digest


class Held(_Part, frozen=True):
    """A list that waits for a person, and why."""

    record: Record
    reasons: tuple[str, ...]
    since: int


class Approval(_Part, frozen=True):
    """One person's verified signature under a statement that ends at `expiry`; `key` is the fingerprint of what
    signed. used: what it decided was carried out."""

    action: str
    serial: int
    digest: str
    principal: str
    key: str
    at: int
    expiry: int = 0
    used: bool = False


class Floor(_Part, frozen=True):
    """The list below which nothing is accepted any more."""

    record: Record
    format: Literal[1] = FORMAT


class State(_Part, frozen=True):
    """Where a list stands; replaced whole.

    suspended: whether the breaker has taken the new entries out. approvals: signatures that wait for more. told: what
    the compile host of a fleet's node last said of the new entries, "" where there is none.
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
    told: Literal["", "suspended", "all"] = ""


def refusal(
    facts: Facts, state: State, floor: Floor | None, *, list_id: str, minimum: int, now: float
) -> Reason | None:
    """Why verified facts are not accepted; None where they may be."""
    custom = facts.custom
    if custom.list != list_id:
        return Reason.WRONG_LIST
    accepted = [] if floor is None else [floor.record]
    if state.held is not None:
        accepted.append(state.held.record)
    if any(facts.pinned == record.pinned and facts.root_version < record.root_version for record in accepted):
        return Reason.ROLLED_BACK
    accepted = [record for record in accepted if record.targets_keys == facts.targets_keys]
    if now < max([custom.issued, *(record.issued for record in accepted)]):
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


def clock_behind(floor: Floor | None, now: float) -> bool:
    """Whether the clock stands before the newest date that was accepted."""
    return floor is not None and now < floor.record.issued


def due(facts: Facts, record: Record | None) -> bool:
    """Whether accepted facts say anything else than `record` (the list in force, or the one held)."""
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
    """The state in which `record` waits."""
    return replace(state, held=Held(record=record, reasons=reasons, since=now), generation=record.generation)


def put_in_force(state: State, record: Record) -> State:
    """The state in which `record` is in force; what it supersedes is kept, a renewal supersedes nothing."""
    old = state.in_force
    renewal = old is None or old.identity == record.identity
    return replace(
        state,
        generation=max(state.generation, record.generation),
        in_force=record,
        previous=state.previous if old is None or renewal else replace(old, suspended=state.suspended),
        held=None,
        gone_back_to=None,
        suspended=state.suspended and not record.withdrawn,
    )


def quarantine(state: State, record: Record) -> State:
    """The state in which `record` is never activated again; it was not in force."""
    held = state.held if state.held and state.held.record.identity != record.identity else None
    generation = max(state.generation, record.generation)
    if record.identity in state.quarantined:
        return replace(state, held=held, generation=generation)
    return replace(state, held=held, generation=generation, quarantined=(*state.quarantined, record.identity))


def go_back(state: State) -> State:
    """The state in which the list in force is quarantined, and the previous one, if any, in force."""
    if state.in_force is None:
        return state
    back = state.previous
    if back is not None and back.identity in state.quarantined:
        back = None
    return replace(
        quarantine(state, state.in_force),
        in_force=back and replace(back, suspended=False),
        previous=None,
        gone_back_to=back.identity if back else None,
        suspended=back is not None and back.suspended,
    )


def suspend(state: State, floor: Floor | None) -> State:
    """The state in which the new entries of the list in force are out.

    What is held was compiled against all of that list: there they would count again, so that it has to be compiled
    anew; a withdrawal holds none. So would they in a list of the floor that the state does not speak of: the generation
    says that this was written after it.
    """
    held = state.held if state.held is not None and state.held.record.withdrawn else None
    newest = max(state.generation, floor.record.generation if floor else 0)
    return replace(state, suspended=True, held=held, generation=newest + 1)


def follow(state: State, record: Record, *, suspended: bool) -> State:
    """The state in which a fleet's node has in force what its compile host has: `record`, its new entries suspended or
    not. A node's own suspension outlasts whatever the host says, until it says otherwise than it did."""
    current, before = state.in_force, state.previous
    told: Literal["suspended", "all"] = "suspended" if suspended else "all"
    if taken_back(state, record) and current is not None:
        # It is not what to fall back to here. Of what comes back the new entries are as they were.
        state = quarantine(state, current)
        own = before is not None and before.identity == record.identity and before.suspended
        out = suspended or own
    elif told == state.told and current is not None and current.identity == record.identity:
        out = state.suspended
    else:
        out = suspended or (state.suspended and state.told in ("", told))
    return replace(put_in_force(state, record), suspended=out and not record.withdrawn, told=told)


def taken_back(state: State, record: Record) -> bool:
    """Whether `record`, which a compile host has in force, is older than what is in force here."""
    current = state.in_force
    return current is not None and record.serial < current.serial and current.targets_keys == record.targets_keys


def at_start(state: State, floor: Floor | None) -> State:
    """The state a start goes on from: the floor's list in force, or exactly what the state went back to."""
    if floor is None:
        # Nothing was ever put in force: a state that says otherwise was not written by these rules.
        return replace(state, in_force=None, previous=None, gone_back_to=None)
    kept = state.in_force
    if kept is not None and (state.gone_back_to == kept.identity or kept.generation == floor.record.generation):
        return state
    if kept is not None and state.suspended and state.generation > floor.record.generation:
        return state  # what `suspend` says of a floor like that
    if floor.record.identity in state.quarantined:
        return replace(state, in_force=None, previous=None, gone_back_to=None)
    return put_in_force(state, floor.record)


def due_at(state: State, newest: tuple[int, tuple[int, str]] | None, within: float) -> int:
    """When the newest list, where it is not in force, had to be by law (unix seconds); 0 where none waits.

    newest: issue and identity of the newest list that the source has shown; within: the law's time, in seconds.
    """
    record = state.in_force
    if state.held is not None:
        newest = state.held.record.issued, state.held.record.identity
    if newest is None or (record is not None and (record.identity == newest[1] or record.issued > newest[0])):
        return 0
    return int(newest[0] + within)


def deadline(record: Record, hard_limit: float) -> float:
    """When the list has to end, in unix seconds: at the earlier of its own date and the hard limit, which counts from
    its issue, or from when a source without dates last confirmed it, else from when it was put in force."""
    by_limit = (max(record.issued, record.confirmed) or record.since) + hard_limit
    return by_limit if record.expires is None else min(by_limit, record.expires)
