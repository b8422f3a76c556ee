"""Who is answered, by which lists, how often."""

import ipaddress
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from resolver.core import codes

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
NOW = 10_000_000


def octets(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def ranges(*pairs: tuple[str, str]) -> bytes:
    return b"".join(octets(start) + octets(end) for start, end in pairs)


ALL = ranges(("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))


def access(
    core: Core, *, allow: bytes = ALL, unlimited: bytes = b"", rate: int = 0, sets: int = 64,
    clients: dict[int, bytes] | None = None, exempt: dict[int, bytes] | None = None,
) -> Any:  # fmt: skip
    memory = bytearray(sets * core("admit").WAYS * core("admit").BUCKET_OCTETS)
    slots = [[(one or {}).get(slot, b"") for slot in range(codes.MAX_LISTS)] for one in (clients, exempt)]
    return core("admit").Access(allow, unlimited, slots[0], slots[1], rate=rate, memory=memory, key=KEY)


def admitted(core: Core, made: Any, text: str, now_ms: int = NOW, *, proven: bool = False) -> int:
    said: int = core("admit").admit(made, octets(text), proven, now_ms, core("scratch").Scratch())
    return said


ALLOW = ranges(("192.0.2.16", "192.0.2.31"), ("198.51.100.7", "198.51.100.7"), ("2001:db8::", "2001:db8::ffff"))


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("192.0.2.15", codes.NOT_A_CLIENT),
        ("192.0.2.16", codes.ADMITTED),
        ("192.0.2.31", codes.ADMITTED),
        ("192.0.2.32", codes.NOT_A_CLIENT),
        ("198.51.100.6", codes.NOT_A_CLIENT),
        ("198.51.100.7", codes.ADMITTED),
        ("198.51.100.8", codes.NOT_A_CLIENT),
        ("::ffff:192.0.2.16", codes.ADMITTED),
        ("::192.0.2.16", codes.NOT_A_CLIENT),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", codes.NOT_A_CLIENT),
        ("2001:db8::", codes.ADMITTED),
        ("2001:db8::ffff", codes.ADMITTED),
        ("2001:db8::1:0", codes.NOT_A_CLIENT),
        ("::", codes.NOT_A_CLIENT),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", codes.NOT_A_CLIENT),
    ],
)
def test_ranges_hold_their_ends(core: Core, client: str, said: int) -> None:
    made = access(core, allow=ALLOW)
    assert admitted(core, made, client) == said
    assert bool(core("admit").allows(made, octets(client))) == (said == codes.ADMITTED)


def test_many_ranges_are_searched_whole(core: Core) -> None:
    many = ranges(*((f"10.0.{one}.0", f"10.0.{one}.9") for one in range(101)))
    made = access(core, allow=many)
    for one in range(101):
        assert admitted(core, made, f"10.0.{one}.9") == codes.ADMITTED
        assert admitted(core, made, f"10.0.{one}.10") == codes.NOT_A_CLIENT


def test_nobody_is_a_client_where_nobody_is_allowed(core: Core) -> None:
    assert admitted(core, access(core, allow=b""), "192.0.2.1") == codes.NOT_A_CLIENT


def test_an_error_admits_nobody_and_takes_nobody_out_of_scope(core: Core) -> None:
    made = access(core, exempt={0: ALL})
    for proven in (False, True):
        assert core("admit").admit(made, bytes(4), proven, NOW, core("scratch").Scratch()) == codes.NOT_A_CLIENT
    assert core("admit").allows(made, bytes(4)) == 0
    assert core("admit").scope(made, bytes(4)) == 0xFFFF


@pytest.mark.parametrize(
    ("client", "scope"),
    [("192.0.2.1", 0b1101), ("192.0.2.2", 0b1111), ("192.0.2.3", 0b0111), ("2001:db8::1", 0b0111)],
)
def test_scope(core: Core, client: str, scope: int) -> None:
    one, two = ranges(("192.0.2.1", "192.0.2.1")), ranges(("192.0.2.1", "192.0.2.2"))
    made = access(core, clients={3: two}, exempt={1: one})
    assert core("admit").scope(made, octets(client)) & 15 == scope
    assert core("admit").scope(made, octets(client)) >> 4 == 0xFFF


def test_the_exempt_are_spared_even_among_the_clients(core: Core) -> None:
    made = access(core, clients={15: ALL}, exempt={15: ranges(("192.0.2.1", "192.0.2.1"))})
    assert core("admit").scope(made, octets("192.0.2.1")) == 0x7FFF
    assert core("admit").scope(made, octets("192.0.2.2")) == 0xFFFF


def test_past_the_rate_every_second_query_slips(core: Core) -> None:
    made = access(core, rate=3)
    said = [admitted(core, made, "192.0.2.1") for _ in range(8)]
    assert said == [codes.ADMITTED] * 3 + [codes.SLIP, codes.LIMITED] * 2 + [codes.SLIP]


def test_forged_queries_take_nothing_from_who_is_proven(core: Core) -> None:
    made = access(core, rate=3)
    said = [admitted(core, made, "192.0.2.1") for _ in range(100)]
    assert said.count(codes.ADMITTED) == 3
    said = [admitted(core, made, "192.0.2.1", proven=True) for _ in range(6)]
    assert said == [codes.ADMITTED] * 3 + [codes.LIMITED] * 3, "never a slip: it is there already"
    assert admitted(core, made, "192.0.2.1", NOW + 400, proven=True) == codes.ADMITTED
    assert made.prefixes == 1


def test_who_is_proven_takes_nothing_from_its_datagrams(core: Core) -> None:
    made = access(core, rate=3)
    assert {admitted(core, made, "2001:db8::1", proven=True) for _ in range(9)} == {codes.ADMITTED, codes.LIMITED}
    assert [admitted(core, made, "2001:db8::2") for _ in range(3)] == [codes.ADMITTED] * 3


def test_tokens_come_back_with_time_up_to_one_second(core: Core) -> None:
    made = access(core, rate=2)
    for _ in range(4):
        admitted(core, made, "192.0.2.1")
    assert admitted(core, made, "192.0.2.1", NOW + 499) != codes.ADMITTED
    assert admitted(core, made, "192.0.2.1", NOW + 500) == codes.ADMITTED
    assert admitted(core, made, "192.0.2.1", NOW + 501) != codes.ADMITTED
    later = [admitted(core, made, "192.0.2.1", NOW + 3_600_000) for _ in range(3)]
    assert later[:2] == [codes.ADMITTED] * 2
    assert later[2] != codes.ADMITTED


def test_a_clock_that_goes_back_gives_no_tokens_and_takes_none(core: Core) -> None:
    made = access(core, rate=1)
    assert admitted(core, made, "192.0.2.1") == codes.ADMITTED
    assert admitted(core, made, "192.0.2.1", NOW - 5000) != codes.ADMITTED
    assert admitted(core, made, "192.0.2.1", NOW - 4000) == codes.ADMITTED


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1::2", True),
        ("2001:db8:0:100::1", "2001:db8:0:1ff::1", True),
        ("2001:db8:0:100::1", "2001:db8:0:200::1", False),
    ],
)
def test_a_bucket_is_an_ipv4_address_or_a_56(core: Core, one: str, other: str, shared: bool) -> None:
    made = access(core, rate=1)
    assert admitted(core, made, one) == codes.ADMITTED
    assert (admitted(core, made, other) != codes.ADMITTED) == shared
    assert made.prefixes == (1 if shared else 2)


