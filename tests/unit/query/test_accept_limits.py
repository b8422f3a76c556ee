"""Who gets a place, and who gives his up. The clock is a number; a holder is a name."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from resolver.config.values import address_octets
from resolver.query.accept_limits import HURRY, PATIENCE_S, Bounds, Places
from tests.parity.cases import of

V4 = address_octets("192.0.2.10")
OTHER = address_octets("192.0.2.11")
V6 = address_octets("2001:db8:0:12ff::1")
SAME_56 = address_octets("2001:db8:0:1200::2")
OTHER_56 = address_octets("2001:db8:0:1300::1")


class One:
    """A connection; it knows only whether it was told to go."""

    def __init__(self, name: object = "") -> None:
        self.name = name
        self.counted = b""
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def finish(self) -> None:
        raise AssertionError("nobody gives way in peace")


def places(connections: int = 3, per_client: int = 100, exempt: bytes = b"", affordable: int = sys.maxsize) -> Places:
    return Places(Bounds(connections, per_client, lambda client: client == exempt), affordable)


def entered(at: Places, *times: float) -> list[One]:
    """Holders that came at these times, of nobody."""
    found = [One(time) for time in times]
    assert all(at.enter(one, None, time) for one, time in zip(found, times, strict=True))
    return found


def gave_way(at: Places, now: float) -> list[object]:
    """Who goes for a newcomer, by name."""
    before = list(at.holders)
    newcomer = One("new")
    if not at.enter(newcomer, None, now):
        return ["new"]
    return [one.name for one in before if one.aborted]


def test_while_there_are_places_nobody_goes() -> None:
    assert gave_way(places(), 0) == []


def test_the_one_that_never_asked_for_long_goes_before_those_that_rest() -> None:
    at = places()
    resting, mute, young = entered(at, 0, 1, 2)
    at.idle(resting, 1.5)
    assert gave_way(at, 2.5) == [mute.name]
    assert not young.aborted


def test_else_the_one_that_rests_longest_goes_before_a_newcomer_of_a_moment_ago() -> None:
    at = places(5)
    first, second, third, fourth, young = entered(at, 0, 0, 0, 0, 9)
    at.idle(first, 5)
    at.idle(second, 3)
    at.idle(third, 4)
    at.idle(fourth, 6)
    assert gave_way(at, 9 + PATIENCE_S / 2) == [second.name]
    assert not young.aborted


def test_a_crowd_that_never_asks_makes_room_for_itself_however_fast_it_comes() -> None:
    at = places(8)
    resting = entered(at, *range(6))
    for one in resting:
        at.idle(one, 6)
    first, second = entered(at, 9, 9.1)
    assert gave_way(at, 9.2) == [first.name]
    assert gave_way(at, 9.3) == [second.name]
    assert not any(one.aborted for one in resting)


def test_who_asks_again_rests_anew() -> None:
    at = places(2)
    first, second = entered(at, 0, 0)
    at.idle(first, 1)
    at.idle(second, 2)
    at.idle(first, 3)
    assert gave_way(at, 3) == [second.name]


def test_one_with_a_query_on_its_way_stays_and_only_then_the_newcomer_goes() -> None:
    at = places()
    holders = entered(at, 0, 1, 2)
    for one in holders:
        at.busy(one)
    assert gave_way(at, 100) == ["new"]
    at.idle(holders[1], 101)
    assert gave_way(at, 101) == [holders[1].name]


def test_the_youngest_that_never_asked_goes_where_all_others_wait() -> None:
    at = places(2)
    young, waiting = entered(at, 10, 10)
    at.busy(waiting)
    assert gave_way(at, 10) == [young.name]


def test_one_that_is_closing_goes_first() -> None:
    at = places()
    mute, closing, resting = entered(at, 0, 0, 0)
    at.idle(resting, 0)
    at.ending(closing, 50)
    at.idle(closing, 51)
    assert gave_way(at, 51) == [closing.name]
    assert not mute.aborted


def test_a_client_has_so_many_places_and_no_more() -> None:
    at = places(100, per_client=2)
    held = [One() for _ in range(2)]
    assert all(at.enter(one, V4, 0) for one in held)
    assert not at.enter(One(), V4, 0)
    assert at.enter(One(), OTHER, 0)
    at.leave(held[0])
    assert at.enter(One(), V4, 0)
    assert not at.enter(One(), V4, 0)


def test_a_client_of_ipv6_is_its_56() -> None:
    at = places(100, per_client=1)
    assert at.enter(One(), V6, 0)
    assert not at.enter(One(), SAME_56, 0)
    assert at.enter(One(), OTHER_56, 0)


def test_who_is_exempt_has_places_as_long_as_there_are_any() -> None:
    at = places(3, per_client=1, exempt=V4)
    assert all(at.enter(One(), V4, 0) for _ in range(3))
    assert gave_way(at, 0) != ["new"]
    assert len(at.holders) == 3


def test_who_is_over_its_bound_takes_nobody_elses_place() -> None:
    at = places(2, per_client=1)
    (resting,) = entered(at, 0)
    at.idle(resting, 0)
    assert at.enter(One(), V4, 0)
    assert not at.enter(One(), V4, 100)
    assert not resting.aborted


def test_who_finds_no_place_is_not_counted() -> None:
    at = places(1, per_client=1)
    (waiting,) = entered(at, 0)
    at.busy(waiting)
    assert not at.enter(One(), V4, 0)
    at.leave(waiting)
    assert at.enter(One(), V4, 0)


def test_the_client_that_is_named_later_is_counted_then() -> None:
    at = places(100, per_client=1)
    named = entered(at, 0, 0)
    assert at.claim(named[0], V4)
    assert not at.claim(named[1], V4)
    at.leave(named[1])
    assert not at.enter(One(), V4, 0)
    at.leave(named[0])
    assert at.enter(One(), V4, 0)


def test_leaving_twice_is_leaving_once() -> None:
    at = places(100, per_client=2)
    first, second = One(), One()
    assert at.enter(first, V4, 0)
    assert at.enter(second, V4, 0)
    at.leave(first)
    at.leave(first)
    assert at.enter(One(), V4, 0)
    assert not at.enter(One(), V4, 0)


def test_no_more_places_than_there_are_files() -> None:
    at = places(3, affordable=1)
    (mute,) = entered(at, 0)
    assert at.most == 1
    assert gave_way(at, 5) == [mute.name]


def test_other_bounds_hold_at_once() -> None:
    at = places(3)
    entered(at, 0, 0, 0)
    at.bounds = Bounds(4, 1, lambda client: False)
    assert gave_way(at, 10) == []
    assert at.most == 4


def test_times() -> None:
    at = places(100)
    mute, resting, waiting, closing, young = entered(at, 0, 1, 2, 3, 9)
    at.idle(resting, 4)
    at.busy(waiting)
    at.ending(closing, 5)
    assert at.silent(4) == [mute, resting]
    assert at.silent(3) == [mute]
    assert at.unread(4) == []
    assert at.unread(5) == [closing]
    assert at.old(3) == [mute, resting, waiting, closing]
    assert at.old(9)[-1] is young
    at.busy(mute)
    assert at.silent(3) == []


def test_where_places_are_few_silence_is_short() -> None:
    at = places(8)
    entered(at, *range(5))
    assert at.hurried(10) == 10
    entered(at, 5)
    assert at.hurried(10) == 10 / HURRY


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "busy", "idle", "ending", "leave"]), st.integers(0, 9)), max_size=80
)


@of(0.1)
@given(steps=STEPS, most=st.integers(1, 6), per_client=st.integers(1, 4))
def test_whatever_happens_the_bounds_hold_and_who_waits_stays(
    steps: list[tuple[str, int]], most: int, per_client: int
) -> None:
    at, waiting = places(most, per_client), set()
    for now, (step, number) in enumerate(steps):
        held = list(at.holders)
        if step == "enter":
            at.enter(One(number), bytes([*V4[:15], number % 3]), now)
        elif held:
            one = held[number % len(held)]
            getattr(at, step)(*([one] if step in ("busy", "leave") else [one, now]))
            waiting.discard(one)
            if step == "busy" and one not in at._ending:
                waiting.add(one)
        of_client: dict[bytes, int] = {}
        for one in at.holders:
            of_client[one.counted] = of_client.get(one.counted, 0) + 1
        assert len(at.holders) <= most
        assert max(of_client.values(), default=0) <= per_client
        assert of_client == at._of_prefix
        assert not any(one.aborted for one in waiting)
        assert not any(one.aborted for one in at.holders)
    for one in list(at.holders):
        at.leave(one)
    assert [len(each) for each in (at._of_prefix, at._mute, at._idle, at._ending)] == [0, 0, 0, 0]
