"""A bundle of evidence held against its signature, against itself, and against the bundles around it.

Rules:
- Whatever does not hold refuses the whole; what holds is told in words, and so is what it does not prove.
- Nothing is asked but files: whoever verifies needs neither the host nor its configuration.
- What follows from something else in the bundle is worked out anew and must be the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from resolver.count import definition
from resolver.count.report.days import DAY
from resolver.evidence import counts, month, receipts
from resolver.evidence.bundle import (
    MAX_BUNDLE_BYTES,
    Bundle,
    Chain,
    Issue,
    ListEvidence,
    NotEvidence,
    Receipt,
    Standing,
    bundle_of,
    hash_of,
)
from resolver.evidence.history import course
from resolver.evidence.month import Month, NotAMonth
from resolver.feed import audit
from resolver.signed import statement
from resolver.signed.statement import StatementBroken

FINGERPRINT_HEX: Final = 16


class Refused(Exception):
    """The bundle proves nothing; says what does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A bundle whose signature holds: what it says, the raw key that has signed it, and the SHA-256 of its file."""

    bundle: Bundle
    key: bytes
    sha256: str


def opened(data: bytes, pinned: bytes | None = None) -> Opened:
    """The bundle in a file; Refused where its signature does not hold, or is not by the pinned key."""
    try:
        said, key = statement.claimed(data, most_bytes=MAX_BUNDLE_BYTES, to_the_octet=True)
        bundle = bundle_of(said)
    except StatementBroken as error:
        raise Refused(f"it is not as its host signed it: {error}") from None
    except NotEvidence as error:
        raise Refused(str(error)) from None
    if pinned is not None and key != pinned:
        raise Refused("it is signed by another key than that of --host-key")
    return Opened(bundle=bundle, key=key, sha256=hash_of(data))


def verified(one: Opened, *, pinned: bool, previous: Opened | None = None) -> tuple[list[str], list[str]]:
    """What a bundle proves and what it does not, a sentence each; Refused where it does not hold."""
    bundle = one.bundle
    whole = _month(bundle)
    _holds_place(bundle)
    _holds_log(bundle)
    _holds_counts(bundle, whole)
    _holds_lists(bundle, whole)
    proved, not_proved = list(_proved(one, whole)), list(_not_proved(one, pinned=pinned))
    if previous is not None:
        proved += _follows(one, previous)
    elif bundle.chain is not None and bundle.chain.before is not None:
        not_proved.append(
            f"that the bundle before it is unchanged: give --previous, the file of SHA-256 {bundle.chain.before.sha256}"
        )
    return proved, not_proved


def fingerprint(key: bytes) -> str:
    """A host's key as it is told: the beginning of its SHA-256."""
    return hash_of(key)[:FINGERPRINT_HEX]


# What must hold.


def _month(bundle: Bundle) -> Month:
    try:
        found = month.whole(bundle.month)
    except NotAMonth:
        raise Refused("its month is none") from None
    if not bundle.complete:
        last = next((day for day in _days_of(found) if day.isoformat() == bundle.through), None)
        if last is None:
            raise Refused("its last day is not in its month")
        found = found._replace(last=last, complete=False)
    elif bundle.through != found.last.isoformat():
        raise Refused("it says that its month is whole, but not to the last day")
    if bundle.made < found.end:
        raise Refused("it is dated before the end of what it tells")
    return found


def _days_of(found: Month) -> Iterator[date]:
    day = found.first
    while day <= found.last:
        yield day
        day += DAY


def _holds_place(bundle: Bundle) -> None:
    """The place in the chain."""
    chain = bundle.chain
    if (chain is None) is bundle.complete:
        raise Refused("a month that is over has a place in the chain, and one that is not has none")
    if chain is None:
        return
    if (chain.before is None) is not (chain.number == 1) or (
        chain.before is not None and chain.before.number != chain.number - 1
    ):
        raise Refused("its number does not follow that of the bundle before it")
    earlier = chain.previous_month
    if earlier is not None and (earlier.month != month.before(bundle.month) or earlier.number >= chain.number):
        raise Refused("what it names as the month before is another month")
    if (chain.replaces is None) is not (chain.why == ""):
        raise Refused("a correction names what it replaces and why")
    if chain.replaces is not None and (chain.replaces.month != bundle.month or chain.replaces.number >= chain.number):
        raise Refused("it replaces a bundle of another month")


def _holds_log(bundle: Bundle) -> None:
    """The lines of the log, from the mark before to the mark at the end."""
    told = bundle.audit
    if told.broken:
        raise Refused(f"it says itself that the log of list operations did not hold when it was made: {told.broken}")
    try:
        _, head = audit.chained(
            (line.encode() for line in told.lines), audit.Head(told.before.number, told.before.hash)
        )
    except audit.ChainBroken as broken:
        raise Refused(f"its part of the log of list operations does not hold: {broken}") from None
    if head != (told.end.number, told.end.hash):
        raise Refused("its part of the log of list operations does not end where it says")
    if told.verified < len(told.lines):
        raise Refused("it tells more of the log of list operations than was verified")


