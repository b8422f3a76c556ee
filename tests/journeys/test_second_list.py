"""An operator adds the list of a second authority, whose first serial is not accepted: nobody else loses an answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.authority import Authority, names
from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, Site, asked, honest, list_of, operate, wait_for
from tests.journeys.running import PAGE_V4, Service
from tests.journeys.test_file_life import Office, later

BLOCKED = f"{PAGE_V4} EDE 4"
SECOND = "second"
HOSTS = b"".join(f"0.0.0.0 site{number}.test\n".encode() for number in range(30))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with in_thread(honest) as upstream:
        yield Site(tmp_path, [upstream.address])


def wrong_format(folder: Path) -> dict[str, Any]:
    """A second list that is a hosts file."""
    authority = Authority(folder)
    authority.publish(HOSTS, 1, list_id=SECOND, target=SECOND)
    return {**list_of(folder, SECOND), "source": source_of(authority)}


def held(folder: Path) -> dict[str, Any]:
    """A second list whose first serial has more entries than were expected."""
    authority = Authority(folder)
    authority.publish(names(30, "site"), 1, list_id=SECOND, target=SECOND)
    return {**list_of(folder, SECOND), "source": source_of(authority), "guard": {"expect_entries": [1, 10]}}


def unsigned(folder: Path) -> dict[str, Any]:
    """A second list whose signature is not there."""
    office = Office(folder)
    office.publish(names(30, "site"), f"serial=1 not-after={later(9)}")
    office.list.with_name("list.minisig").unlink()
    source = {"kind": "file", "url": office.list.as_uri(), "root": str(office.pinned), "poll": "8h"}
    return {**list_of(folder, SECOND), "source": source}


def source_of(authority: Authority) -> dict[str, Any]:
    return {"kind": "tuf", "url": authority.url, "root": str(authority.pinned), "poll": "8h"}


WHY = {wrong_format: "empty", held: "first_size", unsigned: "not_signed"}


def shown(body: bytes, name: str) -> float:
    """The value of a series in a body of /metrics."""
    lines = body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"blocklist_resolver_{name} ")).rpartition(" ")[2])


def series(service: Service, name: str) -> float:
    return shown(service.get("/metrics")[1], name)


def until_tried(service: Service, why: str) -> None:
    """Wait until the second list was fetched, and not accepted for this reason."""
    held, failed = f'list_held{{list="{SECOND}"}}', f'feed_failures_total{{list="{SECOND}",reason="{why}"}}'
    service.until("/metrics", lambda body: shown(body, held if why == "first_size" else failed) >= 1)


@pytest.mark.parametrize("add", WHY, ids=[one.__name__ for one in WHY])
def test_a_second_list_without_a_first_serial_takes_nothing_down(add: Any, site: Site, tmp_path: Path) -> None:
    site.publish(["bad.test"])
    with site.started():
        assert asked(site.dns, "ok.test") == REAL
    site.lists.append(add(tmp_path / "second-authority"))
    for start in ("added", "started once more"):
        with site.started() as service:
            until_tried(service, WHY[add])
            said = {name: asked(site.dns, name) for name in ("ok.test", "bad.test", "site1.test")}
            assert said == {"ok.test": REAL, "bad.test": BLOCKED, "site1.test": REAL}, start
            assert service.get("/readyz")[0] == 200
            body = service.get("/metrics")[1]
            assert shown(body, f'list_forwarded{{list="{SECOND}"}}') == 1
            assert shown(body, 'list_forwarded{list="demo"}') == 0
            assert shown(body, "enforcing") == 0
            status = operate(site, "status").stdout
            assert "names that only it would block are FORWARDED" in status
            assert f"{SECOND} is NOT IN FORCE" in status
            assert "names that only it blocks are forwarded" in service.said


def test_the_operator_may_refuse_instead(site: Site, tmp_path: Path) -> None:
    site.publish(["bad.test"])
    with site.started():
        pass
    site.lists.append({**wrong_format(tmp_path / "second-authority"), "without_list": "refuse"})
    with site.started(until="/healthz") as service:
        until_tried(service, "empty")
        assert asked(site.dns, "ok.test") == "SERVFAIL EDE 14"
        assert asked(site.dns, "bad.test") == BLOCKED
        assert series(service, f'list_forwarded{{list="{SECOND}"}}') == 0


def test_two_lists_of_a_new_host_are_both_awaited_and_a_restart_changes_nothing(site: Site, tmp_path: Path) -> None:
    site.publish(["bad.test"])
    site.lists.append(wrong_format(tmp_path / "second-authority"))
    for _ in range(2):
        with site.started(until="/healthz") as service:
            until_tried(service, "empty")
            wait_for(lambda: asked(site.dns, "bad.test") == BLOCKED, "the first list to be in force")
            assert asked(site.dns, "ok.test") == "SERVFAIL EDE 14"
