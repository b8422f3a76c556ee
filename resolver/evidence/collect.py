"""Collects a bundle from a host's ledger, its audit log and its receipts.

Rules:
- The whole log is verified first. If it is broken, the bundle says so and holds no course of any list.
- The lines of a month start where those of the bundle before ended: that entry must still be there, with its hash.
- The functions that verify a bundle (`history`, `counts`) also compute it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from resolver.config.config import Config
from resolver.config.config import List as Configured
from resolver.count import definition
from resolver.count.ledger import Ledger
from resolver.evidence import commitments, counts, receipts
from resolver.evidence.bundle import (
    Audit,
    Bundle,
    Chain,
    Course,
    DeadlineRule,
    Definition,
    ListEvidence,
    Mark,
    Receipt,
    Standing,
)
from resolver.evidence.history import course
from resolver.evidence.month import Month
from resolver.feed import audit, poll
from resolver.feed.audit import Entry
from resolver.feed.places import Places

NOWHERE: Final = Mark(number=0, hash="0" * 64)

CAVEATS: Final = (
    definition.CAVEAT,
    "Tested on its sockets means that this host asked its own sockets for a list's synthetic name, and they gave the "
    "list's answer. It does not mean that no visitor reached a listed name: a visitor who uses another resolver, an "
    "address or a tunnel is not affected.",
    "This is what one host states about itself, signed with its own key, by its own clock. No signature shows what its "
    "operator changed on it before it signed; the chain shows what was changed afterwards, or left out between two "
    "months.",
    "This host does not know of a list that never reached it: its deadline is not judged here.",
)


class NotHere(Exception):
    """The host did not exist in the month, so that it can state nothing about it; the text says since when it does."""


class LogDiffers(Exception):
    """The log does not continue the one of the bundle before; the text names the missing entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The audit log of a month: entries before it, its entries, later ones, and the part as the bundle holds it."""

    part: Audit
    earlier: tuple[Entry, ...] = ()
    entries: tuple[Entry, ...] = ()
    later: tuple[Entry, ...] = ()


def read_log(path: Path, month: Month, since: Mark | None) -> Log:
    """Return the log of a month; LogDiffers, OSError.

    since: the entry with which the bundle before ended, None if there is no such bundle.
    """
    try:
        entries, hashes = audit.verified(path)
    except audit.ChainBroken as broken:
        mark = since or NOWHERE
        return Log(part=Audit(before=mark, end=mark, lines=(), verified=0, first=0, broken=str(broken)))
    first = entries[0].number if entries else 1
    begin = _cut(entries, month.begin) if since is None else since.number - first + 1
    if not 0 <= begin <= len(entries) or (since is not None and hashes[begin] != since.hash):
        number = since.number if since is not None else 0
        raise LogDiffers(f"{path}: entry {number}, the last of the bundle before, is missing: this is another log")
    end = max(begin, _cut(entries, month.end))
    numbers = [entry.number for entry in entries]
    lines = [audit.line_of(entry).decode() for entry in entries[begin:end]]
    return Log(
        part=Audit(
            before=Mark(number=numbers[begin] - 1 if begin < len(numbers) else first + begin - 1, hash=hashes[begin]),
            end=Mark(number=first + end - 1, hash=hashes[end]),
            lines=tuple(lines),
            verified=len(entries),
            first=first,
        ),
        earlier=tuple(entries[:begin]),
        entries=tuple(entries[begin:end]),
        later=tuple(entries[end:]),
    )


def begin_of(log: Log, ledger: Path, signed: Iterable[Receipt], now: float) -> int:
    """Return when the records of this host begin (unix seconds); 0 if it has none, or its first ones were cut."""
    entries = (*log.earlier, *log.entries, *log.later)
    known = [one.at for one in entries] + [one.at for one in signed]
    if ledger.is_file():
        known.append(Ledger(ledger, now).began)
    first = min(known, default=0)
    cut = log.part.first > 1 and any(one.at == first for one in entries)
    return 0 if cut else first


def _since_within(month: Month, begun: int) -> int:
    """Return `begun` if it is within the month, 0 if it is before; NotHere if it is after."""
    if begun >= month.end:
        since = datetime.fromtimestamp(begun, UTC)
        raise NotHere(
            f"{month.name} is before this host: its records begin on {since:%Y-%m-%d %H:%M} (UTC), and it can state "
            f"nothing about the time before; its first month is {since:%Y-%m}"
        )
    return begun if begun > month.begin else 0


def _cut(entries: Iterable[Entry], at: int) -> int:
    """Return the number of entries up to the last one that is older than `at`."""
    return max((number for number, entry in enumerate(entries, 1) if entry.at < at), default=0)


def standing_of(
    list_id: str,
    earlier: Iterable[Entry],
    end: int,
    deadline_s: int,
    found: Iterable[Receipt],
    deadlines: DeadlineRule,
) -> Standing:
    """Return the state of a list after these entries."""
    issued = receipts.issued(found)
    return course(
        list_id, Standing(), earlier, end=end, deadline_s=deadline_s, issued=issued, deadlines=deadlines
    )[1]


def collect(
    config: Config, month: Month, chain: Chain | None, since: Mark | None, *, version: str, now: float
) -> Bundle:
    """Return the bundle of a month; LedgerUnusable, LogDiffers, NotHere, RecordsUnusable or OSError."""
    places = Places(config.state.directory)
    log = read_log(places.audit_log, month, since)
    signed, passed_over = receipts.read(places.receipts)
    of_month = receipts.within(signed, month)
    host_since = _since_within(month, begin_of(log, places.ledger, signed, now))
    configured = {one.id: one for one in config.lists}
    known = {*configured, *(entry.list for entry in log.entries if entry.list)}
    # A compile host need not serve: it then has holds, decisions and a log, but no ledger.
    counts_nothing = bool(config.fleet.publish) and not places.ledger.exists()
    counted = (
        counts.silent(month, known, host_since)
        if counts_nothing
        else counts.read(places.ledger, month, known, now, host_since)
    )
    ids = _ordered(counted.lists, config.lists)
    rule, courses = _courses(ids, configured, log, month, signed, of_month)
    lists = tuple(_list(one, configured.get(one), counted.lists[one], *courses[one], log, of_month) for one in ids)
    text, attempts_are, caveat = counts.definition_text()
    return Bundle(
        month=month.name,
        through=month.last.isoformat(),
        complete=month.complete,
        made=int(now),
        host=poll.host_of(config),
        region=config.count.region,
        version=version,
        chain=chain,
        definition=Definition(
            version=definition.VERSION,
            used=counted.definitions,
            text=text,
            attempts_are=attempts_are,
            caveat=caveat,
        ),
        coverage=counted.coverage,
        totals=counts.together(one.sums for one in lists),
        lists=lists,
        receipts=of_month,
        receipts_passed_over=passed_over,
        audit=log.part,
        caveats=CAVEATS,
        host_since=host_since,
        deadlines=rule,
        noise=counted.noise,
        national=commitments.read(places.national, month),
    )


def _list(
    list_id: str,
    configured: Configured | None,
    counted: counts.Counted,
    at_begin: Standing,
    of_list: Course,
    log: Log,
    of_month: Iterable[Receipt],
) -> ListEvidence:
    deadline_s = _deadline_of(configured)
    figures = counted.figures
    return ListEvidence(
        list=list_id,
        demonstration=configured is not None and configured.demonstration,
        legal_reference=configured.legal_reference if configured is not None else "",
        deadline_s=deadline_s,
        sums=counts.summed(counted.days, counted.capped),
        saturated_beats=counted.saturated_beats,
        per_100k=counts.per_100k(counted.days),
        ratio=figures.ratio if figures is not None else None,
        peak_day=figures.peak.day.isoformat() if figures is not None and figures.peak is not None else "",
        not_comparable=figures.not_comparable if figures is not None else (),
        enforced_s=counted.enforced_s,
        gaps=counted.gaps,
        days=counted.days,
        at_begin=at_begin,
        course=of_list if not log.part.broken else Course(),
        tests_passed=receipts.proved(of_month, list_id),
    )


def _courses(
    ids: Iterable[str],
    configured: Mapping[str, Configured],
    log: Log,
    month: Month,
    signed: Iterable[Receipt],
    of_month: Iterable[Receipt],
) -> tuple[DeadlineRule, dict[str, tuple[Standing, Course]]]:
    """Return the rule that the bundle states for deadlines, and each list's state at the start and course by it.

    It is the rule that release 0.1 knew where both rules say the same, so that 0.1 verifies the bundle too.
    """

    def by(rule: DeadlineRule) -> dict[str, tuple[Standing, Course]]:
        found = {}
        for one in ids:
            deadline_s = _deadline_of(configured.get(one))
            begin = standing_of(one, log.earlier, month.begin, deadline_s, signed, rule)
            of_list, _ = course(
                one,
                begin,
                log.entries,
                end=month.end,
                deadline_s=deadline_s,
                issued=receipts.issued(of_month),
                deadlines=rule,
            )
            found[one] = begin, of_list
        return found

    each, oldest = by("each"), by("oldest")
    same = all(each[one][1].deadlines == of_list.deadlines for one, (_, of_list) in oldest.items())
    return ("each", each) if same else ("oldest", oldest)


def _deadline_of(configured: Configured | None) -> int:
    return int(configured.deadline) if configured is not None else 0


def _ordered(found: Mapping[str, object], configured: Iterable[Configured]) -> tuple[str, ...]:
    """Return the ids of the lists: the configured ones in their order, then the others."""
    first = [one.id for one in configured]
    return (*first, *sorted(set(found) - set(first)))
