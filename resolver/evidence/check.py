"""Verifies a bundle of evidence: its signature, its consistency, and its link to another bundle.

Rules:
- Any fault refuses the whole bundle. The result says in sentences what is proved and what is not.
- Files are all it needs: neither the host nor its configuration.
- Facts that follow from others in the bundle are computed again and must be equal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from resolver.config.values import many, noun
from resolver.count import definition
from resolver.count.report.days import DAY, midnight
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
_BEAT_S: Final = 86400
"""The longest beat: the first one may begin so long before the host's records do."""


class Refused(Exception):
    """The bundle proves nothing; the text names the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A bundle with a valid signature, the raw key that signed it, and the SHA-256 of its file."""

    bundle: Bundle
    key: bytes
    sha256: str


def opened(data: bytes, pinned: bytes | None = None) -> Opened:
    """Return the bundle in a file; Refused if its signature is not valid, or is not by the pinned key."""
    try:
        said, key = statement.claimed(data, most_bytes=MAX_BUNDLE_BYTES, to_the_octet=True)
        bundle = bundle_of(said)
    except StatementBroken as error:
        raise Refused(f"not as its host signed it: {error}") from None
    except NotEvidence as error:
        raise Refused(str(error)) from None
    if pinned is not None and key != pinned:
        raise Refused("not signed by the key of --host-key")
    return Opened(bundle=bundle, key=key, sha256=hash_of(data))


def verified(one: Opened, *, pinned: bool, previous: Opened | None = None) -> tuple[list[str], list[str]]:
    """Return what a bundle proves and what it does not, in sentences; Refused if it is not consistent."""
    bundle = one.bundle
    whole = _month(bundle)
    _check_place(bundle)
    _check_log(bundle)
    _check_begin(bundle, whole)
    _check_counts(bundle, whole)
    _check_noise(bundle, whole)
    _check_lists(bundle, whole)
    if any(not whole.begin <= each.at < whole.end for each in bundle.national):
        raise Refused("a submission to the national figure is of another month")
    proved, not_proved = list(_proved(one, whole)), list(_not_proved(one, pinned=pinned))
    if previous is not None:
        proved += _follows(one, previous)
    elif bundle.chain is not None and bundle.chain.before is not None:
        not_proved.append(
            f"that the bundle before it is unchanged: give --previous, the file of SHA-256 {bundle.chain.before.sha256}"
        )
    return proved, not_proved


def fingerprint(key: bytes) -> str:
    """Return the short form of a host's key for people: the beginning of its SHA-256."""
    return hash_of(key)[:FINGERPRINT_HEX]


# Checks.


def _month(bundle: Bundle) -> Month:
    try:
        found = month.whole(bundle.month)
    except NotAMonth:
        raise Refused("it does not name a month") from None
    if not bundle.complete:
        last = next((day for day in _days_of(found) if day.isoformat() == bundle.through), None)
        if last is None:
            raise Refused("its last day is not in its month")
        found = found._replace(last=last, complete=False)
    elif bundle.through != found.last.isoformat():
        raise Refused("it claims to cover a whole month, but does not reach the last day")
    if bundle.made < found.end:
        raise Refused("it is dated before the end of the time that it covers")
    return found


def _days_of(found: Month) -> Iterator[date]:
    day = found.first
    while day <= found.last:
        yield day
        day += DAY


def _check_place(bundle: Bundle) -> None:
    """Check that the place in the chain that a bundle states fits the rest of it; Refused if it does not."""
    chain = bundle.chain
    if (chain is None) is bundle.complete:
        raise Refused("a bundle has a place in the chain if its month is over, and only then")
    if chain is None:
        return
    if (chain.before is None) is not (chain.number == 1) or (
        chain.before is not None and chain.before.number != chain.number - 1
    ):
        raise Refused("its number does not follow that of the bundle before it")
    earlier = chain.previous_month
    if earlier is not None and (earlier.month != month.before(bundle.month) or earlier.number >= chain.number):
        raise Refused("the bundle that it names for the month before is of another month")
    if (chain.replaces is None) is not (chain.why == ""):
        raise Refused("a correction must name the bundle that it replaces, and why")
    if chain.replaces is not None and (chain.replaces.month != bundle.month or chain.replaces.number >= chain.number):
        raise Refused("it replaces a bundle of another month")


