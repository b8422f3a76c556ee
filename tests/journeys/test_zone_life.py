"""A zone over its life: transferred, confirmed, rolled back, held; its hard limit counts from the last word."""

from collections.abc import Iterator
from pathlib import Path

import dns.name
import dns.tsig
import pytest

from tests.fakes.primary import KEY, Primary, key_file
from tests.fakes.zoned import Zoned, blocks

pytestmark = pytest.mark.asyncio

HOUR = 3600


@pytest.fixture
def primary() -> Iterator[Primary]:
    with Primary(serial=7, records=blocks("bad.test")).serving() as serving:
        yield serving


@pytest.fixture
def resolver(primary: Primary, tmp_path: Path) -> Zoned:
    found = Zoned(primary, tmp_path / "state", key_file(tmp_path))
    found.feed.recover()
    return found


async def test_a_zone_is_transferred_once_for_each_serial(resolver: Zoned, primary: Primary) -> None:
    await resolver.list.poll()
    assert resolver.blocks("bad.test")
    assert resolver.blocks("x.bad.test")
    await resolver.list.poll()
    assert primary.asked == ["SOA", "AXFR", "SOA"]
    primary.serial, primary.records = 8, blocks("worse.test")
    await resolver.list.poll()
    assert resolver.events == [7, 8]
    assert not resolver.blocks("bad.test")
    assert resolver.blocks("worse.test")
    assert resolver.failures == {}


async def test_a_restart_knows_the_serial(resolver: Zoned, primary: Primary) -> None:
    await resolver.list.poll()
    primary.asked.clear()
    resolver.restarted()
    await resolver.list.poll()
    assert (resolver.enforced, primary.asked) == (7, ["SOA"])


async def test_a_zone_that_is_confirmed_stays_and_one_that_falls_silent_ends(resolver: Zoned, primary: Primary) -> None:
    await resolver.list.poll()
    first = resolver.list.state
    resolver.later = HOUR - 60
    await resolver.list.poll()
    assert resolver.list.state is first
    for resolver.later in (3 * HOUR, 6 * HOUR):
        await resolver.list.poll()
        assert resolver.enforced == 7
    record = resolver.list.state.in_force
    assert record is not None
    assert record.confirmed - record.issued >= 6 * HOUR - 60
    assert first.in_force is not None
    assert record.since == first.in_force.since
    resolver.restarted()
    assert resolver.enforced == 7
    primary.rcode = 5
    resolver.later = 10 * HOUR + 60
    await resolver.list.poll()
    assert resolver.enforced == "lifted"
    assert resolver.failures == {"denied": 1}
    primary.rcode = 0
    await resolver.list.poll()
    assert resolver.enforced == 7


async def test_a_serial_behind_or_used_again_changes_nothing(resolver: Zoned, primary: Primary) -> None:
    await resolver.list.poll()
    primary.serial, primary.records = 6, blocks("worse.test")
    await resolver.list.poll()
    assert resolver.failures == {"rolled_back": 1}
    primary.serial = 2**31 + 8
    await resolver.list.poll()
    assert resolver.failures == {"rolled_back": 2}
    assert resolver.events == [7]


async def test_a_zone_that_its_authority_empties_is_held_for_two_persons_and_not_refused_for_ever(
    resolver: Zoned, primary: Primary
) -> None:
    await resolver.list.poll()
    primary.serial, primary.records = 8, []
    await resolver.list.poll()
    held = resolver.list.state.held
    assert held is not None
    assert (held.reasons, held.record.withdrawn, resolver.enforced, resolver.failures) == (("emptied",), True, 7, {})
    # Until it is decided it is neither transferred nor held again, also after a restart.
    primary.asked.clear()
    resolver.restarted()
    await resolver.list.poll()
    assert (primary.asked, resolver.list.state.held, resolver.enforced) == (["SOA"], held, 7)
    await resolver.list.accept_held()
    assert (resolver.enforced, resolver.list.state.held) == ("lifted", None)
    primary.asked.clear()
    resolver.restarted()
    await resolver.list.poll()
    assert (primary.asked, resolver.enforced, resolver.failures) == (["SOA"], "lifted", {})
    # The authority begins again: this is a first list.
    primary.serial, primary.records = 9, blocks("bad.test")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.blocks("bad.test"), resolver.failures) == (9, True, {})


async def test_an_emptied_zone_that_gets_its_names_back_is_in_force_as_if_nothing_had_been(
    resolver: Zoned, primary: Primary
) -> None:
    await resolver.list.poll()
    primary.serial, primary.records = 8, []
    await resolver.list.poll()
    primary.serial, primary.records = 9, blocks("bad.test")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.list.state.held, resolver.failures) == (9, None, {})


async def test_a_zone_whose_records_are_all_refused_is_unusable_and_not_emptied(
    resolver: Zoned, primary: Primary
) -> None:
    await resolver.list.poll()
    primary.serial, primary.records = 8, [("bad.test", "CNAME", "rpz-tcp-only.")]
    await resolver.list.poll()
    assert (resolver.enforced, resolver.list.state.held, resolver.failures) == (7, None, {"empty": 1})


async def test_what_waits_is_not_transferred_again(primary: Primary, tmp_path: Path) -> None:
    resolver = Zoned(primary, tmp_path / "state", key_file(tmp_path), "expect_entries = [2, 10]")
    resolver.feed.recover()
    await resolver.list.poll()
    await resolver.list.poll()
    assert resolver.enforced == "no list"
    assert resolver.list.state.held is not None
    assert primary.asked == ["SOA", "AXFR", "SOA"]


async def test_a_new_key_starts_afresh(primary: Primary, tmp_path: Path) -> None:
    resolver = Zoned(primary, tmp_path / "state", key_file(tmp_path))
    resolver.feed.recover()
    await resolver.list.poll()
    resolver.root.write_text(resolver.root.read_text().replace("feed.example", "new.example"))
    await resolver.list.poll()
    assert resolver.failures == {"transfer": 1}
    primary.key = dns.tsig.Key(dns.name.from_text("new.example."), KEY.secret, KEY.algorithm)
    primary.serial, primary.records = 3, blocks("worse.test")
    await resolver.list.poll()
    assert resolver.events == [7, 3]
    assert resolver.failures == {"transfer": 1}
