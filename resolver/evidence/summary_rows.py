"""The rows and sentences of the printable summary, made from a bundle.

Rules:
- Attempts are named as the definition names them; a passed self-test is "tested on its sockets".
- Rows without room are counted, and are in the bundle.
- An unknown number is a dash, never a zero.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from resolver.config.values import many, noun
from resolver.count.report.budget import epsilon
from resolver.count.report.text import UNKNOWN, number, share, times
from resolver.evidence.bundle import Bundle, ListEvidence
from resolver.evidence.counts import NO_HOST

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
MOST_LISTS: Final = 4
MOST_SERIALS: Final = 6
MOST_LETTERS: Final = 180

COUNTED: Final = ("List", "Attempts", "Blocked queries", "Per 100,000", "Times the baseline", "Capped", "Comparable")
ENFORCED: Final = ("List", "Enforced", "Minutes", "Longest gap", "Gaps", "Saturated")
CUSTODY: Final = (
    "List",
    "Serials in force",
    "Deadline met",
    "Missed",
    "Tested on its sockets",
    "Failed",
    "Held",
    "Released",
)

Row = tuple[str, ...]


def title(bundle: Bundle) -> str:
    """Return the title, one line with the month."""
    return f"Evidence of enforcement, {_month(bundle)}"


def custody_title(bundle: Bundle) -> str:
    """Return the title of the second page."""
    return f"Custody of the lists, {_month(bundle)}"


def _month(bundle: Bundle) -> str:
    name = f"{MONTHS[int(bundle.month[5:]) - 1]} {bundle.month[:4]}"
    return name if bundle.complete else f"{name}, so far (to {bundle.through})"


def origin(bundle: Bundle, sha256: str) -> str:
    """Return host, region, time, version and bundle of the summary; it stands on both pages."""
    region = f", region {bundle.region}" if bundle.region else ""
    made = f"Made {moment(bundle.made)} UTC by blocklist-resolver {bundle.version}"
    return f"Host {bundle.host}{region}. {made} from the bundle {sha256[:16]}."


def headline(bundle: Bundle) -> tuple[tuple[str, str], ...]:
    """Return the main figures at the top: number and label."""
    outcomes = [one.outcome for each in bundle.lists for one in each.course.deadlines]
    judged = outcomes.count("met") + outcomes.count("missed")
    passed = sum(one.tests_passed for one in bundle.lists)
    failed = sum(len(one.course.failed) for one in bundle.lists)
    return (
        (number(bundle.totals.attempts), "attempts"),
        (number(bundle.totals.blocked_queries), "blocked queries"),
        (_share_of_month(bundle, bundle.lists), f"of the time {_since(bundle)}enforced"),
        (f"{outcomes.count('met')} of {judged}" if judged else UNKNOWN, "deadlines met"),
        (f"{passed} of {passed + failed}" if passed + failed else UNKNOWN, "self-tests passed"),
    )


def counted(bundle: Bundle) -> Iterator[Row]:
    """Yield a row for each list, and one for all lists unless there is just one."""
    for one in bundle.lists[:MOST_LISTS]:
        yield (
            one.list,
            number(one.sums.attempts),
            number(one.sums.blocked_queries),
            share(one.per_100k),
            times(one.ratio),
            number(one.sums.capped),
            "no" if one.not_comparable else "yes" if one.days else UNKNOWN,
        )
    if len(bundle.lists) != 1:
        totals = bundle.totals
        yield (
            _all(bundle),
            number(totals.attempts),
            number(totals.blocked_queries),
            "",
            "",
            number(totals.capped),
            "",
        )


def enforced(bundle: Bundle) -> Iterator[Row]:
    """Yield a row for each list, and one for all lists if not all have room."""
    seconds = _seconds(bundle)
    for one in bundle.lists[:MOST_LISTS]:
        gaps = [gap for gap in one.gaps if gap.why != NO_HOST]
        longest = max(gaps, key=lambda gap: gap.until - gap.since, default=None)
        yield (
            one.list,
            _share_of_month(bundle, (one,)),
            f"{one.enforced_s // 60:,} of {seconds // 60:,}" if bundle.coverage.beats else UNKNOWN,
            lasting(longest.until - longest.since) if longest else "none",
            str(len(gaps)),
            beats(one.saturated_beats),
        )
    if len(bundle.lists) > MOST_LISTS:
        yield (_all(bundle), _share_of_month(bundle, bundle.lists), "", "", "", "")


def custody(bundle: Bundle) -> Iterator[Row]:
    """Yield a row for each list, and one for all lists unless there is just one."""
    for one in bundle.lists[:MOST_LISTS]:
        serials = [str(span.serial) for span in one.course.spans if not span.withdrawn]
        said = f"{serials[0]} to {serials[-1]} ({len(serials)})" if len(serials) > MOST_SERIALS else ", ".join(serials)
        yield (one.list, said or UNKNOWN, *_sums((one,)))
    if len(bundle.lists) != 1:
        yield (_all(bundle), "", *_sums(bundle.lists))


def _sums(lists: tuple[ListEvidence, ...]) -> Row:
    outcomes = [one.outcome for each in lists for one in each.course.deadlines]
    return (
        str(outcomes.count("met")),
        str(outcomes.count("missed")),
        str(sum(one.tests_passed for one in lists)),
        str(sum(len(one.course.failed) for one in lists)),
        str(sum(len(one.course.holds) for one in lists)),
        str(len({(release.number, release.at) for one in lists for release in one.course.releases})),
    )


def set_aside(bundle: Bundle) -> str:
    """Return a sentence on the lines that were refused or set aside in the newest lists of the month."""
    newest = {one.list: one for one in bundle.receipts if one.enforced}
    parts = [
        f"{one.list} serial {one.serial}: {number(one.entries)} {noun(one.entries, 'entry', 'entries')}, "
        f"{many(one.refused, 'line')} refused, "
        f"{one.set_aside} set aside{' and approved' if one.set_aside and one.approved else ''}"
        for one in islice(newest.values(), MOST_LISTS)
    ]
    said = "By their last receipts: " + "; ".join(parts) + "."
    return short(said) if parts else "No receipt was signed in the month."


def gaps(bundle: Bundle) -> str:
    """Return a sentence on coverage, subscribers and the reasons for gaps."""
    coverage = bundle.coverage
    if not coverage.beats:
        nothing = "No beat covers the month: this host counted nothing, and nothing is known about its enforcement."
        return begins(bundle) + nothing
    share_of_month = percent(coverage.told_s, _seconds(bundle))
    low, high = coverage.subscribers_least, coverage.subscribers_most
    covered = "subscribers covered: not stated" if not high else f"subscribers covered: {number(high)}"
    if low != high:
        covered = f"subscribers covered: {number(low)} to {number(high)}"
    why = sorted({gap.why for one in bundle.lists for gap in one.gaps})
    reasons = f"Reasons for gaps: {'; '.join(why)}." if why else "There is no gap."
    what = f"the time {_since(bundle)}".rstrip() if bundle.host_since else "the month"
    return f"{begins(bundle)}Beats cover {share_of_month} of {what}; {covered}. {reasons}"


def noise(bundle: Bundle) -> str:
    """Return a sentence on the budget of figures with noise; "" if none was given out."""
    parts = [
        f"{one.list} {epsilon(one.spent)} of {epsilon(one.most)} (for one day {epsilon(one.dearest_day)} of "
        f"{epsilon(one.most_a_day)})"
        for one in bundle.noise[:MOST_LISTS]
    ]
    year = bundle.month[:4]
    return short(f"Budget of published figures with noise in {year}, epsilon: {'; '.join(parts)}.") if parts else ""


def begins(bundle: Bundle) -> str:
    """Return a sentence on since when the host exists, if that is within the month; else ""."""
    if not bundle.host_since:
        return ""
    return f"This host exists since {moment(bundle.host_since)} UTC; nothing is stated about the time before. "


def _since(bundle: Bundle) -> str:
    return f"since {moment(bundle.host_since)[:10]} " if bundle.host_since else ""


def _seconds(bundle: Bundle) -> int:
    """Return the seconds of the month for which the host existed."""
    coverage = bundle.coverage
    silent = max((gap.until - gap.since for one in bundle.lists for gap in one.gaps if gap.why == NO_HOST), default=0)
    return coverage.seconds - silent


def about(bundle: Bundle) -> str:
    """Return a sentence on demonstration lists and legal references; "" if there are none."""
    shown = bundle.lists[:MOST_LISTS]
    made_up = [one.list for one in shown if one.demonstration]
    law = [f"{one.list}: {one.legal_reference}" for one in shown if one.legal_reference]
    said = [f"Demonstration lists, of reserved names only: {', '.join(made_up)}."] if made_up else []
    said += [f"Legal reference: {'; '.join(law)}."] if law else []
    return short(" ".join(said))


def incomparable(bundle: Bundle) -> str:
    """Return a sentence on the lists that are not comparable with earlier weeks, and why; "" if there are none."""
    found: dict[str, list[str]] = {}
    for one in bundle.lists[:MOST_LISTS]:
        if one.not_comparable:
            found.setdefault(", ".join(one.not_comparable), []).append(one.list)
    parts = [f"{', '.join(lists)} ({why})" for why, lists in found.items()]
    return short(f"Not comparable with the weeks before: {'; '.join(parts)}.") if parts else ""


def sealed(bundle: Bundle, sha256: str, fingerprint: str) -> tuple[tuple[str, str], ...]:
    """Return rows (name, value) that tie the printed summary to its bundle, and the bundle to audit log and chain."""
    audit, chain = bundle.audit, bundle.chain
    verified = f"{audit.verified:,} {noun(audit.verified, 'entry', 'entries')} verified"
    log = (
        f"broken when this was made: {audit.broken}"
        if audit.broken
        else f"{verified}; this month {audit.before.number + 1} to {audit.end.number}"
        if audit.lines
        else f"{verified}; none in this month"
    )
    rows = [
        ("This bundle, SHA-256", sha256),
        ("Signed by the host's key", f"{fingerprint} (beginning of its SHA-256)"),
        ("Audit log", log),
        ("Audit log at the month's end", f"entry {audit.end.number}: {audit.end.hash}"),
    ]
    if chain is None:
        return (*rows, ("Place in the chain", "none: the month is not over, and this is not evidence of it"))
    before = f"after {chain.before.month}: {chain.before.sha256}" if chain.before else "the first of this host"
    rows.append((f"Number {chain.number} in the chain", before))
    if chain.replaces is not None:
        rows.append(("A correction", f"replaces number {chain.replaces.number} ({short(chain.why)})"))
    return tuple(rows)


def beats(count: int) -> str:
    """Return a number of beats as text."""
    return many(count, "beat") if count else "none"


def moment(at: int) -> str:
    """Return a time to the minute as text; a dash for 0."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" if at else UNKNOWN


def lasting(seconds: int) -> str:
    """Return a duration in the largest unit of which it has at least two."""
    for name, unit in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds} s"


def percent(part: int, whole: int) -> str:
    """Return a share as percentage, never rounded up to 100 %."""
    if not whole:
        return UNKNOWN
    return "100 %" if part >= whole else f"{min(99.99, part * 100 / whole):.2f} %"


def _share_of_month(bundle: Bundle, lists: tuple[ListEvidence, ...]) -> str:
    """Return the share of the month, or of the part since the host exists, for which lists were enforced, on average; a
    dash if no beat covers it."""
    if not bundle.coverage.beats:
        return UNKNOWN
    return percent(sum(one.enforced_s for one in lists), _seconds(bundle) * len(lists))


def _all(bundle: Bundle) -> str:
    left = len(bundle.lists) - MOST_LISTS
    return "All lists" if left <= 0 else f"All lists ({left} more in the bundle)"


def short(said: str, most: int = MOST_LETTERS) -> str:
    """Return the text, cut to `most` letters."""
    return said if len(said) <= most else f"{said[: most - 1]}…"