def _check_log(bundle: Bundle) -> None:
    """Check the lines of the audit log, from the mark before them to the mark at their end."""
    log = bundle.audit
    if log.broken:
        raise Refused(f"it states that the audit log was broken when it was made: {log.broken}")
    try:
        _, head = audit.chained((line.encode() for line in log.lines), audit.Head(log.before.number, log.before.hash))
    except audit.ChainBroken as broken:
        raise Refused(f"its part of the audit log is broken: {broken}") from None
    if head != (log.end.number, log.end.hash):
        raise Refused("its part of the audit log does not end at the entry that it names")
    if log.verified < len(log.lines):
        raise Refused("its part of the audit log has more lines than the host had verified when it made the bundle")


def _check_begin(bundle: Bundle, whole: Month) -> None:
    """Check that nothing in a bundle is older than the host's records, if they begin within the month."""
    since = bundle.host_since
    if since and not whole.begin < since < whole.end:
        raise Refused("the host's records do not begin within its month")
    for one in bundle.lists:
        for gap in one.gaps:
            if gap.why == counts.NO_HOST and not whole.begin == gap.since < gap.until <= since:
                raise Refused(f"list {one.list}: a gap before the host existed is not where its records begin")
        early = [day for day in one.days if since and midnight(date.fromisoformat(day.day) + DAY) <= since - _BEAT_S]
        if any(day.attempts or day.blocked_queries or day.answers or day.enforced_s for day in early):
            raise Refused(f"list {one.list}: it was counted before the host's records begin")
    entries = audit.chained(line.encode() for line in bundle.audit.lines)[0] if bundle.audit.lines else []
    if min([since, *(one.at for one in entries), *(one.at for one in bundle.receipts)]) < since:
        raise Refused("the host's records begin before the time that it states")


def _check_counts(bundle: Bundle, whole: Month) -> None:
    seconds = whole.end - whole.begin
    used = bundle.definition
    if used.version == definition.VERSION and (used.text, used.attempts_are, used.caveat) != counts.definition_text():
        raise Refused(f"its text of definition {used.version} is not the real one")
    coverage = bundle.coverage
    if coverage.seconds != seconds or not 0 <= coverage.told_s <= seconds:
        raise Refused("its seconds are not those of its month")
    days = [day.isoformat() for day in _days_of(whole)]
    for one in bundle.lists:
        if [day.day for day in one.days] not in ([], days):
            raise Refused(f"list {one.list}: its days are not those of its month")
        if one.days and one.sums != counts.summed(one.days, one.sums.capped):
            raise Refused(f"list {one.list}: its sums are not those of its days")
        if one.per_100k != counts.per_100k(one.days):
            raise Refused(f"list {one.list}: its rate per 100,000 answers does not follow from its days")
        if one.days and sum(day.enforced_s for day in one.days) != one.enforced_s:
            raise Refused(f"list {one.list}: its seconds of enforcement are not the sum of its days")
        _check_gaps(one, whole, coverage.told_s)
    if bundle.totals != counts.together(one.sums for one in bundle.lists):
        raise Refused("its totals are not the sums of its lists")


def _check_noise(bundle: Bundle, whole: Month) -> None:
    """Check that no budget of noise is overspent; Refused if one is."""
    for one in bundle.noise:
        if one.year != whole.first.year:
            raise Refused(f"list {one.list}: its budget of noise is of another year")
        if one.spent > one.most or one.dearest_day > one.most_a_day or one.dearest_day > one.spent:
            raise Refused(f"list {one.list}: its budget of noise is overspent, or its parts do not add up")


