"""Sequences of queries, replies, time and swaps (tests.fuzz.world): both builds say the same, and the model agrees."""

import random
from collections.abc import Callable
from typing import Any

import dns.message
import pytest

from resolver.core import codes
from resolver.query.transport import Transport
from tests.fuzz import model, sequences, world
from tests.parity import cases, make_corpus, twin
from tests.unit.core.seats import Asked, Seats
from tests.unit.query.parts import CLIENT, STRANGER, tables

DRAWN = 20_000 if cases.is_deep else 200
ENDS = ("MALFORMED", "TURNED_AWAY", "REFUSED", "LOCAL", "ANY", "BLOCKED", "LEADS", "KEPT", "STALE", "FRESH", "FAILED")
SEEDS = dict(sequences.seeds())
QUERIES, REPLIES = dict(make_corpus.queries()), dict(make_corpus.replies())


@pytest.fixture(scope="module")
def rooms() -> list[world.Rooms]:
    return [world.Rooms(core) for core in cases.BUILDS]


def played(rooms: list[world.Rooms], octets: bytes) -> world.World:
    """The sequence in the compiled build, once both have said the same."""
    worlds = [world.World(one, octets) for one in rooms]
    for one in worlds:
        one.play()
    assert worlds[0].scribbled or worlds[0].transcript == worlds[1].transcript
    return worlds[0]


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_each_message_of_the_corpus_among_others(rooms: list[world.Rooms], name: str) -> None:
    assert played(rooms, SEEDS[name]).transcript


def test_sequences_by_chance(rooms: list[world.Rooms]) -> None:
    for number in range(DRAWN):
        cases.count("sequences", *played(rooms, sequences.drawn(random.Random(number))).met)
    cases.assert_met("sequences", "mismatch", "relayed", *(f"end {getattr(codes, f'END_{end}')}" for end in ENDS))


def test_memory_that_something_overwrites_lets_no_listed_name_pass(rooms: list[world.Rooms]) -> None:
    """The world holds this; here it must have happened."""
    scribbled = 0
    for number in range(DRAWN):
        scribbled += played(rooms, sequences.drawn(random.Random(number), scribbles=True)).scribbled
    assert scribbled > DRAWN / 20


def test_any_octets_are_a_sequence(rooms: list[world.Rooms]) -> None:
    for number in range(DRAWN):
        draw = random.Random(number)
        played(rooms, draw.randbytes(draw.randrange(200)))


def passes(_generation: Any, _message: Any, _scope: int, _name: Any, verdict: Any) -> int:
    """Lets every reply pass."""
    verdict.verdict = codes.PASS
    return codes.PASS


FAULTS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "every name passes": ("steps", "_verdict", lambda *_: 1),
    "every reply passes": ("judgement", "judge_nogil", passes),
    "a kept answer is never judged again": ("steps", "is_judged", lambda *_: 1),
    "every reply matches": ("exchange", "matches", lambda *_: 1),
    "the drawn case stays": ("exchange", "restore_case", lambda *_: 0),
    "all questions have one key": ("cache", "set_key", lambda *_: 0),
    "answers have no limit": ("reading", "limit_of", lambda *_: 65535),
    "every cookie is good": ("cookie", "_made_by", lambda *_: 0),
    "an answer without its cookie": ("reading", "check", lambda *_: codes.COOKIE_NONE),
    "an error in a step": ("steps", "_look", lambda *_: int("none")),
}


@pytest.mark.parametrize(("module", "function", "does"), FAULTS.values(), ids=FAULTS)
def test_the_model_notices(
    monkeypatch: pytest.MonkeyPatch, module: str, function: str, does: Callable[..., Any]
) -> None:
    found: Any = None
    faulty = world.Rooms(twin.load)
    monkeypatch.setattr(twin.load(module), function, does)
    for number in range(100):
        try:
            world.World(faulty, sequences.drawn(random.Random(number))).play()
        except (AssertionError, IndexError, ValueError, model.Unreadable) as error:
            found = error
            break
    assert found is not None


def test_the_corpus_in_a_batch_is_the_same_one_by_one() -> None:
    """From a client and from a stranger, over UDP and TCP, in both builds."""
    lists = (("blocked.example",),)
    made = [*QUERIES.values(), *REPLIES.values()]
    said = []
    for client in (CLIENT, STRANGER):
        for over in (Transport.UDP, Transport.TCP):
            for start in range(0, len(made), 64):
                queries: list[Asked] = [(octets, client, over) for octets in made[start : start + 64]]
                ways = [Seats(core, tables(1, lists)) for core in cases.BUILDS for _ in range(2)]
                found = [way.batch(queries) for way in ways[::2]] + [way.one_by_one(queries) for way in ways[1::2]]
                assert all(one == found[0] for one in found)
                assert all(way.state() == ways[0].state() for way in ways)
                assert not any(way.lane.errors for way in ways)
                said += found[0]
    assert {outcome for outcome, _ in said} == {
        codes.OUTCOME_SILENT, codes.OUTCOME_REPLY, codes.OUTCOME_FORWARD, codes.OUTCOME_ASK,
    }  # fmt: skip


@pytest.mark.parametrize("name", REPLIES)
def test_each_reply_of_the_corpus_is_kept_and_given_alike(name: str) -> None:
    """In both builds, first from the upstream and then from the cache; nobody is led to a listed name."""
    reply, asked = REPLIES[name], make_corpus.query()
    ways = [Seats(core, tables(1, (("blocked.example",),)), lambda _: reply, stale_s=600) for core in cases.BUILDS]
    said = [[way.send(asked, CLIENT, Transport.TCP) for _ in range(2)] for way in ways]
    assert said[0] == said[1]
    assert ways[0].state() == ways[1].state()
    for answer in said[0]:
        assert answer is not None
        assert "blocked.example" not in dns.message.from_wire(answer).to_text() or name.startswith("right-listed")
