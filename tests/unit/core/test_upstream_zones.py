"""The table of zones with upstreams of their own; random zones and names are in parity."""

from resolver.core.codes import TYPE_DS
from resolver.core.name import Name, unfold, wire_of
from resolver.core.upstream_zones import UpstreamZones, group_of

ZONES = UpstreamZones(("corp.test", "lab.corp.test", "10.in-addr.arpa"))


def group(text: str, qtype: int = 1) -> int:
    name, wire = Name(), wire_of(text) if text else b"\0"
    assert unfold(wire, 0, len(wire), name) == len(wire)
    return group_of(ZONES, name, qtype)


def test_the_longest_zone_wins() -> None:
    assert [group(text) for text in ("corp.test", "a.corp.test", "lab.corp.test", "x.y.lab.corp.test")] == [1, 1, 2, 2]
    assert group("4.3.2.10.in-addr.arpa") == 3
    assert [group(text) for text in ("", "test", "xcorp.test", "corp.test.example", "110.in-addr.arpa")] == [0] * 5


def test_ds_at_the_apex_is_of_the_parent() -> None:
    assert [group(text, TYPE_DS) for text in ("corp.test", "lab.corp.test", "a.corp.test")] == [0, 1, 1]
