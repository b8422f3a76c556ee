"""Cookies: the examples of RFC 9018 A, what is good and for how long, and secrets that follow each other."""

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.config.values import address_octets
from resolver.core import codes
from tests.parity import twin

Core = Callable[[str], ModuleType]
SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
OLD = bytes.fromhex("dd3bdf9344b678b185a6f5cb60fca715")
NEW = bytes.fromhex("445536bcd2513298075a5d379663c962")
CLIENT = "198.51.100.100"
MADE_S = 1559731985
GOOD = bytes.fromhex("2464c4abcf10c957010000005cf79f111f8130c3eee29480")
NAME = b"\4open\4test\0\0\1\0\1"


def compiled(name: str) -> ModuleType:
    """A module of the compiled build."""
    return importlib.import_module(f"resolver.core.{name}")


def with_cookie(cookie: bytes, *, question: bytes = NAME) -> bytes:
    """A query with this COOKIE option."""
    head = b"\xab\xcd\1\0\0" + bytes([bool(question)]) + b"\0\0\0\0\0\1"
    option = b"\0\x0a" + len(cookie).to_bytes(2, "big") + cookie
    return head + question + b"\0\0\x29\x04\xd0\0\0\0\0" + len(option).to_bytes(2, "big") + option


def checked(
    core: Core, cookie: bytes, now_s: int, *, client: str = CLIENT, secrets: Sequence[bytes] = (SECRET,)
) -> tuple[int, bytes]:
    """What is said of a cookie, and the cookie of the answer."""
    question, packet = core("question").Question(), with_cookie(cookie)
    assert core("question").parse(packet, len(packet), question) == codes.WELL_FORMED
    # Half of the time is the clock's of the steps: only the sum counts.
    epoch_ms = memoryview((now_s * 500).to_bytes(8, "little")).cast("Q")
    cookies = core("cookie").Cookies(secrets, epoch_ms)
    address, room = memoryview(address_octets(client)), core("scratch").Scratch()
    said = core("cookie").check(cookies, memoryview(packet), question, address, now_s * 500, room)
    parts = question.cookie_client, question.cookie_stamp, question.cookie_hash
    assert question.opt_octets == (39 if said else 11)
    return said, b"".join(part.to_bytes(8, "little") for part in parts)


def test_a_new_cookie_is_that_of_the_first_example(core: Core) -> None:
    assert checked(core, GOOD[:8], MADE_S) == (codes.COOKIE_NEW, GOOD)


def test_a_cookie_of_forty_minutes_is_renewed_as_in_the_second_example(core: Core) -> None:
    renewed = bytes.fromhex("2464c4abcf10c957010000005cf7a871d4a564a1442aca77")
    assert checked(core, GOOD, 1559734385) == (codes.COOKIE_GOOD, renewed)


def test_reserved_octets_are_hashed_and_not_repeated_as_in_the_third_example(core: Core) -> None:
    cookie = bytes.fromhex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5")
    made = 1559727985
    assert checked(core, cookie, made, client="203.0.113.203") == (codes.COOKIE_GOOD, cookie)
    answered = bytes.fromhex("fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e")
    # By then it is older than an hour.
    assert checked(core, cookie, 1559734700, client="203.0.113.203") == (codes.COOKIE_BAD, answered)


def test_an_older_secret_is_accepted_and_the_first_one_answers_as_in_the_fourth_example(core: Core) -> None:
    cookie = bytes.fromhex("22681ab97d52c298010000005cf7c57926556bd0934c72f8")
    answered = bytes.fromhex("22681ab97d52c298010000005cf7c609a6bb79d16625507a")
    client = "2001:db8:220:1:59de:d0f4:8769:82b8"
    assert checked(core, cookie, 1559741961, client=client, secrets=(NEW, OLD)) == (codes.COOKIE_GOOD, answered)
    assert checked(core, cookie, 1559741961, client=client, secrets=(NEW,)) == (codes.COOKIE_BAD, answered)
    # A secret that comes next is accepted before it answers.
    staged = checked(core, cookie, 1559741961, client=client, secrets=(OLD, NEW))
    assert staged == (codes.COOKIE_GOOD, cookie)


