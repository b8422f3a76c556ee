"""Two made-up months of a host, written by the parts that write them in a service: log, ledger, receipts, key.

April 2025 has nearly everything that can happen to a list; May goes on from it.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from resolver.config import config
from resolver.count.ledger import Beat, Ledger, ListBeat, Total
from resolver.count.metrics import Series
from resolver.count.report.days import DAY, midnight
from resolver.feed import audit_details, receipt, seal
from resolver.feed.audit import Audit, Event
from resolver.feed.outbox import Outbox
from resolver.feed.receipt import Proof, Tested
from resolver.feed.state import Record
from resolver.signed import statement

FIRST, LAST = date(2025, 3, 25), date(2025, 5, 31)
NOW = float(midnight(date(2025, 6, 2)))
ANNA, BEN = ("anna", "SHA256:" + "A" * 43), ("ben", "SHA256:" + "b" * 43)
QUIET = date(2025, 4, 17)
"""No beat tells of this day."""
HALF = date(2025, 4, 19)
"""The lists were enforced for half of this day."""
FULL = date(2025, 4, 21)
"""The table that tells attempts apart was full."""


def at(text: str) -> int:
    """Unix seconds of a moment of 2025 written as MM-DD HH:MM."""
    return int(datetime.strptime(f"2025-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp())


def digest(serial: int) -> str:
    return f"{serial:064x}"


def configured(folder: Path, lists: Iterable[str] = ("demo", "second")) -> Path:
    """The configuration of the host whose state is below `folder`."""
    path = folder / "resolver.toml"
    path.write_text(
        f"""
[upstream]
servers = ["127.0.0.1:5301"]
[page]
addresses = ["192.0.2.1"]
listen = []
[count]
region = "Ruritania-made-up"
[fleet]
host = "resolver-1.example"
[state]
directory = "{folder}/state"
"""
        + "".join(
            f"""
[[list]]
id = "{one}"
demonstration = true
deadline = "24h"
[list.source]
kind = "tuf"
url = "file:///srv/authority"
root = "/srv/root.json"
"""
            for one in lists
        )
    )
    return path


def write(folder: Path) -> Path:
    """All of it below `folder`; the configuration's path."""
    path = configured(folder)
    state = Path(config.load(path).state.directory)
    state.mkdir(mode=0o700)
    write_ledger(Ledger(state / "ledger.sqlite", midnight(FIRST)))
    write_log(Audit(state / "audit.log"))
    write_receipts(state)
    return path


def write_ledger(ledger: Ledger, lists: tuple[str, ...] = ("demo", "second")) -> None:
    """A beat for each day."""
    totals: dict[Series, int] = {}
    day = FIRST
    while day <= LAST:
        for number, one in enumerate(lists if day != QUIET else ()):
            grown = {
                "blocked_attempts_total": 1000 + 10 * day.day - 300 * number,
                "blocked_queries_total": 3000 + 30 * day.day - 900 * number,
                "attempts_capped_total": 10 if day.day % 10 == 0 else 0,
                "attempts_saturated": 20 if day == FULL and number == 0 else 0,
            }
            for metric, count in grown.items():
                series = Series(metric, (one,))
                totals[series] = totals.get(series, 0) + count
        answers = Series("answers_total", ("NOERROR",))
        totals[answers] = totals.get(answers, 0) + 5_000_000
        if day != QUIET:
            ledger.write(
                Beat(
                    at=midnight(day + DAY),
                    every_s=86400,
                    region="Ruritania-made-up",
                    subscribers=120_000 if day < HALF else 121_000,
                    totals={series: Total(total, 0) for series, total in totals.items()},
                    lists=tuple(
                        ListBeat(list_id=one, serial=10, entries=5000, enforced_s=43200 if day == HALF else 86400)
                        for one in lists
                    ),
                )
            )
        day += DAY


