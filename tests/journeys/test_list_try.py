"""An officer and an operator try a list before it counts: with real processes, beside a service, and without one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.authority import Authority, names
from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, Site, Values, asked, honest, list_of, operate, toml, wait_for
from tests.journeys.running import LIST_ID, PAGE_V4
from tests.journeys.test_second_list import SECOND, WHY, source_of

BLOCKED = f"{PAGE_V4} EDE 4"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with in_thread(honest) as upstream:
        one = Site(tmp_path, [upstream.address])
        one.publish(["bad.test"])
        with one.started():
            yield one


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "ledger" not in path.name}


def written(site: Site, one: Values) -> str:
    """A file with this list."""
    path = site.folder / "new-list.toml"
    path.write_text(toml({}, [one]))
    return str(path)


def good(folder: Path) -> Values:
    authority = Authority(folder)
    data = names(30, "site") + b"0.0.0.0 other.test\n!free.test\n"
    authority.publish(data, 1, list_id=SECOND, target=SECOND)
    return {**list_of(folder, SECOND), "source": source_of(authority)}


def test_a_list_that_is_not_configured_is_tried_from_a_file_and_nothing_stays(site: Site, tmp_path: Path) -> None:
    file = written(site, good(tmp_path / "second-authority"))
    state = site.folder / "state"
    settled = "receipts/*.json", "lists/*/last-success"
    wait_for(lambda: all(map(list, map(state.glob, settled))), "all that a list in force leaves in the state folder")
    before, shm = files_of(state), set(Path("/dev/shm").glob("blocklist-try-*"))
    done = operate(site, "list", "try", file)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "nothing was changed" in said
    assert "31 entries, of them 1 exception" in said
    assert f"shared with list {LIST_ID} in force: 0 names" in said
    assert "(line 31)" in said, "refused lines are told by their numbers"
    assert "would be IN FORCE" in said
    assert files_of(state) == before
    assert set(Path("/dev/shm").glob("blocklist-try-*")) <= shm
    assert (asked(site.dns, "site1.test"), asked(site.dns, "bad.test")) == (REAL, BLOCKED)
    assert "site" not in said.replace(file, "").replace(str(tmp_path), "")
    assert done.stderr == ""


@pytest.mark.parametrize("make", WHY, ids=[one.__name__ for one in WHY])
def test_each_way_in_which_a_first_serial_fails_is_known_before(make: Any, site: Site, tmp_path: Path) -> None:
    done = operate(site, "list", "try", written(site, make(tmp_path / "second-authority")))
    held = WHY[make] == "first_size"
    assert done.returncode == (0 if held else 3)
    assert f"would be {'HELD' if held else 'REFUSED'}: {WHY[make]}" in done.stdout
    assert "names that only it would block are forwarded" in done.stdout
    assert "site1" not in done.stdout + done.stderr


def test_a_configured_list_is_tried_by_its_id_and_compared_with_what_is_in_force(site: Site, tmp_path: Path) -> None:
    assert "this serial is in force here already" in operate(site, "list", "try", "demo").stdout
    site.publish([f"more{number}.test" for number in range(800)])
    site.lists[0]["guard"] = {**site.lists[0]["guard"], "growth": 0.2}
    site.write()
    assert "would be HELD: growth" in operate(site, "list", "try", "demo").stdout
    assert asked(site.dns, "more1.test") == REAL
    assert operate(site, "list", "try", "unknown").returncode == 2
    whole = operate(site, "list", "try", str(site.config))
    assert (whole.returncode, "expected one table [[list]] and nothing else" in whole.stderr) == (2, True)