@pytest.mark.parametrize(
    ("seconds", "said", "same"),
    [
        (-301, codes.COOKIE_BAD, False),
        (-300, codes.COOKIE_GOOD, True),
        (0, codes.COOKIE_GOOD, True),
        (1799, codes.COOKIE_GOOD, True),
        (1800, codes.COOKIE_GOOD, False),
        (3600, codes.COOKIE_GOOD, False),
        (3601, codes.COOKIE_BAD, False),
        (2**31, codes.COOKIE_BAD, False),
        (2**32, codes.COOKIE_GOOD, True),
    ],
)
def test_a_cookie_lives_for_an_hour_and_is_renewed_after_half_of_one(
    core: Core, seconds: int, said: int, *, same: bool
) -> None:
    found, answered = checked(core, GOOD, MADE_S + seconds)
    assert (found, answered == GOOD) == (said, same)
    assert checked(core, answered, MADE_S + seconds) == (codes.COOKIE_GOOD, answered)


def test_time_goes_round_with_its_32_bits(core: Core) -> None:
    made = 2**32 - 100
    _, cookie = checked(core, GOOD[:8], made)
    assert checked(core, cookie, made + 200) == (codes.COOKIE_GOOD, cookie)
    assert checked(core, cookie, made + 3601)[0] == codes.COOKIE_BAD


@pytest.mark.parametrize("at", range(24))
def test_another_octet_is_another_cookie(core: Core, at: int) -> None:
    other = bytearray(GOOD)
    other[at] ^= 1
    said, answered = checked(core, bytes(other), MADE_S)
    assert said == codes.COOKIE_BAD
    assert answered[:8] == other[:8]


def test_it_is_good_for_one_address_and_secret_alone(core: Core) -> None:
    assert checked(core, GOOD, MADE_S, client="198.51.100.101")[0] == codes.COOKIE_BAD
    assert checked(core, GOOD, MADE_S, client="::198.51.100.100")[0] == codes.COOKIE_BAD
    assert checked(core, GOOD, MADE_S, secrets=(OLD,))[0] == codes.COOKIE_BAD
    assert checked(core, GOOD, MADE_S, client="::ffff:198.51.100.100")[0] == codes.COOKIE_GOOD


@pytest.mark.parametrize("octets", [16, 23, 25, 40])
def test_a_server_cookie_of_another_size_is_not_ours(core: Core, octets: int) -> None:
    said, answered = checked(core, (GOOD + bytes(16))[:octets], MADE_S)
    assert (said, answered) == (codes.COOKIE_BAD, GOOD)


def test_without_a_secret_no_cookie_is_looked_at(core: Core) -> None:
    assert checked(core, GOOD, MADE_S, secrets=())[0] == codes.COOKIE_NONE


def test_secrets_are_of_16_octets_and_few(core: Core) -> None:
    for secrets in ((b"short",), (SECRET,) * 5):
        with pytest.raises(ValueError, match="secrets"):
            core("cookie").Cookies(secrets)


@settings(max_examples=60)
@given(
    secrets=st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=4),
    client=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    cookie=st.binary(min_size=8, max_size=8),
    now_s=st.integers(2**20, 2**33),
)
def test_what_is_made_is_good_at_once(secrets: list[bytes], client: Any, cookie: bytes, now_s: int) -> None:
    for core in (twin.load, compiled):
        said, made = checked(core, cookie, now_s, client=str(client), secrets=secrets)
        assert (said, made[:12]) == (codes.COOKIE_NEW, cookie + b"\1\0\0\0")
        assert int.from_bytes(made[12:16]) == now_s % 2**32
        assert checked(core, made, now_s, client=str(client), secrets=secrets) == (codes.COOKIE_GOOD, made)
        rolled = checked(core, made, now_s, client=str(client), secrets=[b"\0" * 16, *secrets[:3]])
        assert rolled[0] == codes.COOKIE_GOOD
