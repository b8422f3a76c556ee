"""Random images, clients, blocks and answers to keep: both builds leave the same memory behind."""

import random
from typing import Any

import pytest
from hypothesis import given

from resolver.core import codes
from tests.parity import cases, wires

pytestmark = pytest.mark.timeout(600)


def image_of(core: cases.Core, made: wires.Lists, probes: list[tuple[int, int]]) -> tuple[Any, ...]:
    image = core("image")
    images = wires.written(core, made)
    views = [image.view(one) for one in images]
    kept = [image.digests(one, 100) for one in views]
    found = [image.find(view, low, high) for view in views for low, high in probes]
    hits = [image.find(view, low, high) for view, all_of in zip(views, kept, strict=True) for low, high, _ in all_of]
    return images, kept, found, hits, [image.occupied(one) for one in views], [vars_of(image.header(v)) for v in views]


def vars_of(header: Any) -> tuple[Any, ...]:
    return (
        header.slots, header.entries, header.serial, header.issued, header.expires, header.generation,
        header.depths, header.list_id, header.selftest,
    )  # fmt: skip


def test_images() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        probes = [(r.getrandbits(64), r.getrandbits(48)) for _ in range(5)]
        _, kept, found, hits, *_ = cases.both(image_of, wires.lists(r), probes)
        # Nothing is found that is not there, all is found that is.
        assert not any(found)
        assert hits == [bits for all_of in kept for _, _, bits in all_of]
        assert all(hits)
        names = {"new"} if any(bits & codes.NEW for bits in hits) else set()
        names |= {"exception below"} if any(bits & codes.EXCEPTION_BELOW for bits in hits) else set()
        cases.count("images", "found", *names)

    run()
    cases.assert_met("images", "found", "new", "exception below")


def ranges(r: random.Random) -> bytes:
    ends = sorted(r.sample([client(r) for _ in range(8)], r.choice((0, 2, 4))))
    return b"".join(ends) if len(set(ends)) == len(ends) else b""


def client(r: random.Random) -> bytes:
    if r.random() < 0.6:
        return bytes(10) + b"\xff\xff" + bytes([192, 0, 2, r.randrange(20)])
    return b"\x20\x01\x0d\xb8\0\0" + bytes([r.randrange(2), r.randrange(3), r.randrange(2)]) + bytes(6) + r.randbytes(1)


def admitted(core: cases.Core, setting: tuple[Any, ...], asked: list[tuple[bytes, bool, int]]) -> tuple[Any, ...]:
    admit = core("admit")
    allow, unlimited, clients, exempt, rate, sets = setting
    memory = bytearray(sets * admit.WAYS * admit.BUCKET_OCTETS)
    access = admit.Access(allow, unlimited, clients, exempt, rate=rate, memory=memory, key=wires.KEY)
    scratch = core("scratch").Scratch()
    said = [
        (
            admit.admit(access, one, proven, now, scratch),
            admit.scope(access, one),
            access.prefixes,
            access.minute,
            admit.allows(access, one),
        )
        for one, proven, now in asked
    ]
    return said, bytes(memory)


def test_clients() -> None:
    names = ("admitted", "not a client", "slip", "limited")

    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        clients = [ranges(r) if r.random() < 0.1 else b"" for _ in range(16)]
        exempt = [ranges(r) if r.random() < 0.1 else b"" for _ in range(16)]
        allow = bytes(16) + b"\xff" * 16 if r.random() < 0.6 else ranges(r)
        setting = (allow, ranges(r), clients, exempt, r.choice((0, 1, 2, 5)), r.choice((1, 2, 7)))
        now, asked = r.randrange(1 << 40), []
        for _ in range(40):
            now = max(0, now + r.choice((0, 0, 1, 10, 300, 1000, 61000, -500)))
            asked.append((client(r), r.random() < 0.3, now))
        said, _ = cases.both(admitted, setting, asked)
        more = ["scoped"] if any(scope != 0xFFFF for _, scope, *_ in said) else []
        cases.count("clients", *{names[one[0]] for one in said}, *more)

    run()
    cases.assert_met("clients", *names, "scoped")


