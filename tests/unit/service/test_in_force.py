"""What is in force: who is a client, which lists judge whom, and whether all lists are there."""

import msgspec
import pytest

from resolver.config.config import Config, parse
from resolver.config.values import address_octets
from resolver.core import admit, codes, entries, image, policy
from resolver.core.lane import Tables
from resolver.core.name import Name, unfold
from resolver.core.scratch import Scratch
from resolver.service.in_force import InForce
from tests.unit.query.parts import KEY, image_of, octets_of

LIST = """
[[list]]
id = "{id}"
demonstration = true
source = {{ kind = "tuf", url = "file:///srv/authority", root = "/srv/root.json" }}
{more}
"""


def config(*lists: str, more: str = "") -> Config:
    """A configuration of these lists, each its keys in TOML."""
    head = f'[page]\naddresses = ["192.0.2.1", "2001:db8::1"]\nlisten = []\n{more}\n'
    return parse(head + "".join(LIST.format(id=f"list-{n}", more=one) for n, one in enumerate(lists)), "resolver.toml")


class Swapped(list[Tables]):
    """Every set of tables that was put in force."""


def in_force(*lists: str, more: str = "") -> tuple[InForce, Swapped]:
    swapped = Swapped()
    return InForce(config(*lists, more=more), KEY, KEY, swapped.append), swapped


def verdict_of(tables: Tables, name: str, scope: int = 0xFFFF) -> tuple[int, int]:
    """The verdict on a name, and the slot of the list that gave it."""
    unfolded, verdict = Name(), policy.Verdict()
    wire = octets_of(name)
    assert unfold(wire, 0, len(wire), unfolded)
    return policy.decide(tables.generation, unfolded, scope, verdict), verdict.slot


def test_unlisted_names_wait_until_every_list_is_in_force_or_lifted() -> None:
    one, swapped = in_force("", "", "")
    assert not one.tables.complete
    assert not one.enforced()
    one.put_in_force("list-1", image_of(["b.test"]))
    one.put_in_force("list-0", image_of(["a.test"]))
    assert not swapped[-1].complete
    one.lift("list-2")
    assert swapped[-1].complete
    assert one.enforced()
    one.take_out("list-1")
    assert not swapped[-1].complete
    assert not one.enforced()
    one.put_in_force("list-1", image_of(["b.test"]))
    one.take_out("list-2")
    assert not swapped[-1].complete, "what was lifted and then taken out is missing"
    assert swapped[-1] is one.tables


def test_without_a_list_the_operator_may_have_chosen_to_forward() -> None:
    one, _ = in_force("", more='[state]\nwithout_list = "forward"')
    assert one.tables.complete
    assert not one.enforced(), "and it is told as what it is"


def test_a_list_that_joined_others_keeps_no_name_from_its_answer() -> None:
    one, swapped = in_force("", "")
    one.put_in_force("list-0", image_of(["a.test"]))
    one.forwards_without = lambda list_id: list_id == "list-1"
    one.renew()
    assert swapped[-1].complete
    assert not one.enforced(), "and it is told as what it is"
    assert verdict_of(one.tables, "a.test") == (codes.BLOCK, 0)
    one.take_out("list-0")
    assert not one.tables.complete, "the list that was there first is missed"


def test_one_list_may_forward_and_another_refuse() -> None:
    one, _ = in_force('without_list = "forward"', "")
    assert not one.tables.complete
    one.put_in_force("list-1", image_of(["b.test"]))
    assert one.tables.complete


def test_every_change_is_a_new_generation_and_the_old_one_stays_as_it_was() -> None:
    one, swapped = in_force("", "")
    first = one.tables
    one.put_in_force("list-0", image_of(["a.test"]))
    one.put_in_force("list-0", image_of(["b.test"], 2))
    one.lift("list-0")
    one.configure(one.config)
    numbers = [first.generation.number, *(tables.generation.number for tables in swapped)]
    assert numbers == sorted(set(numbers))
    assert [verdict_of(tables, "a.test")[0] for tables in [first, *swapped]] == [1, 2, 1, 1, 1]
    assert [verdict_of(tables, "b.test")[0] for tables in [first, *swapped]] == [1, 1, 2, 1, 1]


def test_a_list_keeps_its_slot_whoever_comes_and_goes_and_order_picks_the_answer() -> None:
    one, _ = in_force("", "", "")
    assert [one.slot(f"list-{n}") for n in range(3)] == [0, 1, 2]
    one.put_in_force("list-2", image_of(["a.test"]))
    assert verdict_of(one.tables, "a.test") == (codes.BLOCK, 2)
    one.put_in_force("list-1", image_of(["a.test"]))
    assert verdict_of(one.tables, "a.test") == (codes.BLOCK, 1)
    one.put_in_force("list-0", image_of(["test"]))
    assert verdict_of(one.tables, "a.test") == (codes.BLOCK, 1), "the most specific entry first"
    one.lift("list-1")
    assert verdict_of(one.tables, "a.test") == (codes.BLOCK, 2)