def write_log(log: Audit) -> None:
    """What happened to the lists."""

    def say(when: str, event: Event, serial: int, detail: str = "", list_id: str = "demo") -> None:
        log.append(event, at(when), list_id=list_id, serial=serial, digest=digest(serial), detail=detail)

    def signed(action: str, person: tuple[str, str]) -> str:
        return audit_details.approved(action, *person, 1000)

    say("03-20 12:00", Event.IN_FORCE, 10, audit_details.issued(at("03-20 11:00")))
    say("03-21 12:00", Event.IN_FORCE, 4, audit_details.issued(at("03-21 11:00")), "second")
    say(
        "03-30 09:00",
        Event.RELEASED_NAME,
        10,
        audit_details.of_release(1, 1733, audit_details.released(at("04-06 09:00"), 1000)),
    )
    say("04-02 10:00", Event.IN_FORCE, 11, audit_details.issued(at("04-02 06:00")))
    say("04-03 10:00", Event.IN_FORCE, 11, audit_details.issued(at("04-02 06:00")))
    say("04-06 09:00", Event.RELEASE_ENDED, 10, audit_details.of_release(1, 1733, "its time is over"))
    say("04-09 08:00", Event.IN_FORCE, 12, audit_details.issued(at("04-07 08:00")))
    say("04-12 09:00", Event.HELD, 13, audit_details.held(("growth", "refused"), at("04-12 08:00")))
    say("04-12 21:00", Event.APPROVED, 13, signed("approve", ANNA))
    say("04-13 07:00", Event.APPROVED, 13, signed("approve", BEN))
    say("04-13 07:00", Event.ACCEPTED_HELD, 13)
    say("04-13 07:00", Event.IN_FORCE, 13, audit_details.issued(at("04-12 08:00")))
    say("04-13 20:00", Event.SUSPENDED, 13)
    say("04-14 09:00", Event.APPROVED, 13, signed("resume", ANNA))
    say("04-14 09:10", Event.APPROVED, 13, signed("resume", BEN))
    say("04-14 09:10", Event.RESUMED, 13)
    say("04-15 06:00", Event.QUARANTINED, 14, "digests")
    say(
        "04-20 09:00",
        Event.RELEASED_NAME,
        13,
        audit_details.of_release(2, 17, audit_details.released(at("05-20 09:00"), 1000)),
    )
    say("04-20 15:00", Event.RELEASE_CONFIRMED, 13, audit_details.of_release(2, 17, audit_details.confirmed(*BEN)))
    say(
        "04-22 09:00",
        Event.RELEASED_NAME,
        13,
        audit_details.of_release(3, None, audit_details.released(at("05-22 09:00"), 1000)),
    )
    say("04-25 10:00", Event.APPROVED, 12, signed("rollback", ANNA))
    say("04-25 10:00", Event.QUARANTINED, 13, "taken out")
    say("04-25 10:00", Event.GONE_BACK, 12)
    say("04-25 18:00", Event.ROLLBACK_CONFIRMED, 12, signed("rollback", BEN))
    say("04-28 09:00", Event.HELD, 5, audit_details.held(("shrink",), at("04-28 08:00")), "second")
    say("04-30 20:00", Event.HELD, 15, audit_details.held(("growth",), at("04-30 19:00")))
    say("05-01 08:00", Event.ACCEPTED_HELD, 15)
    say("05-01 08:00", Event.IN_FORCE, 15, audit_details.issued(at("04-30 19:00")))
    say("05-02 08:00", Event.ACCEPTED_HELD, 5, "", "second")
    say("05-02 08:00", Event.IN_FORCE, 5, audit_details.issued(at("04-28 08:00")), "second")


def write_receipts(state: Path) -> None:
    """What the host signed of its lists."""
    key = seal.host_key(state, make=True)
    for list_id, serial, when, issued in (
        ("demo", 10, "03-20 12:01", "03-20 11:00"),
        ("second", 4, "03-21 12:01", "03-21 11:00"),
        ("demo", 11, "04-02 10:01", "04-02 06:00"),
        ("demo", 12, "04-09 08:01", "04-07 08:00"),
        ("demo", 13, "04-13 07:01", "04-12 08:00"),
        ("demo", 12, "04-25 10:01", "04-07 08:00"),
        ("demo", 15, "05-01 08:01", "04-30 19:00"),
        ("second", 5, "05-02 08:01", "04-28 08:00"),
    ):
        now = at(when)
        outbox = Outbox(
            state / "receipts", lambda: key, "resolver-1.example", {}, keep_s=1, send=_never, now=lambda now=now: now
        )
        record = _record(serial, at(issued), now)
        said = receipt.receipt(
            record,
            list_id=list_id,
            host="resolver-1.example",
            at=now,
            head=(1, "0" * 64),
            tested=Tested(digests=1000, unlisted=1000),
            proof=Proof(sockets=2, questions=12),
        )
        outbox.put(receipt.name_of(list_id, record), list_id, said)


def host_key(folder: Path) -> bytes:
    """The host's public key, as PEM."""
    return statement.pem_of(statement.public_of(seal.host_key(folder / "state", make=False)))


def _record(serial: int, issued: int, since: int) -> Record:
    return Record(
        serial=serial,
        digest=digest(serial),
        issued=issued,
        expires=None,
        withdrawn=False,
        announced=None,
        entries=5000,
        refused={"path": 2},
        refused_lines={"path": (7, 9)},
        image="1.image",
        generation=serial,
        digest_key="ab",
        demonstration=True,
        targets_keys="cd",
        since=since,
        set_aside={"protected": 1},
        set_aside_lines={"protected": (12,)},
    )


def _never(*said: Any) -> None:
    raise AssertionError("nothing is delivered here")
