"""The messages of the export: each is one of three, bounded, and no reply has room for a name."""

import msgspec
import pytest

from resolver.feed import exported

DIGEST = "ab" * 32


def stage(**changes: object) -> exported.Stage:
    said = {"list": "demo", "serial": 1, "generation": 3, "digest": DIGEST, "selftest": "a" * 26}
    return exported.Stage(**{**said, "names": 20, "entries": 2, **changes})


@pytest.mark.parametrize(
    "message",
    [
        stage(),
        exported.Follow(lists=(exported.Followed(list="demo", key="3-" + "ab" * 8, aside=(4,)),), released=(1,)),
        exported.Release(number=1, name="016100", until=9),
    ],
)
def test_a_message_is_read_as_what_it_is(message: exported.Message) -> None:
    assert exported.MESSAGE.decode(msgspec.json.encode(message)) == message


@pytest.mark.parametrize(
    "line",
    [
        b'{"verb":"names","list":"demo"}',
        msgspec.json.encode(stage()).replace(b'"demo"', b'"../demo"'),
        msgspec.json.encode(stage()).replace(DIGEST.encode(), b"/"),
        msgspec.json.encode(stage()).replace(b'"generation":3', b'"generation":0'),
        b'{"verb":"release","number":1,"name":"zz","until":9}',
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        exported.MESSAGE.decode(line)


def test_a_staged_list_has_a_key_and_a_length() -> None:
    assert stage().key == exported.key_of(3, DIGEST) == f"3-{DIGEST[:16]}"
    assert stage().octets == 20 + 2 * 6
