"""Requests and replies on the wire: the keys that earlier releases know, and nothing repeated of what is malformed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.control import requests
from resolver.control.requests import Failed, Malformed, NoReply, Refused
from resolver.feed.actions import OF_A_LIST

CANARY = "canary-7f3a.test"
SIGNED = {"list": "demo", "serial": 8, "signature": "x"}

ON_THE_WIRE: dict[str, tuple[requests.Request[Any], dict[str, Any]]] = {
    "status": (requests.Status(), {}),
    "reload": (requests.Reload(), {}),
    "hand-over": (requests.HandOver(), {}),
    "flush": (requests.Flush(name="0161047465737400", subtree=True), {"name": "0161047465737400", "subtree": True}),
    "ask": (requests.Ask(packet="00ff", client="192.0.2.7"), {"packet": "00ff", "as": "192.0.2.7"}),
    "fetch": (requests.Fetch(list="demo"), {"list": "demo"}),
    "explain": (requests.Explain(list="demo"), {"list": "demo"}),
    "approve": (requests.Approve(**SIGNED), SIGNED),
    "approve-set-aside": (requests.ApproveSetAside(**SIGNED), SIGNED),
    "resume": (requests.Resume(**SIGNED), SIGNED),
    "rollback": (requests.Rollback(**SIGNED), SIGNED),
    "revoke": (requests.Revoke(**SIGNED), SIGNED),
    "standing": (
        requests.Stand(list="demo", signature="x", until=1_800_003_600, growth_to=5000, refused_to=9),
        {"list": "demo", "signature": "x", "until": 1_800_003_600, "growth_to": 5000, "refused_to": 9},
    ),
    "release": (
        requests.Release(name="00", reason="a school", for_s=86400.0),
        {"name": "00", "reason": "a school", "for_s": 86400.0},
    ),
    "end-release": (requests.EndRelease(number=3), {"number": 3}),
    "confirm-release": (requests.ConfirmRelease(number=3, signature="x"), {"number": 3, "signature": "x"}),
    "read": (requests.Read(words=("list", "held", "demo")), {"words": ["list", "held", "demo"]}),
    "read-more": (requests.ReadMore(token="a" * 32, start=7), {"token": "a" * 32, "start": 7}),
}

DECIDED = {
    "principal": "anna",
    "key": "SHA256:x",
    "missing": 1,
    "carried_out": False,
    "confirmed": False,
    "in_force": None,
    "number": 0,
}
REPLIES: dict[str, dict[str, Any]] = {
    "status": {"health": {"version": "1"}},
    "reload": {"file": "/r.toml", "changed": ["a.b"], "warnings": []},
    "hand-over": {"process": 42},
    "flush": {"forgotten": None},
    "ask": {"steps": [["client", "is one", 0.001]], "reply": None, "seconds": 0.1},
    "fetch": {
        "found": "held",
        "serial": 8,
        "reasons": ["growth"],
        "taken_out": 0,
        "passed_over": "",
        "again_at": 0,
    },
    "explain": {"steps": [["reading a file", 0.5]], "fetched": None, "refused": "refused", "do": "look"},
    "approve": DECIDED,
    "approve-set-aside": DECIDED,
    "resume": DECIDED,
    "rollback": DECIDED,
    "revoke": DECIDED,
    "standing": {**DECIDED, "number": 1},
    "release": {"release": {"number": 3}},
    "end-release": {"release": {"number": 3}},
    "confirm-release": {"release": {"number": 3}},
    "read": {"status": 0, "out": "x", "err": "", "token": "", "next": 0},
    "read-more": {"status": 0, "out": "x", "err": "", "token": "", "next": 0},
}


def test_every_verb_is_here() -> None:
    assert list(requests.VERBS) == list(ON_THE_WIRE) == list(REPLIES)
    assert tuple(requests.DECISIONS) == OF_A_LIST
    assert [one.verb for one, _ in ON_THE_WIRE.values()] == list(ON_THE_WIRE)


def test_what_only_reads_is_not_logged() -> None:
    reads = [verb for verb, one in requests.VERBS.items() if not one.changes_something]
    assert reads == ["status", "ask", "read", "read-more"]


@pytest.mark.parametrize("verb", ON_THE_WIRE)
def test_a_request_has_the_keys_that_earlier_releases_know(verb: str) -> None:
    request, keys = ON_THE_WIRE[verb]
    line = requests.line_of(request)
    assert line.endswith(b"}\n")
    assert json.loads(line) == {"verb": verb, **keys}
    assert requests.request_of(json.dumps({"later": 1, **keys, "verb": verb}).encode() + b"\n") == request


@pytest.mark.parametrize("verb", REPLIES)
def test_a_reply_has_the_keys_that_earlier_releases_know(verb: str) -> None:
    request, said = ON_THE_WIRE[verb][0], {"outcome": "done", **REPLIES[verb]}
    reply = requests.reply_of(json.dumps({**said, "later": 1}).encode() + b"\n", request)
    assert reply.outcome == "done"
    assert json.loads(requests.line_of(reply)) == said
    for made in (Refused(said="no"), Failed(said="no")):
        assert requests.reply_of(requests.line_of(made), request) == made
        assert json.loads(requests.line_of(made)) == {"outcome": made.outcome, "said": "no"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'{"outcome": 7}',
        b'{"outcome": "done"}',
        b'{"outcome": "refused"}',
        b'{"outcome": "other", "said": ""}',
        b'{"outcome": "done", "forgotten": "1"}',
        b"nonsense",
        b"\xff",
    ],
)
def test_what_is_no_reply(line: bytes) -> None:
    with pytest.raises(NoReply):
        requests.reply_of(line, requests.Flush(name="00"))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'"status"',
        b'{"verb": 1}',
        b'{"verb": ["status"]}',
        b'{"verb": "flush", "name": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 8000,
        b"x" * 9000,
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(Malformed, match=r"^not a request$"):
        requests.request_of(line)


def test_an_unknown_verb_is_not_repeated_and_the_operator_learns_what_to_do() -> None:
    with pytest.raises(Malformed) as malformed:
        requests.request_of(json.dumps({"verb": CANARY}).encode())
    assert str(malformed.value) == "unknown command: the service may be an older version; restart it"


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        ("flush", {}),
        *(("flush", {"name": name}) for name in (None, 7, CANARY, "0", "zz", "00\n", "00" * 256, ["00"])),
        ("flush", {"name": "00", "subtree": 1}),
        *(("ask", {"packet": packet, "as": "::1"}) for packet in (CANARY, None, "00" * 4097)),
        ("ask", {"packet": "00"}),
        ("ask", {"packet": "00", "as": 7.5}),
        ("fetch", {"list": ["demo"]}),
        *(("approve", {**SIGNED, "serial": serial}) for serial in ("8", True, 1.0, None)),
        *(("rollback", {**SIGNED, "signature": signature}) for signature in (None, 1, "x" * 6145)),
        ("resume", {"serial": 1, "signature": "x"}),
        ("standing", {"list": "demo", "signature": "x"}),
        *(("standing", {"list": "demo", "signature": "x", "until": end}) for end in (-1, "1", 1.5, 2**40 + 1)),
        *(("standing", {"list": "demo", "signature": "x", "until": 1, key: -1}) for key in ("growth_to", "refused_to")),
        ("release", {"name": "00", "reason": 7, "for_s": 1}),
        ("release", {"name": "00", "reason": CANARY, "for_s": "7d"}),
        ("end-release", {"number": "1"}),
        ("confirm-release", {"number": 1}),
    ],
)
def test_a_request_with_other_values_is_malformed_and_none_is_repeated(verb: str, keys: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as malformed:
        requests.request_of(json.dumps({"verb": verb, **keys}).encode())
    said = f"malformed request {verb}: command and service may be of different versions"
    assert str(malformed.value) == said


@given(st.binary(max_size=60))
def test_any_octets_are_a_request_or_malformed(octets: bytes) -> None:
    try:
        request = requests.request_of(octets)
    except Malformed:
        return
    assert request.verb in requests.VERBS
