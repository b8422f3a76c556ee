"""A month of a host, from its lists to the auditor: a feed that is real, a clock that is passed in, then the verb.

Lists come from a signed repository through fetch and compile processes, counts leave on beats into a ledger, persons
decide, a self-test fails, a name is released, the host stands still for two days. The bundle is made and verified by
command lines in processes of their own; then it is altered. And what a running service has written of one afternoon is
told by the same functions.
"""

import asyncio
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resolver.config import config
from resolver.count.bookkeeping import Bookkeeping, ListNow
from resolver.count.ledger import Ledger
from resolver.count.metrics import Labels, Series
from resolver.count.publish import Publisher
from resolver.evidence import bundle, check, collect
from resolver.evidence.month import Month
from resolver.feed import approve, decide, poll
from resolver.feed.actions import Action
from resolver.feed.approve import Signer
from resolver.feed.decide import Signed
from resolver.feed.release import Covered, Releases
from resolver.signed import statement
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer, wire
from tests.fakes.upstream import in_thread
from tests.journeys.processes import RESOLVER, Site, asked, honest, wait_for
from tests.journeys.running import ROOT
from tests.unit.evidence import april
from tests.unit.evidence.april import at

BEAT_S = 43200
LOOK_S = 120
LABELS = Labels(
    version="1",
    engine="python",
    region="Ruritania-made-up",
    lists=("demo",),
    upstreams=(),
    feed_failures=(),
    entries_refused=(),
    entries_set_aside=(),
    upstream_failures=(),
)
ATTEMPTS = Series("blocked_attempts_total", ("demo",))
QUERIES = Series("blocked_queries_total", ("demo",))
ANSWERS = Series("answers_total", ("NOERROR",))


class Host:
    """A resolver's feed and its counts, under one clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = float(at("03-31 12:00"))
        self.authority = Authority(folder / "authority")
        self.resolver = Enforcer(self.authority, folder / "state", now=lambda: self.clock)
        self.resolver.feed.recover()
        self.exact = {ATTEMPTS: 0, QUERIES: 0, ANSWERS: 0}
        self.ledger = Ledger(folder / "state/ledger.sqlite", self.clock)
        self.start()

    def start(self) -> None:
        """Count, as a process that has just begun: from the ledger on."""
        self.exact = dict.fromkeys(self.exact, 0)
        self.books = Bookkeeping(
            self.ledger,
            every_s=BEAT_S,
            region=LABELS.region,
            subscribers=lambda: 120_000,
            lists=lambda: [
                ListNow(one.list_id, one.serial, one.entries, one.enforced) for one in self.resolver.feed.facts()
            ],
            keep_s=1e9,
            now=self.clock,
        )
        self.publisher = Publisher(
            lambda: dict(self.exact),
            LABELS,
            every_s=BEAT_S,
            batch=10,
            phases=lambda size: size // 2,
            now=self.clock,
            start=self.ledger.totals(),
            books=self.books,
        )

    def stop(self) -> None:
        """What an orderly stop writes."""
        self.books.leave(self.publisher.totals())

    def until(self, when: str) -> None:
        """Serve: a look of visitors every other minute, beats as they come."""
        while self.clock < at(when):
            self.clock += LOOK_S
            self.exact[ATTEMPTS] += 1
            self.exact[QUERIES] += 3
            self.exact[ANSWERS] += 500
            self.books.watch(self.clock)
            drawn = self.publisher.draw(self.clock)
            if drawn is not None:
                asyncio.run(self.books.keep(drawn.at, drawn.totals))
                self.publisher.show(drawn)

    def issue(self, when: str, serial: int, count: int) -> None:
        """The authority issues a list; it is looked for an hour later."""
        self.until(when)
        self.authority.publish(names(count), serial, issued=int(self.clock))
        self.clock += 3600
        asyncio.run(self.resolver.list.poll())

    def sign(self, person: str, serial: int) -> None:
        signed = Signed(action=Action.APPROVE, serial=serial, signature=person.encode(), uid=1000)
        asyncio.run(decide.decide(self.resolver.list, signed, Path("/signers"), lambda: self.clock))

    def release(self, name: str, serial: int) -> None:
        """Lift the block of a name."""
        feed = self.resolver.feed
        releases = Releases(
            self.resolver.folder / "releases",
            self.resolver.keys,
            feed.audit,
            now=lambda: self.clock,
            enforce=lambda views: None,
            report=feed.outbox.put,
            host="resolver-1.example",
        )
        releases.recover()
        about = Covered(list="demo", serial=serial, digest=feed["demo"].state.in_force.digest, line=1)
        releases.add(wire(name), [about], uid=1000, reason="a shop, by mistake", for_s=30 * 86400)


def command(*words: object) -> "subprocess.CompletedProcess[str]":
    """A command line of `evidence`."""
    line = [sys.executable, *RESOLVER, "evidence", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a host that has gone through April 2025."""

    async def signer_of(signature: bytes, held: dict[int, bytes], approvers: Path) -> Signer:
        return Signer(signature.decode(), f"SHA256:{signature.decode()}", max(held))

    monkeypatch.setattr(approve, "signer_of", signer_of)
    april.configured(tmp_path, ("demo",))
    host = Host(tmp_path)
    host.issue("03-31 18:00", 1, 100)
    host.issue("04-10 08:00", 2, 1000)
    host.sign("anna", 2)
    host.until("04-10 20:00")
    host.sign("ben", 2)
    host.release("name0.test", 2)
    host.resolver.wrong = 1
    host.issue("04-20 08:00", 3, 1001)
    host.resolver.wrong = 0
    asyncio.run(host.resolver.list.prove())
    host.until("04-25 00:00")
    host.stop()
    host.clock = at("04-27 00:00")
    host.start()
    host.until("05-01 12:00")
    return tmp_path


