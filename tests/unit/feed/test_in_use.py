"""Entries in wide use before their list came: set aside alone, for good reasons only, and until persons say so."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from resolver.core import codes, image, siphash
from resolver.feed import in_use
from resolver.feed.seal import SealBroken
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer, wire

pytestmark = pytest.mark.asyncio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(10), 7)
    return authority


@pytest.fixture
def resolver(authority: Authority, tmp_path: Path) -> Enforcer:
    """A resolver with the first list in force; its tests begin on the loop, so the poll runs on one of its own."""
    made = Enforcer(authority, tmp_path / "state")
    made.feed.recover()
    asyncio.run(made.list.poll())
    assert made.enforced == 7
    return made


def listed(*more: str) -> bytes:
    return names(10) + "".join(f"{name}\n" for name in more).encode()


def bits_of(resolver: Enforcer, name: str) -> int:
    bits: int = image.find(resolver.view, *siphash.digest_of(resolver.keys.digest, wire(name)))
    return bits


async def test_only_what_was_in_wide_use_waits_and_the_rest_comes_in_force(
    resolver: Enforcer, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    resolver.asked = frozenset({"wide.test", "name1.test", "unlisted.test"})
    authority.publish(listed("wide.test", "narrow.test"), 8)
    with caplog.at_level(logging.WARNING):
        await resolver.list.poll()
    record = resolver.list.state.in_force
    assert record is not None
    assert (resolver.enforced, record.entries, record.set_aside) == (8, 12, {"in_use": 1})
    assert record.set_aside_lines == {"in_use": (11,)}
    assert not resolver.blocks("wide.test")
    assert resolver.blocks("narrow.test")
    assert resolver.blocks("name1.test"), "what is enforced already stays, whoever asks for it"
    assert "1 entry of serial 8 was in wide use before it came and is set aside; see: list held" in caplog.text
    assert "wide.test" not in caplog.text


async def test_it_waits_in_later_lists_though_nobody_asks_any_more(
    resolver: Enforcer, authority: Authority
) -> None:
    resolver.asked = frozenset({"wide.test"})
    authority.publish(listed("wide.test"), 8)
    await resolver.list.poll()
    resolver.restarted()
    resolver.asked = frozenset()
    authority.publish(listed("wide.test", "more.test"), 9)
    await resolver.list.poll()
    assert (resolver.enforced, resolver.blocks("wide.test"), resolver.blocks("more.test")) == (9, False, True)
    authority.publish(listed("more.test"), 10)
    await resolver.list.poll()
    assert resolver.list.state.in_force.set_aside == {}


async def test_once_approved_it_is_as_any_entry_in_renewals_and_later_lists(
    resolver: Enforcer, authority: Authority
) -> None:
    resolver.asked = frozenset({"wide.test"})
    authority.publish(listed("wide.test"), 8)
    await resolver.list.poll()
    await resolver.list.approve_set_aside()
    assert resolver.blocks("wide.test")
    authority.publish(listed("wide.test"), 8, expires=int(time.time()) + 3600)
    await resolver.list.poll()
    record = resolver.list.state.in_force
    assert (record.approved, record.set_aside, resolver.blocks("wide.test")) == (True, {"in_use": 1}, True)
    authority.publish(listed("wide.test", "more.test"), 9)
    await resolver.list.poll()
    assert resolver.list.state.in_force.set_aside == {}
    assert resolver.blocks("wide.test")


async def test_nothing_that_clients_ask_after_a_list_came_takes_entries_out(
    resolver: Enforcer, authority: Authority
) -> None:
    authority.publish(listed("new.test"), 8)
    await resolver.list.poll()
    resolver.asked = frozenset({"new.test", "name1.test", "name2.test"})
    authority.publish(listed("new.test"), 8, expires=int(time.time()) + 3600)
    await resolver.list.poll()
    authority.publish(listed("new.test", "more.test"), 9)
    await resolver.list.poll()
    assert (resolver.enforced, resolver.list.state.in_force.set_aside) == (9, {})
    assert all(resolver.blocks(name) for name in ("new.test", "name1.test", "name2.test", "more.test"))


async def test_a_first_list_is_judged_whole_and_a_share_of_0_judges_none(
    authority: Authority, tmp_path: Path
) -> None:
    for share, blocked in ((0.01, False), (0, True)):
        settings = f"[list.guard]\nexpect_entries = [1, 100]\npopular_share = {share}\n"
        one = Enforcer(authority, tmp_path / str(share), settings)
        one.asked = frozenset({"name1.test"})
        one.feed.recover()
        await one.list.poll()
        assert (one.enforced, one.blocks("name1.test"), one.blocks("name2.test")) == (7, blocked, True)


async def test_clients_hold_no_list(authority: Authority, tmp_path: Path) -> None:
    settings = '[list.guard]\nexpect_entries = [1, 100]\non_entry = "hold"\n'
    one = Enforcer(authority, tmp_path / "state", settings)
    one.asked = frozenset({"name1.test"})
    one.feed.recover()
    await one.list.poll()
    assert (one.enforced, one.list.state.held) == (7, None)


async def test_an_exception_or_a_wider_scope_is_judged_for_what_it_blocks(
    resolver: Enforcer, authority: Authority
) -> None:
    authority.publish(listed("=exact.test"), 8)
    await resolver.list.poll()
    resolver.asked = frozenset({"exact.test", "spared.test"})
    authority.publish(listed("exact.test", "!spared.test"), 9)
    await resolver.list.poll()
    assert bits_of(resolver, "exact.test") & codes.IN_USE, "names below it are blocked for the first time"
    assert not bits_of(resolver, "spared.test") & codes.IN_USE
    assert resolver.list.state.in_force.set_aside == {"in_use": 1}


async def test_only_our_own_image_gets_our_seal(resolver: Enforcer, tmp_path: Path) -> None:
    path = tmp_path / "image"
    sealed = bytearray((resolver.list.store.folder / resolver.list.state.in_force.image).read_bytes())
    sealed[-40] ^= 1
    path.write_bytes(sealed)
    found = [siphash.digest_of(resolver.keys.digest, wire("name1.test"))]
    with path.open("r+b") as file:
        with pytest.raises(SealBroken):
            in_use.mark(file.fileno(), resolver.keys.seal, found, (), None, approved=False)
        with pytest.raises(SealBroken):
            in_use.unmark(file.fileno(), resolver.keys.seal)
        assert in_use.mark(file.fileno(), resolver.keys.seal, (), (), None, approved=False) == []
    assert path.read_bytes() == sealed
