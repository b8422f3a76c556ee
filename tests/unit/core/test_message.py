"""A reply read to its end: how long it is kept, what is cut out of it, how it ages."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.unit.core.generations import query, wire

Core = Callable[[str], ModuleType]
OPT = b"\0\0\x29\x04\xd0\0\0\0\0"
SOA = b"\xc0\x0c\xc0\x0c" + b"".join(n.to_bytes(4, "big") for n in (1, 2, 3, 4, 77))


def record(kind: int, ttl: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + kind.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


def reply(*sections: tuple[bytes, ...], kind: int = 1, flags: int = 0x8180) -> bytearray:
    made = bytearray(query("www.test", kind, flags=flags))
    for number, section in enumerate(sections):
        made[6 + 2 * number : 8 + 2 * number] = len(section).to_bytes(2, "big")
        made += b"".join(section)
    return made


def opt(options: bytes = b"", rcode: int = 0) -> bytes:
    return b"\0\0\x29\x04\xd0" + bytes([rcode]) + b"\0\0\0" + len(options).to_bytes(2, "big") + options


def ede(code: int, text: bytes = b"") -> bytes:
    return b"\0\x0f" + (2 + len(text)).to_bytes(2, "big") + code.to_bytes(2, "big") + text


def read(core: Core, octets: bytes) -> Any:
    message = core("message").Message()
    return message if core("message").read(octets, len(octets), message) else None


@pytest.mark.parametrize(
    ("ttls", "kept"),
    [((60,), 60), ((300, 60, 86401), 60), ((86401,), 86400), ((0x80000000,), 0), ((0xFFFFFFFF, 5), 0), ((), 86400)],
)
def test_the_smallest_ttl_counts(core: Core, ttls: tuple[int, ...], kept: int) -> None:
    assert read(core, reply(tuple(record(1, ttl, bytes(4)) for ttl in ttls))).ttl_s == kept


def test_the_ttl_of_opt_is_none(core: Core) -> None:
    assert read(core, reply((record(1, 60, bytes(4)),), (), (opt(),))).ttl_s == 60


@pytest.mark.parametrize(("ttl", "kept"), [(300, 77), (20, 20), (0x80000000, 0)])
def test_a_negative_reply_is_kept_for_the_lesser_of_ttl_and_minimum(core: Core, ttl: int, kept: int) -> None:
    assert read(core, reply((), (record(6, ttl, SOA),))).negative_ttl_s == kept


def test_a_negative_reply_without_soa_in_authority_is_not_kept(core: Core) -> None:
    assert read(core, reply()).negative_ttl_s == -1
    assert read(core, reply((record(6, 300, SOA),))).negative_ttl_s == -1
    assert read(core, reply((), (record(6, 300, SOA[:20]),))).negative_ttl_s == -1


@pytest.mark.parametrize(("kind", "answered"), [(1, 1), (28, 0), (255, 1)])
def test_an_answer_is_a_record_of_the_type_asked_for(core: Core, kind: int, answered: int) -> None:
    assert read(core, reply((record(1, 60, bytes(4)),), kind=kind)).answered == answered


def test_rcode_has_its_high_bits_in_opt(core: Core) -> None:
    message = read(core, reply((), (), (opt(rcode=1),), flags=0x8187))
    assert (message.rcode, message.truncated) == (16 | 7, 0)
    assert read(core, reply(flags=0x8380)).truncated == 1


def test_extended_errors_are_kept_in_order_while_there_is_room(core: Core) -> None:
    options = ede(3, b"stale") + b"\0\x0a\0\x02xy" + ede(22) + ede(0, bytes(300)) + ede(9)
    message = read(core, reply((), (), (opt(options),)))
    assert bytes(message.errors[: message.errors_size]) == ede(3, b"stale") + ede(22) + ede(9)


def test_a_message_forgets_the_one_before(core: Core) -> None:
    message = core("message").Message()
    first = reply((record(1, 5, bytes(4)),), (record(6, 300, SOA),), (opt(ede(3)),), flags=0x8383)
    assert core("message").read(first, len(first), message)
    message.drop_additional = True
    plain = reply()
    assert core("message").read(plain, len(plain), message)
    fresh = read(core, plain)
    for field in ("rcode", "truncated", "ttl_s", "negative_ttl_s", "answered", "errors_size", "opt_end", "additionals"):
        assert getattr(message, field) == getattr(fresh, field)
    assert not message.drop_additional


def test_trim_takes_out_an_opt_that_is_last(core: Core) -> None:
    kept = record(1, 60, bytes(4))
    octets = reply((kept,), (), (kept, opt(ede(3))))
    message = read(core, octets)
    end = core("message").trim(octets, message)
    assert bytes(octets[:end]) == bytes(reply((kept,), (), (kept,)))


def test_trim_takes_out_all_of_additional_where_opt_is_not_last_or_a_name_is_blocked(core: Core) -> None:
    kept = record(1, 60, bytes(4))
    for additional, drop in (((opt(), kept), False), ((kept, opt()), True), ((kept,), True)):
        octets = reply((kept,), (), additional)
        message = read(core, octets)
        message.drop_additional = drop
        end = core("message").trim(octets, message)
        assert bytes(octets[:end]) == bytes(reply((kept,)))


@pytest.mark.parametrize(
    ("ttl", "seconds", "floor", "ceiling", "left"),
    [(60, 0, 0, 60, 60), (60, 10, 0, 60, 50), (60, 60, 0, 60, 0), (60, 61, 0, 60, 0), (300, 10, 0, 60, 60),
     (0x80000000, 0, 0, 60, 0), (0xFFFFFFFF, 0, 0, 86400, 0), (0x7FFFFFFF, 0, 0, 86400, 86400),
     (5, 1 << 40, 0, 60, 0), (300, 500, 30, 30, 30), (300, 10, 30, 30, 30), (60, 40, 30, 60, 30), (60, 30, 30, 60, 30),
     (60, 29, 30, 60, 31), (0x80000000, 0, 30, 30, 0), (0, 5, 30, 30, 0), (0, 0, 0, 60, 0), (1, 9, 30, 30, 30)],
)  # fmt: skip
def test_ttls_go_down_between_floor_and_ceiling(
    core: Core, ttl: int, seconds: int, floor: int, ceiling: int, left: int
) -> None:
    sections = [(record(1, ttl, bytes(4)),), (record(2, ttl, wire("ns.test")),), (record(28, ttl, bytes(16)),)]
    octets = reply(*sections)
    assert core("message").age(octets, len(octets), seconds, floor, ceiling) == 0
    expected = [tuple(one.replace(ttl.to_bytes(4, "big"), left.to_bytes(4, "big"), 1) for one in s) for s in sections]
    assert octets == reply(*expected)
