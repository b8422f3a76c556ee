"""A seed: the first list of a fresh host, held against its keys, its dates and its floor."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fakes.authority import Authority, names
from tests.fakes.fleet import CompileHost, Node, make_keys, pair

pytestmark = pytest.mark.asyncio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(10), 7)
    return authority


async def planted(authority: Authority, tmp_path: Path, **node: Any) -> tuple[CompileHost, Node]:
    """A published list, and a node whose source has nothing."""
    seed = str(tmp_path / "fleet" / "demo.json")
    host, one = pair(tmp_path, authority, **{"seed": seed, "url": (tmp_path / "none").as_uri(), **node})
    await host.publish()
    return host, one


async def test_a_fresh_node_starts_from_it_and_it_is_the_floor(authority: Authority, tmp_path: Path) -> None:
    host, node = await planted(authority, tmp_path)
    assert node.enforced == "no list"
    node.failures.clear()
    node.restarted()
    assert node.enforced == 7
    assert node.list.floor is not None
    assert node.list.floor.record.serial == 7
    assert node.list.shown.fresh_until == host.said()["fresh_until"]
    (tmp_path / "fleet" / "demo.json").unlink()
    node.restarted()
    assert (node.enforced, node.failures) == (7, {})


async def test_it_is_never_a_way_back(authority: Authority, tmp_path: Path) -> None:
    host, node = await planted(authority, tmp_path)
    node.restarted()
    old = {path: path.read_bytes() for path in host.published.iterdir()}
    authority.publish(names(11), 8)
    await host.publish()
    node.url = host.published.as_uri()
    node.config = node.configured()
    node.restarted()
    await node.list.poll()
    assert node.enforced == 8
    for path, data in old.items():
        path.write_bytes(data)
    node.restarted()
    assert node.enforced == 8


async def refused(node: Node, reason: str) -> None:
    node.restarted()
    assert (node.enforced, node.failures) == ("no list", {reason: 1})


async def test_a_seed_that_another_key_has_signed(authority: Authority, tmp_path: Path) -> None:
    host, node = await planted(authority, tmp_path)
    host.say(host.said(), key=Ed25519PrivateKey.generate())
    await refused(node, "tampered")


async def test_a_seed_of_another_fleet(authority: Authority, tmp_path: Path) -> None:
    _, node = await planted(authority, tmp_path)
    node.keys_folder = make_keys(tmp_path / "other")
    node.config = node.configured()
    from resolver.feed import poll

    node.keys = poll.keys_of(node.config)
    await refused(node, "image_unusable")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"list": "other"}, "wrong_list"),
        ({"withdrawn": True}, "wrong_list"),
        ({"issued": 2**35}, "clock_behind"),
        ({"expires": 5}, "expired"),
        ({"serial": 8}, "image_unusable"),
    ],
)
async def test_a_seed_that_does_not_fit(
    authority: Authority, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    host, node = await planted(authority, tmp_path)
    said = host.said()
    said["custom"] |= change
    host.say(said)
    await refused(node, reason)


async def test_a_seed_past_the_hard_limit(authority: Authority, tmp_path: Path) -> None:
    _, node = await planted(authority, tmp_path)
    node.now = lambda: time.time() + 400 * 86400
    await refused(node, "expired")


async def test_a_seed_below_the_minimum(authority: Authority, tmp_path: Path) -> None:
    _, node = await planted(authority, tmp_path, minimum_serial=8)
    await refused(node, "rolled_back")


@pytest.mark.parametrize(("harm", "reason"), [("cut", "image_unusable"), ("gone", "unreachable")])
async def test_an_image_that_is_not_the_seeds(authority: Authority, tmp_path: Path, harm: str, reason: str) -> None:
    host, node = await planted(authority, tmp_path)
    (path,) = host.published.glob("*.image")
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-1] + os.urandom(1))
    else:
        path.unlink()
    await refused(node, reason)
