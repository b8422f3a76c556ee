"""`list status` from what is written: the same facts for a person and a program; no service runs."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from resolver.cli import list_lookup, list_status
from resolver.config import config
from resolver.config.config import Fleet
from resolver.control import client, requests
from resolver.control.status import to_json
from resolver.feed import facts, fleet_receipts, receipt, standing, state
from resolver.feed.approve import Signer
from resolver.feed.places import Places
from resolver.feed.release import Covered, Release, Written
from resolver.feed.state import Approval, Held, State
from resolver.feed.store import Store
from resolver.signed import statement
from tests.unit.cli.test_list_lookup import FILE, record, save
from tests.unit.control.test_status import GOOD

NOW = 1_700_100_000.0
PATH = Path("/etc/blocklist-resolver/resolver.toml")


@pytest.fixture
def loaded(tmp_path: Path) -> config.Config:
    return config.parse(FILE.format(folder=tmp_path / "state"), "resolver.toml")


def screen(loaded: config.Config) -> list[str]:
    return list_status.screen(loaded, PATH, NOW).splitlines()


def waits(loaded: config.Config) -> None:
    """A list with lines set aside, with another one held, a name released, and receipts that nobody took."""
    kept = record(loaded, set_aside={"popular": 2}, expires=1_700_200_000)
    newer = record(loaded, serial=8, digest="1" * 64)
    save(loaded, "first", kept)
    signed = Approval(
        action="approve-set-aside", serial=7, digest=kept.digest, principal="anna", key="k", at=5, expiry=int(NOW) + 9
    )
    Store(Places(loaded.state.directory).list("first")).write_state(
        State(
            generation=2,
            in_force=kept,
            held=Held(record=newer, reasons=("growth",), since=int(NOW) - 7200),
            approvals=(signed,),
        )
    )
    folder = Path(loaded.state.directory)
    for name in ("releases", "receipts"):
        (folder / name).mkdir()
    free = Release(
        number=3,
        covered=(Covered(list="first", serial=7, digest="", line=1733),),
        uid=1,
        reason="a school",
        at=int(NOW) - 90_000,
        until=int(NOW) + 86_400 * 3,
        image="",
        digest_key="",
    )
    (folder / "releases/releases.json").write_bytes(msgspec.json.encode(Written(last=3, releases=(free,))))
    for name, text in (("first-7-1.json", "{}"), ("first-7-1.due", "first")):
        (folder / "receipts" / name).write_text(text)
        os.utime(folder / "receipts" / name, (NOW - 3600, NOW - 3600))


def test_a_list_that_waits_for_nobody(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded))
    assert screen(loaded) == [
        "list       first: serial 7 in force, 5 entries",
        "  dates    issued 1 d 3 h ago, in force for 1 d 3 h, ends in 12 d 20 h",
        "  refused  malformed 2: lines that are no usable entries",
        "list       second: NOT IN FORCE, no verified list yet",
        "next: second is NOT IN FORCE: look at its source, and journalctl -u blocklist-resolver",
    ]


def test_everything_that_waits_is_told_with_what_to_do(loaded: config.Config) -> None:
    waits(loaded)
    found = screen(loaded)
    assert found[:10] == [
        "list       first: serial 7 in force, 5 entries",
        "  dates    issued 1 d 3 h ago, in force for 1 d 3 h, ends in 1 d 3 h",
        "  refused  malformed 2: lines that are no usable entries",
        "  aside    popular 2: lines that do not count; 1 of 2 signatures (anna)",
        "  held     serial 8 HELD (growth) for 2 h 0 min; 0 of 2 signatures",
        "  deadline a newer list has to be in force: MISSED 3 h 46 min ago",
        "  release  3: serial 7 line 1733, ends in 3 d 0 h; NOT CONFIRMED, ALARM for 1 h 0 min",
        "  receipt  written 1 h 0 min ago; 1 NOT DELIVERED, the oldest for 1 h 0 min",
        "list       second: NOT IN FORCE, no verified list yet",
        "next: second is NOT IN FORCE: look at its source, and journalctl -u blocklist-resolver",
    ]
    assert found[10:] == [
        "next: first: serial 8 is HELD, and OVERDUE, 0 of 2 signatures: blocklist-resolver list held first",
        "next: release 3 unconfirmed, ALARM for 1 h 0 min: blocklist-resolver list release 3 --statement",
        "next: first: ends in 1 d 3 h, then it stays, with an alarm: have the authority issue a new serial",
        "next: first: 1 receipt not delivered, oldest for 1 h 0 min: see journalctl -u blocklist-resolver",
        "next: first: lines SET ASIDE, 1 of 2 signatures: blocklist-resolver list held first",
    ]


def test_what_came_out_of_the_last_poll_is_asked_of_the_service(
    loaded: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a list that is not in force, and by a program; without a service the row is left out."""
    save(loaded, "first", record(loaded))
    first, second = (facts.of_state(one, State(), NOW) for one in loaded.lists)
    failed = "unreachable: /srv/lists/metadata/timestamp.json: Permission denied"
    poll = {"polled_at": int(NOW) - 60, "next_poll_at": int(NOW) + 840}
    good = replace(first, last_success=int(NOW) - 60, selftest_passed=True, **poll)
    bad = replace(second, failed=failed, failing={"unreachable": 3}, failing_since=int(NOW) - 3600, **poll)
    health = to_json(replace(GOOD, lists=(good, bad)))
    monkeypatch.setattr(client, "call", lambda *_, **__: requests.StatusReply(health=health))
    found = screen(loaded)
    assert "  feed     last good 1 min ago, next poll in 14 min, failures: none; self-test passed" in found
    assert "  feed     no poll was good yet, FAILING for 1 h 0 min: unreachable 3" in found
    assert f"  failed   1 min ago, next poll in 14 min: {failed}" in " ".join(found).replace("            ", " ")
    shown = json.loads(list_status.as_json(loaded, NOW))
    assert (shown[0]["feed"]["failed"], shown[1]["feed"]["failed"]) == (None, failed)
    assert shown[1]["feed"]["next_poll"] == "2023-11-16T02:14:00Z"


