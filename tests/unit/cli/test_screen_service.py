"""The screen an operator reads at night: every fact in its place, and a line for whatever is wrong."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from resolver.cli import screen_service
from resolver.control.status import EdgeHealth, Reloaded, Status, UpstreamHealth, to_json
from resolver.feed.facts import ListFacts

NOW = 1_800_000_000.0
LIST = ListFacts(
    list_id="demo",
    has_list=True,
    lifted=False,
    serial=7,
    entries=102_331,
    issued=int(NOW) - 7200,
    in_force_since=int(NOW) - 7000,
    hard_limit_at=int(NOW) + 13 * 86400,
    last_success=int(NOW) - 240,
    poll_s=900.0,
    failures={"timeout": 0, "tampered": 0},
    held_serial=0,
    held_for=(),
    selftest_passed=True,
)
UPSTREAM = UpstreamHealth(
    upstream="192.0.2.53:53",
    asked=True,
    up=True,
    fault="",
    zones=("",),
    p50_s=0.012,
    p99_s=0.08,
    failures={"timeout": 3},
)
GOOD = Status(
    version="0.0.1",
    config="/etc/resolver.toml",
    started=int(NOW) - 3 * 86400 - 4 * 3600,
    ready=True,
    enforcing=True,
    answering=True,
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


def changed(**facts: Any) -> Status:
    """GOOD with other facts: of the service, or with `one_` in front of the list, `up_` of the upstream."""
    one = {key.removeprefix("one_"): value for key, value in facts.items() if key.startswith("one_")}
    server = {key.removeprefix("up_"): value for key, value in facts.items() if key.startswith("up_")}
    own = {key: value for key, value in facts.items() if not key.startswith(("one_", "up_"))}
    return replace(GOOD, lists=(replace(LIST, **one),), upstreams=(replace(UPSTREAM, **server),), **own)


def test_one_screen_says_all_and_nothing_to_do() -> None:
    assert screen_service.screen(GOOD, NOW).splitlines() == [
        "service    ready, enforcing; version 0.0.1, up 3 d 4 h",
        "from       /etc/resolver.toml",
        "list       demo: serial 7 in force, 102331 entries",
        "  dates    issued 2 h 0 min ago, in force for 1 h 56 min, ends in 13 d 0 h",
        "  feed     last good 4 min ago, failures: none; self-test passed",
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
        ({"up_up": False}, "192.0.2.53:53 DOWN, "),
        ({"up_up": False, "up_asked": False}, "192.0.2.53:53 not asked yet, "),
        ({"up_fault": "answers SERVFAIL"}, "192.0.2.53:53 answers SERVFAIL, "),
        ({"up_up": False, "up_fault": "certificate not valid"}, "192.0.2.53:53 DOWN: certificate not valid, "),
        ({"up_zones": ("", "corp.test")}, "192.0.2.53:53 (all other names, corp.test) up, "),
        ({"up_p50_s": None, "up_p99_s": None}, "192.0.2.53:53 up, too few exchanges for a latency, "),
        ({"beat": 0}, "cache      64.0 MiB, its use is shown from the next beat on"),
        ({"reload": Reloaded(at=int(NOW) - 50, good=True)}, "reload     done 50 s ago"),
        (
            {"reload": Reloaded(at=int(NOW) - 50, good=False, where="/etc/resolver.toml: page.listen")},
            "reload     REFUSED 50 s ago: /etc/resolver.toml: page.listen",
        ),
        ({"dropped": {"proxy": 2, "connection_limit": 1}}, "dropped    connection_limit 1, proxy 2"),
    ],
)
def test_every_state_has_its_words(facts: dict[str, Any], row: str) -> None:
    assert row in screen_service.screen(changed(**facts), NOW)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"one_has_list": False, "enforcing": False}, "demo is NOT IN FORCE: look at its source"),
        ({"one_hard_limit_at": int(NOW)}, "demo is past its hard limit, and stays in force: have the authority issue"),
        ({"one_selftest_passed": False}, "demo: its self-test did not pass"),
        ({"enforcing": False}, "a verdict failed since the start"),
        ({"ready": False}, "the service is stopping"),
        ({"up_up": False, "answering": False, "ready": False}, "NO upstream answers"),
        ({"up_up": False, "up_zones": ("corp.test",)}, "NO server of zone corp.test answers, its names fail"),
        ({"up_fault": "answers SERVFAIL"}, "upstream 192.0.2.53:53 answers SERVFAIL (timeout 3): blocklist-resolver"),
        ({"up_up": False}, "is down (timeout 3): blocklist-resolver ask example.com --server 192.0.2.53:53"),
        (
            {"up_up": False, "up_fault": "not valid", "up_upstream": "https://dns.example@[2001:db8::53]:443/q"},
            "is down: not valid (timeout 3): openssl s_client -connect [2001:db8::53]:443 -servername dns.example "
            "-verify_hostname dns.example",
        ),
        (
            {"reload": Reloaded(at=1, good=False)},
            "the last reload was refused, correct the file: blocklist-resolver check-config /etc/resolver.toml",
        ),
        (
            {"reload": Reloaded(at=1, good=False, where="restart to change: cache.size", restart=True)},
            "the new configuration needs a restart (restart to change: cache.size): restart, or undo the change",
        ),
        ({"connections": 9_000}, "TCP connections are near their limit"),
        ({"warnings": ("listen.allow is a handful",)}, "listen.allow is a handful"),
    ],
)
def test_what_is_wrong_says_what_to_do(facts: dict[str, Any], words: str) -> None:
    found = changed(**facts)
    (line,) = (one.text for one in screen_service.advice(found, NOW) if words in one.text)
    assert f"next: {line}" in " ".join(screen_service.screen(found, NOW).split())
    assert "nothing to do" not in screen_service.screen(found, NOW)


@pytest.mark.parametrize(
    "facts",
    [
        {"connections": 8_999},
        {"reload": Reloaded(at=1, good=True)},
        {"up_up": False, "up_asked": False, "answering": False, "ready": False},
    ],
)
def test_what_is_well_says_nothing(facts: dict[str, Any]) -> None:
    assert screen_service.advice(changed(**facts), NOW) == ()


def test_the_worst_comes_first() -> None:
    upstream = {"answering": False, "up_up": False}
    found = changed(one_has_list=False, enforcing=False, reload=Reloaded(at=1, good=False), **upstream)
    starts = [one.text.split()[0:2] for one in screen_service.advice(found, NOW)]
    assert starts == [["demo", "is"], ["NO", "upstream"], ["upstream", "192.0.2.53:53"], ["the", "last"]]


def test_one_of_two_upstreams_that_is_down_is_not_all() -> None:
    found = replace(GOOD, upstreams=(UPSTREAM, replace(UPSTREAM, upstream="192.0.2.54:53", up=False)))
    (line,) = screen_service.advice(found, NOW)
    assert line.text.startswith("upstream 192.0.2.54:53 is down")


def test_json_has_the_status_and_the_advice() -> None:
    shown = json.loads(screen_service.as_json(changed(one_held_serial=8, one_selftest_passed=False), NOW))
    assert shown["lists"][0]["held_serial"] == 8
    assert shown["next"] == ["demo: its self-test did not pass: see journalctl -u blocklist-resolver"]
    assert list(shown) == [*to_json(GOOD), "next"]


def test_every_line_fits_a_screen_and_colour_is_for_terminals() -> None:
    found = replace(
        changed(up_up=False, enforcing=False, warnings=("word " * 60,)),
        dropped={f"reason_{number}": number for number in range(1, 30)},
        config="/etc/blocklist-resolver/resolver.toml",
    )
    assert max(map(len, screen_service.screen(found, NOW).splitlines())) <= 100
    assert "\x1b" not in screen_service.screen(found, NOW)
    coloured = screen_service.screen(found, NOW, colour=True).splitlines()
    assert coloured[0].startswith("\x1b[1;31mservice    ready, NOT ENFORCING")


def test_sockets_that_nothing_can_reach_are_named() -> None:
    line = "listen.dns: 192.0.2.53:53 (UDP): Address already in use"
    shown = screen_service.screen(replace(GOOD, missing=(line,)), NOW)
    assert f"NOT {line}" in " ".join(shown.split())
    assert "1 configured socket cannot be reached" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("edges", "shown", "advised"),
    [
        (EdgeHealth(connected=2, expires=1_801_440_000), "2 connected, certificate ends 2027-02-01", ""),
        (EdgeHealth(connected=1, expires=0), "1 connected, no certificate is known", ""),
        (EdgeHealth(connected=0, expires=0), "0 connected, no certificate is known", "no edge is connected"),
        (EdgeHealth(connected=1, expires=int(NOW) + 86400), "1 connected, certificate ends", "ends in 1 d 0 h"),
        (EdgeHealth(connected=1, expires=int(NOW)), "1 connected, certificate ENDED", "has ended: clients refuse"),
    ],
)
def test_edges_have_a_line_and_their_next_step(edges: EdgeHealth, shown: str, advised: str) -> None:
    status = replace(GOOD, edges=edges)
    (line,) = [one for one in screen_service.screen(status, NOW).splitlines() if one.startswith("edges")]
    assert shown in line
    said = [one.text for one in screen_service.advice(status, NOW)]
    assert [advised in one for one in said] == ([True] if advised else [])
    assert "edges" not in screen_service.screen(GOOD, NOW)
