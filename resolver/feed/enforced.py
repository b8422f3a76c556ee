"""Defines what the service enforces of one list: a value that is replaced whole, and all transitions between values.

    nothing     the service has no list
    lifted      the list blocks nothing: it was withdrawn, or it is past its hard limit
    in force    the list judges queries by an image, which the service's own sockets have to prove:
        fresh     proof due, of a new list: a wrong answer takes the list out
        due       proof due, of a list that was recovered, renewed or returned to: nothing better is left
        silent    an answer did not come in time: the sockets are asked again later
        wrong     a socket answered wrongly, and the list stays
        proved    every socket answered as the list answers

Each row is a function of this module, each column the value before it. A lifted list has no proof, only a receipt
(`due`, then `proved`). `-` is a transition that does not exist: `Impossible` is raised.

                            lifted                      in force
                   nothing  due            proved       fresh   due     silent  wrong   proved
    put_in_force   fresh    fresh          fresh        fresh   fresh   fresh   fresh   fresh
    restore        due      due            due          due     due     due     due     due
    lift           lifted   lifted         lifted       lifted  lifted  lifted  lifted  lifted
    take_out       nothing  nothing        nothing      nothing nothing nothing nothing nothing
    keep_receipt   -        lifted         -            -       due     -       -       -
    ask_again      -        -              -            silent  silent  silent  -       -
    answer_wrongly -        -              -            wrong   wrong   wrong   -       -
    prove          -        lifted,proved  -            proved  proved  proved  -       -

Rules:
- The value is what the service enforces, never what it should enforce: the state on the disk says that. `agrees`
  compares the two; nothing else remembers that a change has failed.
- Nothing here has a clock, a disk or a log; `activate` and `proof` carry a change out, then replace the value.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeAlias

from resolver.feed.receipt import Tested
from resolver.feed.state import Record


class Impossible(Exception):
    """The table has no such transition."""


class Stage(StrEnum):
    """How far the proof of what is enforced is."""

    FRESH = "fresh"
    DUE = "due"
    SILENT = "silent"
    WRONG = "wrong"
    PROVED = "proved"


_WAITS: Final = (Stage.FRESH, Stage.DUE, Stage.SILENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The service has no list.

    unusable: the generation whose saved image cannot be used, so that only the source can bring a list; None if there
    is no such image.
    """

    unusable: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """A list that blocks nothing. number: the generation of its record. receipted: its receipt was written before the
    start."""

    number: int
    proof: Stage = Stage.DUE
    receipted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A list that judges queries.

    number: the generation of its record. identity: serial and digest. view: its image (u64). tested: the result of its
    self-test. approved: its lines set aside are enforced. receipted: its receipt was written before the start. ask_at:
    when to ask the sockets again, in unix seconds.
    """

    number: int
    identity: tuple[int, str]
    view: memoryview = field(repr=False, compare=False)
    tested: Tested
    approved: bool
    proof: Stage = Stage.DUE
    receipted: bool = False
    ask_at: float = 0.0


Enforced: TypeAlias = Nothing | Lifted | InForce


# What the service has done.


def put_in_force(now: Enforced, new: InForce) -> InForce:
    """Return `new`, a new list: not the one in force."""
    if is_of(now, new.identity):
        raise Impossible("put_in_force")
    return replace(new, proof=Stage.FRESH)


def restore(now: Enforced, new: InForce) -> InForce:
    """Return `new`, which is no new list: recovered, returned to, renewed, approved, or corrected."""
    del now
    return replace(new, proof=Stage.DUE)


def lift(now: Enforced, number: int) -> Lifted:
    """Return the value for a lifted list of generation `number`."""
    del now
    return Lifted(number=number)


def take_out(now: Enforced, unusable: int | None = None) -> Nothing:
    """Return the value for no list; unusable: as of Nothing."""
    del now
    return Nothing(unusable=unusable)


# What the proof has found.


def keep_receipt(now: Enforced) -> Enforced:
    """Return the value for a recovered list whose receipt was written before the start."""
    if isinstance(now, Nothing) or now.proof is not Stage.DUE:
        raise Impossible("keep_receipt")
    return replace(now, receipted=True)


def ask_again(now: Enforced, at: float) -> InForce:
    """Return the value after an answer that did not come in time; the sockets are asked again at `at`."""
    if not isinstance(now, InForce) or now.proof not in _WAITS:
        raise Impossible("ask_again")
    return replace(now, proof=Stage.SILENT, ask_at=at)


def answer_wrongly(now: Enforced) -> InForce:
    """Return the value after a socket has answered otherwise than the list."""
    if not isinstance(now, InForce) or now.proof not in _WAITS:
        raise Impossible("answer_wrongly")
    return replace(now, proof=Stage.WRONG)


def prove(now: Enforced) -> Lifted | InForce:
    """Return the value after every socket has answered as the list answers; a lifted list has nothing to ask."""
    if isinstance(now, Nothing) or now.proof not in _WAITS:
        raise Impossible("prove")
    return replace(now, proof=Stage.PROVED)


# What is read from a value.


def is_of(now: Enforced, identity: tuple[int, str]) -> bool:
    """Return whether this list judges queries, perhaps with other dates."""
    return isinstance(now, InForce) and now.identity == identity


def agrees(now: Enforced, record: Record | None, *, lifted: bool) -> bool:
    """Return whether the service enforces what the state says: `record`, or lifted.

    True also if the saved image cannot be used: another attempt would not help.
    """
    if record is None:
        return isinstance(now, Nothing)
    match now:
        case Nothing():
            return not lifted and now.unusable == record.generation
        case Lifted():
            return lifted and now.number == record.generation
        case InForce():
            return not lifted and (now.number, now.approved) == (record.generation, record.approved)


def waits(now: Enforced, at: float) -> bool:
    """Return whether a proof is due at `at` (unix seconds)."""
    match now:
        case InForce():
            return now.proof in _WAITS and at >= now.ask_at
        case Lifted():
            return now.proof in _WAITS
        case _:
            return False
