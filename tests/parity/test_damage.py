"""Every region of an image cut and corrupted: no listed name ever passes.

Who tells what:
- `image.view` refuses an image whose header differs from its check, whose size differs from its header, or that
  has not as many slots in use as it says. It runs whenever an image is loaded.
- A search in memory that became shorter after `view` asks: it never says "not listed".
- The seal of the file (feed.seal) tells every flipped bit. It alone tells a digest or the flags of a slot that
  changed while the slot stayed in use: to the core that is another list. So no image is loaded without its seal.
"""

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resolver.core import codes
from resolver.feed import seal
from tests.parity import cases, twin, wires
from tests.unit.core.seats import Seats
from tests.unit.query.parts import CLIENT, tables

SEAL_KEY = bytes(range(32))
HEADER = 8 * 24
NAMES = [b"\4name\3%03d\4test\0" % number for number in range(200)] + [b"\1a" * 70 + b"\0"]
IMAGE = bytes(
    cases.BUILDS[0]("entries").write(
        b"".join(NAMES), b"\3\0" * len(NAMES), wires.KEY, list_id="damaged", serial=1, issued=1, expires=2,
        generation=3, selftest=wires.SELFTEST,
    )
)  # fmt: skip


@pytest.fixture(params=cases.BUILDS, ids=["compiled", "plain"])
def core(request: pytest.FixtureRequest) -> cases.Core:
    found: cases.Core = request.param
    return found


def verdicts(core: cases.Core, words: memoryview) -> Iterator[int]:
    """What the core says of each listed name, or of the image when it is refused."""
    policy, reply, name = core("policy"), core("reply"), core("name").Name()
    replies = reply.Replies(codes.ANSWER_NODATA, statute=True)
    generation = policy.Generation(1, wires.KEY, [policy.Member(words, replies, slot=0)])
    verdict = policy.Verdict()
    for listed in NAMES:
        core("name").unfold(listed, 0, len(listed), name)
        said = policy.decide(generation, name, 1, verdict)
        assert (said == codes.ASK) == (verdict.verdict == codes.ASK)
        yield said


def test_undamaged_every_name_is_blocked(core: cases.Core) -> None:
    assert set(verdicts(core, core("image").view(IMAGE))) == {codes.BLOCK}


def test_cut_at_any_octet_it_is_refused(core: cases.Core) -> None:
    malformed = core("image").ImageMalformed
    for length in range(len(IMAGE)):
        with pytest.raises(malformed):
            core("image").view(IMAGE[:length])
    for more in (1, 8, 16):
        with pytest.raises(malformed):
            core("image").view(IMAGE + bytes(more))


def test_cut_after_it_was_looked_at_no_name_passes(core: cases.Core) -> None:
    words = core("image").view(IMAGE)
    asked = 0
    for length in range(len(words)):
        try:
            said = set(verdicts(core, words[:length]))
        except IndexError:
            assert length < 9  # Without its masks no generation is made.
            continue
        assert said == {codes.ASK}
        asked += 1
    assert asked == len(words) - 9