def counted(
    core: cases.Core, sets: int, budget: int, blocks: list[tuple[Any, ...]]
) -> tuple[list[int], bytes, bytes]:
    tally = core("tally")
    memory, said = bytearray(sets * tally.TABLES * tally.WAYS * 8), []
    exempt = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 3])
    buckets = bytearray(core("admit").WAYS * core("admit").BUCKET_OCTETS)
    access = core("admit").Access(
        b"", exempt * 2, [b""] * 16, [b""] * 16, rate=0, budget=budget, memory=buckets, key=wires.KEY
    )
    table, scratch = tally.Tally(memory, wires.KEY), core("scratch").Scratch()
    counters = memoryview(bytearray(8 * codes.COUNTERS_SIZE)).cast("Q")
    for number, block in enumerate(blocks):
        if number == len(blocks) // 2 and block[1] % 2:
            tally.turn(table, wires.KEY[::-1])
        if number == len(blocks) // 3 and block[1] % 3:
            tally.turn_day(table, wires.KEY[::-1])
        entry, asked = block[:4], block[4:]
        said.append(tally.count(table, access, counters, wires.verdict(core, *entry), *asked, scratch))
    return said, bytes(counters), bytes(memory)


def test_tallies() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        now, blocks = r.randrange(1 << 33), []
        for _ in range(60):
            now = max(0, now + r.choice((0, 0, 1, 30, 60, -5)))
            slot, entry = r.randrange(3), r.randrange(12)
            bits = 3 | r.choice((0, 0, codes.NEW, codes.SELFTEST if r.random() < 0.1 else 0))
            low = entry * 0x9E3779B97F4A7C15 & (1 << 64) - 1
            blocks.append((slot, low, entry, bits, r.choice((1, 28, 65, 64, 16)), client(r), now))
        said, counters, _ = cases.both(counted, r.choice((1, 1, 3)), r.choice((0, 1, 3)), blocks)
        assert codes.NOT_COUNTED not in said
        table = memoryview(counters).cast("Q")
        names = [
            name
            for number, name in enumerate(codes.LIST_COUNTERS)
            if any(table[codes.list_counter(slot, number)] for slot in range(3))
        ]
        cases.count("tallies", *names)

    run()
    cases.assert_met("tallies", *[name for name in codes.LIST_COUNTERS if name != "attempts_capped"])


@pytest.mark.parametrize("sets", [16, 64])
def test_caps_of_ipv6(sets: int) -> None:
    """More networks of one /48 than its caps: each cap is met, and in few sets saturation too."""
    r, blocks = cases.seeded("caps of IPv6", sets), []
    for number in range(900):
        network = bytes([0x20, 1, 0x0D, 0xB8, 0, 0, r.randrange(5), r.randrange(6)]) + bytes(8)
        blocks.append((0, number * 0x9E3779B97F4A7C15 & (1 << 64) - 1, number, 3, 1, network, 1000 + number))
    _, counters, _ = cases.both(counted, sets, 0, blocks)
    table = memoryview(counters).cast("Q")
    attempts, capped, saturated = (
        table[codes.list_counter(0, number)]
        for number in (codes.ATTEMPTS, codes.ATTEMPTS_CAPPED, codes.ATTEMPTS_SATURATED)
    )
    assert attempts == 240
    assert capped > 0
    assert (saturated > 0) == (sets == 16)


