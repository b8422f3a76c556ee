"""Signatures are counted, kept over a crash, and acted upon once there are enough; ssh-keygen is a made-up one."""

import asyncio
import logging
import re
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resolver.config.values import utc_text
from resolver.feed import approve, audit, audit_details, decide
from resolver.feed.actions import Action
from resolver.feed.approve import Refused, Signer
from resolver.feed.decide import Decided, Signed, SignedTerms
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer
from tests.unit.query.parts import until

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _signers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature is its signer's name here."""

    async def signer_of(signature: bytes, held: dict[int, bytes], approvers: Path) -> Signer:
        return Signer(signature.decode(), f"SHA256:{signature.decode()}", max(held))

    monkeypatch.setattr(approve, "signer_of", signer_of)


@pytest.fixture
def resolver(tmp_path: Path) -> Enforcer:
    """Serial 7 is published; a poll puts it in force."""
    authority = Authority(tmp_path / "authority")
    authority.publish(names(1000), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    resolver.feed.recover()
    return resolver


def restarted_with(resolver: Enforcer, **changes: Any) -> None:
    """Write another state, and start again from it."""
    resolver.list.store.write_state(replace(resolver.list.state, **changes))
    resolver.restarted()


async def sign(resolver: Enforcer, action: Action, serial: int, person: str) -> Decided:
    signed = Signed(action=action, serial=serial, signature=person.encode(), uid=1000)
    return await decide.decide(resolver.list, signed, Path("/signers"), resolver.now)


def said(resolver: Enforcer) -> list[tuple[str, int, str]]:
    entries, _ = audit.verify(resolver.folder / "audit.log")
    return [(entry.event.value, entry.serial, entry.detail) for entry in entries]


async def publish(resolver: Enforcer, count: int, serial: int) -> None:
    resolver.authority.publish(names(count), serial)
    await resolver.list.poll()


async def test_what_is_held_takes_two_persons_and_outlives_a_restart(resolver: Enforcer) -> None:
    await resolver.list.poll()
    await publish(resolver, 2000, 8)
    with pytest.raises(Refused, match="serial 7 is not what is to be decided: that is serial 8"):
        await sign(resolver, Action.APPROVE, 7, "anna")
    one = await sign(resolver, Action.APPROVE, 8, "anna")
    assert (one.missing, one.done, resolver.enforced) == (1, False, 7)
    resolver.restarted()
    assert resolver.enforced == 7
    with pytest.raises(Refused, match="counts already"):
        await sign(resolver, Action.APPROVE, 8, "anna")
    two = await sign(resolver, Action.APPROVE, 8, "ben")
    assert (two.missing, two.done, resolver.enforced) == (0, True, 8)
    assert resolver.list.state.approvals == ()
    assert said(resolver)[-4:-1] == [
        ("approved", 8, "approve: anna SHA256:anna, by uid 1000"),
        ("approved", 8, "approve: ben SHA256:ben, by uid 1000"),
        ("released", 8, ""),
    ]
    record = resolver.list.state.in_force
    assert record is not None
    assert said(resolver)[-1] == ("in_force", 8, audit_details.issued(record.issued))
    with pytest.raises(Refused, match="nothing is held"):
        await sign(resolver, Action.APPROVE, 8, "carl")


async def test_approvals_of_a_list_count_for_no_later_one(resolver: Enforcer) -> None:
    await resolver.list.poll()
    await publish(resolver, 2000, 8)
    await sign(resolver, Action.APPROVE, 8, "anna")
    await publish(resolver, 2001, 9)
    assert resolver.list.state.approvals == ()
    assert (await sign(resolver, Action.APPROVE, 9, "ben")).missing == 1
    assert resolver.enforced == 7


async def test_a_crash_before_activation_loses_no_signature(
    resolver: Enforcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await resolver.list.poll()
    await publish(resolver, 2000, 8)
    await sign(resolver, Action.APPROVE, 8, "anna")
    with monkeypatch.context() as patch:

        async def crash(*_: object) -> None:
            raise OSError("full")

        patch.setattr(resolver.list, "activate", crash)
        with pytest.raises(OSError, match="full"):
            await sign(resolver, Action.APPROVE, 8, "ben")
    resolver.restarted()
    assert resolver.enforced == 7
    assert len(resolver.list.state.approvals) == 2
    assert (await sign(resolver, Action.APPROVE, 8, "ben")).done
    assert resolver.enforced == 8


async def test_lines_set_aside_count_once_approved_and_over_a_renewal(resolver: Enforcer) -> None:
    await resolver.list.poll()
    one = resolver.list
    record = replace(one.state.in_force, set_aside={"protected": 1}, set_aside_lines={"protected": (3,)})
    restarted_with(resolver, in_force=record)
    await sign(resolver, Action.APPROVE_SET_ASIDE, 7, "anna")
    assert not resolver.approved
    assert (await sign(resolver, Action.APPROVE_SET_ASIDE, 7, "ben")).done
    assert resolver.approved
    resolver.restarted()
    assert resolver.approved
    # What the renewal sets aside is nothing: that was not what was approved.
    resolver.authority.publish(names(1000), 7, expires=2**33)
    await resolver.list.poll()
    assert resolver.list.state.in_force.expires == 2**33
    assert not resolver.approved


async def test_a_renewal_of_an_approved_list_stays_approved(resolver: Enforcer) -> None:
    await resolver.list.poll()
    one = resolver.list
    restarted_with(resolver, in_force=replace(one.state.in_force, approved=True))
    resolver.authority.publish(names(1000), 7, expires=2**33)
    await resolver.list.poll()
    assert resolver.approved
    await publish(resolver, 1001, 8)
    assert (resolver.enforced, resolver.approved) == (8, False)


async def test_a_renewal_that_sets_another_number_of_lines_aside_is_approved_no_more(resolver: Enforcer) -> None:
    """Of many lines the first numbers alone are kept: they may be the same where a later line is not."""
    await resolver.list.poll()
    one = resolver.list
    restarted_with(resolver, in_force=replace(one.state.in_force, approved=True, set_aside={"protected": 101}))
    resolver.authority.publish(names(1000), 7, expires=2**33)
    await resolver.list.poll()
    assert resolver.list.state.in_force.expires == 2**33
    assert not resolver.approved


async def test_nothing_is_suspended_and_so_nothing_can_be_resumed(resolver: Enforcer) -> None:
    await resolver.list.poll()
    with pytest.raises(Refused, match="nothing suspends any"):
        await sign(resolver, Action.RESUME, 7, "anna")


async def test_the_journal_says_whose_decision_put_a_list_in_force_or_took_it_out(
    resolver: Enforcer, caplog: pytest.LogCaptureFixture
) -> None:
    await resolver.list.poll()
    with caplog.at_level(logging.INFO, "resolver.audit"):
        await publish(resolver, 2000, 8)
        await sign(resolver, Action.APPROVE, 8, "anna")
        await sign(resolver, Action.APPROVE, 8, "ben")
        await sign(resolver, Action.ROLLBACK, 7, "carl")
        await sign(resolver, Action.ROLLBACK, 7, "dora")
    told = [one.getMessage() for one in caplog.records if one.name == "resolver.audit"]
    shorter = [re.sub(r" \(issued [^)]+\)|; issued [^)]+|; entry \d+ of the audit log", "", one) for one in told]
    assert shorter == [
        "list demo: serial 8: held (growth), by the feed",
        "list demo: serial 8: signed (approve: anna SHA256:anna, by uid 1000)",
        "list demo: serial 8: signed (approve: ben SHA256:ben, by uid 1000)",
        "list demo: serial 8: no longer held, by anna and ben",
        "list demo: serial 8: put in force, by anna and ben",
        "list demo: serial 7: signed (rollback: carl SHA256:carl, by uid 1000)",
        "list demo: serial 8: quarantined (taken out), by carl",
        "list demo: serial 7: in force again, by carl",
        "list demo: serial 7: rollback confirmed (rollback: dora SHA256:dora, by uid 1000)",
    ]
    assert "name" not in "".join(told)


async def test_one_goes_back_at_once_and_another_confirms(resolver: Enforcer, caplog: pytest.LogCaptureFixture) -> None:
    await resolver.list.poll()
    await publish(resolver, 1001, 8)
    assert (await sign(resolver, Action.ROLLBACK, 7, "anna")).done
    assert resolver.enforced == 7
    resolver.restarted()
    assert resolver.enforced == 7
    facts = resolver.feed.facts()[0]
    assert facts.rolled_back > 0
    with pytest.raises(Refused, match="counts already"):
        await sign(resolver, Action.ROLLBACK, 7, "anna")
    later = time.time() + approve.CONFIRM_S
    resolver.now = lambda: later
    with caplog.at_level(logging.WARNING):
        resolver.list.look_at_clocks()
        resolver.list.look_at_clocks()
    assert caplog.text.count("nobody has confirmed the rollback to serial 7") == 1
    found = await sign(resolver, Action.ROLLBACK, 7, "ben")
    assert (found.confirmed, found.done, resolver.enforced) == (True, False, 7)
    assert resolver.feed.facts()[0].rolled_back == 0
    assert said(resolver)[-1] == ("rollback_confirmed", 7, "rollback: ben SHA256:ben, by uid 1000")
    with pytest.raises(Refused, match="no previous list"):
        await sign(resolver, Action.ROLLBACK, 7, "carl")


async def test_after_a_rollback_the_feed_waits_for_a_corrected_list_and_nothing_fails_or_is_late(
    resolver: Enforcer,
) -> None:
    """Before: FAILING (quarantined) until the authority published, and the deadline of what was taken out ran on."""
    start = int(time.time())
    resolver.now = lambda: start + 10
    await resolver.list.poll()
    await publish(resolver, 1001, 8)
    await sign(resolver, Action.ROLLBACK, 7, "anna")
    for _ in range(2):
        resolver.now = lambda: start + 2 * 86400
        await resolver.list.poll()
        found = resolver.feed.facts()[0]
        assert (resolver.enforced, resolver.failures, found.failing, found.failing_since) == (7, {}, {}, 0)
        assert (found.taken_out, found.due_by, found.due_serial, found.last_success) == (8, 0, 0, start + 2 * 86400)
        resolver.restarted()
        resolver.list.look_at_clocks()
    assert (await sign(resolver, Action.ROLLBACK, 7, "ben")).confirmed
    await resolver.list.poll()
    assert (resolver.feed.facts()[0].taken_out, resolver.failures) == (8, {})
    # A corrected list is owed as any other, and ends it.
    resolver.authority.publish(names(5000), 9)
    await resolver.list.poll()
    found = resolver.feed.facts()[0]
    assert (found.taken_out, found.held_serial, found.due_serial) == (8, 9, 9)
    await sign(resolver, Action.APPROVE, 9, "anna")
    await sign(resolver, Action.APPROVE, 9, "ben")
    found = resolver.feed.facts()[0]
    assert (resolver.enforced, found.taken_out, found.due_by) == (9, 0, 0)


async def stand(resolver: Enforcer, person: str, growth_to: int = 5000, until: int = 0) -> Decided:
    signed = SignedTerms(
        growth_to=growth_to,
        refused_to=0,
        until=until or int(resolver.now()) // 3600 * 3600 + 7200,
        signature=person.encode(),
        uid=1000,
    )
    return await decide.stand(resolver.list, signed, Path("/signers"), resolver.now)


async def test_growth_of_later_serials_is_approved_beforehand_and_the_one_that_is_held_comes_at_once(
    resolver: Enforcer,
) -> None:
    await resolver.list.poll()
    await publish(resolver, 2000, 8)
    one = await stand(resolver, "anna")
    assert (one.missing, one.done, one.number, resolver.enforced) == (1, False, 1, 7)
    # A later serial is held too, and takes no signature away.
    await publish(resolver, 2100, 9)
    resolver.restarted()
    with pytest.raises(Refused, match="counts already"):
        await stand(resolver, "anna")
    two = await stand(resolver, "ben")
    assert (two.missing, two.done, two.number, resolver.enforced) == (0, True, 1, 9)
    for count, serial in ((3500, 10), (5000, 11)):
        await publish(resolver, count, serial)
        assert (resolver.enforced, resolver.list.state.held) == (serial, None)
    await publish(resolver, 6001, 12)
    assert (resolver.enforced, resolver.list.state.held.reasons) == (11, ("growth",))
    until = utc_text(int(resolver.now()) // 3600 * 3600 + 7200)
    told = said(resolver)
    terms = f"standing approval 1: growth to 5000 entries until {until}"
    assert ("approved", 7, f"standing: anna SHA256:anna, by uid 1000; {terms}") in told
    assert ("approved", 7, f"standing: ben SHA256:ben, by uid 1000; {terms}") in told
    assert told.count(("released", 10, "standing approval 1")) == 1
    assert [(event, serial) for event, serial, _ in told][-7:] == [
        ("held", 10),
        ("released", 10),
        ("in_force", 10),
        ("held", 11),
        ("released", 11),
        ("in_force", 11),
        ("held", 12),
    ]


async def test_a_standing_approval_ends_with_its_time_and_over_a_restart_stays_until_then(resolver: Enforcer) -> None:
    await resolver.list.poll()
    start = int(time.time())
    resolver.now = lambda: start
    for person in ("anna", "ben"):
        await stand(resolver, person, until=start + 600)
    resolver.restarted()
    resolver.now = lambda: start + 599
    await publish(resolver, 2000, 8)
    assert resolver.enforced == 8
    resolver.now = lambda: start + 600
    await publish(resolver, 4000, 9)
    assert (resolver.enforced, resolver.list.state.held.reasons) == (8, ("growth",))
    assert resolver.list.state.standing is None


async def test_one_person_takes_a_standing_approval_back_and_its_signatures_never_count_again(
    resolver: Enforcer,
) -> None:
    await resolver.list.poll()
    for person in ("anna", "ben"):
        await stand(resolver, person)
    with pytest.raises(Refused, match="2 is not the standing approval: that is 1"):
        await sign(resolver, Action.REVOKE, 2, "carl")
    assert (await sign(resolver, Action.REVOKE, 1, "carl")).done
    assert said(resolver)[-1] == ("approved", 7, "revoke: carl SHA256:carl, by uid 1000; standing approval 1")
    assert resolver.list.state.approvals == ()
    await publish(resolver, 2000, 8)
    assert (resolver.enforced, resolver.list.state.held.reasons) == (7, ("growth",))
    with pytest.raises(Refused, match="no standing approval"):
        await sign(resolver, Action.REVOKE, 1, "carl")
    assert (await stand(resolver, "anna")).number == 2


async def test_a_standing_approval_is_not_carried_to_a_list_of_other_keys(resolver: Enforcer) -> None:
    await resolver.list.poll()
    for person in ("anna", "ben"):
        await stand(resolver, person)
    resolver.authority.rotate("targets")
    await publish(resolver, 2000, 8)
    assert (resolver.enforced, resolver.list.state.held.reasons) == (7, ("growth",))


async def test_a_list_that_its_self_test_took_out_still_fails(resolver: Enforcer) -> None:
    await resolver.list.poll()
    resolver.wrong = 1
    await publish(resolver, 1001, 8)
    await resolver.list.poll()
    found = resolver.feed.facts()[0]
    assert (resolver.enforced, found.taken_out, found.due_serial) == (7, 0, 8)
    assert found.failing.get("quarantined") == 1
    resolver.restarted()
    assert resolver.feed.facts()[0].due_serial == 8


async def test_a_decision_goes_on_when_whoever_asked_has_left(resolver: Enforcer) -> None:
    await resolver.list.poll()
    await publish(resolver, 1001, 8)
    asked = asyncio.ensure_future(sign(resolver, Action.ROLLBACK, 7, "anna"))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await until(lambda: resolver.enforced == 7)