def _holds_counts(bundle: Bundle, whole: Month) -> None:
    seconds = whole.end - whole.begin
    told = bundle.definition
    if told.version == definition.VERSION and (told.text, told.attempts_are, told.caveat) != counts.definition_text():
        raise Refused(f"its text of definition {told.version} is not the text of it")
    coverage = bundle.coverage
    if coverage.seconds != seconds or not 0 <= coverage.told_s <= seconds:
        raise Refused("its seconds are not those of its month")
    days = [day.isoformat() for day in _days_of(whole)]
    for one in bundle.lists:
        if [day.day for day in one.days] not in ([], days):
            raise Refused(f"list {one.list}: its days are not those of its month")
        if one.days and one.sums != counts.summed(one.days, one.sums.capped):
            raise Refused(f"list {one.list}: its days do not come to its sums")
        if one.per_100k != counts.per_100k(one.days):
            raise Refused(f"list {one.list}: its share of 100,000 answers does not follow from its days")
        if one.days and sum(day.enforced_s for day in one.days) != one.enforced_s:
            raise Refused(f"list {one.list}: its days do not come to its seconds of enforcement")
        _holds_gaps(one, whole, coverage.told_s)
    if bundle.totals != counts.together(one.sums for one in bundle.lists):
        raise Refused("its lists do not come to its totals")


def _holds_gaps(one: ListEvidence, whole: Month, told_s: int) -> None:
    at = whole.begin
    for gap in one.gaps:
        if not at <= gap.since < gap.until <= whole.end or gap.enforced_s > gap.until - gap.since:
            raise Refused(f"list {one.list}: its gaps are not in its month, one after another")
        at = gap.until
    silent = sum(gap.until - gap.since for gap in one.gaps if gap.why == counts.NO_BEAT)
    if whole.end - whole.begin - silent != told_s:
        raise Refused(f"list {one.list}: its gaps are not those of the beats that tell of the month")
    lacking = sum(gap.until - gap.since - gap.enforced_s for gap in one.gaps)
    if one.enforced_s > whole.end - whole.begin - lacking:
        raise Refused(f"list {one.list}: it was enforced for longer than its gaps leave")


def _holds_lists(bundle: Bundle, whole: Month) -> None:
    """What became of each list, from the lines of the log and the receipts."""
    if bundle.receipts != receipts.within(bundle.receipts, whole):
        raise Refused("a receipt is of another month")
    ids = [one.list for one in bundle.lists]
    entries = [] if not bundle.audit.lines else audit.chained(line.encode() for line in bundle.audit.lines)[0]
    spoken_of = {entry.list for entry in entries if entry.list} | {one.list for one in bundle.receipts}
    if len(set(ids)) != len(ids) or spoken_of - set(ids):
        raise Refused("a list of its log or its receipts is left out, or told twice")
    for one in bundle.lists:
        begin = one.at_begin
        if begin.force is not None and (begin.force.until or begin.force.ended):
            raise Refused(f"list {one.list}: what was in force before its month is said to have ended before it")
        if any(release.ended for release in begin.releases):
            raise Refused(f"list {one.list}: a release of before its month is said to have ended before it")
        told, _ = _course(one, entries, bundle, whole)
        if told != one.course:
            raise Refused(f"list {one.list}: what became of it does not follow from the log of list operations")
        if one.tests_passed != receipts.proved(bundle.receipts, one.list):
            raise Refused(f"list {one.list}: its passed self-tests are not those of its receipts")


def _course(one: ListEvidence, entries: Iterable[audit.Entry], bundle: Bundle, whole: Month) -> tuple[object, Standing]:
    return course(
        one.list,
        one.at_begin,
        entries,
        end=whole.end,
        deadline_s=one.deadline_s,
        issued=receipts.issued(bundle.receipts),
    )


def _follows(one: Opened, previous: Opened) -> list[str]:
    """What holds between a bundle and another one of its host; Refused where that is not named in it."""
    bundle, earlier = one.bundle, previous.bundle
    chain = bundle.chain
    named = [] if chain is None else [chain.before, chain.previous_month, chain.replaces]
    if previous.sha256 not in [issue.sha256 for issue in named if issue is not None]:
        raise Refused("the file of --previous is not one that it names: changed, of another month, or of another host")
    if one.key != previous.key or bundle.host != earlier.host:
        raise Refused("the file of --previous is of another host or signed by another key")
    if chain is None or earlier.chain is None or not _is(earlier, previous.sha256, named):
        raise Refused("the file of --previous has another number or month than it names")
    said = [f"It names the file of --previous ({earlier.month}, number {earlier.chain.number}) by its SHA-256."]
    if chain.previous_month is not None and previous.sha256 == chain.previous_month.sha256:
        if bundle.audit.before != earlier.audit.end:
            raise Refused("its part of the log of list operations does not go on where that of --previous ended")
        _stand(bundle, earlier)
        said.append("Its part of the log of list operations goes on where that of the month before ended.")
    return said


