"""The status over the control socket: exactly its public keys, and what another version sends."""

import json

import pytest
from msgspec.structs import replace

from resolver.control.status import NotStatus, Reloaded, of_json, to_json
from tests.unit.cli.test_screen_list import CERT, FREE, decision
from tests.unit.cli.test_screen_service import GOOD, LIST

ONE = replace(LIST, releases=(FREE,), certificates=(CERT,), **decision("approve", "anna"))
WHOLE = replace(GOOD, lists=(ONE,), reload=Reloaded(at=1, good=True))


def test_the_keys_are_public_names() -> None:
    found = to_json(WHOLE)
    assert list(found) == [
        "version",
        "config",
        "started",
        "ready",
        "enforcing",
        "answering",
        "lists",
        "upstreams",
        "cache_size",
        "cache_used",
        "beat",
        "in_flight",
        "connections",
        "connections_bound",
        "dropped",
        "failed",
        "reload",
        "warnings",
        "missing",
        "edges",
    ]
    assert list(found["upstreams"][0]) == [
        "upstream",
        "asked",
        "up",
        "fault",
        "zones",
        "p50_s",
        "p99_s",
        "failures",
    ]
    assert list(found["reload"]) == ["at", "good", "where", "restart"]


def test_the_keys_of_a_list_are_public_names() -> None:
    (found,) = to_json(WHOLE)["lists"]
    assert list(found) == [
        "list_id",
        "enforced",
        "lifted",
        "serial",
        "entries",
        "issued",
        "in_force_since",
        "expiry",
        "last_success",
        "poll_s",
        "failures",
        "held_serial",
        "held_for",
        "selftest_passed",
        "live",
        "withdrawn",
        "expire",
        "held_since",
        "decisions",
        "refused",
        "set_aside",
        "set_aside_approved",
        "suspended",
        "suspended_entries",
        "breaker_open",
        "due_at",
        "failing_since",
        "failing",
        "failed",
        "passed_over",
        "polled_at",
        "next_poll_at",
        "fresh_until",
        "receipt_at",
        "receipts_due",
        "receipts_due_since",
        "rolled_back",
        "rolled_back_by",
        "rollback_alarm_at",
        "releases",
        "certificates",
        "fleet_hosts",
        "fleet_missing",
        "forwarded",
        "due_serial",
        "taken_out",
        "standing",
        "exceptions",
        "held_exceptions",
    ]
    assert list(found["decisions"][0]) == ["action", "serial", "command", "signed", "missing"]
    assert list(found["releases"][0]) == ["number", "serial", "line", "at", "until", "alarm_at", "confirmed_by"]
    assert list(found["certificates"][0]) == ["key", "path", "end"]


def test_a_status_travels_as_json() -> None:
    assert of_json(json.loads(json.dumps(to_json(WHOLE)))) == WHOLE


def test_the_status_of_a_release_before_has_fewer_keys_and_is_read() -> None:
    found = to_json(GOOD)
    for key in ("releases", "decisions", "failing", "set_aside", "due_at"):
        del found["lists"][0][key]
    assert of_json(found) == GOOD


def test_keys_of_a_later_release_are_ignored() -> None:
    found = to_json(GOOD)
    found["later"] = found["lists"][0]["later"] = 1
    assert of_json(found) == GOOD


@pytest.mark.parametrize("found", [None, {}, [], {"version": 7}, {**to_json(GOOD), "lists": [{}]}])
def test_what_is_no_status_is_refused(found: object) -> None:
    with pytest.raises(NotStatus):
        of_json(found)
