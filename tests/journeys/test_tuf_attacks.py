"""What an attacker between authority and resolver may try, a story each: the last good list stays."""

import logging
import re
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.authority import DAY, Authority, names
from tests.fakes.enforcer import Enforcer, all_bytes_below

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("in_this_process")]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest_asyncio.fixture
async def resolver(authority: Authority, tmp_path: Path) -> Enforcer:
    """A resolver with serial 7 of 20 names in force."""
    authority.publish(names(20), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    resolver.feed.recover()
    await resolver.list.poll()
    assert resolver.enforced == 7
    assert resolver.blocks("name0.test")
    assert resolver.blocks("below.name0.test")
    assert resolver.failures == {}
    return resolver


async def refused(resolver: Enforcer, reason: str, caplog: pytest.LogCaptureFixture, detail: str = "") -> None:
    """One more poll changes nothing but the count of `reason`, and says so in one line without a name."""
    before = resolver.failures.get(reason, 0)
    events = list(resolver.events)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        await resolver.list.poll()
    assert resolver.failures == {reason: before + 1}
    assert resolver.events == events
    assert resolver.enforced == 7
    assert resolver.blocks("name0.test")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("resolver")]
    (line,) = lines
    said = re.escape(detail) or "(?:: .+)?"
    assert re.fullmatch(rf"list demo: update failed: {reason}{said}; serial 7 stays", line)


async def test_a_list_that_was_changed_on_the_way(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(30), 8)
    authority.tamper("targets/")
    await refused(resolver, "tampered", caplog)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
async def test_metadata_that_was_changed_on_the_way(
    role: str, authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(30), 8)
    metadata = getattr(authority, role)
    metadata.signatures.clear()
    metadata.sign(authority.signers[role][0])
    metadata.signed.expires = metadata.signed.expires.replace(year=metadata.signed.expires.year + 1)
    name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
    metadata.to_file(str(authority.folder / "metadata" / name))
    await refused(resolver, "tampered", caplog)