def kept(core: cases.Core, octets: int, steps: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    store = core("store")
    memory = bytearray(octets)
    answers, found, said = store.Store(memory, wires.KEY), store.Kept(), []
    question, scratch = core("question").Question(), core("scratch").Scratch()
    for what, packet, bits, now, body in steps:
        core("question").parse(packet, len(packet), question)
        store.set_key(answers, question, bits, scratch)
        low, high = scratch.key[0], scratch.key[1]
        if what == "keep":
            made = wires.to_keep(core, body, kind=store.NEGATIVE, errors=body[:4])
            said.append(store.keep(answers, low, high, now, made))
        elif store.find(answers, low, high, now, found):
            if what == "renew":
                store.renew(answers, found, 8, store.BLOCKED)
            said.append((found.age_s, found.ttl_s, found.generation, found.rcode, found.kind, found.record))
            said.append(bytes(answers.ring[found.errors_start : found.errors_start + found.errors_size]))
            said.append(bytes(answers.ring[found.start : found.end]))
        else:
            said.append("nothing")
    return said, bytes(memory), answers.heads[0]


def test_answers_kept() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        asked = [b"\0\0\1\0\0\1\0\0\0\0\0\0" + wires.wire(wires.labels(r)) + b"\0\1\0\1" for _ in range(6)]
        now, steps = r.randrange(1 << 33), []
        for _ in range(40):
            now = max(0, now + r.choice((0, 1, 20, 61, -3)))
            body = r.randbytes(r.choice((12, 60, 300, 800, 5000)))
            what = r.choice(("keep", "find", "find", "renew"))
            steps.append((what, r.choice(asked), r.choice((0, 1, 3)), now, body))
        said, _, head = cases.both(kept, r.choice((4096, 8192, 16384, 2**17)), steps)
        names = {one if isinstance(one, str) else "found" for one in said if isinstance(one, str | tuple)}
        names |= {"refused"} if 0 in said else set()
        names |= {"came round"} if head > 20000 else set()
        cases.count("answers kept", *names)

    run()
    cases.assert_met("answers kept", "found", "nothing", "refused")


def shared(core: cases.Core, sets: int, steps: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    shares = core("shares")
    memory = bytearray(sets * shares.SET_OCTETS)
    table, slots, said = shares.Shares(memory, wires.KEY), [shares.NONE], []
    for asked, amount, most, epoch, which in steps:
        if asked:
            slots.append(shares.take(table, asked, amount, most, epoch))
            said.append(("taken" if slots[-1] >= 0 else "refused", slots[-1]))
        else:
            said.append(("given", shares.give(table, slots[which % len(slots)], amount)))
        said.append(("heaviest", shares.heaviest(table)))
        said.append(("held", shares.held(table, slots[which % len(slots)])))
    return said, bytes(memory), bytes(table.ends)


def test_shares() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        epoch, steps = r.randrange(1 << 40), []
        for _ in range(60):
            epoch = max(0, epoch + r.choice((0, 0, 0, 0, 1, 2, 70, -1)))
            amount = r.choice((0, 1, 1, 2, 1000, (1 << 64) - 1))
            most = r.choice((0, 1, 3, 5000, (1 << 64) - 1))
            steps.append((client(r) if r.random() < 0.6 else b"", amount, most, epoch, r.randrange(60)))
        said, _, _ = cases.both(shared, r.choice((1, 1, 2, 7)), steps)
        cases.count("shares", *{name for name, number in said if number})

    run()
    cases.assert_met("shares", "taken", "refused", "given", "heaviest", "held")


def asked(core: cases.Core, sets: int, steps: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    sketch, admit, name = core("sketch"), core("admit"), core("name").Name()
    memory = bytearray(2 * sets * sketch.SET_OCTETS)
    table = sketch.Sketch(memory, wires.KEY)
    nothing = (b"",) * codes.MAX_LISTS
    every = bytes(16) + b"\xff" * 16
    access = admit.Access(every, b"", nothing, nothing, rate=0, memory=bytearray(0), key=wires.KEY)
    generation = core("policy").Generation(1, wires.KEY[::-1], ())
    found, scratch = [], core("scratch").Scratch()
    for at, (who, octets, key) in enumerate(steps):
        if key:
            sketch.turn(table, key)
            continue
        admit.admit(access, who, 0, 0, scratch)
        core("name").unfold(octets, 0, len(octets), name)
        found.append(sketch.note(table, access, generation, name, float(at), scratch))
    wide = sorted(sketch.popular(table, 0.2, 3.0))
    return found, wide, sketch.prefixes(table, True), sketch.prefixes(table, False), table.skip_now, bytes(memory)


def test_sketches() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        steps: list[tuple[Any, ...]] = []
        for _ in range(60):
            labels = [r.choice((b"\1a", b"\1b", b"\2cd")) for _ in range(r.randrange(9))]
            steps.append((client(r), b"".join(labels) + b"\0", r.randbytes(16) if r.random() < 0.03 else b""))
        _, wide, now, before, _, _ = cases.both(asked, r.choice((1, 1, 2, 7)), steps)
        cases.count("sketches", *(["wide"] if wide else []), *(["now"] if now else []), *(["before"] if before else []))

    run()
    cases.assert_met("sketches", "wide", "now", "before")
