"""Key files, and the signatures of a stream of messages."""

import time
from pathlib import Path

import dns.message
import dns.name
import dns.tsig
import pytest

from resolver.feed import tsig
from tests.fakes.primary import KEY, OTHER, SECRET, key_file, signed, soa

# The primary signs by the clock, and a signature counts for five minutes: a test asks for the time when it runs.
LATER_S = 3600


@pytest.mark.parametrize(
    "text",
    [
        f'key "feed.example" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n',
        f"key feed.example. {{ secret {SECRET}; algorithm HMAC-SHA256; }};",
        f'# one\n/* of\nthem */ key "Feed.Example" {{ algorithm hmac-sha256.; // kept\n secret "{SECRET}"; }};',
        f"# hmac-sha256:feed.example:{SECRET}\nkey:\n  - id: feed.example\n    algorithm: hmac-sha256\n"
        f"    secret: {SECRET}\n",
    ],
    ids=["tsig-keygen", "other-order", "comments", "keymgr"],
)
def test_a_key_as_programs_write_it(text: str) -> None:
    found = tsig.key_of(text)
    assert (found.name, found.secret, found.algorithm) == (KEY.name, KEY.secret, KEY.algorithm)


def test_longer_algorithms_are_taken() -> None:
    for name in ("hmac-sha384", "hmac-sha512"):
        assert tsig.key_of(f'key "k" {{ algorithm {name}; secret "{SECRET}"; }};').algorithm.to_text() == f"{name}."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key",
        f'key "k" {{ algorithm hmac-md5; secret "{SECRET}"; }};',
        f'key "k" {{ algorithm hmac-sha1; secret "{SECRET}"; }};',
        f'key "k" {{ algorithm hmac-sha256-128; secret "{SECRET}"; }};',
        f'key "k" {{ secret "{SECRET}"; }};',
        f'key "k" {{ secret "{SECRET}"; secret "{SECRET}"; }};',
        f'key "k" {{ algorithm hmac-sha256; secret "{SECRET}"; more; }};',
        'key "k" { algorithm hmac-sha256; secret "AAAA"; };',
        'key "k" { algorithm hmac-sha256; secret "not base 64!"; };',
        f'key "k..k" {{ algorithm hmac-sha256; secret "{SECRET}"; }};',
        f'key "k" {{ algorithm hmac-sha256; secret "{SECRET}"; }};' * 2,
    ],
)
def test_no_other_text_is_a_key(text: str) -> None:
    with pytest.raises(tsig.KeyUnusable):
        tsig.key_of(text)


def test_a_file_that_cannot_be_read_is_no_key(tmp_path: Path) -> None:
    assert tsig.read_key(str(key_file(tmp_path))).secret == KEY.secret
    (tmp_path / "binary").write_bytes(b"\xff")
    for path in (tmp_path / "none", tmp_path / "binary", tmp_path):
        with pytest.raises(tsig.KeyUnusable):
            tsig.read_key(str(path))


def test_a_fingerprint_tells_keys_apart_and_not_their_secret() -> None:
    other_name = dns.tsig.Key(dns.name.from_text("x."), KEY.secret, KEY.algorithm)
    other_algorithm = dns.tsig.Key(KEY.name, KEY.secret, "hmac-sha512")
    prints = {tsig.fingerprint(one) for one in (KEY, OTHER, other_name, other_algorithm)}
    assert len(prints) == 4
    other_case = dns.tsig.Key(dns.name.from_text("FEED.example."), SECRET, "hmac-sha256")
    assert tsig.fingerprint(KEY) == tsig.fingerprint(other_case)


def asked() -> dns.message.Message:
    query = dns.message.make_query("rpz.example.", "AXFR", flags=0)
    query.use_tsig(KEY)
    query.to_wire()
    return query


def taken(stream: tsig.Stream, wires: list[bytes], later_s: int = 0) -> int:
    """Take them all, and return their number; those whose ARCOUNT says so are signed."""
    at = int(time.time()) + later_s
    for number, wire in enumerate(wires):
        tsig_at = wire.rindex(b"\4feed") if wire[11] else 0
        stream.take(wire, tsig_at, at, last=number == len(wires) - 1)
    return len(wires)


def wires_of(query: dns.message.Message, count: int, every: int = 1, last: bool = True) -> list[bytes]:
    return list(signed(query, [[soa(number)] for number in range(count)], every=every, last=last))


@pytest.mark.parametrize("every", [1, 2, 5, 100])
def test_a_stream_signed_now_and_then_verifies(every: int) -> None:
    query = asked()
    assert taken(tsig.Stream(KEY, query.mac or b""), wires_of(query, 230, every)) == 230


def test_a_stream_signed_too_seldom_or_not_at_its_end_does_not() -> None:
    query = asked()
    for wires in (wires_of(query, 230, 101), wires_of(query, 4, 2, last=False)):
        with pytest.raises(tsig.NotVerified) as error:
            taken(tsig.Stream(KEY, query.mac or b""), wires)
        assert not error.value.forged


def test_the_first_message_is_signed() -> None:
    with pytest.raises(tsig.NotVerified):
        tsig.Stream(KEY, b"").take(b"\0" * 12, 0, 0, last=False)


def test_a_message_out_of_its_place_is_forged() -> None:
    query = asked()
    wires = wires_of(query, 6, 2)
    swapped = [wires[0], wires[3], wires[2], wires[1], *wires[4:]]
    left_out = [*wires[:3], *wires[4:]]
    for one in (swapped, left_out):
        with pytest.raises(tsig.NotVerified) as error:
            taken(tsig.Stream(KEY, query.mac or b""), one)
        assert error.value.forged


def test_an_answer_to_another_request_is_forged() -> None:
    query, other = asked(), asked()
    with pytest.raises(tsig.NotVerified) as error:
        taken(tsig.Stream(KEY, other.mac or b""), wires_of(query, 1))
    assert error.value.forged is (query.id != other.id or query.mac != other.mac)


def test_a_signature_of_another_time_is_refused() -> None:
    query = asked()
    with pytest.raises(tsig.NotVerified):
        taken(tsig.Stream(KEY, query.mac or b""), wires_of(query, 1), LATER_S)


def test_what_is_no_tsig_record_is_refused() -> None:
    head = b"\0" * 11 + b"\1"
    for wire in (head + b"\0" * 11, head + b"\0\0\xfa\0\xff\0\0\0\0\0\0", head + b"\0"):
        with pytest.raises(tsig.NotVerified):
            tsig.Stream(KEY, b"").take(wire, 12, 0, last=True)
