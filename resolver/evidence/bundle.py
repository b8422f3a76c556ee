"""What a bundle of evidence says: its shapes, as JSON carries them.

Rules:
- Times are unix seconds, 0 where there is none; days are UTC; counts are None where they are not known.
- No grain is finer than a beat; nothing names a client or an entry of a list.
- What follows from something else in the bundle (sums, what became of a list) is worked out by the same functions when
  it is made and when it is verified.
"""

import hashlib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

KIND: Final = "evidence"
FORMAT: Final = 1
MAX_BUNDLE_BYTES: Final = 32 * 2**20
"""An update of a list takes 1,400 octets: five lists, each new every 15 minutes, take 21 MB in a month."""

_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Count = Annotated[int, Meta(ge=0)]
_Month = Annotated[str, Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])\Z")]
_Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d\Z")]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that is said."""


class Mark(_Part, frozen=True):
    """Number and hash of an entry of the log of list operations; number 0 before the first."""

    number: _Count
    hash: _Sha256


class Span(_Part, frozen=True):
    """A list in force, or its withdrawal, from when to when (0: still so at the end), and how it ended."""

    serial: _Count
    digest: str
    issued: _Count
    since: _Count
    until: _Count = 0
    ended: str = ""
    withdrawn: bool = False
    renewed: _Count = 0


class Signature(_Part, frozen=True):
    """Whose signature was counted for a decision; uid: who handed it in, as the kernel says."""

    action: str
    serial: _Count
    principal: str
    key: str
    uid: _Count
    at: _Count


class Hold(_Part, frozen=True):
    """A list that waited for persons; judged: whether its deadline was told to be missed while it waited."""

    serial: _Count
    digest: str
    issued: _Count
    at: _Count
    reasons: tuple[str, ...]
    signatures: tuple[Signature, ...] = ()
    released: _Count = 0
    until: _Count = 0
    ended: str = ""
    judged: bool = False


class Deadline(_Part, frozen=True):
    """Whether a list that was issued came in force in time. in_force: when it did, 0 where it did not."""

    serial: _Count
    digest: str
    issued: _Count
    due: _Count
    in_force: _Count
    outcome: Literal["met", "missed", "waiting", "superseded", "not said"]


class Failed(_Part, frozen=True):
    """A self-test that did not pass, and which of its checks."""

    serial: _Count
    at: _Count
    check: str


class Suspension(_Part, frozen=True):
    """New entries that the breaker took out, until persons had them count again (0: not yet)."""

    serial: _Count
    at: _Count
    until: _Count = 0


class Released(_Part, frozen=True):
    """One name released from a list: by number, serial and whether the line was known; never the name."""

    number: _Count
    serial: _Count
    line_known: bool
    at: _Count
    until: _Count
    uid: _Count
    confirmed: _Count = 0
    principal: str = ""
    key: str = ""
    ended: _Count = 0


class Standing(_Part, frozen=True):
    """Where a list stood at a moment. lifted: what was in force when its hard limit came."""

    force: Span | None = None
    lifted: Span | None = None
    hold: Hold | None = None
    suspension: Suspension | None = None
    releases: tuple[Released, ...] = ()


