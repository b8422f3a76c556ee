"""What `make run` shows of a list's life: a forged list refused, an unusual one held, a receipt, and a month's report.

A row is what was tried, the result in a few words, and whether it is right, as in demonstration.outcomes.
"""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from resolver import atomic_file
from resolver.authority import publish, verify
from resolver.authority.repository import AuthorityError
from resolver.cli import made_up
from resolver.config.config import Control
from resolver.config.values import many
from resolver.control import client, requests
from resolver.count.report import days, report
from resolver.feed.places import Places

LIST: Final = "demo"
GROWN_BY: Final = 600
USUAL: Final = 560
WEEKS: Final = 12
"""Weeks of made-up days before the month: a baseline needs eight."""
OPERATOR: Final = made_up.Operator(
    region="made-up", subscribers=180_000, list_id="made-up", serial=412, entries=9000
)
RECEIPT_S: Final = 20.0
FORGED: Final = "a list with one octet changed on its way"

Row = tuple[str, str, bool]


def rows(folder: Path, control: Control, names: bytes, exceptions: int, now: float) -> Iterator[Row]:
    """Yield the rows. folder: the demonstration's, with `authority` and `state`; names: the list in force."""
    authority, places = folder / "authority", Places(folder / "state")
    yield _receipt(authority, places, names)
    yield _forged(authority, control)
    yield _held(authority, control, names, exceptions)
    yield _month(Places(folder / "made-up").ledger, now)


def _forged(authority: Path, control: Control) -> Row:
    """Change one octet of what the authority has signed, as somebody could who has its web server and no key."""
    newest = authority / "metadata" / "timestamp.json"
    good = newest.read_bytes()
    # The last digit of the last number: still well-formed, and no longer what the signature is of.
    at = max(index for index, octet in enumerate(good) if chr(octet).isdigit())
    atomic_file.write(newest, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], 0o644)
    try:
        said, _ = _fetch(control)
    finally:
        atomic_file.write(newest, good, 0o644)
    refused = "tampered" in said
    return FORGED, "refused: tampered" if refused else said, refused


def _held(authority: Path, control: Control, names: bytes, exceptions: int) -> Row:
    """Publish a list that has grown beyond what its guard takes without a person."""
    grown = names + b"".join(b"grown-%d.example\n" % number for number in range(GROWN_BY))
    issue = publish.Issue(list_id=LIST, data=grown, serial=2, expect_exceptions=exceptions)
    publish.publish(authority, issue, now=time.time())
    said, held = _fetch(control)
    return f"a list with {GROWN_BY} new names", said, held


def _fetch(control: Control) -> tuple[str, bool]:
    """Have the service poll now; return what it says, and whether a list is held for that."""
    try:
        reply = client.call(control, requests.Fetch(list=LIST))
    except client.Unreachable as error:
        return str(error), False
    if isinstance(reply, requests.FetchReply):
        return f"{reply.found}: {', '.join(reply.reasons)}", reply.found == "held"
    return reply.said, False


def _receipt(authority: Path, places: Places, names: bytes) -> Row:
    """Verify, with the authority's repository alone, what the host has signed about the list in force."""
    until = time.monotonic() + RECEIPT_S
    while not (found := sorted(places.receipts.glob("*.json"))) and time.monotonic() < until:
        # The service writes it once it has asked its own sockets; only the file shows that.
        time.sleep(0.05)
    receipts = {one.name: one.read_bytes() for one in found}
    try:
        said = verify.verified(authority, names, receipts) if receipts else []
    except AuthorityError as error:
        return "the receipt of the list", str(error), False
    came = "signed by this host, verified" if said else "missing"
    return "the receipt of the list", came, bool(said)


def _month(ledger: Path, now: float) -> Row:
    """Report on last month from a ledger of made-up figures."""
    first, last = report.span(None, None, datetime.fromtimestamp(now, UTC).date())
    begin = first - WEEKS * 7 * days.DAY
    right = _write_month(ledger, begin, last, first)
    made = report.made(
        report.of_ledger(ledger, first, last, now), first, last, source=report.OF_LEDGER, now=now
    )
    month = made.places[0].months[0]
    return f"the report on {first:%B}, made up", many(month.attempts or 0, "attempt"), month.attempts == right


def _write_month(ledger: Path, begin: date, last: date, first: date) -> int:
    """Write made-up days from `begin` to `last` to a new ledger; return the attempts from `first` on."""
    ledger.parent.mkdir(mode=0o700)
    made = [
        made_up.Day(day=day, attempts=attempts, queries=3 * attempts, answers=18_000_000)
        for day in made_up.days_of(begin, last)
        for attempts in (USUAL + 10 * day.weekday(),)
    ]
    made_up.write(ledger, OPERATOR, made)
    return sum(one.attempts for one in made if one.day >= first)
