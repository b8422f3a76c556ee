"""What the sketch knows of asked names: how many prefixes, of which names, for how long, and what a flood changes."""

import random
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
DIGESTS = bytes(range(16, 32))


def wire(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def numbered(number: int) -> bytes:
    """A client of an IPv4 prefix of its own."""
    return bytes(10) + b"\xff\xff" + (0x0A000000 + number).to_bytes(4, "big")


class Asked:
    """A sketch, what admits clients for it, and an image that has some depths."""

    def __init__(self, core: Core, sets: int = 64, depths: int = 0) -> None:
        self.core, self.module = core, core("sketch")
        self.sketch = self.module.Sketch(bytearray(2 * sets * self.module.SET_OCTETS), KEY)
        admit, nothing = core("admit"), (b"",) * 16
        self.admit = admit.admit
        self.access = admit.Access(
            bytes(16) + b"\xff" * 16, b"", nothing, nothing, rate=0, memory=bytearray(0), key=KEY
        )
        self.generation = core("policy").Generation(1, DIGESTS, ())
        self.name = core("name").Name()
        self.scratch = core("scratch").Scratch()
        self.unfold = core("name").unfold
        self.now = 0.0

    def ask(self, name: str, clients: Iterable[bytes], every: float = 1.0) -> None:
        octets = wire(name)
        for client in clients:
            self.now += every
            assert self.admit(self.access, client, 0, 0, self.scratch) == 0
            self.unfold(octets, 0, len(octets), self.name)
            assert self.module.note(self.sketch, self.access, self.generation, self.name, self.now, self.scratch) == 0

    def digest(self, name: str) -> Any:
        return self.core("siphash").digest_of(DIGESTS, wire(name))

    def popular(self, share: float = 0.0, floor: float = 50) -> set[Any]:
        found: set[Any] = self.module.popular(self.sketch, share, floor)
        return found

    def turn(self) -> None:
        self.module.turn(self.sketch, random.Random(1).randbytes(16))


@pytest.fixture
def asked(core: Core) -> Asked:
    return Asked(core)


def clients(many: int, first: int = 0) -> list[bytes]:
    return [numbered(number) for number in range(first, first + many)]


def test_a_name_that_many_prefixes_ask_is_popular_and_so_are_its_parents(asked: Asked) -> None:
    asked.ask("a.b.www.shop.test", clients(150))
    asked.ask("rare.test", clients(30))
    names = ("a.b.www.shop.test", "b.www.shop.test", "www.shop.test", "shop.test")
    assert asked.popular() == {asked.digest(name) for name in names}
    assert asked.popular(floor=500) == set()
    assert 140 <= asked.module.prefixes(asked.sketch, True) <= 160


def test_one_prefix_that_asks_all_day_is_one(asked: Asked) -> None:
    asked.ask("busy.test", clients(1) * 500)
    six = [b"\x20\x01\x0d\xb8" + bytes(3) + number.to_bytes(9, "big") for number in range(300)]
    asked.ask("six.test", six)
    assert asked.popular(floor=3) == set()
    assert asked.module.prefixes(asked.sketch, True) <= 3


def test_a_share_of_the_prefixes_seen_is_needed_too(asked: Asked) -> None:
    asked.ask("wide.test", clients(800))
    asked.ask("narrow.test", clients(100))
    asked.ask("other.test", clients(2000))
    assert asked.popular(share=0.2) >= {asked.digest("wide.test")}
    assert asked.digest("narrow.test") not in asked.popular(share=0.2)
    assert asked.digest("narrow.test") in asked.popular(share=0.01)


def test_what_was_asked_is_forgotten_after_two_windows(asked: Asked) -> None:
    asked.ask("www.test", clients(200))
    asked.turn()
    assert asked.digest("www.test") in asked.popular()
    assert 180 <= asked.module.prefixes(asked.sketch, False) <= 220
    asked.turn()
    assert asked.popular() == set()
    assert asked.module.prefixes(asked.sketch, False) == 0
    assert not any(bytes(asked.sketch.now))
    assert not any(bytes(asked.sketch.before))


def test_a_flood_of_names_raises_none(asked: Asked) -> None:
    asked.ask("www.test", clients(300))
    for number in range(4000):
        asked.ask(f"n{number}.flood{number % 97}x{number}.test", clients(3, number % 50))
    assert asked.popular() == {asked.digest("www.test")}


def test_a_name_becomes_popular_though_every_set_is_full(core: Core) -> None:
    asked = Asked(core, sets=4)
    for number in range(200):
        asked.ask(f"name{number}.test", clients(2, number))
    for number in range(400):
        asked.ask("www.test", clients(1, number))
        asked.ask(f"later{number}.test", clients(1, number))
    assert asked.digest("www.test") in asked.popular()


def test_a_large_network_is_sampled_and_its_shares_stay(asked: Asked) -> None:
    many = asked.module.MOST_PREFIXES + 3000
    asked.ask("seen.test", clients(many))
    asked.turn()
    assert asked.sketch.skip_now == 1
    asked.ask("half.test", clients(many // 2))
    asked.ask("all.test", clients(many))
    assert 0.9 * many < asked.module.prefixes(asked.sketch, True) < 1.1 * many
    asked.turn()
    found = asked.popular(share=0.75)
    assert asked.digest("all.test") in found
    assert asked.digest("half.test") not in found


def test_only_so_much_is_noted_in_a_sixteenth_of_a_second(asked: Asked) -> None:
    asked.ask("fast.test", clients(3000), every=0.0)
    assert asked.popular(floor=asked.module.BUDGET * 1.5) == set()
    assert 2700 <= asked.module.prefixes(asked.sketch, True) <= 3300
    assert asked.digest("fast.test") in asked.popular(floor=asked.module.BUDGET * 0.6)
    asked.ask("fast.test", clients(300), every=0.1)
    assert asked.digest("fast.test") in asked.popular(floor=200)


def test_names_that_no_list_may_hold_are_not_noted(asked: Asked) -> None:
    asked.ask("test", clients(200))
    assert asked.popular() == set()


def test_too_little_memory_is_an_error(core: Core) -> None:
    with pytest.raises(ValueError, match="too small"):
        core("sketch").Sketch(bytearray(104), KEY)
