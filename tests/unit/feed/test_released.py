"""What is released, read from what is written: by this host, and by those that compile its lists."""

import asyncio
from pathlib import Path

import pytest

from resolver.core import policy
from resolver.core.name import Name, unfold
from resolver.feed import released
from resolver.feed.released import Free
from resolver.feed.seal import Keys
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import wire
from tests.fakes.fleet import CompileHost, Node, pair


@pytest.fixture
def both(tmp_path: Path) -> tuple[CompileHost, Node]:
    """A compile host that has released two names, and a node that has pulled them."""
    authority = Authority(tmp_path / "authority")
    authority.publish(names(10), 7)
    host, node = pair(tmp_path, authority)
    for name, for_s in (("name0.test", 86400), ("name1.test", 7200)):
        host.release(name, for_s)
    asyncio.run(host.publish())
    asyncio.run(node.list.poll())
    return host, node


def covers(one: Free, keys: Keys, name: str) -> bool:
    unfolded, verdict, octets = Name(), policy.Verdict(), wire(name)
    assert unfold(octets, 0, len(octets), unfolded)
    member = policy.Member(one.view, None, slot=-1, release=True)
    policy.decide(policy.Generation(0, keys.digest, (member,)), unfolded, 1, verdict)
    return bool(verdict.released)


def test_the_same_names_are_free_on_the_compile_host_and_on_its_nodes(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    now = host.now()
    own = list(released.of_host(host.folder / "releases", host.keys, now))
    pulled = list(released.of_compile_hosts([(node.list.list, node.list.store)], node.keys, now))
    for found in (own, pulled):
        assert [one.number for one in found] == [1, 2]
        assert covers(found[0], host.keys, "www.name0.test")
        assert not covers(found[0], host.keys, "name1.test")
    assert [one.until for one in own] == [one.until for one in pulled]
    assert list(released.of_host(node.folder / "releases", node.keys, now)) == []
    assert list(released.of_compile_hosts([(host.list.list, host.list.store)], host.keys, now)) == []


def test_each_ends_at_its_own_time_and_what_is_not_ours_is_passed_over(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    later = host.now() + 7300
    lists = [(node.list.list, node.list.store)]
    assert [one.number for one in released.of_host(host.folder / "releases", host.keys, later)] == [1]
    assert [one.number for one in released.of_compile_hosts(lists, node.keys, later)] == [1]
    other = Keys(bytes(16), bytes(32))
    assert list(released.of_host(host.folder / "releases", other, later)) == []
    assert list(released.of_compile_hosts(lists, other, later)) == []
    (host.folder / "releases/1.image").unlink()
    assert list(released.of_host(host.folder / "releases", host.keys, later)) == []
