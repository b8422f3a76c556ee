"""The shapes of a bundle of evidence, as JSON carries them.

Rules:
- Times are unix seconds, 0 if there is none; days are UTC; an unknown count is None.
- Nothing is finer than a beat; nothing names a client or an entry of a list.
- Facts that follow from others in the bundle (sums, the course of a list) are computed by the same functions when a
  bundle is made and when it is verified. Texts that these functions write are part of the format.
"""

import hashlib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

KIND: Final = "evidence"
FORMAT: Final = 1
DeadlineRule = Literal["each", "oldest"]
"""How deadlines are judged: each held list by its own one, as bundles of release 0.1 do, or all from the oldest list
that is not in force, as the service counts.
"""
MAX_BUNDLE_BYTES: Final = 32 * 2**20
"""An update of a list takes 1,400 octets: five lists, each updated every 15 minutes, take 21 MB in a month."""

_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Count = Annotated[int, Meta(ge=0)]
_Month = Annotated[str, Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])\Z")]
_Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d\Z")]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a bundle; unknown fields are refused."""


class Mark(_Part, frozen=True):
    """Number and hash of an entry of the audit log; number 0 is before the first."""

    number: _Count
    hash: _Sha256


class Span(_Part, frozen=True):
    """The time for which a list, or its withdrawal, was in force; until: 0 if it still was at the end of the month.

    ended: how it ended. renewed: how often the same list came again with new dates.
    """

    serial: _Count
    digest: str
    issued: _Count
    since: _Count
    until: _Count = 0
    ended: str = ""
    withdrawn: bool = False
    renewed: _Count = 0


class Signature(_Part, frozen=True):
    """A signature that was counted for a decision; uid: of the process that handed it in, as the kernel reports."""

    action: str
    serial: _Count
    principal: str
    key: str
    uid: _Count
    at: _Count


class Hold(_Part, frozen=True):
    """A held list; judged: of the rule "each", whether its missed deadline has already been reported, while it waited.

    released: when approval let it come into force, 0 if it did not.
    """

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


class Unmet(_Part, frozen=True):
    """The oldest list that the log names and whose names are not in force: the deadline counts from `issued`.

    judged: whether its missed deadline has already been reported.
    """

    serial: _Count
    digest: str
    issued: _Count
    judged: bool = False


class Deadline(_Part, frozen=True):
    """Whether a list came into force by its deadline; in_force: when it did, 0 if it did not.

    due: counted from `issued`, or from the issue of an older list that was not in force before.
    """

    serial: _Count
    digest: str
    issued: _Count
    due: _Count
    in_force: _Count
    outcome: Literal["met", "missed", "waiting", "superseded", "not said"]


class Failed(_Part, frozen=True):
    """A failed self-test, and which of its checks failed."""

    serial: _Count
    at: _Count
    check: str


class Suspension(_Part, frozen=True):
    """New entries suspended by the breaker; until: when persons resumed them, 0 if not yet."""

    serial: _Count
    at: _Count
    until: _Count = 0


class Released(_Part, frozen=True):
    """A name released from a list: its number and serial, whether its line was known, never the name."""

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
    """The state of a list at a moment. lifted: the list that was in force when its hard limit passed. unmet: the list
    from which a deadline runs; None also where the rule is "each".
    """

    force: Span | None = None
    lifted: Span | None = None
    hold: Hold | None = None
    suspension: Suspension | None = None
    releases: tuple[Released, ...] = ()
    unmet: Unmet | None = None


