"""What a prefix may take of what all share, who gives way, and what is forgotten."""

import ipaddress
import random
from collections.abc import Callable
from types import ModuleType

import pytest

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
PLENTY = 1 << 40


def octets(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def numbered(number: int) -> bytes:
    """A client of an IPv4 prefix of its own."""
    return bytes(10) + b"\xff\xff" + (0x0A000000 + number).to_bytes(4, "big")


class Shared:
    """A table of shares and its module."""

    def __init__(self, core: Core, sets: int = 256, key: bytes = KEY) -> None:
        self.core = core("shares")
        self.memory = bytearray(sets * self.core.SET_OCTETS)
        self.table = self.core.Shares(self.memory, key)

    def take(self, client: str | bytes, amount: int = 1, most: int = PLENTY, epoch: int = 0) -> int:
        one = octets(client) if isinstance(client, str) else client
        slot: int = self.core.take(self.table, one, amount, most, epoch)
        return slot

    def give(self, slot: int, amount: int = 1) -> int:
        left: int = self.core.give(self.table, slot, amount)
        return left

    def held(self, client: str | bytes, epoch: int = 0) -> int:
        has: int = self.core.held(self.table, self.take(client, 0, epoch=epoch))
        return has

    def heaviest(self) -> int:
        slot: int = self.core.heaviest(self.table)
        return slot


@pytest.fixture
def shared(core: Core) -> Shared:
    return Shared(core)


def test_a_prefix_takes_at_most_its_share(shared: Shared) -> None:
    assert [shared.take(ONE, 1, 3) >= 0 for _ in range(5)] == [True] * 3 + [False] * 2
    assert shared.take(TWO, 4, 3) == shared.core.NONE
    assert shared.take(TWO, 3, 3) >= 0
    assert (shared.held(ONE), shared.held(TWO)) == (3, 3)


def test_what_is_given_back_can_be_taken_again(shared: Shared) -> None:
    slot = shared.take(ONE, 5, 5)
    assert shared.take(ONE, 1, 5) == shared.core.NONE
    assert shared.give(slot, 2) == 3
    assert shared.take(ONE, 2, 5) == slot
    assert shared.give(slot, 9) == 0
    assert shared.held(ONE) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ONE, ONE, True),
        (ONE, TWO, False),
        ("2001:db8:0:100::1", "2001:db8:0:1ff::1", True),
        ("2001:db8:0:100::1", "2001:db8:0:200::1", False),
        (ONE, "::192.0.2.1", False),
    ],
)
def test_a_prefix_is_an_ipv4_address_or_a_56(shared: Shared, one: str, other: str, same: bool) -> None:
    assert (shared.take(one) == shared.take(other)) == same


def test_what_is_free_as_the_share_leaves_a_part_for_the_next(shared: Shared) -> None:
    places, taken = 1000, 0
    greedy = [numbered(one) for one in range(9)]
    for _ in range(places):
        for client in greedy:
            taken += shared.take(client, 1, places - taken) >= 0
    assert taken == 900
    assert {shared.held(client) for client in greedy} == {100}
    assert all(shared.take(ONE, 1, places - taken - one) >= 0 for one in range(50))


def test_the_heaviest_is_who_holds_most_and_of_equals_who_held_it_longest(shared: Shared) -> None:
    assert shared.heaviest() == shared.core.NONE
    one, two = shared.take(ONE, 1), shared.take(TWO, 1)
    assert shared.heaviest() == one
    shared.take(THREE, 9)
    assert shared.heaviest() == shared.take(THREE, 0)
    shared.give(shared.heaviest(), 9)
    assert shared.heaviest() == one
    shared.give(one)
    assert shared.heaviest() == two
    assert shared.take(ONE, 1) == one
    assert shared.heaviest() == two
    shared.give(two)
    shared.give(one)
    assert shared.heaviest() == shared.core.NONE


def test_amounts_are_halved_with_each_step_of_the_epoch(shared: Shared) -> None:
    shared.take(ONE, 1000, 1000, 7)
    assert shared.take(ONE, 1, 1000, 7) == shared.core.NONE
    assert shared.held(ONE, 8) == 500
    assert shared.take(ONE, 500, 1000, 8) >= 0
    assert shared.held(ONE, 11) == 125
    # A step back forgets nothing and brings nothing back.
    assert shared.held(ONE, 5) == 125
    assert shared.held(ONE, 11 + 63) == 0
    shared.take(ONE, 1000, 1000, 80)
    assert shared.held(ONE, 1 << 60) == 0


