"""What the processes say to each other: nothing that has room for a name."""

import msgspec
import pytest

from resolver.feed import messages
from resolver.signed.metadata import Custom

FACTS = messages.Facts(
    digest="a" * 64,
    length=1,
    custom=Custom(list="demo", serial=1, issued=1, expires=None, withdrawn=False),
    targets_keys="k",
    root_version=1,
    fresh_until=1,
)


def test_facts_come_back_as_they_went() -> None:
    assert msgspec.convert(msgspec.to_builtins(FACTS), messages.Facts) == FACTS


@pytest.mark.parametrize("change", [{"digest": "a.test"}, {"length": -1}, {"name": "a.test"}, {"custom": {}}])
def test_facts_of_another_shape_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(FACTS), **change}, messages.Facts)


def test_what_a_process_inherits_is_named_by_its_request() -> None:
    fetch = messages.FetchRequest(
        parent=1, output=7, list_id="demo", url="", root="", target="", metadata="", ca="", certificate="", key="",
        max_bytes=1, memory_bytes=1, seconds=1.0, copy_key=9,
    )  # fmt: skip
    assert fetch.handles == (7, 9)
    compiling = messages.CompileRequest(
        parent=1, list_fd=3, output=4, keys=5, previous=-1, list_id="demo", serial=1, issued=1, expires=0, generation=1,
        demonstration=True, max_entries=1, memory_bytes=1, lines=8,
    )  # fmt: skip
    assert compiling.handles == (3, 4, 5, 8)
