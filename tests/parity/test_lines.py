"""Random lists, markers and watched names: both builds make the same entries of them and tell of the same lines."""

import random
from typing import Any

from hypothesis import given

from tests.parity import cases

_LABELS = (b"a", b"B-c", b"_9", b"within", b"self", b"x" * 63, b"x" * 64, b"", b"\xc3\xbc", b"a b", b"9", b"*")
_TOPS = (b"test", b"TEST", b"example", b"1", b"")
_MARKS = (b"", b"", b"=", b"!", b"!=", b"*.", b"!*.", b"#", b"\r")
_ENDS = (b"\n", b"\n", b"\r\n", b"\n\n", b" \n")


def lines_of(r: random.Random) -> bytes:
    return b"".join(
        r.choice(_MARKS)
        + b".".join([*(r.choice(_LABELS[: r.choice((5, 12))]) for _ in range(r.randrange(4))), r.choice(_TOPS)])
        + r.choice(_ENDS)
        for _ in range(r.randrange(20))
    ).removesuffix(r.choice((b"\n", b"")))


def read(core: cases.Core, data: bytes, wanted: bool, zone: bool) -> tuple[Any, ...]:
    module = core("lines")
    table = module.table_for(4)
    for name, bits in ((b"self.test", module.SELF), (b"within.test", module.WITHIN), (b"a.test", module.PARENT)):
        module.watch(table, memoryview(name + b"\n"), bits)
    module.watch(table, memoryview(b"test\n"), module.WANTED)
    bits = memoryview(b"\3\0\1\0\x0c\0\4\0\2\0\x08\0").cast("H")
    lines = module.Lines(table, wanted=wanted, zone=zone, bits=bits)
    end = module.take(lines, memoryview(data), 0)
    return (
        end,
        bytes(lines.names[: lines.octets]),
        list(lines.flags[: lines.entries]),
        list(lines.numbers[: lines.entries]),
        list(lines.places[: 3 * lines.uncommon]),
        lines.line,
        bytes(table),
    )


def test_lines() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        _, _, flags, _, places, _, _ = cases.both(read, lines_of(r), r.random() < 0.3, r.random() < 0.4)
        cases.count("lines", *(f"flags {one}" for one in set(flags)), *(["uncommon"] if places else []))

    run()
    cases.assert_met("lines", "flags 3", "flags 1", "flags 12", "flags 4", "flags 2", "flags 8", "uncommon")
