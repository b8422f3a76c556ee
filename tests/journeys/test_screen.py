"""What an operator sees of a service in trouble: each state is brought about, and each has its row and its line.

The screens are printed, so that a run shows them.
"""

import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace

from resolver.feed.state import Approval
from resolver.feed.store import Store
from tests.fakes.authority import Authority, names
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, asked, honest, operate, wait_for
from tests.journeys.running import HOST, PAGE_V4, free_ports

HOUR, DAY = 3600, 86400
BLOCKED = f"{PAGE_V4} EDE 4"
NEXT = "next: "


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "lists")


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream, authority: Authority) -> Site:
    source = {
        "kind": "tuf",
        "url": authority.url,
        "root": str(authority.pinned),
        "poll": "8h",
        "target": "court",
        "receipt": str(tmp_path / "nobody-there"),
    }
    court = {
        "id": "court",
        "demonstration": True,
        "deadline": "1h",
        "expire": "lift",
        "source": {**source, "target": "court"},
    }
    court["guard"] = {"expect_entries": [1, 4_000_000], "protected": ["isp.test"]}
    # Every address of the loopback network is a client of its own, and none is spared.
    return Site(tmp_path, [upstream.address], {"limits": {"exempt": []}}, [court])


def publish(authority: Authority, serial: int, data: bytes, hours_ago: int) -> None:
    now = int(time.time())
    issued = now - hours_ago * HOUR
    authority.publish(data, serial, list_id="court", target="court", issued=issued, expires=now + 2 * DAY)