def _check_gaps(one: ListEvidence, whole: Month, covered_s: int) -> None:
    at = whole.begin
    for gap in one.gaps:
        if not at <= gap.since < gap.until <= whole.end or gap.enforced_s > gap.until - gap.since:
            raise Refused(f"list {one.list}: its gaps are not in its month, or not in order")
        at = gap.until
    silent = sum(gap.until - gap.since for gap in one.gaps if gap.why in counts.SILENT)
    if whole.end - whole.begin - silent != covered_s:
        raise Refused(f"list {one.list}: its gaps do not match the time that beats cover")
    lacking = sum(gap.until - gap.since - gap.enforced_s for gap in one.gaps)
    if one.enforced_s > whole.end - whole.begin - lacking:
        raise Refused(f"list {one.list}: it was enforced for longer than its gaps allow")


def _check_lists(bundle: Bundle, whole: Month) -> None:
    """Check the course of each list against the lines of the audit log and the receipts."""
    if bundle.receipts != receipts.within(bundle.receipts, whole):
        raise Refused("a receipt is of another month")
    ids = [one.list for one in bundle.lists]
    entries = [] if not bundle.audit.lines else audit.chained(line.encode() for line in bundle.audit.lines)[0]
    named = {entry.list for entry in entries if entry.list} | {one.list for one in bundle.receipts}
    if len(set(ids)) != len(ids) or named - set(ids):
        raise Refused("a list of its log or its receipts is left out, or stands twice")
    for one in bundle.lists:
        begin = one.at_begin
        if begin.force is not None and (begin.force.until or begin.force.ended):
            raise Refused(f"list {one.list}: the list in force at the start of its month had already ended")
        if any(release.ended for release in begin.releases):
            raise Refused(f"list {one.list}: a release in effect at the start of its month had already ended")
        computed, _ = _course(one, entries, bundle, whole)
        if computed != one.course:
            raise Refused(f"list {one.list}: its course does not follow from the audit log")
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
        deadlines=bundle.deadlines,
    )


def _follows(one: Opened, previous: Opened) -> list[str]:
    """Return what is proved between a bundle and an earlier one of its host; Refused if it does not name that one."""
    bundle, earlier = one.bundle, previous.bundle
    chain = bundle.chain
    named = [] if chain is None else [chain.before, chain.previous_month, chain.replaces]
    if previous.sha256 not in [issue.sha256 for issue in named if issue is not None]:
        raise Refused("it does not name the file of --previous: changed, of another month, or of another host")
    if one.key != previous.key or bundle.host != earlier.host:
        raise Refused("the file of --previous is of another host or signed by another key")
    if chain is None or earlier.chain is None or not _is(earlier, previous.sha256, named):
        raise Refused("the file of --previous has another number or month than it names")
    said = [f"It names the file of --previous ({earlier.month}, number {earlier.chain.number}) by its SHA-256."]
    if chain.previous_month is not None and previous.sha256 == chain.previous_month.sha256:
        if bundle.audit.before != earlier.audit.end:
            raise Refused("its part of the audit log does not continue that of --previous")
        _check_start(bundle, earlier)
        said.append("Its part of the audit log continues that of the month before.")
    return said


def _is(earlier: Bundle, sha256: str, named: Iterable[Issue | None]) -> bool:
    number = earlier.chain.number if earlier.chain is not None else 0
    return any(
        issue is not None and issue == Issue(number=number, month=earlier.month, sha256=sha256) for issue in named
    )


def _check_start(bundle: Bundle, earlier: Bundle) -> None:
    """Check that each list starts the month in the state in which the month before ended."""
    whole = _month(earlier)
    entries = audit.chained(line.encode() for line in earlier.audit.lines)[0] if earlier.audit.lines else []
    left = {one.list: _course(one, entries, earlier, whole)[1] for one in earlier.lists}
    for one in bundle.lists:
        if one.list not in left:
            continue
        begin, end = one.at_begin, left[one.list]
        # The month before may be judged by another rule, which knows of no list from which the deadline runs.
        same = bundle.deadlines != earlier.deadlines or _owed(begin) == _owed(end)
        if _known_by(begin) != _known_by(end) or not same:
            raise Refused(f"list {one.list}: its state at the start is not the one in which the month before ended")


