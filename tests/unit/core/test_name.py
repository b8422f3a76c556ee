"""Names are walked, unfolded and folded; pointers go backwards only; a walk always ends."""

from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity import cases

Core = Callable[[str], ModuleType]
PAD = bytes(12)


def unfold(core: Core, octets: bytes, at: int = 12) -> tuple[int, bytes, int]:
    name = core("name").Name()
    after = core("name").unfold(octets, at, len(octets), name)
    return after, name.wire() if after else b"", name.labels if after else 0


def test_letters_are_folded_and_no_other_octet(core: Core) -> None:
    every = bytes(octet for octet in range(256) if not 65 <= octet <= 90)
    for part in (every[at : at + 63] for at in range(0, len(every), 63)):
        wire = bytes([len(part)]) + part + b"\0"
        assert unfold(core, PAD + wire) == (12 + len(wire), wire, 1)
    assert unfold(core, PAD + b"\x1aABCDEFGHIJKLMNOPQRSTUVWXYZ\0")[1] == b"\x1aabcdefghijklmnopqrstuvwxyz\0"


def test_a_dot_in_a_label_is_no_end_of_it(core: Core) -> None:
    assert unfold(core, PAD + b"\x0aa.b\0\xff.test\0") == (24, b"\x0aa.b\0\xff.test\0", 1)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"\0", (13, b"\0", 0)),
        (b"\1a\0", (15, b"\1a\0", 1)),
        (b"\1a\0\1b\xc0\x0c", (19, b"\1b\1a\0", 2)),
        (b"\1a\0\1b\xc0\x0c\xc0\x0f", (21, b"\1b\1a\0", 2)),
    ],
)
def test_well_formed(core: Core, octets: bytes, expected: tuple[int, bytes, int]) -> None:
    start = {b"\0": 12, b"\1a\0": 12}.get(octets, 15 if len(octets) == 7 else 19)
    assert unfold(core, PAD + octets, start) == expected


@pytest.mark.parametrize(
    ("octets", "start"),
    [
        (b"", 12),
        (b"\1", 12),
        (b"\1a", 12),
        (b"\xc0", 12),
        (b"\xc0\x0c", 12),
        (b"\xc0\x0d\0", 12),
        (b"\xc0\x0b", 12),
        (b"\xc0\x00", 12),
        (b"\1a\xc0\x0c", 12),
        (b"\1a\xc0\x0e\0", 12),
        (b"\x40" + bytes(70), 12),
        (b"\x80\0", 12),
        (b"\xbf\xff", 12),
        (b"\1a\xc0\x10\1b\xc0\x0c", 16),
        (b"\4a\xc0\x0cb\0", 14),  # the label that it points to lies over the pointer
    ],
)
def test_malformed(core: Core, octets: bytes, start: int) -> None:
    assert unfold(core, PAD + octets, start)[0] == 0


def test_127_pointers_are_followed_and_not_one_more(core: Core) -> None:
    def chain(length: int) -> bytes:
        octets = PAD + b"\0"
        return octets + b"".join((0xC000 | (12 if n == 0 else 11 + 2 * n)).to_bytes(2, "big") for n in range(length))

    for length in (1, 2, 126, 127):
        octets = chain(length)
        assert unfold(core, octets, len(octets) - 2)[0] == len(octets)
    assert unfold(core, chain(128), len(chain(128)) - 2)[0] == 0


def test_255_octets_and_127_labels_fit_and_not_one_more(core: Core) -> None:
    full = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0"
    assert unfold(core, PAD + full) == (12 + 255, full, 4)
    assert unfold(core, PAD + full[:192] + b"\x3e" + b"y" * 62 + b"\0")[0] == 0
    assert unfold(core, PAD + b"\1a" * 127 + b"\0") == (267, b"\1a" * 127 + b"\0", 127)
    assert unfold(core, PAD + b"\1a" * 128 + b"\0")[0] == 0
    # Over a pointer too.
    octets = PAD + b"\1a" * 100 + b"\0"
    assert unfold(core, octets + b"\1b" * 27 + b"\xc0\x0c", 213)[2] == 127
    assert unfold(core, octets + b"\1b" * 28 + b"\xc0\x0c", 213)[0] == 0


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        (b"\4_443\6_https\4test\0", 1),
        (b"\4_443\6_HTTPS\4test\0", 1),
        (b"\2_1\6_https\4test\0", 1),
        (b"\6_65535\6_https\1a\4test\0", 1),
        (b"\1_\6_https\4test\0", 0),
        (b"\7_655350\6_https\4test\0", 0),
        (b"\4_44x\6_https\4test\0", 0),
        (b"\4a443\6_https\4test\0", 0),
        (b"\4_443\6_httpx\4test\0", 0),
        (b"\4_443\5_http\4test\0", 0),
        (b"\4_443\6_https\0", 0),
        (b"\6_https\4test\0", 0),
    ],
)
def test_the_mark_of_a_service_on_another_port(core: Core, name: bytes, marked: int) -> None:
    found = core("name").Name()
    core("name").unfold(PAD + name, 12, 12 + len(name), found)
    assert found.marked == marked


