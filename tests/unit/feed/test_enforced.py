"""What one list enforces: a start with what was saved, and what a person takes back."""

from pathlib import Path

import pytest

from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.asyncio


async def test_a_start_enforces_what_was_saved_and_asks_no_source(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(10), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    resolver.feed.recover()
    assert resolver.enforced == "no list"
    await resolver.list.poll()
    (tmp_path / "authority").rename(tmp_path / "gone")
    resolver.restarted()
    assert resolver.enforced == 7
    assert resolver.blocks("name9.test")
    assert not resolver.blocks("name10.test")