def test_what_was_refused_changes_nothing(shared: Shared) -> None:
    shared.take(ONE, 8, 10, 4)
    before = bytes(shared.memory)
    for amount, most, epoch in ((3, 10, 4), (11, 10, 4), (1, 0, 4), (9, 10, 5), (1 << 63, (1 << 63) + 5, 4)):
        assert shared.take(ONE, amount, most, epoch) == shared.core.NONE
    assert bytes(shared.memory) == before


def test_the_largest_amounts_do_not_wrap(shared: Shared) -> None:
    most = (1 << 64) - 1
    slot = shared.take(ONE, most, most)
    assert shared.take(ONE, 1, most) == shared.core.NONE
    assert shared.heaviest() == slot
    assert shared.give(slot, most) == 0


def test_a_full_set_is_shared_with_who_holds_least(core: Core) -> None:
    shared = Shared(core, sets=1)
    for number in range(shared.core.WAYS):
        shared.take(numbered(number), 10 + number)
    slot = shared.take(ONE, 1)
    assert (slot, shared.core.held(shared.table, slot)) == (0, 11)
    # What the slot held is still given back there.
    assert (shared.give(slot, 10), shared.give(slot, 1)) == (1, 0)
    # Who was joined finds another slot.
    assert shared.take(numbered(0), 20) == 0
    assert shared.take(ONE, 1) == 1


def test_chosen_prefixes_cannot_fill_the_share_of_another(core: Core) -> None:
    """Prefixes collide under one key only: under the real key they lie anywhere."""
    r = random.Random(20)
    guessed, real = Shared(core, 64), Shared(core, 64, key=r.randbytes(16))
    rows = 64 * guessed.core.WAYS
    victim = numbered(1)
    aimed = guessed.take(victim, 0) // guessed.core.WAYS
    colliding = [one for one in map(numbered, range(2, 40_000)) if guessed.take(one, 0) // guessed.core.WAYS == aimed]
    assert len(colliding) > rows
    for one in colliding[:rows]:
        guessed.take(one, 1, 64)
        real.take(one, 1, 64)
    assert guessed.held(victim) >= 64
    assert real.held(victim) <= 2


def test_a_slot_or_a_client_that_is_none_takes_and_gives_nothing(shared: Shared) -> None:
    shared.take(ONE, 3)
    before = bytes(shared.memory)
    assert shared.core.take(shared.table, b"short", 1, 9, 0) == shared.core.NONE
    for slot in (shared.core.NONE, 256 * shared.core.WAYS, 1 << 40):
        assert (shared.give(slot), shared.core.held(shared.table, slot)) == (0, 0)
    assert bytes(shared.memory) == before


def test_without_memory_nothing_is_taken(core: Core) -> None:
    assert Shared(core, sets=0).take(ONE) == core("shares").NONE


def test_no_address_is_in_the_memory(shared: Shared) -> None:
    shared.take(ONE, 0xABCDEF)
    assert any(shared.memory)
    assert octets(ONE)[-4:] not in shared.memory


def test_heaviest_agrees_with_a_model(core: Core) -> None:
    """Random takes and gives: the amounts are exact, and the heaviest is within a factor of two of the most."""
    r = random.Random(21)
    shared = Shared(core, sets=64)
    amounts: dict[int, int] = {}
    for _ in range(3000):
        slot = shared.take(numbered(r.randrange(40)), r.randrange(50)) if r.random() < 0.5 else -1
        if slot >= 0:
            amounts[slot] = shared.core.held(shared.table, slot)
        elif amounts:
            slot = r.choice(list(amounts))
            given = r.randrange(80)
            assert shared.give(slot, given) == max(0, amounts[slot] - given)
            amounts[slot] = max(0, amounts[slot] - given)
        most = max(amounts.values(), default=0)
        heaviest = shared.heaviest()
        assert amounts.get(heaviest, 0).bit_length() == most.bit_length()


def test_whatever_the_memory_holds_nothing_raises_and_the_lock_is_free(core: Core) -> None:
    """A step that raised while it holds the lock would stop every other thread for good."""
    draw = random.Random(3)
    for _ in range(100):
        shared = Shared(core, sets=2)
        for _ in range(5):
            slots = [shared.take(numbered(number), draw.choice((1, 100, 10**6))) for number in range(10)]
            for _ in range(4):
                at = draw.randrange(len(shared.memory) // 8) * 8
                shared.memory[at : at + 8] = draw.choice((draw.randbytes(8), bytes(8), b"\xff" * 8, b"\1" + bytes(7)))
            for slot in slots:
                shared.give(slot, draw.choice((1, 10**6)))
            assert shared.core.NONE <= shared.heaviest() < 2 * shared.core.WAYS
        assert not any(shared.table.locks.words)