def test_lists_of_some_clients_and_lists_that_spare_some() -> None:
    one, _ = in_force('clients = ["192.0.2.0/25"]', 'exempt = ["192.0.2.64/26", "2001:db8::/48"]')
    access = one.tables.access
    scopes = {
        "192.0.2.1": 0b11,
        "192.0.2.64": 0b01,
        "192.0.2.128": 0b10,
        "2001:db8::1": 0b00,
        "2001:db8:1::1": 0b10,
    }
    for client, scope in scopes.items():
        assert admit.scope(access, address_octets(client)) & 0b11 == scope


def test_a_new_configuration_changes_clients_and_answers_and_keeps_the_lists() -> None:
    one, swapped = in_force("", more='[listen]\nallow = ["192.0.2.0/24"]')
    one.put_in_force("list-0", image_of(["a.test"]))
    changed = config('answer = "nodata"', more='[listen]\nallow = ["198.51.100.0/24"]')
    one.configure(changed)
    tables = swapped[-1]
    assert verdict_of(tables, "a.test")[0] == codes.BLOCK
    assert tables.generation.members[0].replies.answer == codes.ANSWER_NODATA
    assert admit.admit(tables.access, address_octets("192.0.2.1"), False, 0, Scratch()) == codes.NOT_A_CLIENT
    assert admit.admit(tables.access, address_octets("198.51.100.1"), False, 0, Scratch()) == codes.ADMITTED
    assert one.config is changed
    before = swapped[-2]
    assert admit.admit(before.access, address_octets("192.0.2.1"), False, 0, Scratch()) == codes.ADMITTED


def test_lines_set_aside_are_approved_through_every_rebuild() -> None:
    one, _ = in_force("")
    names = octets_of("old.test") + octets_of("new.test") + octets_of("aside.test")
    bits = [codes.BLOCK_SELF, codes.BLOCK_SELF, codes.BLOCK_SELF | codes.SET_ASIDE]
    flags = b"".join(one.to_bytes(2, "little") for one in bits)
    header = {"list_id": "one", "serial": 2, "issued": 1, "expires": 0, "generation": 2, "selftest": b"s" * 26}
    view = image.view(entries.write(names, flags, KEY, previous=image_of(["old.test", "aside.test"]), **header))
    for approved in (False, True):
        one.put_in_force("list-0", view, approved=approved)
        one.configure(one.config)
        said = [verdict_of(one.tables, name)[0] == codes.BLOCK for name in ("old.test", "new.test", "aside.test")]
        assert said == [True, True, approved]


def test_a_limit_lasts_over_a_swap() -> None:
    """The buckets are one table: a new set of tables does not fill them again."""
    one, _ = in_force("", more='[listen]\nallow = ["192.0.2.0/24"]\n[limits]\nqueries_per_second = 2')
    client = address_octets("192.0.2.1")
    assert [admit.admit(one.tables.access, client, False, 5, Scratch()) for _ in range(3)] != [codes.ADMITTED] * 3
    one.configure(msgspec.structs.replace(one.config))
    assert admit.admit(one.tables.access, client, False, 5, Scratch()) != codes.ADMITTED
    assert admit.admit(one.tables.access, client, False, 1005, Scratch()) == codes.ADMITTED


def test_the_judgement_of_one_image_alone() -> None:
    one, _ = in_force("")
    one.put_in_force("list-0", image_of(["other.test"]))
    judge = one.judge_of(image_of(["a.test", "!free.a.test"]))
    for qtype in (1, 28, 65, 255):
        assert judge(octets_of("x.a.test"), qtype) == codes.BLOCK
        assert judge(octets_of("free.a.test"), qtype) == codes.PASS
        assert judge(octets_of("other.test"), qtype) == codes.PASS
    for broken in (b"", b"\3ab", b"\xc0\x00", b"\1a"):
        assert judge(broken, 1) == codes.ASK
    assert one.judge_of(image_of(["a.test"])[:24])(octets_of("a.test"), 1) == codes.ASK


def test_a_list_that_is_added_gets_a_slot_nobody_had_and_the_others_keep_theirs() -> None:
    one, _ = in_force("", "")
    one.put_in_force("list-0", image_of(["a.test"]))
    one.put_in_force("list-1", image_of(["b.test"]))
    both = one.config
    only = msgspec.structs.replace(both, lists=both.lists[1:])
    assert one.configure(only) == ()
    assert (verdict_of(one.tables, "a.test")[0], verdict_of(one.tables, "b.test")) == (codes.PASS, (codes.BLOCK, 1))
    one.put_in_force("list-0", image_of(["a.test"]))
    assert one.configure(both) == (2,), "not the slot that it had, and nothing of it is in force"
    assert verdict_of(one.tables, "a.test")[0] == codes.PASS
    assert not one.tables.complete


