"""Random zones and names: both builds send a name to the same group, and it is the one of the longest zone."""

import random

from hypothesis import given

from tests.parity import cases

A, DS = 1, 43
LABELS = ("a", "b", "corp", "example", "x" * 63, "xn--a")


def group_of(core: cases.Core, zones: tuple[str, ...], wire: bytes, qtype: int) -> int:
    name = core("name").Name()
    assert core("name").unfold(wire, 0, len(wire), name) == len(wire)
    found: int = core("upstream_zones").group_of(core("upstream_zones").UpstreamZones(zones), name, qtype)
    return found


def wire_of(labels: tuple[str, ...]) -> bytes:
    return b"".join(bytes([len(one)]) + one.encode() for one in labels) + b"\0"


def model(zones: tuple[str, ...], labels: tuple[str, ...], qtype: int) -> int:
    """The group by comparing texts; DS is asked of the parent."""
    for skip in range(qtype == DS, len(labels)):
        text = ".".join(labels[skip:])
        if text in zones:
            return zones.index(text) + 1
    return 0


def test_groups() -> None:
    @cases.of(0.2)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        def labels(least: int) -> tuple[str, ...]:
            return tuple(r.choice(LABELS[:5]) for _ in range(r.randrange(least, 4)))

        zones = tuple(dict.fromkeys(".".join(labels(1)) for _ in range(r.choice((1, 2, 5, 300)))))
        name, qtype = labels(0), r.choice((A, A, DS))
        found = cases.both(group_of, zones, wire_of(name), qtype)
        assert found == model(zones, name, qtype)
        cases.count("groups", "none" if not found else "own" if zones[found - 1] == ".".join(name) else "above")
        if qtype == DS and ".".join(name) in zones:
            cases.count("groups", "parent")

    run()
    cases.assert_met("groups", "none", "own", "above", "parent")
