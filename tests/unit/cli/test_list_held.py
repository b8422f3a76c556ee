"""What waits for a person, read from the disk: counts, line numbers and commands, never a name."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.cli import list_held
from resolver.config import config
from resolver.feed import standing
from resolver.feed.actions import Action
from resolver.feed.approve import Signer
from resolver.feed.places import Places
from resolver.feed.state import Approval, Floor, Held, Record, State
from resolver.feed.store import Store
from tests.unit.cli.test_list_lookup import FILE
from tests.unit.feed.test_state import record

PATH = Path("/etc/blocklist-resolver/resolver.toml")
NOON = 20_000 * 86400 + 43200
SEVEN = record(7, "7", set_aside={"protected": 2}, set_aside_lines={"protected": (3, 9)})
EIGHT = record(8, "8", generation=8, entries=30, refused={"tld": 25}, refused_lines={"tld": tuple(range(1, 26))})


@pytest.fixture
def loaded(tmp_path: Path) -> config.Config:
    return config.parse(FILE.format(folder=tmp_path / "state"), "resolver.toml")


def write(loaded: config.Config, state: State, floor: Record = SEVEN) -> None:
    store = Store(Places(loaded.state.directory).list("first"))
    store.prepare()
    store.write_floor(Floor(record=floor))
    store.write_state(state)


def approval(action: Action, serial: int, digest: str, expiry: int = NOON + 1) -> Approval:
    return Approval(
        action=action.value, serial=serial, digest=digest, principal="anna", key="SHA256:a", at=NOON, expiry=expiry
    )


def test_nothing_waits(loaded: config.Config) -> None:
    assert list_held.screen(loaded, "first", NOON, PATH) == "first: nothing waits for a person"
    assert json.loads(list_held.as_json(loaded, "first", NOON))["decisions"] == []
    with pytest.raises(list_held.NothingWaits, match="nothing is held"):
        list_held.statement(loaded, "first", "approve", NOON)


def test_a_standing_approval_is_shown_with_its_terms_and_how_to_sign_it_or_take_it_back(
    loaded: config.Config,
) -> None:
    until = NOON + 3600
    write(loaded, State(in_force=SEVEN))
    asked = {"growth_to": 5000, "refused_to": 0, "until": until, "now": NOON}
    said = json.loads(list_held.standing_statement(loaded, "first", **asked))
    assert (said["number"], said["growth_to"], said["list"], said["keys"]) == (1, 5000, "first", "keys")
    with pytest.raises(list_held.NothingWaits, match="allow nothing"):
        list_held.standing_statement(loaded, "first", **{**asked, "growth_to": 0})
    with pytest.raises(list_held.NothingWaits, match="no standing approval"):
        list_held.statement(loaded, "first", "revoke", NOON)
    found = State(in_force=SEVEN)
    for person in ("anna", "ben"):
        signer = Signer(person, f"SHA256:{person}", NOON + 90_000)
        found = standing.sign(found, standing.terms(found, **asked), signer, NOON)
        write(loaded, found)
        told = list_held.screen(loaded, "first", NOON, PATH)
        if person == "anna":
            assert "first: standing approval 1: growth to 5000 entries until 2024-10-04T13:00:00Z: signed by" in told
            words = "list standing first --growth-to 5000 --until 2024-10-04T13:00:00Z"
            assert f"{words} --statement > first-standing-1\n" in told
            assert f"{words} --signature first-standing-1.sig" in told
    assert "until 2024-10-04T13:00:00Z, by anna and ben; to take it back, one signature" in told
    assert "list held first --statement revoke" in told
    (one,) = json.loads(list_held.as_json(loaded, "first", NOON))["standing"]
    assert (one["number"], one["growth_to"], one["signed"], one["missing"]) == (1, 5000, ["anna", "ben"], 0)
    revoked = json.loads(list_held.statement(loaded, "first", "revoke", NOON))
    assert (revoked["action"], revoked["serial"]) == ("revoke", 1)
    assert "standing" not in list_held.screen(loaded, "first", until, PATH)


def test_what_a_zone_that_is_emptied_means_is_said(loaded: config.Config) -> None:
    ended = record(8, "8", generation=8, entries=0, withdrawn=True, image="")
    write(loaded, State(in_force=SEVEN, held=Held(record=ended, reasons=("emptied",), since=1)))
    told = list_held.screen(loaded, "first", NOON, PATH)
    assert "it is a zone without any entry: approved, it ends the list, and nothing is blocked by it\n" in told
    write(loaded, State(in_force=SEVEN, held=Held(record=ended, reasons=("withdrawn",), since=1)))
    assert "it is a withdrawal: approved, nothing is blocked by the list\n" in list_held.screen(
        loaded, "first", NOON, PATH
    )


def test_exceptions_of_what_is_held_are_told_apart(loaded: config.Config) -> None:
    held = Held(record=replace(EIGHT, exceptions=9), reasons=("exceptions",), since=1)
    write(loaded, State(in_force=SEVEN, held=held))
    told = list_held.screen(loaded, "first", NOON, PATH)
    assert "it has 30 entries, of them 9 exceptions, +20 against serial 7 in force" in told


def test_what_is_held_and_set_aside(loaded: config.Config) -> None:
    signed = approval(Action.APPROVE, 8, EIGHT.digest)
    write(
        loaded,
        State(in_force=SEVEN, held=Held(record=EIGHT, reasons=("growth",), since=1), approvals=(signed,)),
    )
    told = list_held.screen(loaded, "first", NOON, PATH)
    assert "first: serial 8 is held (growth); it has 30 entries, +20 against serial 7 in force" in told
    assert f"  held for {NOON // 86400} d 11 h; LATE for " in told
    assert "refused: tld 25: line 1, 2, 3" in told
    assert "20, ..." in told
    assert "set aside: protected 2: line 3, 9\n" in told
    assert "first: approve serial 8: signed by anna; 1 more signature needed, of another person each" in told
    assert "list held first --statement approve > first-approve-8" in told
    assert "list approve first 8 --signature first-approve-8.sig" in told
    assert "list approve first 7 --set-aside --signature" in told
    assert "2 more signatures needed" in told
    found = json.loads(list_held.as_json(loaded, "first", NOON))
    assert [(one["action"], one["missing"]) for one in found["decisions"]] == [
        ("approve", 1),
        ("approve-set-aside", 2),
    ]
    assert found["held"]["refused_lines"]["tld"][-1] == 25
    assert (
        "more signatures"
        in list_held.screen(loaded, "first", NOON + 1, PATH).split("approve serial 8")[1].split("\n")[0]
    )
    assert list_held.statement(loaded, "first", "approve", NOON).startswith(
        b'{"action":"approve","list":"first","serial":8,'
    )


def test_a_way_back_and_a_rollback_to_confirm(loaded: config.Config) -> None:
    write(loaded, State(in_force=EIGHT, previous=SEVEN), EIGHT)
    told = list_held.screen(loaded, "first", NOON, PATH).splitlines()
    assert told[-2:] == [
        "first: to go back from serial 8 to 7, for good; to sign:",
        "  blocklist-resolver list held first --statement rollback",
    ]
    back = State(in_force=SEVEN, gone_back_to=SEVEN.identity, approvals=(approval(Action.ROLLBACK, 7, EIGHT.digest),))
    write(loaded, back, EIGHT)
    told = list_held.screen(loaded, "first", NOON + 5, PATH)
    assert "the rollback to serial 7 was signed by anna; alarm in 23 h 59 min; confirm it:" in told
    assert "to go back" not in told
    assert "signed by anna; ALARM for 1 h 0 min; confirm" in list_held.screen(loaded, "first", NOON + 90_000, PATH)
    assert "list rollback first 7 --signature first-rollback-7.sig" in told
    assert EIGHT.digest.encode() in list_held.statement(loaded, "first", "rollback", NOON)


def test_commands_name_the_configuration_and_the_way_back_is_always_told(loaded: config.Config) -> None:
    aside = replace(EIGHT, set_aside={"in_use": 1})
    write(loaded, State(in_force=aside, previous=SEVEN), aside)
    told = list_held.screen(loaded, "first", NOON, Path("x.toml"))
    assert "first: lines of serial 8 in force are set aside and do not block\n" in told
    sign = "--statement approve-set-aside --config x.toml > first-approve-set-aside-8\n"
    assert f"  blocklist-resolver list held first {sign}" in told
    assert told.endswith("  blocklist-resolver list held first --statement rollback --config x.toml")


def test_of_a_withdrawn_list_nothing_waits(loaded: config.Config) -> None:
    gone = record(8, "8", generation=8, withdrawn=True, image="")
    write(loaded, State(in_force=gone), gone)
    assert list_held.screen(loaded, "first", NOON, PATH) == "first: nothing waits for a person"
