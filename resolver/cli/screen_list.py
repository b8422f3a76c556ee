"""Draws the facts of one list as rows, and the next step for each fact that is not as it should be.

Rules:
- Facts come from a running service or from the disk; nothing is looked up here, and `now` is an argument.
- A row without content is left out. A thing to do has a line of its own, apart from its row.
"""

from collections.abc import Iterator
from typing import Final

from resolver.cli.screen import LOG, Advice, Mark, Row, Urgency, command, counts, entries, span
from resolver.config.values import many
from resolver.feed.facts import DecisionFacts, ListFacts, ReleaseFacts
from resolver.feed.reasons import Reason, SetAside, Whose

PATIENCE_POLLS: Final = 3
DEADLINE_NEAR_S: Final = 4 * 3600
EXPIRY_NEAR_S: Final = 3 * 86400
RELEASE_NEAR_S: Final = 86400
CERTIFICATE_NEAR_S: Final = 14 * 86400
DELIVERY_S: Final = 900
REPORT_S: Final = 600
SHOWN: Final = 4
"""This many releases or nodes are listed; the others are counted."""

_OF_THE_AUTHORITY: Final = frozenset(reason.value for reason in Reason if reason.whose is Whose.AUTHORITY)


# Facts.


def rows(one: ListFacts, now: float) -> Iterator[Row]:
    """Yield the rows of a list."""
    yield _in_force(one)
    if one.forwarded:
        yield Row("  without", "until it is in force, names that only it would block are FORWARDED", Mark.WARN)
    if one.serial:
        yield _dates(one, now)
    if one.live or one.polled_at:
        yield _feed(one, now)
        if one.failed:
            then = f"next {_due(one.next_poll_at, now)}"
            yield Row("  failed", f"{span(now - one.polled_at)} ago, {then}: {one.failed}", Mark.WARN)
        if one.passed_over:
            yield Row("  folder", one.passed_over)
        if 0 < one.fresh_until < now:
            yield Row("  stale", f"its signatures have not been fresh for {span(now - one.fresh_until)}", Mark.WARN)
    if any(one.refused.values()) and not one.live:
        yield Row("  refused", f"{counts(one.refused)}: lines that are no usable entries")
    if any(one.set_aside.values()):
        what = "approved, they count" if one.set_aside_approved else "lines that do not count"
        yield Row("  aside", f"{counts(one.set_aside)}: {what}{_signed(one, 'approve-set-aside')}")
    yield from _of_breaker(one)
    if one.held:
        since = f" for {span(now - one.held_since)}" if one.held_since else ""
        held = f"serial {one.held_serial} HELD ({', '.join(one.held_for)}){since}{_signed(one, 'approve')}"
        yield Row("  held", held, Mark.WARN)
    for each in one.standing:
        waits = f"; {each.missing} of 2 missing" if each.missing else ""
        yield Row("  standing", f"approval {each.number}: {each.allows}, by {' and '.join(each.signed)}{waits}")
    if one.due_by:
        late = now - one.due_by
        said = f"MISSED {span(late)} ago" if late > 0 else f"in {span(-late)}"
        mark = Mark.BAD if late > 0 else Mark.WARN if -late < DEADLINE_NEAR_S else Mark.PLAIN
        since = f" since serial {one.due_serial}" if one.due_serial not in (0, one.held_serial) else ""
        yield Row("  deadline", f"a newer list{since} has to be in force: {said}", mark)
    if one.taken_out:
        said = f"serial {one.taken_out} was taken out; waits for a corrected list"
        yield Row("  out", said, Mark.WARN)
    if one.rolled_back:
        waits = _waits(one.rollback_alarm_at, now)
        said = f"to serial {one.serial} {span(now - one.rolled_back)} ago by {one.rolled_back_by} alone; {waits}"
        yield Row("  rollback", said, Mark.WARN)
    yield from _of_releases(one, now)
    yield from _of_receipts(one, now)
    yield from _of_fleet(one)
    for cert in one.certificates:
        if cert.end - now < CERTIFICATE_NEAR_S:
            yield Row("  cert", f"source.{cert.key} {_ends(cert.end, now)}: {cert.path}", Mark.WARN)


def _in_force(one: ListFacts) -> Row:
    if not one.has_list:
        none = "" if one.serial else ", no verified list yet"
        return Row("list", f"{one.list_id}: NOT IN FORCE{none}", Mark.BAD)
    if one.withdrawn:
        return Row("list", f"{one.list_id}: withdrawn by serial {one.serial}, nothing is blocked by it")
    if one.lifted:
        return Row(
            "list", f"{one.list_id}: lifted, NOTHING is blocked by it; its last serial is {one.serial}", Mark.BAD
        )
    return Row("list", f"{one.list_id}: serial {one.serial} in force, {entries(one.entries, one.exceptions)}")


def _dates(one: ListFacts, now: float) -> Row:
    issued = f"issued {span(now - one.issued)} ago, " if one.issued else ""
    since = f"in force for {span(now - one.in_force_since)}, " if one.in_force_since else ""
    left = one.hard_limit_at - now
    mark = Mark.BAD if left <= 0 else Mark.WARN if left < EXPIRY_NEAR_S else Mark.PLAIN
    return Row("  dates", f"{issued}{since}{_ends(one.hard_limit_at, now)}", Mark.PLAIN if one.withdrawn else mark)


