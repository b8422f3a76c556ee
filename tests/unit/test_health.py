"""The screen an operator reads at night: every fact in its place, and a line for whatever is wrong."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from resolver import health
from resolver.health import Health, ListHealth, Reloaded, UpstreamHealth

NOW = 1_800_000_000.0
LIST = ListHealth(
    list_id="demo",
    enforced=True,
    lifted=False,
    serial=7,
    entries=102_331,
    issued=int(NOW) - 7200,
    in_force_since=int(NOW) - 7000,
    expiry=int(NOW) + 13 * 86400,
    last_success=int(NOW) - 240,
    poll_s=900.0,
    failures={"timeout": 0, "tampered": 0},
    held_serial=0,
    held_for=(),
    selftest_passed=True,
)
UPSTREAM = UpstreamHealth(upstream="192.0.2.53:53", up=True, p50_s=0.012, p99_s=0.08, failures={"timeout": 3})
GOOD = Health(
    version="0.0.1",
    config="/etc/resolver.toml",
    started=int(NOW) - 3 * 86400 - 4 * 3600,
    ready=True,
    enforcing=True,
    lists=(LIST,),
    upstreams=(UPSTREAM,),
    cache_size=64 * 2**20,
    cache_used=41 * 2**20,
    beat=1_799_999_100,
    in_flight=12,
    connections=40,
    connections_bound=10_000,
    dropped={"rate_limit": 12, "short": 0},
    failed={"upstream": 0},
    reload=None,
    warnings=(),
)


def changed(**facts: Any) -> Health:
    """GOOD with other facts: of the service, or with `one_` in front of the list, `up_` of the upstream."""
    one = {key.removeprefix("one_"): value for key, value in facts.items() if key.startswith("one_")}
    server = {key.removeprefix("up_"): value for key, value in facts.items() if key.startswith("up_")}
    own = {key: value for key, value in facts.items() if not key.startswith(("one_", "up_"))}
    return replace(GOOD, lists=(replace(LIST, **one),), upstreams=(replace(UPSTREAM, **server),), **own)


def test_one_screen_says_all_and_nothing_to_do() -> None:
    assert health.screen(GOOD, NOW).splitlines() == [
        "service    ready, enforcing; version 0.0.1, up 3 d 4 h",
        "from       /etc/resolver.toml",
        "list       demo: serial 7, 102331 entries, issued 2 h 0 min ago, in force for 1 h 56 min, ends in 13 d 0 h",
        "           feed last good 4 min ago, failures: none; self-test passed",
        "upstream   192.0.2.53:53 up, p50 12.0 ms, p99 80.0 ms, failures: timeout 3",
        "cache      64.0 MiB, 41.0 MiB of it used at 07:45:00Z",
        "load       12 queries in flight, 40 of 10000 connections",
        "dropped    rate_limit 12",
        "failed     none",
        "reload     none since the start",
        "next: nothing to do",
    ]


@pytest.mark.parametrize(
    ("facts", "row"),
    [
        ({"ready": False}, "service    NOT READY, enforcing; "),
        ({"enforcing": False}, "service    ready, NOT ENFORCING; "),
        ({"one_enforced": False, "one_serial": 0}, "list       demo: NOT IN FORCE"),
        ({"one_lifted": True}, "list       demo: lifted, nothing is blocked by it"),
        ({"one_expiry": int(NOW) - 60}, "ENDED 1 min ago"),
        ({"one_held_serial": 8, "one_held_for": ("growth", "first")}, "serial 8 HELD (growth, first)"),
        ({"one_last_success": 0}, "feed not good since the start"),
        ({"one_selftest_passed": False}, "self-test NOT passed"),
        ({"one_failures": {"tampered": 2, "timeout": 1}}, "failures: tampered 2, timeout 1;"),
        ({"up_up": False}, "192.0.2.53:53 DOWN, "),
        ({"up_p50_s": None, "up_p99_s": None}, "192.0.2.53:53 up, too few exchanges for a latency, "),
        ({"beat": 0}, "cache      64.0 MiB, use is told from the next beat on"),
        ({"reload": Reloaded(at=int(NOW) - 50, good=True)}, "reload     done 50 s ago"),
        (
            {"reload": Reloaded(at=int(NOW) - 50, good=False, where="/etc/resolver.toml: page.listen")},
            "reload     REFUSED 50 s ago: /etc/resolver.toml: page.listen",
        ),
        ({"dropped": {"proxy": 2, "connection_limit": 1}}, "dropped    connection_limit 1, proxy 2"),
    ],
)
def test_every_state_has_its_words(facts: dict[str, Any], row: str) -> None:
    assert row in health.screen(changed(**facts), NOW)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"one_enforced": False, "enforcing": False}, "list demo is not in force: look at its source.url and root"),
        (
            {"one_enforced": False, "enforcing": False, "one_failures": {"tampered": 2}},
            "list demo is not in force (tampered 2): ",
        ),
        (
            {"one_enforced": False, "enforcing": False, "one_held_serial": 1},
            "its first serial is held: why, says blocklist-resolver list status --config /etc/resolver.toml",
        ),
        ({"one_expiry": int(NOW)}, "list demo is past its hard limit: have the authority issue a new serial"),
        ({"one_held_serial": 8}, "serial 8 of list demo is held: why, says blocklist-resolver list status"),
        ({"one_selftest_passed": False}, "the self-test of list demo did not pass"),
        ({"enforcing": False}, "a verdict failed since the start"),
        ({"ready": False}, "the service is stopping"),
        ({"up_up": False}, "NO upstream answers"),
        ({"up_up": False}, "does it answer you? blocklist-resolver ask example.com --server 192.0.2.53:53"),
        ({"one_last_success": int(NOW) - 3 * 900 - 61}, "the feed of list demo has been silent for 46 min"),
        ({"one_last_success": 0, "one_failures": {"unreachable": 1}}, "silent for 3 d 4 h (unreachable 1), the last"),
        (
            {"reload": Reloaded(at=1, good=False)},
            "the last reload was refused: blocklist-resolver check-config /etc/resolver.toml, then reload",
        ),
        (
            {"reload": Reloaded(at=1, good=False, where="restart to change: cache.size", restart=True)},
            "the file is not taken before a restart (restart to change: cache.size): restart the service, or take that",
        ),
        ({"connections": 9_000}, "TCP connections are near their bound"),
        ({"warnings": ("listen.allow is a handful",)}, "listen.allow is a handful"),
    ],
)
def test_what_is_wrong_says_what_to_do(facts: dict[str, Any], words: str) -> None:
    found = changed(**facts)
    (line,) = (one for one in health.advice(found, NOW) if words in one)
    assert f"next: {line}" in health.screen(found, NOW)
    assert "nothing to do" not in health.screen(found, NOW)


@pytest.mark.parametrize(
    "facts",
    [
        {"one_last_success": int(NOW) - 3 * 900},
        {"one_last_success": 0, "started": int(NOW) - 10},
        {"one_lifted": True, "one_expiry": int(NOW) - 9, "one_selftest_passed": False},
        {"one_failures": {"timeout": 5}},
        {"connections": 8_999},
        {"reload": Reloaded(at=1, good=True)},
    ],
)
def test_what_is_well_says_nothing(facts: dict[str, Any]) -> None:
    assert health.advice(changed(**facts), NOW) == ()


def test_the_worst_comes_first() -> None:
    found = changed(one_enforced=False, enforcing=False, up_up=False, reload=Reloaded(at=1, good=False))
    starts = [one.split()[0:2] for one in health.advice(found, NOW)]
    assert starts == [["list", "demo"], ["NO", "upstream"], ["upstream", "192.0.2.53:53"], ["the", "last"]]


def test_one_of_two_upstreams_that_is_down_is_not_all() -> None:
    found = replace(GOOD, upstreams=(UPSTREAM, replace(UPSTREAM, upstream="192.0.2.54:53", up=False)))
    (line,) = health.advice(found, NOW)
    assert line.startswith("upstream 192.0.2.54:53 is down")


def test_facts_travel_as_json() -> None:
    assert health.read(json.loads(json.dumps(health.told(GOOD)))) == GOOD
    shown = json.loads(health.as_json(changed(one_held_serial=8), NOW))
    assert shown["lists"][0]["held_serial"] == 8
    assert len(shown["next"]) == 1


@pytest.mark.parametrize("told", [None, {}, [], {"version": 7}, {**health.told(GOOD), "lists": [{}]}])
def test_facts_of_another_version_are_told_apart(told: object) -> None:
    with pytest.raises(health.NotHealth):
        health.read(told)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_said_in_two_units(seconds: float, words: str) -> None:
    assert health.span(seconds) == words