def test_who_is_unlimited_has_no_bucket_but_is_counted(core: Core) -> None:
    made = access(core, rate=1, unlimited=ranges(("192.0.2.1", "192.0.2.1")))
    assert {admitted(core, made, "192.0.2.1") for _ in range(10)} == {codes.ADMITTED}
    assert made.prefixes == 1


def test_prefixes_are_counted_once_a_minute(core: Core) -> None:
    made, start = access(core, rate=100), 60_000 * 1000
    for now, client, seen in (
        (start, "192.0.2.1", 1), (start + 59_999, "192.0.2.1", 1), (start + 59_999, "192.0.2.2", 2),
        (start + 60_000, "192.0.2.1", 1), (start + 60_001, "192.0.2.2", 2),
    ):  # fmt: skip
        admitted(core, made, client, now)
        assert made.prefixes == seen


def test_a_full_set_gives_up_who_was_seen_longest_ago(core: Core) -> None:
    made = access(core, rate=1, sets=1)
    for number in range(4):
        assert admitted(core, made, f"192.0.2.{number}", NOW + number) == codes.ADMITTED
    assert admitted(core, made, "192.0.2.1", NOW + 4) != codes.ADMITTED
    assert admitted(core, made, "192.0.2.9", NOW + 5) == codes.ADMITTED
    # .0 was given up, .1 and .3 are known still.
    assert admitted(core, made, "192.0.2.1", NOW + 6) != codes.ADMITTED
    assert admitted(core, made, "192.0.2.3", NOW + 7) != codes.ADMITTED
    assert admitted(core, made, "192.0.2.0", NOW + 8) == codes.ADMITTED


def test_no_address_is_in_the_memory(core: Core) -> None:
    memory = bytearray(core("admit").WAYS * core("admit").BUCKET_OCTETS)
    made = core("admit").Access(ALL, b"", [b""] * 16, [b""] * 16, rate=1, memory=memory, key=KEY)
    for proven in (False, True):
        admitted(core, made, "192.0.2.1", proven=proven)
    assert any(memory)
    assert octets("192.0.2.1")[-4:] not in memory
