"""The life of a list: what may be accepted, and what follows from it. Pure rules; `journal` writes their results down.

    fetched -> refused | compiled -> held | in force -> superseded | quarantined

Rules:
- Accepted serials and issue dates only go forward; the same serial comes again only with the same digest,
  as a renewal of its dates. The expiry need not go forward. An issue date of 0 stands for one that is not stated.
- The floor is the list last put in force, and belongs to the set of targets keys that signed it: once a verified root
  has replaced those keys, the floor of the old ones says nothing.
- Under one pinned root the versions of the root only go forward: keys that a later root replaced never come
  back, even if the metadata that remembered it is lost.
- If the clock stands before a signed date, the clock is wrong: nothing is accepted.
- A list is quarantined with its digest: what was taken out once never comes back, under whatever serial.
- A withdrawn list has no entries: none of it is suspended.
- A list that was made before entries were suspended does not have them marked: it is made again.
- The previous image is in force again only because the later one failed, and then the state names it; its new entries
  are suspended if they were, not because those of the later one are.
- At a start the floor's list is the last good one, even if the state was not written any more after the floor.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from resolver.feed.messages import Facts
from resolver.feed.reasons import Reason

FORMAT: Final = 1

_Name = Annotated[str, Meta(pattern=r"^([0-9]{1,20}\.image)?\Z")]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a state file."""


SINCE_0_1: Final = frozenset(
    ("set_aside", "set_aside_lines", "approved", "confirmed", "suspended", "approvals", "exceptions", "told")
)
"""Keys that 0.1 does not know: they are left out while they hold nothing, so that it can read the file."""


class Record(_Part, frozen=True):
    """One verified list; `image` is a file name, "" for a withdrawal. Times in unix seconds.

    approved: the lines set aside count. confirmed: when a source that carries no dates last said that this is its list.
    suspended: of the previous list, that its new entries were out when it was superseded. exceptions: how many of the
    entries are.
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
        """The name of the file with the line of each entry, if this host has compiled the list. It is named as its
        image, so that it is never another image's."""
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


class Approval(_Part, frozen=True):
    """One person's verified signature under a statement that ends at `expiry`; `key` is the fingerprint of the key that
    signed. used: the decision was carried out."""

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

    suspended: the breaker has taken the new entries out. approvals: signatures that wait for more. told: what the
    compile host of a fleet's node last said of the new entries; "" on any other host.
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
    """Return whether the clock stands before the newest date that was accepted."""
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
    """Return the state in which `record` waits."""
    return replace(state, held=Held(record=record, reasons=reasons, since=now), generation=record.generation)


def put_in_force(state: State, record: Record) -> State:
    """Return the state in which `record` is in force. What it supersedes is kept; a renewal supersedes nothing."""
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
        in_force=back and replace(back, suspended=False),
        previous=None,
        gone_back_to=back.identity if back else None,
        suspended=back is not None and back.suspended,
    )


def suspend(state: State, floor: Floor | None) -> State:
    """Return the state in which the new entries of the list in force are out.

    A held list was compiled against all of that list: in it they would count again, so it is dropped and compiled
    again; a withdrawal has none. They would count again in a list of the floor that the state does not name as well:
    the generation says that this state was written after it.
    """
    held = state.held if state.held is not None and state.held.record.withdrawn else None
    newest = max(state.generation, floor.record.generation if floor else 0)
    return replace(state, suspended=True, held=held, generation=newest + 1)


def overtaken(made_in: State, now: State) -> bool:
    """Return whether entries were suspended since `made_in`: in a list that was made then they would count again."""
    return now.suspended and not made_in.suspended


def plant(state: State, record: Record, *, suspended: bool, followed: bool) -> State:
    """Return the state in which `record` is the first list of a host, its new entries suspended or not; followed: the
    host is a node of the fleet that the list comes from."""
    first = replace(state, suspended=suspended)
    return follow(first, record, suspended=suspended) if followed else put_in_force(first, record)


def follow(state: State, record: Record, *, suspended: bool) -> State:
    """Return the state in which a fleet's node has in force what its compile host has: `record`, its new entries
    suspended or not. A node's own suspension lasts until the host says something else of them than before."""
    current, before = state.in_force, state.previous
    told: Literal["suspended", "all"] = "suspended" if suspended else "all"
    if taken_back(state, record) and current is not None:
        # A list that is taken back is none to return to. The new entries of the older one are as they were.
        state = quarantine(state, current)
        own = before is not None and before.identity == record.identity and before.suspended
        out = suspended or own
    elif told == state.told and current is not None and current.identity == record.identity:
        out = state.suspended
    else:
        out = suspended or (state.suspended and state.told in ("", told))
    return replace(put_in_force(state, record), suspended=out and not record.withdrawn, told=told)


def taken_back(state: State, record: Record) -> bool:
    """Return whether `record`, which a compile host has in force, is older than the list in force here."""
    current = state.in_force
    return current is not None and record.serial < current.serial and current.targets_keys == record.targets_keys


def at_start(state: State, floor: Floor | None) -> State:
    """Return the state that a start goes on from: the floor's list in force, or the list that the state returned to."""
    if floor is None:
        # Nothing was ever put in force: these rules write no state that says otherwise.
        return replace(state, in_force=None, previous=None, gone_back_to=None)
    kept = state.in_force
    if kept is not None and (state.gone_back_to == kept.identity or kept.generation == floor.record.generation):
        return state
    if kept is not None and state.suspended and state.generation > floor.record.generation:
        return state  # as `suspend` writes it above such a floor
    if floor.record.identity in state.quarantined:
        return replace(state, in_force=None, previous=None, gone_back_to=None)
    return put_in_force(state, floor.record)


def due_by(state: State, newest: tuple[int, tuple[int, str]] | None, within: float) -> int:
    """Return when the newest list, if it is not in force, has to be by law (unix seconds); 0 if none waits.

    newest: issue and identity of the newest list that the source has shown; within: the law's time, in seconds.
    """
    record = state.in_force
    if state.held is not None:
        newest = state.held.record.issued, state.held.record.identity
    if newest is None or (record is not None and (record.identity == newest[1] or record.issued > newest[0])):
        return 0
    return int(newest[0] + within)


def hard_limit_at(record: Record, hard_limit: float) -> float:
    """Return when the list has to end, in unix seconds: at the earlier of its own date and the hard limit, which counts
    from its issue, or from when a source without dates last confirmed it, else from when it was put in force."""
    by_limit = (max(record.issued, record.confirmed) or record.since) + hard_limit
    return by_limit if record.expires is None else min(by_limit, record.expires)


def is_lifted(record: Record, hard_limit: float, expire: str | None, now: float) -> bool:
    """Return whether the list in force blocks nothing: it is withdrawn, or past its hard limit with `expire` "lift"."""
    return record.withdrawn or (expire == "lift" and now >= hard_limit_at(record, hard_limit))