def timeless(text: str) -> list[str]:
    """The lines of a screen, each duration and date put as T."""
    text = re.sub(r"\d+ (?:d|h|min|s)\b(?: \d+ (?:h|min)\b)?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "T", text)
    return text.splitlines()


def unreachable(folder: Path) -> dict[str, object]:
    """A list whose host does not answer, and whose certificate ends in five days."""
    made = trustme.CA().issue_cert("isp.example", not_after=datetime.now(UTC) + timedelta(days=5, hours=1))
    made.private_key_pem.write_to_path(str(folder / "feed.key"))
    made.cert_chain_pems[0].write_to_path(str(folder / "feed.pem"))
    source = {
        "kind": "tuf",
        "url": f"https://{HOST}:{free_ports(1)[0]}/lists",
        "root": str(folder / "lists/pinned.json"),
        "poll": "8h",
        "certificate": str(folder / "feed.pem"),
        "key": str(folder / "feed.key"),
    }
    return {"id": "police", "demonstration": True, "source": source, "guard": {}}


def test_each_state_has_its_row_and_its_line(site: Site, authority: Authority, tmp_path: Path) -> None:
    command = f"--config {site.config}"
    publish(authority, 411, names(600) + b"isp.test\n", 4)
    with site.started():
        assert timeless(operate(site, "status").stdout)[2:5] == [
            "list       court: serial 411 in force, 601 entries",
            "  dates    issued T ago, in force for T, ends in T",
            "  feed     last good T ago, next poll in T, failures: none; self-test passed",
        ]
        # New entries meet more clients than is likely.
        publish(authority, 412, names(600) + b"isp.test\nnew.test\n", 3)
        assert operate(site, "list", "fetch", "court").returncode == 0
        for number in range(1, 31):
            assert asked(site.dns, "new.test", source=f"127.0.1.{number}") == BLOCKED
        opened = "  breaker  OPEN: entries new in serial 412 block unusually many, and stay"
        wait_for(lambda: opened in operate(site, "status").stdout, "the breaker")
        # A newer list grows too much, and one name was a mistake.
        publish(authority, 413, names(2000), 2)
        assert "held (growth)" in operate(site, "list", "fetch", "court").stdout
        assert operate(site, "list", "release", "name0.test", "--reason", "a school").returncode == 0
        asks = ("isp.test", "new.test", "name0.test", "name1.test", "open.test")
        assert timeless(operate(site, "list", "check", "-", typed="\n".join(asks)).stdout) == [
            "listed by court serial 412, line 601 (itself), but set aside (protected): not blocked",
            "listed by court serial 412, line 602 (itself)",
            "listed by court serial 412, line 1 (itself), but released until T (release 1): not blocked",
            "listed by court serial 412, line 2 (itself)",
            "not listed",
        ]
        assert [asked(site.dns, name) for name in asks] == [REAL, BLOCKED, REAL, BLOCKED, REAL]
    # One of two has signed, the authority's signatures are missing, and another list's host is gone.
    store = Store(tmp_path / "state/lists/court")
    state = store.read_state()
    assert state.held is not None
    signed = Approval(
        action="approve",
        serial=413,
        digest=state.held.record.digest,
        principal="anna",
        key="SHA256:anna",
        at=int(time.time()),
        expiry=int(time.time()) + DAY,
    )
    store.write_state(replace(state, approvals=(signed,)))
    for due in (tmp_path / "state/receipts").glob("*.due"):
        os.utime(due, (time.time() - 2 * HOUR,) * 2)
    authority.serve([])
    site.lists.append(unreachable(tmp_path))
    with site.started(until="/healthz"):
        wait_for(lambda: operate(site, "status").stdout.count("FAILING") == 2, "both feeds to fail")
        screen = operate(site, "status").stdout
        # The failed row goes on below: the folder in it is that of the test.
        shown = timeless(screen)
        failed = shown.index("  failed   T ago, next poll in T: tampered:")
        assert "0 of 1 signatures that it needs" in " ".join(" ".join(shown[failed : failed + 4]).split())
        rows = [row for row in shown if not row.startswith(" " * 11)]
        held = "serial 413 HELD (growth) for T; 1 of 2 signatures (anna)"
        aside = "protected 1: lines that do not count; 0 of 2 signatures"
        assert rows[2 : rows.index("list       police: NOT IN FORCE, no verified list yet")] == [
            "list       court: serial 412 in force, 602 entries",
            "  dates    issued T ago, in force for T, ends in T",
            "  feed     last good T ago, FAILING for T: tampered 1; self-test passed",
            "  failed   T ago, next poll in T: tampered:",
            f"  aside    {aside}",
            f"  held     {held}",
            "  deadline a newer list has to be in force: MISSED T ago",
            "  release  1: serial 412 line 1, ends in T; NOT CONFIRMED, alarm in T",
            "  receipt  written T ago; 3 NOT DELIVERED, the oldest for T",
        ]
        assert any(row.startswith("  cert     source.certificate ends in T:") for row in rows)
        # Polls of a day are too rare for a deadline of an hour, and each list is warned about.
        assert [one for one in to_do(screen) if "a third of the list's deadline" not in one] == [
            "police is NOT IN FORCE (unreachable 1): look at its source, and journalctl -u blocklist-resolver",
            f"court: serial 413 is HELD, and OVERDUE, 1 of 2 signatures: blocklist-resolver list held court {command}",
            "court: ends in T, then NOTHING is blocked by it: have the authority issue a new serial",
            f"release 1 unconfirmed, alarm in T: blocklist-resolver list release 1 --statement {command}",
            "court: 3 receipts not delivered, oldest for T: see journalctl -u blocklist-resolver",
            f"police: source.certificate ends in T: renew {tmp_path}/feed.pem",
        ]
        written = operate(site, "list", "status").stdout
        assert facts(written) == facts(screen)
    assert "name0" not in screen + written


def facts(screen: str) -> list[str]:
    """The rows of the lists but the first of each, without the lines on which a row goes on."""
    rows = timeless(screen[: screen.index(NEXT)])
    return [row for row in rows if row.startswith("  ") and not row.startswith(" " * 11)]


def to_do(screen: str) -> list[str]:
    """What to do next, one line each: a command below its reason is joined to it."""
    text = "\n".join(timeless(screen))
    return [" ".join(each.split()) for each in text[text.index(NEXT) :].split(NEXT)[1:]]