class Course(_Part, frozen=True):
    """The course of a list within the month."""

    spans: tuple[Span, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    holds: tuple[Hold, ...] = ()
    decisions: tuple[Signature, ...] = ()
    failed: tuple[Failed, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    releases: tuple[Released, ...] = ()
    keys_replaced: _Count = 0


class Receipt(_Part, frozen=True):
    """A receipt that the host signed in the month; the counts are of lines of the list, as reported to its authority.

    file: SHA-256 of the receipt. key: SHA-256 of the raw key that signed it.
    """

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
    """One day of a list; gap: why it is incomplete, "" if it is complete."""

    day: _Day
    attempts: _Count | None
    blocked_queries: _Count | None
    answers: _Count | None
    enforced_s: _Count
    gap: str


class Gap(_Part, frozen=True):
    """A row of incomplete beats; enforced_s: for how long the list was enforced within them."""

    since: _Count
    until: _Count
    enforced_s: _Count
    why: str


class Sums(_Part, frozen=True):
    """The sums of a month's days."""

    attempts: _Count | None
    blocked_queries: _Count | None
    capped: _Count | None


class ListEvidence(_Part, frozen=True):
    """One list in the month.

    deadline_s: time from issued to the deadline, as configured when the bundle was made; 0 if the list is no longer
    configured. at_begin: its state before the month. saturated_beats: number of beats on which not all attempts could
    be told apart.
    """

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
    """Coverage of the month by the host's beats.

    told_s: the seconds of the month that beats cover. subscribers: the operator's lowest and highest figure, 0 if not
    stated.
    """

    seconds: _Count
    told_s: _Count
    beats: _Count
    subscribers_least: _Count
    subscribers_most: _Count


class Definition(_Part, frozen=True):
    """The definition of counts: `used` are the versions in use in the month; the text is that of this build's version.
    """

    version: str
    used: tuple[str, ...]
    text: tuple[str, ...]
    attempts_are: str
    caveat: str


class NoiseBudget(_Part, frozen=True):
    """What figures with noise had cost a list's budget of the month's year when the bundle was made, as the ledger had
    it: in hundredths of epsilon, for one client that is there every day, and at most for one of its days.
    """

    list: str
    year: _Count
    spent: _Count
    most: _Count
    dearest_day: _Count
    most_a_day: _Count


class Audit(_Part, frozen=True):
    """The audit log: its lines of the month, octet for octet, and the marks before them and at their end.

    verified: how many entries were verified when the bundle was made. first: the number of the first of them. broken:
    the fault found, "" if none.
    """

    before: Mark
    end: Mark
    lines: tuple[str, ...]
    verified: _Count
    first: _Count
    broken: str = ""


class Issue(_Part, frozen=True):
    """An earlier bundle: its number in the chain of this host, its month, and the SHA-256 of its file."""

    number: Annotated[int, Meta(ge=1)]
    month: _Month
    sha256: _Sha256


class Chain(_Part, frozen=True):
    """The place of a bundle in its host's chain.

    before: the bundle issued last before it. replaces, why: of a correction.
    """

    number: Annotated[int, Meta(ge=1)]
    before: Issue | None
    previous_month: Issue | None
    replaces: Issue | None = None
    why: str = ""


class Committed(_Part, frozen=True):
    """The commitment to one list's figure: SHA-256 of salt, figure, noise, task and key (blocklists/NATIONAL.md)."""

    list: str
    commitment: _Sha256


class Submitted(_Part, frozen=True):
    """A submission to the national figure of a month; roster: the digest of its task. file: its SHA-256."""

    month: _Month
    round: Literal[1, 2]
    roster: _Sha256
    at: _Count
    file: _Sha256
    figures: tuple[Committed, ...]


class Bundle(_Part, frozen=True, kw_only=True):
    """A bundle. through: the last day covered. chain: None if the month was not over.

    receipts_passed_over: number of files among the host's receipts, of any month, without a valid signature.
    host_since: when the host's records begin, if that is within the month, else 0; a statement holds it only then.
    deadlines: the rule by which they are judged; "each" also if both rules say the same, and a statement then holds
    neither it nor what only the other rule knows. noise: a statement holds it only if figures with noise were given
    out. national: submissions made in the month; a statement holds them only if there are any.
    """

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
    host_since: _Count = 0
    deadlines: DeadlineRule = "each"
    noise: tuple[NoiseBudget, ...] = ()
    national: tuple[Submitted, ...] = ()


class NotEvidence(Exception):
    """The statement is not a bundle of this format."""


def bundle_of(said: dict[str, Any]) -> Bundle:
    """Return the bundle in a statement; NotEvidence if it is none."""
    try:
        return msgspec.convert(said, Bundle)
    except msgspec.ValidationError:
        raise NotEvidence("not a bundle of evidence in a format known to this release") from None


def statement_of(bundle: Bundle) -> dict[str, Any]:
    """Return the bundle as a statement, ready to be signed."""
    said: dict[str, Any] = msgspec.to_builtins(bundle)
    if not bundle.host_since:
        del said["host_since"]  # as in bundles of releases that did not know it
    if not bundle.noise:
        del said["noise"]
    if not bundle.national:
        del said["national"]
    if bundle.deadlines == "each":
        del said["deadlines"]
        for one in said["lists"]:
            del one["at_begin"]["unmet"]
    return said


def hash_of(data: bytes) -> str:
    """Return the SHA-256 of a file's octets in hex, as the chain names a bundle."""
    return hashlib.sha256(data).hexdigest()