def _feed(one: ListFacts, now: float) -> Row:
    seen = f"last good {span(now - one.last_success)} ago" if one.last_success else "no poll was good yet"
    if one.next_poll_at and not one.failed:
        seen += f", next {_due(one.next_poll_at, now)}"
    if one.failing_since:
        failing = f"FAILING for {span(now - one.failing_since)}: {counts(one.failing)}"
    else:
        failing = f"failures: {counts(one.failures)}"
    passed = "passed" if one.selftest_passed else "NOT passed"
    tested = f"; self-test {passed}" if one.enforced else ""
    well = not one.failing_since and (one.selftest_passed or not tested)
    return Row("  feed", f"{seen}, {failing}{tested}", Mark.PLAIN if well else Mark.WARN)


def _due(at: int, now: float) -> str:
    return f"poll in {span(at - now)}" if at > now else "poll is due"


def _of_breaker(one: ListFacts) -> Iterator[Row]:
    if one.breaker_open:
        yield Row("  breaker", f"OPEN: entries new in serial {one.serial} block unusually many, and stay", Mark.BAD)


def _of_releases(one: ListFacts, now: float) -> Iterator[Row]:
    for each in one.releases[:SHOWN]:
        line = "" if each.line is None else f" line {each.line}"
        by = (
            f"confirmed by {each.confirmed_by}" if each.confirmed_by else f"NOT CONFIRMED, {_waits(each.alarm_at, now)}"
        )
        said = f"{each.number}: serial {each.serial}{line}, {_ends(each.until, now)}; {by}"
        yield Row("  release", said, Mark.PLAIN if each.confirmed_by else Mark.WARN)
    more = len(one.releases) - SHOWN
    if more > 0:
        yield Row("  release", f"and {more} more: list releases")


def _of_receipts(one: ListFacts, now: float) -> Iterator[Row]:
    if one.receipt_at or one.receipts_due:
        last = f"written {span(now - one.receipt_at)} ago" if one.receipt_at else "none of this serial"
        since = f"{one.receipts_due} NOT DELIVERED, the oldest for {span(now - one.receipts_due_since)}"
        late = one.receipts_due and now - one.receipts_due_since > DELIVERY_S
        said = f"{last}; {since if one.receipts_due else 'none waits'}"
        yield Row("  receipt", said, Mark.WARN if late else Mark.PLAIN)


def _of_fleet(one: ListFacts) -> Iterator[Row]:
    if one.fleet_hosts:
        there = one.fleet_hosts - len(one.fleet_missing)
        missing = f"; missing: {_some(one.fleet_missing)}" if one.fleet_missing else ""
        said = f"serial {one.serial} is reported in force by {there} of {one.fleet_hosts} hosts{missing}"
        yield Row("  fleet", said, Mark.WARN if missing else Mark.PLAIN)


def _ends(at: int, now: float) -> str:
    return f"ends in {span(at - now)}" if at > now else f"ENDED {span(now - at)} ago"


def _waits(alarm_at: int, now: float) -> str:
    return f"alarm in {span(alarm_at - now)}" if alarm_at > now else f"ALARM for {span(now - alarm_at)}"


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _signed(one: ListFacts, action: str) -> str:
    """Return the signatures of a pending decision as words that follow others; "" if it is not pending."""
    each = next((each for each in one.decisions if each.action == action), None)
    return f"; {_of(each)}" if each else ""


def _of(each: DecisionFacts) -> str:
    return _count(each) + (f" ({', '.join(each.signed)})" if each.signed else "")


def _count(each: DecisionFacts) -> str:
    return f"{len(each.signed)} of {len(each.signed) + each.missing} signatures"


# Advice.


def advice(one: ListFacts, now: float, config: str) -> Iterator[Advice]:
    """Yield what is wrong with a list and what to do about it; config: the path of the service's configuration."""
    for about in (_about_force, _about_persons, _about_feed, _about_dates, _about_proof):
        yield from about(one, now, config)


def _about_force(one: ListFacts, now: float, config: str) -> Iterator[Advice]:
    name, issue = one.list_id, "have the authority issue a new serial"
    if not one.has_list and one.held:
        what = f"{name} is NOT IN FORCE, its first serial is held{_signed(one, 'approve')}"
        yield Advice(Urgency.OUT, what, _look(one, config))
    elif not one.has_list:
        failed = one.failing if any(one.failing.values()) else one.failures
        reasons = f" ({counts(failed)})" if any(failed.values()) else ""
        yield Advice(Urgency.OUT, f"{name} is NOT IN FORCE{reasons}", f"look at its source, and {LOG}")
    elif one.lifted and not one.withdrawn:
        yield Advice(Urgency.OUT, f"{name} is past its hard limit, NOTHING is blocked by it", issue)
    elif not one.withdrawn and one.hard_limit_at <= now:
        yield Advice(Urgency.OUT, f"{name} is past its hard limit, and stays in force", issue)
    if one.live and one.enforced and not one.selftest_passed:
        yield Advice(Urgency.OUT, f"{name}: its self-test did not pass", f"see {LOG}")