def _is(earlier: Bundle, sha256: str, named: Iterable[Issue | None]) -> bool:
    number = earlier.chain.number if earlier.chain is not None else 0
    return any(
        issue is not None and issue == Issue(number=number, month=earlier.month, sha256=sha256) for issue in named
    )


def _stand(bundle: Bundle, earlier: Bundle) -> None:
    """Each list stands at the beginning as the month before left it."""
    whole = _month(earlier)
    entries = audit.chained(line.encode() for line in earlier.audit.lines)[0] if earlier.audit.lines else []
    left = {one.list: _course(one, entries, earlier, whole)[1] for one in earlier.lists}
    for one in bundle.lists:
        if one.list in left and _known_by(one.at_begin) != _known_by(left[one.list]):
            raise Refused(f"list {one.list}: it does not begin the month as the month before left it")


def _known_by(standing: Standing) -> tuple[object, ...]:
    force, hold = standing.force, standing.hold
    return (
        force and (force.serial, force.digest, force.since),
        hold and (hold.serial, hold.digest, hold.at),
        standing.suspension,
        tuple(one.number for one in standing.releases),
    )


# What is told of it.


def _proved(one: Opened, whole: Month) -> Iterator[str]:
    bundle, told = one.bundle, one.bundle.audit
    yield (
        f"It is, to the octet, what host {bundle.host} signed (key {fingerprint(one.key)}) for {bundle.month}"
        f"{'' if bundle.complete else f', so far: to {bundle.through}'}. SHA-256 of the file: {one.sha256}."
    )
    yield (
        f"Its sums are those of its days and lists: {len(bundle.lists)} list{'s' * (len(bundle.lists) != 1)}, "
        f"{(whole.last - whole.first).days + 1} days, definition {', '.join(bundle.definition.used) or 'none in use'}."
    )
    yield (
        f"Its {len(told.lines)} lines of the log of list operations are one chain, from entry {told.before.number} to "
        f"entry {told.end.number} ({told.end.hash}); times in force, deadlines, holds, decisions and releases follow "
        "from them."
    )
    if bundle.chain is not None:
        yield _place(bundle.chain)


def _place(chain: Chain) -> str:
    if chain.replaces is not None:
        return (
            f"It is number {chain.number} of its host, a correction: it replaces number {chain.replaces.number} "
            f"(SHA-256 {chain.replaces.sha256}), because: {chain.why}"
        )
    first = "the first bundle of its host" if chain.before is None else f"number {chain.number} of its host"
    return f"It is {first}."


def _not_proved(one: Opened, *, pinned: bool) -> Iterator[str]:
    if not pinned:
        yield (
            f"whose key {fingerprint(one.key)} is: give --host-key, the host's public key as it was handed over "
            "(blocklist-resolver list receipt --key)"
        )
    yield "that the host's clock was right, and that what the host wrote down before it signed was true"
    yield "that no visitor reached a listed name: tested on its sockets means asked by itself for a name made for it"
    if not one.bundle.complete:
        yield "anything of the days that follow: it is no evidence of the month, and has no place in the chain"
    if one.bundle.chain is not None and one.bundle.chain.before is None:
        yield "that no bundle was issued before it: it is the first of its chain"
    if one.bundle.definition.version != definition.VERSION:
        yield f"that its text is that of definition {one.bundle.definition.version}, which this build does not know"
    unknown = sum(_is_unknown(receipt, one.bundle) for receipt in one.bundle.receipts)
    if unknown:
        yield f"that {unknown} lists of its receipts were in force: the log of list operations does not say so"
    if one.bundle.receipts_passed_over:
        yield f"what {one.bundle.receipts_passed_over} files among its receipts say: no key has signed them"
    if any(receipt.key != hash_of(one.key) for receipt in one.bundle.receipts):
        yield "whose all of the receipts are: some are signed by another key than the bundle"


def _is_unknown(receipt: Receipt, bundle: Bundle) -> bool:
    """Whether the log does not show that what a receipt speaks of was in force by then."""
    spans = [span for one in bundle.lists if one.list == receipt.list for span in one.course.spans]
    identity = receipt.serial, receipt.digest
    return not any((span.serial, span.digest) == identity and span.since <= receipt.at for span in spans)
