"""The name that is blocked while every list is proved, and by no tables to which a list is missing."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from resolver.core import codes, image
from resolver.feed import enforced
from resolver.feed.enforced import InForce, Stage
from resolver.feed.update import ListUpdate
from resolver.service import enforced_name
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer
from tests.unit.query.parts import KEY, image_of
from tests.unit.service.test_in_force import in_force, verdict_of

BLOCKED, PASSED = codes.BLOCK, codes.PASS


def test_its_image_blocks_it_and_has_no_entry_that_is_counted() -> None:
    header = image.header(enforced_name.made(KEY))
    assert (header.selftest, header.entries) == (enforced_name.LABEL, 0)
    assert enforced_name.NAME == "enforced.selftest.invalid"


def test_it_is_blocked_while_it_stands_and_no_list_is_missing() -> None:
    one, swapped = in_force("", "")
    one.stand(True)
    one.put_in_force("list-0", image_of(["a.test"]))
    assert verdict_of(one.tables, enforced_name.NAME)[0] == PASSED, "a list is missing"
    one.put_in_force("list-1", image_of(["b.test"]))
    assert verdict_of(one.tables, enforced_name.NAME)[0] == BLOCKED
    before = len(swapped)
    one.stand(True)
    assert len(swapped) == before, "nothing has changed"
    one.stand(False)
    assert verdict_of(one.tables, enforced_name.NAME)[0] == PASSED
    assert verdict_of(one.tables, "a.test") == (BLOCKED, 0), "the lists are as they were"
    one.stand(True)
    one.take_out("list-1")
    assert verdict_of(one.tables, enforced_name.NAME)[0] == PASSED


def test_a_list_that_joins_and_is_not_in_force_yet_takes_it_away_in_the_same_swap() -> None:
    one, _ = in_force("")
    one.put_in_force("list-0", image_of(["a.test"]))
    one.stand(True)
    one.forwards_without = lambda list_id: list_id == "list-1"
    both, _ = in_force("", "")
    one.configure(both.config)
    assert one.tables.complete
    assert verdict_of(one.tables, enforced_name.NAME)[0] == PASSED


@pytest.mark.parametrize("lists", [1, codes.MAX_LISTS])
def test_its_slot_is_of_no_list_while_one_is_free(lists: int) -> None:
    one, _ = in_force(*[""] * lists)
    for number in range(lists):
        one.put_in_force(f"list-{number}", image_of([f"n{number}.test"]))
    one.stand(True)
    said, slot = verdict_of(one.tables, enforced_name.NAME)
    assert said == BLOCKED
    assert (slot in [one.slot(f"list-{number}") for number in range(lists)]) == (lists == codes.MAX_LISTS)
    assert verdict_of(one.tables, "n0.test") == (BLOCKED, one.slot("list-0"))


@pytest.fixture
def update(tmp_path: Path) -> ListUpdate:
    """A list that was fetched and is in force."""
    import asyncio

    authority = Authority(tmp_path / "authority")
    authority.publish(names(3), 7)
    enforcer = Enforcer(authority, tmp_path / "state")
    enforcer.feed.recover()
    asyncio.run(enforcer.list.poll())
    return enforcer.list


def at(update: ListUpdate, stage: Stage) -> ListUpdate:
    found = update.enforced
    assert isinstance(found, InForce)
    update.activation.enforced = replace(found, proof=stage)
    return update


def test_a_list_is_proved_once_and_stays_so_over_a_swap_and_a_late_answer(update: ListUpdate) -> None:
    proved, now = enforced_name.Proved(), 1.0
    for stage in (Stage.FRESH, Stage.DUE, Stage.SILENT):
        assert not proved.every([at(update, stage)], now), stage
    assert proved.every([at(update, Stage.PROVED)], now)
    for stage in (Stage.FRESH, Stage.DUE, Stage.SILENT):
        assert proved.every([at(update, stage)], now), stage
    assert not proved.every([at(update, Stage.WRONG)], now)
    assert not proved.every([at(update, Stage.FRESH)], now), "and not before it is proved again"
    assert proved.every([at(update, Stage.PROVED)], now)
    update.activation.enforced = enforced.take_out(update.enforced)
    assert not proved.every([update], now)


def test_a_process_that_takes_over_trusts_what_is_in_force_until_its_own_proof(update: ListUpdate) -> None:
    proved = enforced_name.Proved()
    proved.trust([at(update, Stage.DUE)])
    assert proved.every([update], 1.0)
    assert not proved.every([at(update, Stage.WRONG)], 1.0)
    update.activation.enforced = enforced.take_out(update.enforced)
    other = enforced_name.Proved()
    other.trust([update])
    assert not other.every([update], 1.0)


def test_it_goes_before_the_hard_limit_of_a_list_that_is_lifted_there(update: ListUpdate) -> None:
    proved = enforced_name.Proved()
    record = update.state.in_force
    assert record is not None
    limit = update.hard_limit_at(record)
    at(update, Stage.PROVED)
    for expire, margin, stands in (
        ("lift", enforced_name.MARGIN_S + 1, True),
        ("lift", enforced_name.MARGIN_S, False),
        ("keep", -1.0, True),
    ):
        update.activation.list = msgspec.structs.replace(update.list, expire=expire)
        assert proved.every([update], limit - margin) == stands, (expire, margin)


def test_a_lifted_list_is_not_enforced_unless_its_authority_has_withdrawn_it(update: ListUpdate) -> None:
    proved, record = enforced_name.Proved(), update.state.in_force
    assert record is not None
    update.activation.enforced = enforced.lift(update.enforced, record.generation)
    assert not proved.every([update], 1.0)
    withdrawn = msgspec.structs.replace(record, withdrawn=True)
    update.journal.state = msgspec.structs.replace(update.state, in_force=withdrawn)
    assert proved.every([update], 1.0)
