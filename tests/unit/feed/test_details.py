"""What a process may add to a reason: codes and numbers of a closed set, and nothing that could hold a name."""

import errno
import string

import msgspec
import pytest

from resolver.feed import details
from resolver.feed.details import Code, Detail, Kind, Place


@pytest.mark.parametrize("code", Code)
def test_each_code_has_a_number_for_each_place_of_its_text(code: Code) -> None:
    fields = {field for _, field, _, _ in string.Formatter().parse(code.said) if field is not None}
    numbers = {int(field) for field in fields if field.isdigit()}
    assert numbers == set(range(len(code.kinds)))
    assert fields - {str(number) for number in numbers} <= {"at", "word"}
    assert len(code.kinds) <= details.MAX_NUMBERS
    assert all(isinstance(kind, Kind) for kind in code.kinds)
    assert code.said.isascii()


def test_a_step_says_that_it_is_one() -> None:
    assert Code.STEP_READ.is_step
    assert not Code.FOUND_OCTETS.is_step
    assert not Code.FILE.is_step


@pytest.mark.parametrize(
    "said",
    [
        "name0.test",
        {"code": "name0.test"},
        {"code": "file", "text": "name0.test"},
        {"code": "file", "at": "name0.test"},
        {"code": "file", "word": "name0.test"},
        {"code": "file", "numbers": ["name0.test"]},
        {"code": "file", "numbers": [-1]},
        {"code": "file", "numbers": [2**63]},
        {"code": "file", "numbers": [1.5]},
        {"code": "file", "numbers": [1, 2, 3, 4, 5]},
        {"code": "file", "version": 2**40},
        {"at": "list"},
    ],
)
def test_anything_else_is_no_detail(said: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(said, Detail)


def test_an_error_of_the_system_is_its_number_alone() -> None:
    error = OSError(errno.EACCES, "name0.test", "name1.test")
    assert details.of_errno(error, Place.LIST) == Detail(code=Code.FILE, at=Place.LIST, numbers=(errno.EACCES,))
    assert details.of_errno(OSError("name0.test"), Place.LIST).numbers == (0,)
