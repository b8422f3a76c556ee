"""Tokens of Retry and of resets: valid for what they were made for, and for nothing else."""

import pytest

from resolver.edge.quic_tokens import RETRY_S, Tokens

PLACE = bytes(16) + b"\x14\xe9"
FIRST, RETRIED = b"first-id", b"retry-id"


def test_a_token_of_retry_names_the_first_connection_id() -> None:
    token = Tokens(b"key").retry(PLACE, FIRST, RETRIED, 1000.7)
    assert Tokens(b"key").original(token, PLACE, RETRIED, 1000.7) == FIRST
    assert Tokens(b"key").original(token, PLACE, RETRIED, 1000 + RETRY_S) == FIRST


@pytest.mark.parametrize("first", [b"", b"x" * 20])
def test_any_length_of_a_connection_id_is_kept(first: bytes) -> None:
    tokens = Tokens(b"key")
    assert tokens.original(tokens.retry(PLACE, first, RETRIED, 5), PLACE, RETRIED, 5) == first


def test_a_token_is_not_valid_elsewhere() -> None:
    tokens = Tokens(b"key")
    token = tokens.retry(PLACE, FIRST, RETRIED, 1000)
    assert tokens.original(token, PLACE[:-1] + b"\0", RETRIED, 1000) is None, "another port"
    assert tokens.original(token, PLACE, FIRST, 1000) is None, "another connection id"
    assert tokens.original(token, PLACE, RETRIED, 1001 + RETRY_S) is None, "too late"
    assert tokens.original(token, PLACE, RETRIED, 990) is None, "before it was made"
    assert Tokens(b"other").original(token, PLACE, RETRIED, 1000) is None, "another key"


def test_no_octet_of_a_token_can_be_changed() -> None:
    tokens = Tokens(b"key")
    token = tokens.retry(PLACE, FIRST, RETRIED, 1000)
    changed = [token[:at] + bytes((token[at] ^ 1,)) + token[at + 1 :] for at in range(len(token))]
    cut = [token[:size] for size in range(len(token))]
    assert [tokens.original(one, PLACE, RETRIED, 1000) for one in changed + cut] == [None] * (2 * len(token))


def test_where_a_place_ends_cannot_be_moved() -> None:
    tokens = Tokens(b"key")
    token = tokens.retry(PLACE, FIRST, RETRIED, 1000)
    assert tokens.original(token, PLACE + RETRIED[:1], RETRIED[1:], 1000) is None


def test_resets_are_the_same_for_the_same_key_alone() -> None:
    tokens, other = Tokens(b"key"), Tokens(b"other")
    assert tokens.reset(PLACE, FIRST) == Tokens(b"key").reset(PLACE, FIRST)
    assert len({tokens.reset(PLACE, FIRST), tokens.reset(PLACE, RETRIED), other.reset(PLACE, FIRST)}) == 3
    assert len(tokens.reset(PLACE, FIRST)) == 16


def test_the_token_of_a_reset_is_for_one_place() -> None:
    tokens = Tokens(b"key")
    assert tokens.reset(PLACE, FIRST) != tokens.reset(PLACE[:-1] + b"\0", FIRST)
    assert tokens.reset(PLACE, FIRST) != tokens.reset(PLACE + FIRST[:1], FIRST[1:])
