"""The judgement against a model that shares nothing with it: dictionaries of names, the rules written out once more."""

import random
from typing import Any

import pytest
from hypothesis import given

from resolver.core import codes
from tests.parity import cases, wires

pytestmark = pytest.mark.timeout(600)

CHAIN = (codes.TYPE_DS, codes.TYPE_DNSKEY)
Entries = dict[tuple[bytes, ...], int]


def entries_of(octets: bytes, bits: bytes, before: Entries | None, keep_new: bool) -> Entries:
    """What a list says of each name, its exceptions applied and what is new in it marked."""
    found: Entries = {}
    at = 0
    for number in range(0, len(bits), 2):
        parts = []
        while octets[at]:
            parts.append(octets[at + 1 : at + 1 + octets[at]])
            at += 1 + octets[at]
        at += 1
        name = tuple(parts)
        found[name] = found.get(name, 0) | int.from_bytes(bits[number : number + 2], "little")
    for name, said in found.items():
        said &= ~(codes.BLOCK_SELF if said & codes.EXCEPT_SELF else 0)
        said &= ~(codes.BLOCK_BELOW if said & codes.EXCEPT_BELOW else 0)
        if not said & (codes.BLOCK_SELF | codes.BLOCK_BELOW):
            said &= ~codes.SET_ASIDE
        if before is not None:
            was = before.get(name, 0)
            enforced_now = was & codes.SET_ASIDE and not said & codes.SET_ASIDE
            if not was or enforced_now or (keep_new and was & codes.NEW):
                said |= codes.NEW
        found[name] = said
    return found


def expected(made: wires.Lists, asked: list[bytes], kind: int, scope: int) -> tuple[int, int, int]:
    """Verdict, slot and depth for a name, a type and a client's lists, by the rules of the design."""
    name = tuple(wires.folded(one) for one in asked)
    host = len(name) >= 3 and name[1] == b"_https" and name[0][:1] == b"_" and name[0][1:].isdigit()
    host = host and len(name[0]) <= 6
    best, released, before = (0, -1), False, None
    for slot, ((octets, bits, serial), (release, approved)) in enumerate(
        zip(made.images, made.flags, strict=True)
    ):
        said = entries_of(octets, bits, before if serial % 2 else None, serial == 3)
        before = said
        for start in range(len(name) if scope >> slot & 1 else 0):
            found = said.get(name[start:], 0)
            if found & codes.SET_ASIDE and not approved:
                found &= ~(codes.BLOCK_SELF | codes.BLOCK_BELOW)
            own = start == 0 or (host and start == 2 and found & (codes.BLOCK_SELF | codes.EXCEPT_SELF))
            if found & (codes.EXCEPT_SELF if own else codes.EXCEPT_BELOW):
                released = released or release
                break
            if found & (codes.BLOCK_SELF if own else codes.BLOCK_BELOW):
                if kind in CHAIN and (not found & codes.BLOCK_BELOW or _spares_below(said, name[start:], made)):
                    break
                if len(name) - start > best[0]:
                    best = len(name) - start, slot
                break
    if released or not best[0]:
        return codes.PASS, -1, 0
    return codes.BLOCK, best[1], best[0]


def _spares_below(said: Entries, entry: tuple[bytes, ...], made: wires.Lists) -> bool:
    """Whether a name below the entry is spared by its list, or any name by a release."""
    excepted = codes.EXCEPT_SELF | codes.EXCEPT_BELOW
    below = any(bits & excepted and len(one) > len(entry) and one[-len(entry) :] == entry for one, bits in said.items())
    return below or any(flags[0] for flags in made.flags)


def decided(
    core: cases.Core, made: wires.Lists, names: list[list[bytes]], kind: int, scope: int
) -> list[tuple[Any, ...]]:
    """What is said of each name by itself; it is the same when all are prepared before the first is judged."""
    policy, generation = core("policy"), wires.generation(core, made)
    unfolded, verdict = [core("name").Name() for _ in names], policy.Verdict()
    for name, one in zip(unfolded, names, strict=True):
        octets = wires.wire(one)
        assert core("name").unfold(octets, 0, len(octets), name)
    said = []
    for name in unfolded:
        assert policy.decide(generation, name, scope, verdict, kind) == verdict.verdict
        said.append(told(verdict))
    other = policy.Generation(8, wires.KEY[::-1], generation.members)
    for name in unfolded:
        # What the judgement before left in it is lost.
        assert policy.prepare(other, name) == 0
    for name in unfolded:
        assert policy.prepare(generation, name) == 0
    for name, before in zip(unfolded, said, strict=True):
        assert policy.decide_ready(generation, name, scope, verdict, kind) == verdict.verdict
        assert told(verdict) == before
    return said


def told(verdict: Any) -> tuple[Any, ...]:
    """What a verdict tells. What a release let pass still knows the entry that it overruled."""
    entry = (-1, 0) if verdict.verdict == codes.PASS else (verdict.slot, verdict.depth)
    return (verdict.verdict, *entry, verdict.errors)


def test_the_judgement_is_that_of_the_model() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        many = r.choice((1, 1, 2, 2, 3, 4, 4, codes.MAX_LISTS))
        made = wires.lists(r, many)
        names = [wires.near(r, made.names) for _ in range(12)]
        kind = r.choice((codes.TYPE_A, *CHAIN))
        scope = r.choice((codes.ALL_LISTS, codes.ALL_LISTS, r.getrandbits(codes.MAX_LISTS)))
        for name, said in zip(names, cases.both(decided, made, names, kind, scope), strict=True):
            assert said == (*expected(made, name, kind, scope), 0)
            cases.count("model", f"{many} lists {said[0] == codes.BLOCK}")
            if said[0] == codes.PASS and expected(made, name, kind, codes.ALL_LISTS)[0] == codes.BLOCK:
                cases.count("model", "out of scope")
            cases.count("model", "block" if said[0] == codes.BLOCK else "pass", *[f"slot {said[1]}"] * (said[1] > 0))
            if kind in CHAIN and said[0] == codes.PASS and expected(made, name, codes.TYPE_A, scope)[0] == codes.BLOCK:
                cases.count("model", "spared chain")
            elif kind in CHAIN and said[0] == codes.BLOCK:
                cases.count("model", "blocked chain")

    run()
    for many in (1, 2, 4, codes.MAX_LISTS):
        cases.assert_met("model", f"{many} lists True", f"{many} lists False")
    cases.assert_met("model", "out of scope")
    cases.assert_met("model", "block", "pass", "slot 1", "slot 2", "spared chain", "blocked chain")