class Course(_Part, frozen=True):
    """What became of a list within the month."""

    spans: tuple[Span, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    holds: tuple[Hold, ...] = ()
    decisions: tuple[Signature, ...] = ()
    failed: tuple[Failed, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    releases: tuple[Released, ...] = ()
    keys_replaced: _Count = 0


class Receipt(_Part, frozen=True):
    """A receipt that the host signed in the month; file: SHA-256 of it, key: SHA-256 of the raw key that signed it.
    The numbers are lines of the list, as its authority was told."""

    list: str
    serial: _Count
    digest: str
    issued: _Count
    at: _Count
    enforced: bool
    tested: str
    entries: _Count
    refused: _Count
    set_aside: _Count
    approved: bool
    file: _Sha256
    key: _Sha256


class Day(_Part, frozen=True):
    """One day of a list; gap: why it is not whole."""

    day: _Day
    attempts: _Count | None
    blocked_queries: _Count | None
    answers: _Count | None
    enforced_s: _Count
    gap: str


class Gap(_Part, frozen=True):
    """Beats in a row that are not whole, and for how long the list was enforced in them all the same."""

    since: _Count
    until: _Count
    enforced_s: _Count
    why: str


class Sums(_Part, frozen=True):
    """What the days of a month come to."""

    attempts: _Count | None
    blocked_queries: _Count | None
    capped: _Count | None


class ListEvidence(_Part, frozen=True):
    """One list in the month. deadline_s: from issued to in force, as configured when this was made; 0 where the list is
    no longer configured. at_begin: where it stood before. saturated_beats: those on which not all attempts could be
    told apart."""

    list: str
    demonstration: bool
    legal_reference: str
    deadline_s: _Count
    sums: Sums
    saturated_beats: _Count
    per_100k: float | None
    ratio: float | None
    peak_day: str
    not_comparable: tuple[str, ...]
    enforced_s: _Count
    gaps: tuple[Gap, ...]
    days: tuple[Day, ...]
    at_begin: Standing
    course: Course
    tests_passed: _Count


class Coverage(_Part, frozen=True):
    """Of the whole host: seconds of the month, of them those that beats tell of, and subscribers (operator's figure,
    least and most; 0: not said)."""

    seconds: _Count
    told_s: _Count
    beats: _Count
    subscribers_least: _Count
    subscribers_most: _Count


class Definition(_Part, frozen=True):
    """By what it was counted: versions in use in the month, and the text of the one that this build knows."""

    version: str
    used: tuple[str, ...]
    text: tuple[str, ...]
    attempts_are: str
    caveat: str


class Audit(_Part, frozen=True):
    """The log of list operations: its lines of the month as they stand, the marks before and at the end, how many
    entries were verified when this was made and from which on, and what did not hold ("": all of it did)."""

    before: Mark
    end: Mark
    lines: tuple[str, ...]
    verified: _Count
    first: _Count
    broken: str = ""


class Issue(_Part, frozen=True):
    """An earlier bundle: its number in the chain of this host, its month, the SHA-256 of its file."""

    number: Annotated[int, Meta(ge=1)]
    month: _Month
    sha256: _Sha256


class Chain(_Part, frozen=True):
    """The place of a bundle among those of its host: what was issued last before it, the bundle of the month before,
    and, of a correction, what it replaces and why."""

    number: Annotated[int, Meta(ge=1)]
    before: Issue | None
    previous_month: Issue | None
    replaces: Issue | None = None
    why: str = ""


class Bundle(_Part, frozen=True, kw_only=True):
    """All of it. chain: None where the month was not over; through: the last day that is told; receipts_passed_over:
    files among the host's receipts that no key has signed, of whatever month."""

    kind: Literal["evidence"] = "evidence"
    format: Literal[1] = 1
    month: _Month
    through: _Day
    complete: bool
    made: _Count
    host: str
    region: str
    version: str
    chain: Chain | None
    definition: Definition
    coverage: Coverage
    totals: Sums
    lists: tuple[ListEvidence, ...]
    receipts: tuple[Receipt, ...]
    receipts_passed_over: _Count
    audit: Audit
    caveats: tuple[str, ...]


class NotEvidence(Exception):
    """The statement is no bundle of this format."""


def bundle_of(said: dict[str, Any]) -> Bundle:
    """The bundle in a statement; NotEvidence where it is none."""
    try:
        return msgspec.convert(said, Bundle)
    except msgspec.ValidationError:
        raise NotEvidence("it is no bundle of evidence of a format that this build knows") from None


def statement_of(bundle: Bundle) -> dict[str, Any]:
    """The bundle as a statement, ready to be signed."""
    said: dict[str, Any] = msgspec.to_builtins(bundle)
    return said


def hash_of(data: bytes) -> str:
    """SHA-256 of a file's octets, as the chain names it."""
    return hashlib.sha256(data).hexdigest()
