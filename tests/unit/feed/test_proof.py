"""What came in force is proved, then receipted; a wrong answer takes it back, a missing one does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from resolver.feed import audit
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


async def test_a_list_without_a_say_is_told_as_one(resolver: Enforcer, authority: Authority) -> None:
    await resolver.list.poll()
    authority.publish(b"", 8, withdrawn=True)
    await resolver.list.poll()
    await resolver.list.accept_held()
    said = receipts(resolver)["demo-8-2"]
    assert (said["withdrawn"], said["enforced"]) == (True, False)
    assert said["tested"] == "nothing was asked: the list is not enforced on this host"


@pytest.mark.parametrize(("after", "alarms"), [(0, True), (3601, False)])
async def test_a_surge_is_an_alarm_while_the_list_soaks_in_and_takes_nothing_out(
    after: float, alarms: bool, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = "[list.guard]\nexpect_entries = [1, 4000000]\nsoak = '1h'\n"
    resolver = Enforcer(authority, tmp_path / "state", settings)
    resolver.feed.recover()
    await resolver.list.poll()
    came = resolver.now()
    resolver.now = lambda: came + after
    resolver.list.breaker.open = True
    resolver.list.surged()
    facts = resolver.feed.facts()[0]
    assert facts.breaker_open is alarms
    assert ("block unusually many, and stay in force" in caplog.text) is alarms
    assert (facts.suspended_entries, resolver.blocks("name2.test")) == (0, True)


async def test_what_an_earlier_version_has_suspended_is_enforced_from_the_start(
    resolver: Enforcer, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    await resolver.list.poll()
    authority.publish(names(4), 8)
    await resolver.list.poll()
    path = resolver.list.store.folder / "state.json"
    written = json.loads(path.read_bytes())
    written |= {"suspended": True, "told": "all"}
    written["previous"]["suspended"] = True
    about = {"serial": 8, "digest": written["in_force"]["digest"], "principal": "anna", "key": "k", "at": 1}
    written["approvals"] = [{"action": "resume", "used": True, **about}]
    path.write_text(json.dumps(written))
    resolver.restarted()
    assert (resolver.enforced, resolver.blocks("name3.test"), resolver.failures) == (8, True, {})
    assert "the entries that were suspended block again" in caplog.text
    assert events(resolver)[-1] == "resumed"
    assert (resolver.list.state.approvals, resolver.list.store.read_state().suspended) == ((), False)
    resolver.restarted()
    assert events(resolver).count("resumed") == 1


async def test_clocks_that_run_out_are_told_once(
    resolver: Enforcer, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    await resolver.list.poll()
    resolver.wrong = 1
    authority.publish(names(4), 8)
    await resolver.list.poll()
    due = resolver.feed.facts()[0].due_by
    issued = resolver.list.shown.newest.issued
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
