"""What check-config says of a list that has no serial in force yet."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config.config import Config, parse
from resolver.feed.state import Floor, State
from resolver.feed.store import Store
from resolver.service import newcomers
from tests.unit.feed.test_state import record

FILE = """
[page]
addresses = ["192.0.2.1"]
listen = []
[state]
directory = "{state}"
"""
LIST = """
[[list]]
id = "{id}"
demonstration = true
source = {{ kind = "tuf", url = "file:///srv/authority", root = "/srv/root.json" }}
{more}
"""


def config(folder: Path, *lists: str, more: str = "") -> Config:
    text = FILE.format(state=folder) + "".join(LIST.format(id=one, more=more) for one in lists)
    return parse(text, "resolver.toml")


def enforced(folder: Path, list_id: str) -> None:
    """Write that a list is in force."""
    store = Store(folder / "lists" / list_id)
    store.prepare()
    store.write_state(State(in_force=record()))
    store.write_floor(Floor(record=record()))


def test_a_new_host_refuses_until_all_its_lists_are_there(tmp_path: Path) -> None:
    said = list(newcomers.lines(config(tmp_path, "first", "second")))
    assert [line.partition(":")[0] for line in said] == [
        "list first has no serial in force yet",
        "list second has no serial in force yet",
    ]
    assert all(newcomers.REFUSED in line for line in said)
    assert not list(tmp_path.iterdir()), "nothing is made"


def test_a_list_beside_one_that_was_in_force_forwards_unless_told_otherwise(tmp_path: Path) -> None:
    enforced(tmp_path, "first")
    (said,) = newcomers.lines(config(tmp_path, "first", "second"))
    assert said.startswith("list second has no serial in force yet: until")
    assert newcomers.FORWARDED in said
    (said,) = newcomers.lines(config(tmp_path, "first", "second", more='without_list = "refuse"'))
    assert newcomers.REFUSED in said


def test_what_is_written_down_counts_and_a_damaged_state_is_that_of_no_list(tmp_path: Path) -> None:
    enforced(tmp_path, "first")
    store = Store(tmp_path / "lists" / "second")
    store.prepare()
    store.write_state(State())
    both = config(tmp_path, "first", "second")
    assert newcomers.REFUSED in newcomers.without(both, both.lists[1]), "it came with the host"
    store.write_state(replace(State(), joined=1000))
    assert newcomers.FORWARDED in newcomers.without(both, both.lists[1])
    (store.folder / "state.json").write_bytes(b"{")
    assert newcomers.REFUSED in newcomers.without(both, both.lists[1])


def test_what_a_reload_adds_and_removes_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        newcomers.tell(config(tmp_path, "first", "second"), config(tmp_path, "second", "third"))
    said = [one.getMessage() for one in caplog.records]
    assert said[0] == "list third: added, it is fetched now"
    assert said[1].startswith("list first: removed, it blocks nothing any more. ")
    assert len(said) == 2