def test_a_withdrawn_list_is_told(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded, withdrawn=True, image="", refused={}))
    assert screen(loaded)[0] == "list       first: withdrawn by serial 7, nothing is blocked by it"


def test_status_is_read_by_a_program(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded))
    first, second = json.loads(list_status.as_json(loaded, NOW))
    assert first == {
        "list": "first",
        "serial": 7,
        "in_force_since": "2023-11-14T22:14:20Z",
        "issued": "2023-11-14T22:13:20Z",
        "expires": None,
        "hard_limit": "2023-11-28T22:13:20Z",
        "entries": 5,
        "exceptions": 0,
        "withdrawn": False,
        "refused": {"malformed": 2, "tld": 0},
        "held": None,
        "quarantined": 0,
        "fleet": None,
        "feed": None,
        "lifted": False,
        "set_aside": {},
        "set_aside_approved": False,
        "suspended": False,
        "decisions": [],
        "standing": [],
        "deadline": None,
        "deadline_serial": None,
        "taken_out": None,
        "rolled_back": None,
        "receipt": None,
        "receipts_due": 0,
        "receipts_due_since": None,
        "releases": [],
        "certificates": [],
    }
    assert (second["list"], second["serial"], second["entries"]) == ("second", None, 0)


def test_a_program_reads_what_waits(loaded: config.Config) -> None:
    waits(loaded)
    first, _ = json.loads(list_status.as_json(loaded, NOW))
    assert (first["suspended"], first["set_aside"], first["held"]) == (
        True,
        {"popular": 2},
        {"serial": 8, "reasons": ["growth"]},
    )
    assert first["decisions"] == [
        {"action": "approve", "serial": 8, "signed": [], "missing": 2},
        {"action": "approve-set-aside", "serial": 7, "signed": ["anna"], "missing": 1},
    ]
    assert (first["receipts_due"], first["receipts_due_since"]) == (1, "2023-11-16T01:00:00Z")
    assert first["deadline"] == "2023-11-15T22:13:20Z"
    (free,) = first["releases"]
    assert (free["number"], free["line"], free["confirmed_by"], free["alarm_at"]) == (
        3,
        1733,
        None,
        "2023-11-16T01:00:00Z",
    )


