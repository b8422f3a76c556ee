"""Whether what a list sets aside was approved before: by the entries themselves, and by what they cover."""

import pytest

from resolver.core import codes, entries, image
from resolver.feed import set_aside
from tests.fakes.enforcer import wire

KEY = bytes(range(16))
BELOW, SELF, EXCEPT = codes.BLOCK_SELF | codes.BLOCK_BELOW, codes.BLOCK_SELF, codes.EXCEPT_SELF


def image_of(**flags: int) -> memoryview:
    """An image in which NAME.test has these bits."""
    made = entries.write(
        b"".join(wire(f"{name}.test") for name in flags),
        b"".join(bits.to_bytes(2, "little") for bits in flags.values()),
        KEY,
        list_id="demo",
        serial=1,
        issued=1,
        expires=0,
        generation=1,
        selftest=b"a" * 26,
    )
    view: memoryview = image.view(made)
    return view


ASIDE = codes.SET_ASIDE
BEFORE = {"one": BELOW | ASIDE, "two": SELF | ASIDE, "three": BELOW}


@pytest.mark.parametrize(
    ("now", "stays"),
    [
        (BEFORE, True),
        ({"one": BELOW | ASIDE, "more": BELOW}, True),
        ({"one": SELF | ASIDE}, True),
        ({"one": BELOW | ASIDE, "other": SELF | ASIDE}, False),
        ({"two": BELOW | ASIDE}, False),
        ({"three": BELOW | ASIDE}, False),
        ({"three": BELOW}, True),
        ({"other": SELF | ASIDE}, False),
    ],
)
def test_what_was_approved_stays_so_as_long_as_nothing_is_added(now: dict[str, int], stays: bool) -> None:
    assert set_aside.stays_approved(image_of(**now), image_of(**BEFORE)) is stays


def test_the_synthetic_name_is_no_line() -> None:
    assert set_aside.stays_approved(image_of(three=BELOW), image_of(three=BELOW))