def test_any_bit_of_the_header_changed_it_is_refused(core: cases.Core) -> None:
    for bit in range(8 * HEADER):
        octets = bytearray(IMAGE)
        octets[bit // 8] ^= 1 << bit % 8
        with pytest.raises(core("image").ImageMalformed):
            core("image").view(octets)


def test_a_header_changed_after_it_was_looked_at_lets_no_name_pass(core: cases.Core) -> None:
    policy, name, verdict = core("policy"), core("name").Name(), core("policy").Verdict()
    replies = core("reply").Replies(codes.ANSWER_NODATA, statute=True)
    for word in range(HEADER // 8):
        octets = bytearray(IMAGE)
        words = core("image").view(octets)
        generation = policy.Generation(1, wires.KEY, [policy.Member(words, replies, slot=0)])
        for value in (0, 1, words[word] ^ 1, words[word] ^ 1 << 63, (1 << 64) - 1):
            memoryview(octets).cast("Q")[word] = value
            for listed in NAMES[::20]:
                core("name").unfold(listed, 0, len(listed), name)
                said = policy.decide(generation, name, 1, verdict)
                assert said == (codes.ASK if word == 1 else codes.BLOCK), (word, value)


@pytest.mark.parametrize("start", range(0, len(IMAGE) - HEADER, (len(IMAGE) - HEADER) // 8))
def test_slots_lost_it_is_refused(core: cases.Core, start: int) -> None:
    octets = bytearray(IMAGE)
    octets[HEADER + start : HEADER + start + 64] = bytes(len(octets[HEADER + start : HEADER + start + 64]))
    with pytest.raises(core("image").ImageMalformed, match="entries"):
        core("image").view(octets)


def test_slots_without_end_ask(core: cases.Core) -> None:
    octets = bytearray(IMAGE)
    words = core("image").view(octets)
    memoryview(octets).cast("Q")[24:] = memoryview(b"\xff" * (len(octets) - HEADER)).cast("Q")
    assert set(verdicts(core, words)) == {codes.ASK}


def test_only_the_seal_tells_a_digest_changed_in_its_slot(core: cases.Core) -> None:
    octets = bytearray(IMAGE)
    words = memoryview(octets).cast("Q")
    taken = next(at for at in range(24, len(words), 2) if words[at + 1] & codes.SCOPE_BITS)
    words[taken] ^= 1
    core("image").view(octets)
    with pytest.raises(seal.SealBroken):
        seal.unseal(bytes(octets) + seal.seal_of(IMAGE, SEAL_KEY), SEAL_KEY)


def test_the_seal_tells_every_octet_that_changed() -> None:
    sealed = IMAGE + seal.seal_of(IMAGE, SEAL_KEY)
    assert bytes(seal.unseal(sealed, SEAL_KEY)) == IMAGE
    for at in range(len(sealed)):
        octets = bytearray(sealed)
        octets[at] ^= 1 << at % 8
        with pytest.raises(seal.SealBroken):
            seal.unseal(bytes(octets), SEAL_KEY)


def test_the_seal_tells_every_cut() -> None:
    sealed = IMAGE + seal.seal_of(IMAGE, SEAL_KEY)
    for length in range(len(sealed)):
        with pytest.raises(seal.SealBroken):
            seal.unseal(sealed[:length], SEAL_KEY)
    with pytest.raises(seal.SealBroken):
        seal.unseal(sealed + b"\0", SEAL_KEY)


QUESTION = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + NAMES[0] + b"\0\1\0\1"
REPLY = QUESTION[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + QUESTION[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\1"


def no_room() -> memoryview:
    return memoryview(bytearray(20))


def asked(core: cases.Core) -> Any:
    question = core("question").Question()
    assert core("question").parse(QUESTION, len(QUESTION), question) == codes.WELL_FORMED
    return question


def in_force(core: cases.Core, words: memoryview) -> Any:
    replies = core("reply").Replies(codes.ANSWER_NODATA, statute=True)
    return core("policy").Generation(1, wires.KEY, [core("policy").Member(words, replies, slot=0)])


def decide(core: cases.Core) -> int:
    verdict = wires.verdict(core, 0, 0, 0, 0)
    said: int = core("policy").decide(in_force(core, core("image").view(IMAGE)[:40]), asked(core).name, 1, verdict)
    assert (verdict.verdict, verdict.errors) == (codes.ASK, 1)
    return said


def judge(core: cases.Core) -> int:
    message, verdict = core("message").Message(), wires.verdict(core, 0, 0, 0, 0)
    assert core("message").read(REPLY, len(REPLY), message)
    message.data = REPLY[:14]
    generation, name = in_force(core, core("image").view(IMAGE)), core("name").Name()
    said: int = core("policy").judge(generation, message, 1, name, verdict)
    assert (verdict.verdict, verdict.errors) == (codes.ASK, 1)
    return said


def answer(core: cases.Core) -> int:
    generation, verdict = in_force(core, core("image").view(IMAGE)), core("policy").Verdict()
    assert core("policy").decide(generation, asked(core).name, 1, verdict) == codes.BLOCK
    said: int = core("policy").answer(generation, verdict, no_room(), QUESTION, asked(core), 512)
    return said


def relay(core: cases.Core) -> int:
    message = core("message").Message()
    assert core("message").read(REPLY, len(REPLY), message)
    said: int = core("reply").relay(no_room(), QUESTION, asked(core), message, -1, codes.EDE_NONE, 512)
    return said


def access(core: cases.Core) -> Any:
    everybody, nobody = bytes(16) + b"\xff" * 16, [b""] * codes.MAX_LISTS
    memory = bytearray(core("admit").WAYS * core("admit").BUCKET_OCTETS)
    return core("admit").Access(
        everybody, everybody, [everybody] * codes.MAX_LISTS, nobody, rate=1, memory=memory, key=wires.KEY,
        proxies=everybody,
    )  # fmt: skip


def count(core: cases.Core) -> int:
    counters = memoryview(bytearray(8 * codes.COUNTERS_SIZE)).cast("Q")
    tallies = core("tally").Tally(bytearray(320), wires.KEY)
    verdict, scratch = wires.verdict(core, 0, 1, 1, 3), core("scratch").Scratch()
    said: int = core("tally").count(tallies, access(core), counters, verdict, 1, b"\0", 0, scratch)
    return said


def note(core: cases.Core) -> int:
    sketch, policy = core("sketch"), core("policy")
    replies = core("reply").Replies(codes.ANSWER_NODATA, statute=True)
    # Half a key: no suffix can be digested.
    members = [policy.Member(core("image").view(IMAGE), replies, slot=0)]
    generation = policy.Generation(1, wires.KEY[:8], members)
    made = sketch.Sketch(bytearray(2 * sketch.SET_OCTETS), wires.KEY)
    said: int = sketch.note(made, access(core), generation, asked(core).name, 1.0, core("scratch").Scratch())
    return said


def take(core: cases.Core) -> int:
    shares = core("shares")
    said: int = shares.take(shares.Shares(bytearray(shares.SET_OCTETS), wires.KEY), b"\0", 1, 1, 0)
    return said


def way(core: cases.Core) -> Seats:
    """The steps of a query whose answer has no room; a key of the digests has half its octets."""
    one = Seats(core, tables(1, (("listed.test",),)), stale_s=9)
    shape = core("crash_shape").Shape(one.numbers)
    one.lane = core("lane").Lane(memoryview(one.counters), shape, [no_room()])
    generation = core("policy").Generation(9, wires.KEY[:8], one.tables.generation.members)
    one.tables = one.tables.replaced(generation=generation)
    assert core("steps").take(one.tables, one.lane, one.seated(0, QUESTION), one.now_ms) == codes.OUTCOME_ASK
    one.lane.errors = 0
    return one


def step(name: str, *more: Any) -> Callable[[cases.Core], int]:
    """What a step says that fails: with the tables, the seat, `more` and the time."""

    def failing(core: cases.Core) -> int:
        one = way(core)
        function, seat = getattr(core("steps"), name), one.lane.seat(0)
        said: int = function(one.tables, one.lane, seat, *more, one.now_ms)
        return said

    return failing


def answering(name: str, *more: Any) -> Callable[[cases.Core], int]:
    """What a step says that has no room for the answer."""

    def failing(core: cases.Core) -> int:
        one = way(core)
        said: int = getattr(core("steps"), name)(one.lane, one.lane.seat(0), *more)
        return said

    return failing


def give(core: cases.Core) -> int:
    one = way(core)
    judgement = core("judgement").Judgement(REPLY)
    said: int = core("steps").give(one.tables, one.lane, one.lane.seat(0), judgement, one.now_ms)
    return said


def stale(core: cases.Core) -> int:
    """A failure is kept for the question, and has no room."""
    one = way(core)
    seat = one.lane.seat(0)
    core("steps").resume(one.tables, one.lane, seat, codes.OUTCOME_REPLY, one.now_ms)
    judgement = core("judgement").Judgement(REPLY)
    keeping = Seats(core, tables(1, ((),)), stale_s=9)
    asked_for = QUESTION[12 : seat.question.end], seat.low, seat.high, CLIENT, one.now_ms
    core("steps").keep(one.tables.replaced(generation=keeping.tables.generation), one.lane, judgement, *asked_for)
    assert one.lane.errors == 0
    said: int = core("steps").stale(one.tables, one.lane, seat, one.now_ms)
    assert one.lane.errors == 1
    return said


def keep(core: cases.Core) -> int:
    one, judgement = way(core), core("judgement").Judgement(REPLY)
    said: int = core("steps").keep(one.tables, one.lane, judgement, b"", 1, 2, CLIENT, one.now_ms)
    assert one.lane.errors == 1
    return said


def keep_failed(core: cases.Core) -> int:
    one = way(core)
    asked_for = bytes(codes.COUNTERS_SIZE * 4)
    said: int = core("steps").keep_failed(one.tables, one.lane, 22, asked_for, 1, 2, CLIENT, one.now_ms)
    assert one.lane.errors == 1
    return said


def designation(core: cases.Core) -> Any:
    return core("local_zones").Designation([b"\0\1\0"])


WRONG: dict[str, tuple[Callable[[cases.Core], int], int]] = {
    "policy.decide": (decide, codes.ASK),
    "policy.judge": (judge, codes.ASK),
    "policy.answer": (answer, 0),
    "reply.relay": (relay, 0),
    "reply.empty": (lambda core: core("reply").empty(no_room(), QUESTION, asked(core), 2, -1, 0, 512), 0),
    "reply.hinfo": (lambda core: core("reply").hinfo(no_room(), QUESTION, asked(core), 512), 0),
    "reply.designated": (
        lambda core: core("reply").designated(no_room(), QUESTION, asked(core), designation(core), 512),
        0,
    ),
    "reply.local": (lambda core: core("reply").local(no_room(), QUESTION, asked(core), codes.LOCALHOST, 512), 0),
    "admit.admit": (
        lambda core: core("admit").admit(access(core), b"\0", 0, 0, core("scratch").Scratch()),
        codes.NOT_A_CLIENT,
    ),
    "admit.allows": (lambda core: core("admit").allows(access(core), b"\0"), 0),
    "admit.scope": (lambda core: core("admit").scope(access(core), b"\0"), codes.ALL_LISTS),
    "admit.trusts": (lambda core: core("admit").trusts(access(core), b"\0"), 0),
    "admit.exempts": (lambda core: core("admit").exempts(access(core), b"\0"), 0),
    "sketch.note": (note, 0),
    "shares.take": (take, -1),
    "tally.count": (count, codes.NOT_COUNTED),
    "steps.take": (step("take"), codes.OUTCOME_ASK),
    "steps.resume": (step("resume", codes.OUTCOME_FORWARD), codes.OUTCOME_ASK),
    "steps.unasked": (answering("unasked"), codes.OUTCOME_SILENT),
    "steps.give_up": (answering("give_up", 22, codes.FAILED_UPSTREAM), codes.OUTCOME_SILENT),
    "steps.give": (give, codes.OUTCOME_SILENT),
    "steps.without": (step("without", 22, codes.FAILED_UPSTREAM), codes.OUTCOME_SILENT),
    "steps.stale": (stale, codes.OUTCOME_SILENT),
    "steps.keep": (keep, 0),
    "steps.keep_failed": (keep_failed, 0),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_gives_what_is_safe_and_nothing_else(
    core: cases.Core, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What query calls raises nothing, leaves no error behind, and none is told to Python as one that was lost."""
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    wrong, safe = WRONG[name]
    for _ in range(3):
        assert wrong(core) == safe
        assert sys.exc_info() == (None, None, None)
    assert lost == []


def test_all_that_catches_is_tried() -> None:
    """The functions of core that are `noexcept` are those above; those without the GIL are C, which raises nothing."""
    found = {
        f"{path.stem}.{name}"
        for path in twin.CORE.glob("*.pxd")
        for name in re.findall(r"^cpdef \w+ (\w+)\([^)]*\) noexcept$", path.read_text(), re.MULTILINE)
    }
    assert found == set(WRONG)
    catching = re.compile(r"noexcept(?! nogil)")
    assert sum(len(catching.findall(path.read_text())) for path in twin.CORE.glob("*.pxd")) == len(WRONG)