def test_what_is_approved_beforehand_and_taken_out_is_read_by_a_program(loaded: config.Config) -> None:
    kept, out = record(loaded), record(loaded, serial=8, digest="8" * 64)
    signed = Approval(action="rollback", serial=7, digest=out.digest, principal="anna", key="k", at=5)
    found = State(in_force=out, previous=kept, approvals=(signed,))
    found = state.go_back(found)
    terms = standing.terms(found, growth_to=5000, refused_to=0, until=int(NOW) + 3600, now=NOW)
    found = standing.sign(found, terms, Signer("anna", "SHA256:a", int(NOW) + 9), NOW)
    save(loaded, "first", kept)
    Store(Places(loaded.state.directory).list("first")).write_state(found)
    first, _ = json.loads(list_status.as_json(loaded, NOW))
    assert (first["serial"], first["taken_out"], first["deadline"]) == (7, 8, None)
    assert first["standing"] == [
        {
            "number": 1,
            "growth_to": 5000,
            "refused_to": 0,
            "until": "2023-11-16T03:00:00Z",
            "signed": ["anna"],
            "missing": 1,
        }
    ]


def test_a_fleet_is_counted_host_by_host(loaded: config.Config, tmp_path: Path) -> None:
    save(loaded, "first", record(loaded))
    for name in ("nodes", "receipts"):
        (tmp_path / name).mkdir()
    for name in ("one", "two"):
        (tmp_path / f"nodes/{name}.pub").write_text("no key")
    fleet = Fleet(publish="/srv/fleet", receipts=str(tmp_path / "receipts"), nodes=str(tmp_path / "nodes"))
    with_fleet = replace(loaded, fleet=fleet)
    said = "  fleet    serial 7 is reported in force by 0 of 2 hosts; missing: one, two"
    assert said in screen(with_fleet)
    first, _ = json.loads(list_status.as_json(with_fleet, NOW))
    assert first["fleet"] == {"nodes": 2, "reported": 0, "since": {}, "missing": ["one", "two"]}


def test_what_the_service_has_read_of_a_fleet_is_not_read_again(
    loaded: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = record(loaded)
    save(loaded, "first", kept)
    for name in ("nodes", "receipts"):
        (tmp_path / name).mkdir()
    for number, name in enumerate(("one", "two")):
        key = Ed25519PrivateKey.generate()
        about = receipt.about("receipt", kept, list_id="first", host=name) | {"in_force_since": 1_700_000_500 + number}
        (tmp_path / f"nodes/{name}.pub").write_bytes(statement.pem_of(statement.public_of(key)))
        (tmp_path / f"receipts/{name}.json").write_bytes(statement.sign(about, key))
    fleet = Fleet(publish="/srv/fleet", receipts=str(tmp_path / "receipts"), nodes=str(tmp_path / "nodes"))
    of_service = fleet_receipts.Collector(tmp_path / "receipts", tmp_path / "nodes")
    of_service.reports({"first": kept})
    of_service.save(Places(loaded.state.directory).collected)
    verified: list[bytes] = []
    claimed = statement.claimed
    monkeypatch.setattr(statement, "claimed", lambda data: (verified.append(data), claimed(data))[1])
    said = "  fleet    serial 7 is reported in force by 2 of 2 hosts"
    with_fleet = replace(loaded, fleet=fleet)
    assert said in screen(with_fleet)
    assert verified == []
    Places(loaded.state.directory).collected.unlink()
    assert said in screen(with_fleet), "without a service all is read here"
    assert len(verified) == 2


def test_releases_that_cannot_be_read_are_told(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded))
    folder = Path(loaded.state.directory) / "releases"
    folder.mkdir()
    (folder / "releases.json").write_text("{")
    with pytest.raises(list_lookup.ListUnreadable, match="the releases below"):
        screen(loaded)
