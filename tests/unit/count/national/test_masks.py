"""Masks: they cancel, each alone is uniform, and each word of the task changes them."""

import hashlib
import itertools
from typing import Any

import msgspec
import pytest

from resolver.count.national import masks
from resolver.count.national.forms import MOST_FIGURE, Refused
from tests.unit.count.national.operators import form, members, seed, task

MEMBERS = members(24)


def test_the_masks_of_24_operators_cancel() -> None:
    of = task(form(MEMBERS))
    every = [masks.masks(of.form, of.digest, place, one.agreement) for place, one in enumerate(MEMBERS)]
    assert [sum(column) % masks.MODULUS for column in zip(*every, strict=True)] == [0, 0, 0]
    assert len({mask for one in every for mask in one}) == 24 * 3


def test_each_word_of_the_task_gives_other_masks() -> None:
    """A mask is never used twice: not in another month, round, definition, list, roster, or by another pair."""
    made, secret = form(MEMBERS), seed("secret")
    first, second, third = (one.public for one in MEMBERS[:3])
    changes: list[dict[str, Any]] = [{}, {"month": "2027-02"}, {"round": 2}, {"definition": "v3"}]
    infos = [masks.info_of(msgspec.structs.replace(made, **one), "court", first, second) for one in changes]
    infos += [masks.info_of(made, name, *pair) for name, pair in (("", (first, second)), ("court", (first, third)))]
    found = [masks.pair_mask(secret, seed("digest"), info) for info in infos]
    others = ((secret, seed("another")), (seed("other"), seed("digest")))
    found += [masks.pair_mask(*one, infos[0]) for one in others]
    assert len(set(found)) == len(found) == 8


def test_a_masked_figure_alone_is_uniform() -> None:
    """Chi-squared over 100,000 masked values of one figure, for each of their eight octets: 255 degrees of freedom.

    The seeds are fixed. A uniform octet exceeds 330.5 once in 1,000 times.
    """
    info = masks.info_of(form(MEMBERS), "court", MEMBERS[0].public, MEMBERS[1].public)
    secret, figure, draws = seed("shared"), 16_800, 100_000
    octets = bytearray()
    for number in range(draws):
        mask = masks.pair_mask(secret, hashlib.sha256(number.to_bytes(8, "big")).digest(), info)
        octets += ((figure + mask) % masks.MODULUS).to_bytes(8, "big")
    expected = draws / 256
    for place in range(8):
        counts = [0] * 256
        for octet in itertools.islice(octets, place, None, 8):
            counts[octet] += 1
        assert 200 < sum((count - expected) ** 2 / expected for count in counts) < 330.5


def test_a_secret_of_zeros_is_refused() -> None:
    first, *others = form(MEMBERS).operators
    low = msgspec.structs.replace(first, agreement="00" * 32)
    made = form(MEMBERS, operators=(low, *others))
    with pytest.raises(Refused, match=f"key of {first.name} is of small order"):
        masks.masks(made, "00" * 32, 3, MEMBERS[3].agreement)


def test_sums_are_signed() -> None:
    assert masks.summed(["ffffffffffffffff", "0000000000000003"]) == 2
    assert masks.summed(["ffffffffffffffff"]) == -1
    assert masks.summed(["7fffffffffffffff"]) == 2**63 - 1


def test_no_sum_wraps() -> None:
    most = 2 * MOST_FIGURE * 2**14
    assert most < 2**63
    assert masks.summed([f"{2 * MOST_FIGURE:016x}"] * 2**14) == most


def test_a_commitment_depends_on_all_that_it_binds_and_hides_the_figure() -> None:
    salt, digest, key = seed("salt"), seed("digest").hex(), MEMBERS[0].public
    words: list[tuple[Any, ...]] = [
        ("court", 16_800, 5, salt, digest, key),
        ("demo", 16_800, 5, salt, digest, key),
        ("court", 16_801, 5, salt, digest, key),
        ("court", 16_800, -5, salt, digest, key),
        ("court", 16_800, 5, seed("another"), digest, key),
        ("court", 16_800, 5, salt, seed("another").hex(), key),
        ("court", 16_800, 5, salt, digest, MEMBERS[1].public),
    ]
    assert len({masks.commitment(*one) for one in words}) == len(words)