def _owed(standing: Standing) -> tuple[int, str, int] | None:
    unmet = standing.unmet
    return (unmet.serial, unmet.digest, unmet.issued) if unmet is not None else None


def _known_by(standing: Standing) -> tuple[object, ...]:
    force, hold = standing.force, standing.hold
    return (
        force and (force.serial, force.digest, force.since),
        hold and (hold.serial, hold.digest, hold.at),
        standing.suspension,
        tuple(one.number for one in standing.releases),
    )


# The result in sentences.


def _proved(one: Opened, whole: Month) -> Iterator[str]:
    bundle, log = one.bundle, one.bundle.audit
    yield (
        f"It is, octet for octet, what host {bundle.host} signed (key {fingerprint(one.key)}) for {bundle.month}"
        f"{'' if bundle.complete else f', so far: to {bundle.through}'}. SHA-256 of the file: {one.sha256}."
    )
    yield (
        f"Its sums are those of its days and lists: {many(len(bundle.lists), 'list')}, "
        f"{many((whole.last - whole.first).days + 1, 'day')}, "
        f"definition {', '.join(bundle.definition.used) or 'none in use'}."
    )
    yield (
        f"Its {many(len(log.lines), 'line')} of the audit log {noun(len(log.lines), 'is', 'are')} one chain, "
        f"from entry {log.before.number} to entry "
        f"{log.end.number} ({log.end.hash}); times in force, deadlines, holds, decisions and releases follow from them."
    )
    if bundle.national:
        yield (
            f"It commits to {many(sum(len(each.figures) for each in bundle.national), 'figure')} that the host "
            "submitted to a national figure; `national verify` compares an opened one."
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
            f"which host owns key {fingerprint(one.key)}: give --host-key, the host's public key as it was handed over "
            "(blocklist-resolver list receipt --key)"
        )
    if one.bundle.host_since:
        since = datetime.fromtimestamp(one.bundle.host_since, UTC)
        yield f"anything about the time before {since:%Y-%m-%d %H:%M} UTC, when this host's records begin"
    yield "that the host's clock was right, and that what the host wrote down before it signed was true"
    yield (
        "that no visitor reached a listed name: tested on its sockets means that the host asked itself for a name made "
        "for the test"
    )
    if not one.bundle.complete:
        yield "anything about the days that follow: it is not evidence of the month, and has no place in the chain"
    if one.bundle.chain is not None and one.bundle.chain.before is None:
        yield "that no bundle was issued before it: it is the first of its chain"
    if one.bundle.definition.version != definition.VERSION:
        yield f"that its text is that of definition {one.bundle.definition.version}, unknown to this release"
    unknown = sum(_is_unknown(receipt, one.bundle) for receipt in one.bundle.receipts)
    if unknown:
        were = many(unknown, "list of its receipts was", "lists of its receipts were")
        yield f"that {were} in force: the audit log does not show it"
    if one.bundle.noise:
        yield "that no figure with noise was drawn elsewhere, or is in a ledger that is gone: a budget is one ledger's"
    if one.bundle.receipts_passed_over:
        files = many(one.bundle.receipts_passed_over, "file")
        has = noun(one.bundle.receipts_passed_over, "has", "have")
        yield f"the content of {files} among its receipts, which {has} no valid signature"
    if any(receipt.key != hash_of(one.key) for receipt in one.bundle.receipts):
        yield "that all receipts are of this host: some are signed by another key than the bundle"


def _is_unknown(receipt: Receipt, bundle: Bundle) -> bool:
    """Return whether the audit log lacks the list of a receipt, in force when the receipt was signed."""
    spans = [span for one in bundle.lists if one.list == receipt.list for span in one.course.spans]
    identity = receipt.serial, receipt.digest
    return not any((span.serial, span.digest) == identity and span.since <= receipt.at for span in spans)
