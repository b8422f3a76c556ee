"""A node: pulls what the compile host has in force, follows it forward and back, and takes nothing else."""

import base64
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from resolver.feed import audit
from resolver.feed.state import Approval
from tests.fakes.authority import Authority, names
from tests.fakes.fleet import CompileHost, Node, make_keys, pair

pytestmark = pytest.mark.asyncio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(1000), 7)
    return authority


@pytest_asyncio.fixture
async def both(authority: Authority, tmp_path: Path) -> tuple[CompileHost, Node]:
    host, node = pair(tmp_path, authority)
    await host.publish()
    await node.list.poll()
    assert node.enforced == 7
    return host, node


async def test_a_node_enforces_the_image_as_it_came(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    assert node.blocks("name0.test")
    record, made = node.list.state.in_force, host.list.state.in_force
    assert (record.entries, record.serial, record.digest) == (made.entries, made.serial, made.digest)
    image = (node.list.store.folder / record.image).read_bytes()
    assert image == (host.list.store.folder / made.image).read_bytes()
    node.restarted()
    assert node.enforced == 7
    for _ in range(2):
        host.publisher.publish()
        await node.list.poll()
    assert node.events == [7, 7]
    assert node.failures == {}


async def test_it_follows_forward_back_and_a_withdrawal(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    authority.publish(names(1001), 8)
    await host.publish()
    await node.list.poll()
    assert node.enforced == 8
    await host.list.go_back()
    host.publisher.publish()
    await node.list.poll()
    assert node.enforced == 7
    assert node.failures == {}
    node.restarted()
    assert node.enforced == 7
    await node.list.poll()
    assert node.enforced == 7
    authority.publish(b"# withdrawn\n", 9, withdrawn=True)
    await host.publish()
    await node.list.poll()
    assert node.enforced == 7, "held where it was compiled"
    await host.list.accept_held()
    host.publisher.publish()
    await node.list.poll()
    assert node.enforced == "lifted"
    authority.publish(names(1000), 10)
    await host.publish()
    await node.list.poll()
    assert node.enforced == 10


async def test_what_is_held_where_it_is_compiled_does_not_come(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    host, node = both
    authority.publish(names(3000), 8)
    await host.publish()
    await node.list.poll()
    assert node.enforced == 7
    await host.list.accept_held()
    host.publisher.publish()
    await node.list.poll()
    assert node.enforced == 8
    assert node.list.state.held is None


async def test_a_renewal_of_dates_comes_too(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    authority.publish(names(1000), 7, expires=2**33)
    await host.publish()
    await node.list.poll()
    assert node.list.state.in_force.expires == 2**33
    assert node.failures == {}


async def test_an_approval_is_followed_without_a_new_image(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    said = host.said()
    for approved in (True, False):
        said["sequence"] += 1
        said["made"] |= {"approved": approved, "suspended": True}
        host.say(said)
        (host.published / f"{said['image']}.image").unlink(missing_ok=True)
        await node.list.poll()
        assert (node.approved, node.list.state.in_force.approved) == (approved, approved)
        node.restarted()
        assert (node.approved, node.list.state.in_force.approved) == (approved, approved)
    assert node.failures == {}


async def test_a_statement_that_gets_old_is_a_failure_and_keeps_the_list(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    success = node.list.last_success
    node.now = lambda: time.time() + 3600
    said = host.said()
    said["sequence"] += 1
    said["fresh_until"] = int(time.time()) - 1
    host.say(said)
    await node.list.poll()
    assert (node.enforced, node.failures) == (7, {"frozen": 1})
    assert node.list.last_success == success
    assert node.list.shown.fresh_until == said["fresh_until"]


async def test_releases_of_the_compile_host_are_followed(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    assert node.released == {"demo": []}
    one = host.release("name0.test")
    host.publisher.publish()
    await node.list.poll()
    ((until, sealed),) = node.released["demo"]
    assert until == one.until
    assert sealed == (host.folder / "releases" / "1.image").read_bytes()
    node.released.clear()
    node.restarted()
    assert len(node.released["demo"]) == 1, "without the compile host"
    host.releases.end(1, "by uid 0")
    host.publisher.publish()
    await node.list.poll()
    assert node.released == {"demo": []}


async def test_where_the_releases_are_gone_the_list_comes_and_they_stay(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    host, node = both
    host.release("name0.test")
    host.publisher.publish()
    await node.list.poll()
    authority.publish(names(1001), 8)
    await host.publish()
    (host.published / "releases.json").unlink()
    await node.list.poll()
    assert node.enforced == 8
    assert len(node.released["demo"]) == 1
    assert node.failures == {"unreachable": 1}


async def refused(node: Node, reason: str) -> None:
    before = node.list.state
    await node.list.poll()
    assert node.failures == {reason: 1}
    assert node.list.state.in_force == before.in_force
    assert node.enforced == 7
    assert node.blocks("name0.test")


async def newer(host: CompileHost, authority: Authority) -> dict[str, Any]:
    authority.publish(names(1001), 8)
    await host.publish()
    return host.said()


async def test_a_forged_manifest(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    host.say(await newer(host, authority), key=Ed25519PrivateKey.generate())
    await refused(node, "tampered")


async def test_an_older_manifest_replayed(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    old = (host.published / "demo.json").read_bytes()
    host.publisher.publish()
    await node.list.poll()
    (host.published / "demo.json").write_bytes(old)
    await refused(node, "rolled_back")
    node.restarted()
    await refused(node, "rolled_back")


async def test_two_manifests_of_one_number(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    host.publisher.publish()
    await node.list.poll()
    said = host.said()
    said["fresh_until"] += 1
    host.say(said)
    await refused(node, "serial_reused")


async def test_what_a_person_took_out_at_this_node_is_no_failure_there(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    host, node = both
    await newer(host, authority)
    await node.list.poll()
    digest = node.list.state.in_force.digest
    signed = Approval(action="rollback", serial=7, digest=digest, principal="anna", key="SHA256:a", at=1)
    node.list.journal.write(replace(node.list.state, approvals=(signed,)))
    await node.list.go_back("anna")
    for _ in range(2):
        host.publisher.publish()
        await node.list.poll()
        assert (node.enforced, node.failures, node.feed.facts()[0].taken_out) == (7, {}, 8)
    authority.publish(names(1002), 9)
    await host.publish()
    await node.list.poll()
    assert (node.enforced, node.failures, node.feed.facts()[0].taken_out) == (9, {}, 0)


@pytest.mark.parametrize("harm", ["swapped", "truncated", "longer", "gone"])
async def test_an_image_that_is_not_the_manifests(
    both: tuple[CompileHost, Node], authority: Authority, harm: str
) -> None:
    host, node = both
    before = host.said()
    said = await newer(host, authority)
    path = host.published / f"{said['image']}.image"
    data = path.read_bytes()
    if harm == "swapped":
        path.write_bytes((host.list.store.folder / f"{before['made']['generation']}.image").read_bytes())
    elif harm == "truncated":
        path.write_bytes(data[:-32])
    elif harm == "longer":
        path.write_bytes(data + b"x")
    else:
        path.unlink()
    expected = {"longer": "oversized", "gone": "unreachable"}
    # The two images differ in size or content, so either says tampered or that there are too many bytes.
    await node.list.poll()
    (reason,) = node.failures
    assert reason in {expected.get(harm, "tampered"), "oversized" if harm == "swapped" else reason}
    assert node.enforced == 7


async def test_a_manifest_of_another_list(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    said = await newer(host, authority)
    said["custom"]["list"] = "other"
    said["sequence"] += 1
    host.say(said)
    await refused(node, "wrong_list")


async def test_statements_of_releases_are_no_manifest(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    (host.published / "demo.json").write_bytes((host.published / "releases.json").read_bytes())
    await refused(node, "malformed")


async def test_an_image_of_another_fleets_key(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    await newer(host, authority)
    node.keys_folder = make_keys(node.folder.parent / "other")
    node.config = node.configured()
    from resolver.feed import poll

    node.keys = poll.keys_of(node.config)
    node.restarted()
    await node.list.poll()
    assert node.enforced == "no list"
    assert "image_unusable" in node.failures


async def test_an_image_that_only_says_it_is_of_this_fleet(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    """Sealed with another key, under a manifest that the compile host's stolen host key has signed."""
    import hashlib

    host, node = both
    said = await newer(host, authority)
    data = (host.published / f"{said['image']}.image").read_bytes()
    forged = data[:-32] + os.urandom(32)
    said["image"] = hashlib.sha256(forged).hexdigest()
    said["sequence"] += 1
    (host.published / f"{said['image']}.image").write_bytes(forged)
    host.say(said)
    await refused(node, "image_unusable")


async def test_a_release_that_is_not_sealed_by_the_fleet_is_handed_over_as_it_is_and_no_more(
    both: tuple[CompileHost, Node],
) -> None:
    host, node = both
    said = host.said("releases")
    said["releases"] = [{"number": 1, "until": 2**40, "image": "not base64!"}]
    said["sequence"] += 1
    host.say(said, "releases")
    await node.list.poll()
    assert node.released == {"demo": []}
    said["releases"] = [{"number": 1, "until": 2**40, "image": base64.b64encode(b"x" * 300).decode()}]
    said["sequence"] += 1
    host.say(said, "releases")
    await node.list.poll()
    assert node.released == {"demo": [(2**40, b"x" * 300)]}
    said["digest_key"] = "another"
    said["sequence"] += 1
    host.say(said, "releases")
    await node.list.poll()
    assert node.released == {"demo": []}


async def test_another_root_begins_anew(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    host.key = Ed25519PrivateKey.generate()
    host.publisher = host.publishing()
    host.publisher.publish()
    await node.list.poll()
    assert node.failures == {"tampered": 1}
    node.root.write_bytes(host.root)
    await node.list.poll()
    assert node.failures == {"tampered": 1}
    assert node.list.state.in_force.serial == 7
    events = [entry.event.value for entry in audit.verify(node.folder / "audit.log")[0]]
    assert events[-2:] == ["floor_reset", "in_force"]


@pytest.mark.parametrize("root", [b"", b"-----BEGIN PUBLIC KEY-----\n", b"\xff"])
async def test_a_root_that_is_none(both: tuple[CompileHost, Node], root: bytes) -> None:
    _, node = both
    node.root.write_bytes(root)
    await refused(node, "root_unusable")


async def test_a_serial_below_the_minimum(authority: Authority, tmp_path: Path) -> None:
    host, node = pair(tmp_path, authority, minimum_serial=8)
    await host.publish()
    await node.list.poll()
    assert (node.enforced, node.failures) == ("no list", {"rolled_back": 1})


async def test_demonstration_and_production_never_mix(authority: Authority, tmp_path: Path) -> None:
    host, node = pair(tmp_path, authority)
    await host.publish()
    said = host.said()
    said["made"]["demonstration"] = False
    said["sequence"] += 1
    host.say(said)
    await node.list.poll()
    assert (node.enforced, node.failures) == ("no list", {"image_unusable": 1})


async def test_a_failed_self_test_is_quarantined_here(both: tuple[CompileHost, Node], authority: Authority) -> None:
    host, node = both
    await newer(host, authority)
    node.judged_wrong = True
    await node.list.poll()
    assert (node.enforced, node.failures) == (7, {"selftest": 1})
    node.judged_wrong = False
    await node.list.poll()
    assert node.failures == {"selftest": 1, "quarantined": 1}


async def test_a_newer_compile_host_may_say_more(both: tuple[CompileHost, Node]) -> None:
    host, node = both
    said = host.said()
    said["sequence"] += 1
    said["more"] = 1
    said["made"]["more"] = {"a": 1}
    host.say(said)
    await node.list.poll()
    assert node.failures == {}


async def test_numbers_that_begin_anew_take_no_image_away(
    both: tuple[CompileHost, Node], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, node = both
    first = node.list.state.in_force
    host.list.journal.state = host.list.state.__class__()
    host.list.journal.floor = None
    authority.publish(names(1001), 8)
    await host.publish()

    def fail(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(node.list.store, "write_floor", fail)
        await node.list.poll()
    node.restarted()
    assert (node.enforced, node.list.state.in_force) == (7, first)
    await node.list.poll()
    assert (node.enforced, node.list.state.in_force.generation) == (8, first.generation)
    await node.list.go_back()
    assert node.enforced == 7


async def test_what_is_taken_back_stays_where_the_older_list_fails_its_self_test(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    host, node = both
    await newer(host, authority)
    await node.list.poll()
    await host.list.go_back()
    host.publisher.publish()
    node.judged_wrong = True
    await node.list.poll()
    assert (node.enforced, node.failures) == (8, {"selftest": 1})
    assert [serial for serial, _ in node.list.state.quarantined] == [7]
    node.judged_wrong = False
    node.restarted()
    assert node.enforced == 8


async def test_the_state_is_written_once_for_a_list_that_comes(
    both: tuple[CompileHost, Node], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, node = both
    await newer(host, authority)
    said = host.said()
    said["made"]["approved"] = True
    said["sequence"] += 1
    host.say(said)
    real, written = node.list.store.write_state, []
    monkeypatch.setattr(node.list.store, "write_state", lambda new: (written.append(new), real(new)))
    await node.list.poll()
    assert [(one.in_force.serial, one.in_force.approved) for one in written] == [(8, True)]
    assert node.approved


async def test_lines_of_an_image_compiled_here_are_not_told_of_one_that_came(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    """Where a host compiled itself before, its lines lie under the numbers that its compile host gives."""
    host, node = both
    said = await newer(host, authority)
    (node.list.store.folder / f"{said['made']['generation']}.lines").write_bytes(b"\1\0\0\0" * 1400)
    await node.list.poll()
    record = node.list.state.in_force
    assert record.serial == 8
    assert not (node.list.store.folder / record.lines).exists()


def named(count: int, *more: str) -> bytes:
    return names(count) + "".join(f"{name}\n" for name in more).encode()


async def test_what_was_in_wide_use_at_this_node_waits_here_until_it_is_approved_here_or_there(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    host, node = both
    node.asked = frozenset({"wide.test", "name1.test"})
    for serial, more in ((8, ()), (9, ("more.test",))):
        authority.publish(named(1000, "wide.test", *more), serial)
        await host.publish()
        await node.list.poll()
        node.asked = frozenset()
        assert (node.enforced, node.list.state.in_force.set_aside) == (serial, {"in_use": 1})
        assert (host.list.state.in_force.set_aside, host.blocks("wide.test")) == ({}, True)
        assert (node.blocks("wide.test"), node.blocks("name1.test"), node.blocks("name999.test")) == (False, True, True)
    node.restarted()
    await node.list.approve_set_aside()
    for _ in range(2):
        host.publisher.publish()
        await node.list.poll()
        assert (node.blocks("wide.test"), node.list.state.in_force.approved) == (True, True)
        node.restarted()
    authority.publish(named(1000, "wide.test", "last.test"), 10)
    await host.publish()
    await node.list.poll()
    assert (node.enforced, node.list.state.in_force.set_aside, node.blocks("wide.test")) == (10, {}, True)
    assert node.failures == {}


async def test_what_waits_at_the_compile_host_waits_at_its_nodes_until_it_is_approved_there(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    host, node = both
    host.asked, node.asked = frozenset({"wide.test"}), frozenset({"also.test"})
    authority.publish(named(1000, "wide.test", "also.test"), 8)
    await host.publish()
    await node.list.poll()
    host.asked = node.asked = frozenset()
    assert (host.list.state.in_force.set_aside, node.list.state.in_force.set_aside) == ({"in_use": 1}, {"in_use": 2})
    assert (node.blocks("wide.test"), node.blocks("also.test")) == (False, False)
    await host.list.approve_set_aside()
    authority.publish(named(1000, "wide.test", "also.test", "more.test"), 9)
    await host.publish()
    await node.list.poll()
    assert (node.blocks("wide.test"), node.blocks("also.test"), node.blocks("more.test")) == (True, False, True)
    assert node.list.state.in_force.set_aside == {"in_use": 1}
    assert node.failures == {}


async def test_an_image_that_is_not_the_fleets_is_refused_as_ever_though_its_names_are_in_use(
    both: tuple[CompileHost, Node], authority: Authority
) -> None:
    host, node = both
    node.asked = frozenset({"wide.test"})
    authority.publish(named(1000, "wide.test"), 8)
    await host.publish()
    said = host.said()
    sealed = bytearray((host.published / f"{said['image']}.image").read_bytes())
    sealed[-50] ^= 1
    mark = hashlib.sha256(sealed).hexdigest()
    (host.published / f"{mark}.image").write_bytes(sealed)
    host.say({**said, "image": mark, "sequence": said["sequence"] + 1})
    await node.list.poll()
    assert (node.enforced, node.failures) == (7, {"image_unusable": 1})