def test_slots_are_used_again_once_all_were_used() -> None:
    one, _ = in_force(*[""] * codes.MAX_LISTS)
    full = one.config
    one.configure(msgspec.structs.replace(full, lists=full.lists[1:]))
    assert one.configure(full) == (0,)
    assert sorted(one.slot(each.id) for each in full.lists) == list(range(codes.MAX_LISTS))


def test_the_scope_of_clients_follows_a_list_into_its_slot() -> None:
    one, _ = in_force("", 'clients = ["192.0.2.0/24"]')
    scoped = one.config.lists[1]
    one.configure(msgspec.structs.replace(one.config, lists=(scoped,)))
    one.put_in_force("list-1", image_of(["b.test"]))
    inside, outside = (admit.scope(one.tables.access, address_octets(host)) for host in ("192.0.2.7", "198.51.100.7"))
    assert verdict_of(one.tables, "b.test", inside)[0] == codes.BLOCK
    assert verdict_of(one.tables, "b.test", outside)[0] == codes.PASS


def test_a_change_that_fails_leaves_all_as_it_was() -> None:
    one, _ = in_force("", "")
    one.put_in_force("list-0", image_of(["a.test"]))
    one.put_in_force("list-1", image_of(["b.test"]))
    before = one.config

    def fail() -> None:
        with one.as_one():
            one.configure(msgspec.structs.replace(before, lists=before.lists[:1]))
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert one.config is before
    assert verdict_of(one.tables, "b.test") == (codes.BLOCK, 1)


def test_changes_that_are_one_replace_the_tables_once() -> None:
    one, swapped = in_force("")
    one.put_in_force("list-0", image_of(["a.test"]))
    swapped.clear()
    with one.as_one():
        one.configure(config("", ""))
        assert one.tables.complete, "the second list is not read yet, and no query meets that"
        assert verdict_of(one.tables, "a.test") == (codes.BLOCK, 0)
        one.put_in_force("list-1", image_of(["b.test"]))
        assert not swapped
    assert [tables.complete for tables in swapped] == [True]
    assert one.tables is swapped[0]
    assert verdict_of(one.tables, "b.test") == (codes.BLOCK, 1)
    one.take_out("list-1")
    assert not one.tables.complete


REHEARSAL = '[rehearsal]\nname = "block-test.isp.example"\nlike = "list-1"'


def test_a_rehearsal_is_blocked_before_any_list_and_counted_in_no_slot_of_theirs() -> None:
    one, _ = in_force("", 'clients = ["192.0.2.0/24"]', more=REHEARSAL)
    assert not one.tables.complete
    assert not one.enforced(), "it stands for no list"
    assert verdict_of(one.tables, "block-test.isp.example") == (codes.BLOCK, 2)
    assert one.rehearsal_slot() == 2
    assert (one.named(0), one.named(2), one.named(3)) == ("list-0", "the rehearsal", "no list")
    for name in ("isp.example", "x.block-test.isp.example"):
        assert verdict_of(one.tables, name)[0] == codes.PASS
    outside = admit.scope(one.tables.access, address_octets("198.51.100.7"))
    assert verdict_of(one.tables, "block-test.isp.example", outside)[0] == codes.PASS, "as that list, for its clients"
    one.put_in_force("list-0", image_of(["block-test.isp.example"]))
    assert verdict_of(one.tables, "block-test.isp.example") == (codes.BLOCK, 0), "a list comes first"


def test_a_rehearsal_comes_and_goes_with_the_configuration() -> None:
    one, _ = in_force("", more="")
    assert one.rehearsal_slot() is None
    assert one.configure(config("", more=REHEARSAL.replace("list-1", "list-0"))) == (1,)
    assert verdict_of(one.tables, "block-test.isp.example") == (codes.BLOCK, 1)
    assert one.configure(config("", more=REHEARSAL.replace("list-1", "list-0").replace("block-test", "other"))) == ()
    assert verdict_of(one.tables, "block-test.isp.example")[0] == codes.PASS
    assert verdict_of(one.tables, "other.isp.example") == (codes.BLOCK, 1)
    one.configure(config(""))
    assert (verdict_of(one.tables, "other.isp.example")[0], one.rehearsal_slot()) == (codes.PASS, None)


def test_the_day_and_the_hour_have_keys_of_their_own() -> None:
    one, _ = in_force("")
    table = one.attempts
    hour = bytes(table.odd_key if table.turns & 1 else table.even_key)
    day = bytes(table.odd_day_key if table.day_turns & 1 else table.even_day_key)
    assert hour != day
    one.turn_day()
    assert bytes(table.odd_day_key if table.day_turns & 1 else table.even_day_key) not in (hour, day)
    assert bytes(table.odd_key if table.turns & 1 else table.even_key) == hour