def _about_persons(one: ListFacts, now: float, config: str) -> Iterator[Advice]:
    """Yield what waits for persons."""
    name, look = one.list_id, _look(one, config)
    for each in one.decisions:
        if each.action == "approve" and one.has_list:
            late = ", and OVERDUE" if 0 < one.due_by < now else ""
            yield Advice(Urgency.WAITS, f"{name}: serial {each.serial} is HELD{late}, {_count(each)}", look)
        elif each.action == "approve-set-aside" and SetAside.IN_USE in one.set_aside:
            yield Advice(Urgency.WAITS, f"{name}: entries in wide use SET ASIDE, {_count(each)}", look)
        elif each.action == "approve-set-aside" and each.signed:
            yield Advice(Urgency.LATER, f"{name}: lines SET ASIDE, {_count(each)}", look)
        elif each.action == "rollback":
            what = f"{name}: rollback unconfirmed, {_waits(one.rollback_alarm_at, now)}"
            yield Advice(_unless(one.rollback_alarm_at, now), what, look)
    if one.taken_out:
        what = f"{name}: serial {one.taken_out} was taken out, serial {one.serial} is in force"
        yield Advice(Urgency.LATER, what, "have the authority publish a corrected list")
    if one.breaker_open:
        yield Advice(Urgency.WAITS, f"{name}: new entries block unusually many, look or go back", look)
    if one.due_by and not one.held and one.due_by - now < DEADLINE_NEAR_S:
        late = f"LATE for {span(now - one.due_by)}" if one.due_by < now else f"due in {span(one.due_by - now)}"
        do = command(f"list fetch {name}", config)
        yield Advice(Urgency.WAITS, f"{name}: a newer list is {late}", do)
    for free in one.releases:
        yield from _about_release(free, now, config)


def _about_release(free: ReleaseFacts, now: float, config: str) -> Iterator[Advice]:
    if not free.confirmed_by:
        do = command(f"list release {free.number} --statement", config)
        what = f"release {free.number} unconfirmed, {_waits(free.alarm_at, now)}"
        yield Advice(_unless(free.alarm_at, now), what, do)
    if free.until - now < RELEASE_NEAR_S < free.until - free.at:
        what = f"release {free.number} ends in {span(free.until - now)}, then its name is blocked"
        yield Advice(Urgency.SOON, what, command("list releases", config))


def _about_feed(one: ListFacts, now: float, config: str) -> Iterator[Advice]:
    del config
    if not one.live or not one.has_list:
        return
    since = one.last_success or one.failing_since
    if since and (not one.last_success or now - since > PATIENCE_POLLS * one.poll_s + 60):
        what = f"{one.list_id}: no good poll for {span(now - since)} ({counts(one.failing)})"
        theirs = not _OF_THE_AUTHORITY.isdisjoint(one.failing)
        yield Advice(Urgency.FAILS, what, "call the authority" if theirs else f"see {LOG}")
    if 0 < one.fresh_until < now:
        what = f"{one.list_id}: its signatures have not been fresh for {span(now - one.fresh_until)}"
        yield Advice(Urgency.FAILS, what, "have the authority refresh them")


def _about_dates(one: ListFacts, now: float, config: str) -> Iterator[Advice]:
    del config
    left = one.hard_limit_at - now
    if one.enforced and not one.withdrawn and 0 < left < EXPIRY_NEAR_S:
        then = "NOTHING is blocked by it" if one.expire == "lift" else "it stays, with an alarm"
        what = f"{one.list_id}: ends in {span(left)}, then {then}"
        yield Advice(Urgency.FAILS, what, "have the authority issue a new serial")
    for cert in one.certificates:
        if cert.end - now < CERTIFICATE_NEAR_S:
            what = f"{one.list_id}: source.{cert.key} {_ends(cert.end, now)}"
            yield Advice(Urgency.FAILS if cert.end <= now else Urgency.SOON, what, f"renew {cert.path}")


def _about_proof(one: ListFacts, now: float, config: str) -> Iterator[Advice]:
    del config
    if one.receipts_due and now - one.receipts_due_since > DELIVERY_S:
        oldest = f"oldest for {span(now - one.receipts_due_since)}"
        what = f"{one.list_id}: {many(one.receipts_due, 'receipt')} not delivered, {oldest}"
        yield Advice(Urgency.SOON, what, f"see {LOG}")
    if one.fleet_missing and now - one.in_force_since > REPORT_S:
        what = f"{one.list_id}: serial {one.serial} is not reported by {_some(one.fleet_missing)}"
        yield Advice(Urgency.FAILS, what, "there, blocklist-resolver status")


def _look(one: ListFacts, config: str) -> str:
    """Return the command that shows what waits and prints what to sign."""
    return command(f"list held {one.list_id}", config)


def _unless(alarm_at: int, now: float) -> Urgency:
    return Urgency.WAITS if alarm_at <= now else Urgency.SOON
