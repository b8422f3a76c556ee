"""The closed lists of numbers: what others store and publish must never be renumbered."""

from resolver.core import codes


def test_what_was_never_decided_asks() -> None:
    assert (codes.ASK, codes.PASS, codes.BLOCK) == (0, 1, 2)


def test_bits_of_a_slot_are_those_of_saved_images() -> None:
    bits = (codes.BLOCK_SELF, codes.BLOCK_BELOW, codes.EXCEPT_SELF, codes.EXCEPT_BELOW)
    assert bits == (1, 2, 4, 8)
    assert (codes.NEW, codes.SET_ASIDE, codes.SELFTEST, codes.EXCEPTION_BELOW) == (16, 32, 64, 128)
    assert sum(bits) == codes.SCOPE_BITS


def test_each_counter_has_a_place_of_its_own() -> None:
    assert len(set(codes.COUNTERS)) == len(codes.COUNTERS) <= codes.LIST_COUNTERS_START
    places = [codes.counter(*one) for one in codes.COUNTERS]
    places += [
        codes.list_counter(slot, number)
        for slot in range(codes.MAX_LISTS)
        for number in range(len(codes.LIST_COUNTERS))
    ]
    assert len(set(places)) == len(places)
    assert max(places) < codes.COUNTERS_SIZE


def test_the_numbers_of_a_lists_counters_are_their_names() -> None:
    assert codes.LIST_COUNTERS[codes.BLOCKED_QUERIES] == "blocked_queries"
    assert codes.LIST_COUNTERS[codes.ATTEMPTS] == "attempts"
    assert codes.LIST_COUNTERS[codes.ATTEMPTS_CAPPED] == "attempts_capped"
    assert codes.LIST_COUNTERS[codes.ATTEMPTS_SATURATED] == "attempts_saturated"
    assert codes.LIST_COUNTERS[codes.NEW_PREFIXES] == "new_prefixes"
    assert codes.LIST_COUNTERS[codes.ATTEMPTS_BOUNDED] == "attempts_bounded"
    assert codes.LIST_COUNTERS[codes.BLOCKED_PREFIXES] == "blocked_prefixes"
    assert codes.LIST_COUNTERS[codes.ATTEMPTS_NEW_ENTRIES] == "attempts_new_entries"
    assert codes.LIST_COUNTERS[codes.ATTEMPTS_BOUNDED_SATURATED] == "attempts_bounded_saturated"
    assert len(codes.LIST_COUNTERS) <= codes.LIST_COUNTERS_STRIDE


def test_bits_of_a_key_are_apart() -> None:
    assert codes.KEY_DO | codes.KEY_CD == 3