async def test_metadata_that_is_no_metadata(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    (authority.folder / "metadata/timestamp.json").write_bytes(b'{"signed": {"name0.test": [')
    await refused(resolver, "malformed", caplog)


async def test_an_older_state_of_everything_is_served_again(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    old = authority.copy()
    authority.serve_timestamp()
    await resolver.list.poll()
    authority.put_back(old)
    await refused(resolver, "rolled_back", caplog)


async def test_an_older_list_is_signed_anew_with_its_serial(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(19), 6)
    await refused(resolver, "rolled_back", caplog)


async def test_an_older_issue_date_under_a_newer_serial(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(19), 8, issued=resolver.list.state.in_force.issued - 1)
    await refused(resolver, "rolled_back", caplog)


async def test_the_same_serial_with_another_content(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(21), 7)
    await refused(resolver, "serial_reused", caplog)


async def test_nothing_new_is_let_through_until_the_timestamp_ends(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.serve_timestamp(expires_in=-1)
    await refused(resolver, "frozen", caplog)


async def test_the_root_has_ended(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.root.signed.version += 1
    authority.root.signed.expires = authority.root.signed.expires.replace(year=2020)
    authority.serve_root()
    await refused(resolver, "expired", caplog)


async def test_the_targets_have_ended(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.targets.signed.expires = authority.targets.signed.expires.replace(year=2020)
    authority.publish(names(30), 8)
    await refused(resolver, "expired", caplog)


async def test_old_targets_under_a_new_snapshot(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    old = (authority.folder / f"metadata/{authority.targets.signed.version}.targets.json").read_bytes()
    authority.publish(names(30), 8)
    (authority.folder / f"metadata/{authority.targets.signed.version}.targets.json").write_bytes(old)
    await refused(resolver, "mixed", caplog)


async def test_an_old_snapshot_under_a_new_timestamp(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    old = (authority.folder / f"metadata/{authority.snapshot.signed.version}.snapshot.json").read_bytes()
    authority.publish(names(30), 8)
    (authority.folder / f"metadata/{authority.snapshot.signed.version}.snapshot.json").write_bytes(old)
    await refused(resolver, "mixed", caplog)


async def test_one_of_two_people_signs_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path / "two", threshold=2, keys=3)
    authority.publish(names(20), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    await resolver.list.poll()
    assert resolver.enforced == 7
    authority.publish(names(30), 8)
    authority.serve(authority.signers["targets"][:1])
    await refused(resolver, "too_few_signatures", caplog)
    authority.serve(authority.signers["targets"][1:])
    await resolver.list.poll()
    assert resolver.enforced == 8


async def test_somebody_else_signs(
    authority: Authority, resolver: Enforcer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Authority(tmp_path / "stranger")
    stranger.publish(names(30), 8)
    authority.put_back({k: v for k, v in stranger.copy().items() if "root" not in k and "pinned" not in k})
    await refused(resolver, "tampered", caplog)


async def test_a_new_root_that_the_old_keys_did_not_sign(
    authority: Authority, resolver: Enforcer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Authority(tmp_path / "stranger")
    stranger.root.signed.version = 2
    stranger.serve_root()
    authority.put_back(stranger.copy(), "2.root.json")
    await refused(resolver, "tampered", caplog)


@pytest.mark.parametrize(
    "roles", [("timestamp",), ("snapshot",), ("root",), ("targets",), ("root", "targets")]
)
async def test_keys_are_replaced_and_the_lists_go_on(
    roles: tuple[str, ...], authority: Authority, resolver: Enforcer
) -> None:
    authority.rotate(*roles)
    await resolver.list.poll()
    authority.publish(names(30), 8)
    await resolver.list.poll()
    assert resolver.enforced == 8
    assert resolver.failures == {}


async def test_a_key_that_was_replaced_signs_once_more(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    stolen = authority.signers["targets"]
    authority.rotate("targets")
    await resolver.list.poll()
    assert resolver.failures == {}
    authority.publish(names(30), 8)
    authority.serve(stolen)
    await refused(resolver, "tampered", caplog)


async def test_a_thief_signs_a_huge_serial_and_the_authority_recovers(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    honest = authority.copy()
    # The thief holds every online key, and uses the highest serial there is.
    authority.publish(names(21, "thief"), 2**63 - 1)
    await resolver.list.poll()
    assert resolver.enforced == 2**63 - 1
    # The authority goes on from what it had, unaware: its lists are below the floor now.
    authority.publish(names(22), 8)
    await resolver.list.poll()
    assert resolver.failures == {"rolled_back": 1}
    assert resolver.enforced == 2**63 - 1
    # It learns, and replaces the stolen keys under its offline root: their floor says nothing now.
    assert "metadata/1.root.json" in honest
    authority.rotate("targets", "snapshot", "timestamp")
    await resolver.list.poll()
    assert resolver.enforced == 8
    assert resolver.blocks("name0.test")
    assert not resolver.blocks("thief0.test")
    assert "floor_reset" in (resolver.folder / "audit.log").read_text()
    resolver.restarted()
    assert resolver.enforced == 8


async def test_a_thief_counts_the_versions_to_their_end_and_the_authority_recovers(
    authority: Authority, resolver: Enforcer
) -> None:
    for metadata in (authority.targets, authority.snapshot, authority.timestamp):
        metadata.signed.version = 2**40
    authority.publish(names(21, "thief"), 9)
    await resolver.list.poll()
    assert resolver.enforced == 9
    for metadata in (authority.targets, authority.snapshot, authority.timestamp):
        metadata.signed.version = 10
    authority.rotate("targets", "snapshot", "timestamp")
    authority.publish(names(22), 8)
    await resolver.list.poll()
    assert resolver.enforced == 8


async def test_a_list_dated_ahead_waits_for_its_day(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    issued = resolver.list.state.in_force.issued
    resolver.now = lambda: issued
    authority.publish(names(21), 8, issued=issued + 10 * DAY)
    await refused(resolver, "clock_behind", caplog, ": its date is 10 d 0 h ahead of this host's clock")


async def test_a_clock_that_has_gone_back(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    issued = resolver.list.state.in_force.issued
    authority.publish(names(21), 8)
    resolver.now = lambda: issued - 31
    await refused(resolver, "clock_behind", caplog, ": its date is 31 s ahead of this host's clock")


async def test_an_authority_whose_clock_is_seconds_ahead_loses_no_poll_and_is_no_failure(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again at its date; one that is ahead then too is a failure."""
    now = float(resolver.list.state.in_force.issued + 100)
    resolver.now = lambda: now
    authority.publish(names(21), 8, issued=int(now) + 5)
    with caplog.at_level(logging.INFO):
        await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (7, {})
    assert "list demo: it is dated 5 s ahead of this host's clock, and is tried again then" in caplog.messages
    assert not resolver.list.early.is_due(now + 4)
    now += 5
    assert resolver.list.early.is_due(now)
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (8, {})
    for ahead in (5, 10):
        authority.publish(names(22), 9, issued=int(now) + ahead)
        await resolver.list.poll()
        now += 5
    assert (resolver.enforced, resolver.failures) == (8, {"clock_behind": 1})


async def test_the_authority_is_gone(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    (authority.folder / "metadata").rename(authority.folder / "elsewhere")
    await refused(resolver, "unreachable", caplog)


async def test_more_bytes_than_were_signed(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(30), 8)
    for path in (authority.folder / "targets").iterdir():
        path.write_bytes(path.read_bytes() * 2)
    await refused(resolver, "oversized", caplog)


async def test_a_timestamp_without_end(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    (authority.folder / "metadata/timestamp.json").write_bytes(b" " * 2**20)
    await refused(resolver, "oversized", caplog)


async def test_a_list_larger_than_any_may_be(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(30), 8)
    authority.targets.signed.targets["demo"].length = 64 * 2**20 + 1
    authority.serve()
    await refused(resolver, "oversized", caplog)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"name0.test\n\xff\xfe.test\n", "not_utf8"),
        (b"", "empty"),
        (b"# nothing\n\n", "empty"),
        (b"name0.test.example.local\n", "empty"),
    ],
)
async def test_a_list_that_is_no_list(
    data: bytes, reason: str, authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(data, 8)
    await refused(resolver, reason, caplog)


async def test_a_list_under_the_name_of_another(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(30), 8, list_id="other")
    await refused(resolver, "wrong_list", caplog)


async def test_the_list_is_not_there_any_more(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.targets.signed.targets.clear()
    authority.serve()
    await refused(resolver, "unknown_target", caplog)


@pytest.mark.parametrize("custom", [None, {}, {"list": "demo", "serial": "8"}, "name0.test"])
async def test_a_list_without_its_facts(
    custom: object, authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.issue("demo", names(30), custom)
    await refused(resolver, "malformed", caplog)


async def test_a_pinned_root_that_is_not_there(
    authority: Authority, resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    authority.pinned.unlink()
    await refused(resolver, "root_unusable", caplog)


async def test_what_is_written_down_holds_no_name(authority: Authority, resolver: Enforcer) -> None:
    authority.publish(names(30) + b"http://name1.test/canary\nname2.test.local\n", 8)
    await resolver.list.poll()
    written = all_bytes_below(resolver.folder)
    assert b"name1" not in written
    assert b"name2" not in written
    assert b'"serial": 8' in written