def test_only_the_depths_of_the_mask_are_digested(core: Core) -> None:
    name, key = core("name").Name(), bytes(range(16))
    wire = b"\1a" * 70 + b"\4test\0"
    core("name").unfold(PAD + wire, 12, 12 + len(wire), name)
    core("name").digest(name, memoryview(key).cast("Q"), 1 << 1 | 1 << 3, 1 << (71 - 64))
    for depth in range(1, 72):
        found = name.digests[2 * depth], name.digests[2 * depth + 1] >> 16
        suffix = b"\1a" * (depth - 1) + b"\4test\0"
        assert found == (core("siphash").digest_of(key, suffix) if depth in (1, 3, 71) else (0, 0))


@pytest.mark.parametrize(
    ("octets", "after"),
    [(b"\0", 1), (b"\1a\0", 3), (b"\xc0\0", 2), (b"\1a\xff\xff", 4), (b"", 0), (b"\xc0", 0), (b"\x40", 0), (b"\2a", 0)],
)
def test_skip_follows_nothing(core: Core, octets: bytes, after: int) -> None:
    assert core("name").skip(octets, 0, len(octets)) == after


@cases.of(0.03)
@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_octets_end(octets: bytes, at: int) -> None:
    def both(core: Core) -> tuple[object, ...]:
        return unfold(core, octets, at), core("name").skip(octets, at, len(octets))

    (after, wire, labels), _ = cases.both(both)
    assert after == 0 or (at < after <= len(octets) and len(wire) <= 255 and labels <= 127)


def test_a_name_from_text(core: Core) -> None:
    assert core("name").wire_of("a.example") == b"\1a\7example\0"
    assert core("name").wire_of(core("image").SELFTEST_NAME) == core("image").SELFTEST_ZONE


WALKS = [
    (b"\0", 12, 13), (b"\1a\0", 12, 15), (b"\1a\0\1b\xc0\x0c", 15, 19), (b"\1a\0\xc0\x0c", 15, 17),
    (b"", 12, 0), (b"\1", 12, 0), (b"\1a", 12, 0), (b"\xc0", 12, 0), (b"\xc0\x0c", 12, 0), (b"\1a\xc0\x0c", 12, 0),
    (b"\x40" + bytes(70), 12, 0), (b"\x80", 12, 0), (b"\xc0\0", 12, 0),
    (b"\x3f" + b"x" * 63 + b"\0", 12, 77),
    ((b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0", 12, 267),
    ((b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"y" * 62 + b"\0", 12, 0),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "at", "after"), WALKS)
def test_a_walk_ends_where_unfolding_does(core: Core, octets: bytes, at: int, after: int) -> None:
    assert core("name").walk(PAD + octets, at, 12 + len(octets)) == after
    assert unfold(core, PAD + octets, at)[0] == after


def test_a_copy_is_spelled_out_but_for_pointers_below_a_place(core: Core) -> None:
    octets = PAD + b"\1A\2bc\0\1d\xc0\x0c\1e\xc0\x12"
    for at, below, copied in (
        (12, 0, b"\1A\2bc\0"),
        (18, 0, b"\1d\1A\2bc\0"),
        (22, 0, b"\1e\1d\1A\2bc\0"),
        (22, 18, b"\1e\1d\xc0\x0c"),
        (22, 19, b"\1e\xc0\x12"),
    ):
        out = memoryview(bytearray(3 + len(copied)))
        assert core("name").copy(octets, at, out, 3, below) == len(out)
        assert bytes(out[3:]) == copied
        assert core("name").copy(octets, at, out, 4, below) == 0


def test_names_are_compared_without_their_case(core: Core) -> None:
    octets = PAD + b"\1A\2bc\0\1a\2BC\0\1a\xc0\x0e\1a\2bd\0\1a\0\0\xc0\x0c\1[\0\1{\0"
    compare = core("name").compare
    for one, other in ((12, 18), (12, 24), (18, 24), (12, 12), (24, 38), (12, 38)):
        assert compare(octets, one, other) > 0
        assert compare(octets, other, one) > 0
    for one, other in ((12, 28), (12, 34), (12, 37), (34, 37), (28, 38), (40, 43)):
        assert compare(octets, one, other) < 0
        assert compare(octets, other, one) < 0