def test_a_month_is_told_as_it_was_and_what_was_altered_is_refused(month: Path) -> None:
    out, pem = month / "april.json", month / "host.pem"
    pem.write_bytes(april.host_key(month))
    made = command("--month", "2025-04", "--out", out, "--config", month / "resolver.toml")
    assert (made.returncode, made.stderr) == (0, "")
    verified = command("--verify", out, "--host-key", pem)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "It is the first bundle of its host." in verified.stdout

    said = json.loads(json.loads(out.read_bytes())["statement"])
    (demo,) = said["lists"]
    looks = (30 - 2) * 86400 // LOOK_S - 2 * 3600 // LOOK_S
    # Two issues passed an hour without a look each; a batch may lack at either end.
    assert abs(demo["sums"]["attempts"] - looks) <= 20
    assert demo["sums"]["blocked_queries"] >= 2.9 * demo["sums"]["attempts"]
    course = demo["course"]
    assert [(one["serial"], one["outcome"]) for one in course["deadlines"]] == [(2, "met"), (3, "met")]
    assert [(one["serial"], one["since"], one["ended"].split(":")[0]) for one in course["spans"]] == [
        (1, at("03-31 19:00"), "superseded by serial 2"),
        (2, at("04-10 20:00"), "superseded by serial 3"),
        (3, at("04-20 09:00"), "taken out"),
        (2, at("04-20 09:00"), ""),
    ]
    (hold,) = course["holds"]
    assert (hold["at"], hold["released"], hold["ended"]) == (at("04-10 09:00"), at("04-10 20:00"), "put in force")
    assert [one["principal"] for one in hold["signatures"]] == ["anna", "ben"]
    assert [(one["serial"], one["check"]) for one in course["failed"]] == [(3, "sockets")]
    (release,) = course["releases"]
    assert (release["serial"], release["line_known"], release["confirmed"]) == (2, True, 0)
    assert demo["tests_passed"] == len(said["receipts"]) == 2
    (gap,) = [one for one in demo["gaps"] if one["why"].startswith("no figures")]
    assert (gap["since"], gap["until"]) == (at("04-25 00:00"), at("04-27 00:00"))
    assert demo["enforced_s"] == pytest.approx(28 * 86400, abs=2 * 3600)

    # Neither bundle nor pages hold a name; each octet of the bundle is under the signature.
    page = out.with_name("april.json.html")
    assert b".test" not in out.read_bytes() + page.read_bytes()
    altered = month / "altered.json"
    for before, after in (
        (b'attempts\\":', b'attempts\\":1'),
        (b"anna", b"emma"),
        (b'outcome\\":\\"met', b'outcome\\":\\"missed'),
        (b'"}', b'" }'),
    ):
        data = out.read_bytes().replace(before, after)
        assert data != out.read_bytes()
        altered.write_bytes(data)
        refused = command("--verify", altered, "--host-key", pem)
        assert (refused.returncode, refused.stdout) == (3, "")
        assert "refused: " in refused.stderr


def test_what_a_running_service_writes_is_evidence(tmp_path: Path) -> None:
    with in_thread(honest) as upstream:
        site = Site(tmp_path, [upstream.address])
        site.publish(["blocked.test", "other.test"])
        with site.started() as service:
            for name in ("blocked.test", "blocked.test", "other.test"):
                assert asked(site.dns, name) == "192.0.2.1 EDE 4"
            wait_for(lambda: service.metric("blocked_queries_total") == 3, "the counts")
            wait_for(lambda: service.metric("list_receipt_timestamp_seconds") != 0, "the receipt")
    loaded = config.load(site.config)
    # Today as if it were over: what is told does not depend on how long ago it was.
    today = datetime.now(UTC).date()
    begun = Month(f"{today:%Y-%m}", today.replace(day=1), today, complete=False)
    made = collect.collect(loaded, begun, None, None, version="1", now=max(time.time(), begun.end))
    data = statement.sign(bundle.statement_of(made), poll.host_key_of(loaded, make=False))
    check.verified(check.opened(data), pinned=False)
    (demo,) = made.lists
    assert (demo.sums.attempts, demo.sums.blocked_queries, demo.sums.capped) == (2, 3, 0)
    assert [(one.serial, one.outcome) for one in demo.course.deadlines] == [(1, "met")]
    assert [one.serial for one in demo.course.spans] == [1]
    assert demo.tests_passed == len(made.receipts) == 1
    assert made.receipts[0].tested.startswith("the list's synthetic name was answered as blocked")
    assert demo.enforced_s >= 1
    assert made.coverage.beats >= 1
    assert b".test" not in data
