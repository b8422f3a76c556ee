"""Lists the events of a month for the summary: serials with their times in force, and all others.

Rules:
- If not all events fit, the most severe are kept, and the others are counted.
- Persons appear under their names in the allowed signers, keys by the beginning of their fingerprint.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from resolver.config.values import many
from resolver.count.report.text import UNKNOWN
from resolver.evidence.bundle import Bundle, Deadline, Hold, ListEvidence, Released, Signature, Span, Suspension
from resolver.evidence.summary_rows import MOST_LISTS, Row, lasting, moment, short

MOST_ROWS: Final = 10
"""Rows on the page for the lists and for their serials together."""
MOST_LINES: Final = 13
"""Lines on the page for other events; a line holds LINE letters less those of the longest list's name."""
LINE: Final = 90
MOST_KEY: Final = 15

SPANS: Final = ("List", "Serial", "Issued (UTC)", "In force from", "To", "How it ended", "Deadline")
EVENTS: Final = ("When (UTC)", "List", "Event, from the audit log and the receipts")


def spans(bundle: Bundle) -> tuple[tuple[Row, ...], int]:
    """Return the lists' times in force, rows in order of time, and how many older rows are left out."""
    found = sorted(
        ((span.since, one.list, _span(one, span)) for one in bundle.lists for span in one.course.spans),
        key=lambda row: row[:2],
    )
    room = MOST_ROWS - min(len(bundle.lists), MOST_LISTS)
    rows = tuple((name, *row) for _, name, row in found[-room:])
    return rows, len(found) - len(rows)


def _span(one: ListEvidence, span: Span) -> Row:
    which = span.serial, span.digest, span.since
    judged = [each for each in one.course.deadlines if (each.serial, each.digest, each.in_force) == which]
    said = {"met": "met", "missed": f"missed by {lasting(judged[0].in_force - judged[0].due)}"} if judged else {}
    serial = f"{span.serial}, a withdrawal" if span.withdrawn else str(span.serial)
    return (
        serial,
        moment(span.issued),
        moment(span.since),
        moment(span.until) if span.until else "still",
        span.ended or UNKNOWN,
        said.get(judged[0].outcome, judged[0].outcome) if judged else UNKNOWN,
    )


def events(bundle: Bundle) -> tuple[tuple[Row, ...], int]:
    """Return the other events, rows in order of time, and how many are left out: the least severe."""
    found = sorted({(rank, at, one.list, short(said)) for one in bundle.lists for rank, at, said in _events(one)})
    letters = LINE - max((len(name) for _, _, name, _ in found), default=0)
    ends = accumulate(1 + len(said) // letters for *_, said in found)
    spare = MOST_ROWS - min(len(bundle.lists), MOST_LISTS) - len(spans(bundle)[0])
    kept = [one for one, end in zip(found, ends, strict=True) if end <= MOST_LINES + spare]
    rows = tuple((moment(at), name, said) for _, at, name, said in sorted(kept, key=_by_time))
    return rows, len(found) - len(rows)


def _by_time(event: tuple[int, int, str, str]) -> tuple[int, str, str]:
    return event[1:]


def _events(one: ListEvidence) -> Iterator[tuple[int, int, str]]:
    """Yield (severity, 0 is worst; time; text) of each event."""
    course = one.course
    for deadline in course.deadlines:
        if deadline.outcome == "missed":
            yield 0, deadline.due, _missed(deadline)
    for failed in course.failed:
        yield 0, failed.at, f"serial {failed.serial} failed its self-test ({failed.check}) and was not left in force"
    for span in course.spans:
        if span.withdrawn:
            yield 1, span.since, f"serial {span.serial} withdraws the list"
        elif span.ended.startswith(("taken out", "lifted")):
            yield 1, span.until, f"serial {span.serial} {span.ended}{_by(course.decisions, 'rollback', span.until)}"
    for suspension in course.suspensions:
        yield 1, suspension.at, _suspended(suspension, course.decisions)
    for hold in course.holds:
        yield 2, hold.at, _held(hold)
    for release in course.releases:
        yield (2 if release.confirmed else 1), release.at, _released(release)
    for at, said in _approved_lines(course.decisions):
        yield 2, at, said
    if course.keys_replaced:
        yield 1, 0, f"the authority's keys were replaced {many(course.keys_replaced, 'time')}"


def _signers(signatures: Iterable[Signature]) -> str:
    return " and ".join(dict.fromkeys(f"{one.principal} ({_key(one.key)})" for one in signatures))


def _by(decisions: Iterable[Signature], action: str, at: int) -> str:
    """Return " by ..." with the signers of an action at a moment or later (confirmations); "" if there are none."""
    found = [one for one in decisions if one.action == action and one.at >= at]
    return f" by {_signers(found)}" if found else ""


def _suspended(one: Suspension, decisions: Iterable[Signature]) -> str:
    said = f"new entries of serial {one.serial} suspended by the breaker"
    if not one.until:
        return f"{said}, still suspended at the end"
    found = [each for each in decisions if each.action == "resume" and one.at <= each.at <= one.until]
    return f"{said} until {moment(one.until)}" + (f"; resumed by {_signers(found)}" if found else "")


def _approved_lines(decisions: Iterable[Signature]) -> Iterator[tuple[int, str]]:
    """Yield (time, text) of each approval of lines that were set aside."""
    found: dict[int, list[Signature]] = {}
    for one in decisions:
        if one.action == "approve-set-aside":
            found.setdefault(one.serial, []).append(one)
    for serial, signatures in found.items():
        yield signatures[-1].at, f"lines set aside of serial {serial}: approval signed by {_signers(signatures)}"


def _key(key: str) -> str:
    return f"{key[:MOST_KEY]}…" if len(key) > MOST_KEY + 1 else key


def _missed(one: Deadline) -> str:
    came = f"in force {lasting(one.in_force - one.due)} later" if one.in_force else "not in force by the end"
    return f"deadline of serial {one.serial} missed: {came}"


def _held(hold: Hold) -> str:
    why = f"serial {hold.serial} held ({', '.join(hold.reasons) or 'reason not recorded'})"
    if hold.released:
        by = f" by {_signers(hold.signatures)}" if hold.signatures else ", signers not recorded"
        return f"{why}; accepted {moment(hold.released)}{by}"
    return f"{why}; {hold.ended or 'still held'}"


def _released(one: Released) -> str:
    confirmed = f"confirmed by {one.principal} ({_key(one.key)})" if one.confirmed else "not confirmed by a signature"
    over = "; ended" if one.ended else ""
    return (
        f"release {one.number}: one name of serial {one.serial} released until {moment(one.until)}, {confirmed}{over}"
    )
