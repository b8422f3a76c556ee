"""What came in force is proved, then receipted; a wrong answer takes it back, a missing one does not."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from resolver.feed import audit
from resolver.feed.approve import Refused
from resolver.feed.enforced import Stage
from resolver.feed.processes import UpdateFailed
from resolver.feed.proof import PAUSE_S
from resolver.signed import statement
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.asyncio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "authority")
    made.publish(names(3), 7)
    return made


@pytest.fixture
def resolver(authority: Authority, tmp_path: Path) -> Enforcer:
    made = Enforcer(authority, tmp_path / "state")
    made.feed.recover()
    return made


def receipts(resolver: Enforcer) -> dict[str, dict[str, Any]]:
    """What was said, by file name."""
    paths = sorted((resolver.folder / "receipts").glob("*.json"), key=lambda path: path.stem)
    return {path.stem: statement.claimed(path.read_bytes())[0] for path in paths}


def events(resolver: Enforcer) -> list[str]:
    return [entry.event.value for entry in audit.verify(resolver.folder / "audit.log")[0]]


async def test_a_receipt_comes_after_the_proof(resolver: Enforcer) -> None:
    resolver.silent = 1
    await resolver.list.poll()
    assert resolver.enforced == 7
    assert receipts(resolver) == {}
    assert (resolver.list.enforced.proof, resolver.list.prover.passed, resolver.failures) == (Stage.SILENT, False, {})
    resolver.silent = 0
    await resolver.list.prove()
    assert receipts(resolver) == {}, "not before its turn"
    later = resolver.now() + PAUSE_S
    resolver.now = lambda: later
    await resolver.list.prove()
    said = receipts(resolver)["demo-7-1"]
    assert (said["serial"], said["entries"], said["enforced"]) == (7, 3, True)
    assert "2 sockets (6 questions)" in said["tested"]
    assert "4 digests" in said["tested"], "three names and the synthetic one"
    assert (resolver.list.enforced.proof, resolver.list.prover.passed) == (Stage.PROVED, True)
    assert resolver.list.prover.receipt_at == said["at"]
    assert said["audit_head"] == {"number": 1, "hash": audit.verify(resolver.folder / "audit.log")[1]}


async def test_a_wrong_answer_takes_back_what_came_in_force(resolver: Enforcer, authority: Authority) -> None:
    await resolver.list.poll()
    resolver.wrong = 1
    authority.publish(names(4), 8)
    await resolver.list.poll()
    assert resolver.events == [7, 8, 7]
    assert resolver.failures == {"selftest": 1}
    assert not resolver.list.prover.passed
    assert events(resolver)[-2:] == ["quarantined", "gone_back"]
    assert list(receipts(resolver)) == ["demo-7-1"]
    resolver.wrong = 0
    await resolver.list.prove()
    assert list(receipts(resolver)) == ["demo-7-1", "demo-7-1-2"], "it says what is in force now"
    assert not resolver.list.prover.passed, "the last list that came did not pass"
    await resolver.list.poll()
    assert resolver.failures == {"selftest": 1, "quarantined": 1}
    authority.publish(names(5), 9)
    await resolver.list.poll()
    assert resolver.list.prover.passed


async def test_the_first_list_that_answers_wrongly_leaves_none(resolver: Enforcer) -> None:
    resolver.wrong = 1
    await resolver.list.poll()
    assert resolver.events == [7, "no list"]
    assert receipts(resolver) == {}
    await resolver.list.prove()
    assert resolver.proofs == 1


async def test_what_was_recovered_is_proved_once_and_stays_whatever_comes(resolver: Enforcer) -> None:
    await resolver.list.poll()
    proofs = resolver.proofs
    resolver.restarted()
    assert resolver.list.prover.receipt_at > 0
    await resolver.list.prove()
    await resolver.list.prove()
    assert resolver.proofs == proofs + 1
    assert list(receipts(resolver)) == ["demo-7-1"]
    resolver.restarted()
    resolver.wrong = 1
    await resolver.list.prove()
    assert resolver.enforced == 7
    assert resolver.failures == {"selftest": 1}


async def test_what_a_crash_left_without_a_receipt_gets_one(resolver: Enforcer) -> None:
    resolver.silent = 1
    await resolver.list.poll()
    resolver.silent = 0
    resolver.restarted()
    await resolver.list.prove()
    assert list(receipts(resolver)) == ["demo-7-1"]


async def test_a_renewal_has_a_receipt_of_its_own_and_is_in_force_since_before(
    resolver: Enforcer, authority: Authority
) -> None:
    clock = [resolver.now()]
    resolver.now = lambda: clock[0]
    await resolver.list.poll()
    since = resolver.list.state.in_force.since
    clock[0] += 100
    authority.publish(names(3), 7, expires=int(clock[0]) + 1000)
    await resolver.list.poll()
    assert [(one["serial"], one["generation"]) for one in receipts(resolver).values()] == [(7, 1), (7, 2)]
    assert [one["in_force_since"] for one in receipts(resolver).values()] == [since, since]


async def test_a_person_who_goes_back_has_a_receipt_of_what_is_in_force(
    resolver: Enforcer, authority: Authority
) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    await resolver.list.go_back()
    await resolver.list.prove()
    assert list(receipts(resolver)) == ["demo-7-1", "demo-7-1-2", "demo-8-2"]


async def test_entries_are_suspended_after_it_was_written(resolver: Enforcer, authority: Authority) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    seen = []
    resolver.told = lambda event: seen.append(json.loads((resolver.list.store.folder / "state.json").read_bytes()))
    resolver.list.suspend()
    assert [one["suspended"] for one in seen] == [True]
    assert (resolver.suspended, resolver.enforced) == (True, 8)
    resolver.list.suspend()
    assert len(seen) == 1, "once"
    assert events(resolver)[-1] == "suspended"
    await resolver.list.prove()
    assert receipts(resolver)["demo-8-2-2"]["suspended"] is True
    resolver.restarted()
    assert resolver.suspended
    authority.publish(names(6), 9)
    await resolver.list.poll()
    assert (resolver.suspended, resolver.enforced) == (True, 9)


async def test_a_list_without_a_say_is_told_as_one(resolver: Enforcer, authority: Authority) -> None:
    await resolver.list.poll()
    authority.publish(b"", 8, withdrawn=True)
    await resolver.list.poll()
    await resolver.list.accept_held()
    said = receipts(resolver)["demo-8-2"]
    assert (said["withdrawn"], said["enforced"]) == (True, False)
    assert said["tested"] == "nothing was asked: the list is not enforced on this host"


@pytest.mark.parametrize(
    ("settings", "after", "suspended"),
    [
        ("", 0, True),
        ("[list.guard]\nexpect_entries = [1, 4000000]\nbreaker = 'alarm'\n", 0, False),
        ("[list.guard]\nexpect_entries = [1, 4000000]\nsoak = '1h'\n", 3601, False),
    ],
)
async def test_a_surge_suspends_while_the_list_soaks_in_and_alarms_later(
    settings: str, after: float, suspended: bool, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = Enforcer(authority, tmp_path / "state", settings)
    resolver.feed.recover()
    await resolver.list.poll()
    came = resolver.now()
    resolver.now = lambda: came + after
    resolver.list.surged()
    assert resolver.list.state.suspended is suspended
    assert "block unusually many" in caplog.text
    facts = resolver.feed.facts()[0]
    assert facts.breaker_open is suspended


async def test_clocks_that_run_out_are_told_once(
    resolver: Enforcer, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    await resolver.list.poll()
    resolver.wrong = 1
    authority.publish(names(4), 8)
    await resolver.list.poll()
    due = resolver.feed.facts()[0].due_by
    issued = resolver.list.shown.newest[0]
    assert due == issued + 24 * 3600
    resolver.list.look_at_clocks()
    assert "deadline" not in caplog.text
    resolver.now = lambda: due + 90_000.0
    for _ in range(2):
        resolver.list.look_at_clocks()
    assert caplog.text.count("though its deadline is over") == 1
    assert caplog.text.count("longer than alarm_age") == 1


async def test_nothing_waits_while_the_newest_list_is_in_force(resolver: Enforcer) -> None:
    assert resolver.feed.facts()[0].due_by == 0
    await resolver.list.poll()
    assert resolver.feed.facts()[0].due_by == 0


async def test_a_list_gone_back_to_is_as_suspended_as_it_was(resolver: Enforcer, authority: Authority) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    resolver.list.suspend()
    await resolver.list.go_back()
    assert (resolver.suspended, resolver.list.state.suspended, resolver.enforced) == (False, False, 7)
    resolver.list.suspend()
    authority.publish(names(5), 9)
    await resolver.list.poll()
    await resolver.list.go_back()
    resolver.restarted()
    assert (resolver.suspended, resolver.list.state.suspended, resolver.enforced) == (True, True, 7)


async def test_what_is_held_is_compiled_anew_once_entries_are_suspended(
    resolver: Enforcer, authority: Authority
) -> None:
    await resolver.list.poll()
    authority.publish(names(2000), 8)
    await resolver.list.poll()
    stale = resolver.list.state.held
    resolver.list.suspend()
    assert resolver.list.state.held is None
    await resolver.list.poll()
    assert resolver.list.state.held.record.identity == stale.record.identity
    assert resolver.list.state.held.record.generation > stale.record.generation


@pytest.mark.parametrize("count", [5, 2000], ids=["in_force", "held"])
@pytest.mark.parametrize("when", ["_open_image", "keep_files", "_write_down"])
async def test_what_is_suspended_while_a_list_is_on_its_way_stays_out_of_it(
    count: int, when: str, resolver: Enforcer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    authority.publish(names(count), 9)
    owner = {"_open_image": resolver.list.step, "keep_files": resolver.list.store}.get(when, resolver.list.activation)
    real, left = getattr(owner, when), [1]

    def step(*args: Any) -> Any:
        # Of what is held nothing is written down until it is approved.
        if left and left.pop():
            resolver.list.suspend()
        return real(*args)

    monkeypatch.setattr(owner, when, step)
    await resolver.list.poll()
    if resolver.list.state.held is not None:
        with suppress(Refused):
            await resolver.list.accept_held()
    if left or (resolver.list.state.held is None and resolver.list.state.in_force.serial == 8):
        await resolver.list.poll()
    assert resolver.suspended
    assert not resolver.enforces("name3.test")
    assert resolver.enforces("name2.test")
    assert resolver.failures == {}


async def test_a_suspension_that_the_service_cannot_bring_about_is_not_written_as_one(
    resolver: Enforcer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    resolver.fail_swaps = 1
    resolver.list.surged()
    assert resolver.failures == {"swap": 1}
    assert (resolver.suspended, resolver.list.state.suspended, resolver.enforced) == (False, False, 8)
    assert not resolver.list.store.read_state().suspended
    resolver.list.surged()
    assert (resolver.suspended, resolver.list.state.suspended) == (True, True)


async def test_what_neither_disk_nor_service_takes_is_brought_together_by_the_next_poll(
    resolver: Enforcer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    real, left = resolver.list.store.write_state, [1]

    def full(new: Any) -> None:
        if not left:
            raise OSError(28, "No space left on device")
        left.pop()
        real(new)

    resolver.fail_swaps = 1
    with monkeypatch.context() as patch:
        patch.setattr(resolver.list.store, "write_state", full)
        resolver.list.surged()
    assert (resolver.suspended, resolver.list.state.suspended) == (False, True)
    await resolver.list.poll()
    assert (resolver.suspended, resolver.list.state.suspended) == (True, True)


@pytest.mark.parametrize("fault", ["swap", "sockets"])
async def test_a_renewal_that_fails_takes_nothing_out(fault: str, resolver: Enforcer, authority: Authority) -> None:
    await resolver.list.poll()
    authority.publish(names(3), 7, expires=2**33)
    resolver.fail_swaps, resolver.wrong = (1, 0) if fault == "swap" else (0, 1)
    await resolver.list.poll()
    resolver.wrong = 0
    assert (resolver.enforced, resolver.list.state.quarantined) == (7, ())
    assert resolver.failures == {"swap" if fault == "swap" else "selftest": 1}
    await resolver.list.poll()
    assert resolver.list.activation.has_taken(resolver.list.state.in_force)
    resolver.restarted()
    assert resolver.enforced == 7


async def test_a_list_is_taken_out_also_where_the_one_before_is_damaged(
    resolver: Enforcer, authority: Authority
) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    (resolver.list.store.folder / resolver.list.state.previous.image).write_bytes(b"x")
    with pytest.raises(UpdateFailed, match="image_unusable"):
        await resolver.list.go_back()
    assert (resolver.enforced, resolver.view) == ("no list", None)


async def test_a_list_that_was_lifted_comes_back_without_what_was_suspended(
    authority: Authority, tmp_path: Path
) -> None:
    resolver = Enforcer(authority, tmp_path / "state", 'expire = "lift"\nhard_limit = "1h"\n')
    resolver.feed.recover()
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    resolver.list.suspend()
    issued = resolver.list.state.in_force.issued
    resolver.now = lambda: issued + 3600.0
    await resolver.list.poll()
    assert resolver.enforced == "lifted"
    authority.publish(names(5), 9, issued=issued + 3600)
    await resolver.list.poll()
    assert (resolver.enforced, resolver.suspended) == (9, True)
    assert not resolver.enforces("name3.test")
