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
