"""One screen of a running service's health, and what to do next where something is wrong.

Rules:
- Facts come in as they were told over the control socket; nothing is looked up here, and `now` is handed in.
- Only facts that may be told live are in it, and what was published: no fact of it moves because a name was blocked.
- Whatever is wrong has one line "next: ...", the worst first: what is wrong, and the command or the place to look.
- What is told of a list is in `list_health`, how a screen is laid out in `advice`.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from resolver.cli import screen as screens
from resolver.cli import screen_list
from resolver.cli.screen import LOG, Advice, Mark, Row, Urgency, counts, span
from resolver.cli.screen_list import ListHealth

CROWDED: Final = 0.9

_MIB: Final = 2**20


class NotHealth(Exception):
    """What was told are not these facts."""


class _Facts(Struct, frozen=True, kw_only=True):
    """Facts at one moment; times in unix seconds, 0 where there is none."""


class UpstreamHealth(_Facts, frozen=True):
    """One upstream; latencies in seconds, None before there are enough exchanges. failures: since the start."""

    upstream: str
    up: bool
    p50_s: float | None
    p99_s: float | None
    failures: dict[str, int]


class Reloaded(_Facts, frozen=True):
    """The last reload: when, and where it was refused the file and keys, or those that `restart` alone can change."""

    at: int
    good: bool
    where: str = ""
    restart: bool = False


class Health(_Facts, frozen=True):
    """The whole service. dropped, failed: since the start, by reason; `cache_used` is the one published at `beat`."""

    version: str
    config: str
    started: int
    ready: bool
    enforcing: bool
    lists: tuple[ListHealth, ...]
    upstreams: tuple[UpstreamHealth, ...]
    cache_size: int
    cache_used: int
    beat: int
    in_flight: int
    connections: int
    connections_bound: int
    dropped: dict[str, int]
    failed: dict[str, int]
    reload: Reloaded | None
    warnings: tuple[str, ...]


def read(told: Any) -> Health:
    """Return the facts of an answer; NotHealth where another version told others."""
    try:
        return msgspec.convert(told, Health)
    except msgspec.ValidationError:
        raise NotHealth from None


def told(health: Health) -> dict[str, Any]:
    """Return the facts as JSON has them."""
    found: dict[str, Any] = msgspec.to_builtins(health)
    return found


def as_json(health: Health, now: float) -> str:
    """Return the facts and the advice as one JSON object."""
    return json.dumps({**told(health), "next": [one.text for one in advice(health, now)]}, indent=2)


def screen(health: Health, now: float, *, colour: bool = False) -> str:
    """Return one screen that a person reads, advice last."""
    return screens.screen(_rows(health, now), advice(health, now), nothing=screens.NOTHING, colour=colour)


def advice(health: Health, now: float) -> tuple[Advice, ...]:
    """Return what is wrong and what to do about each, the worst first."""
    lists = [line for one in health.lists for line in screen_list.advice(one, now, health.config)]
    parts = (_about_verdicts(health), _about_upstreams(health), _about_reload(health), _about_load(health))
    return screens.in_order([*lists, *(line for part in parts for line in part)])


def _rows(health: Health, now: float) -> Iterator[Row]:
    state = f"{'ready' if health.ready else 'NOT READY'}, {'enforcing' if health.enforcing else 'NOT ENFORCING'}"
    well = health.ready and health.enforcing
    said = f"{state}; version {health.version}, up {span(now - health.started)}"
    yield Row("service", said, Mark.PLAIN if well else Mark.BAD)
    yield Row("from", health.config)
    for one in health.lists:
        yield from screen_list.rows(one, now)
    for server in health.upstreams:
        yield Row("upstream", f"{server.upstream} {_of_upstream(server)}", Mark.PLAIN if server.up else Mark.BAD)
    yield Row("cache", f"{health.cache_size / _MIB:.1f} MiB, {_of_cache(health)}")
    open_ = f"{health.connections} of {health.connections_bound} connections"
    yield Row("load", f"{health.in_flight} queries in flight, {open_}")
    yield Row("dropped", counts(health.dropped))
    yield Row("failed", counts(health.failed))
    taken = health.reload is None or health.reload.good
    yield Row("reload", _of_reload(health.reload, now), Mark.PLAIN if taken else Mark.WARN)


def _of_upstream(server: UpstreamHealth) -> str:
    if server.p50_s is None or server.p99_s is None:
        took = "too few exchanges for a latency"
    else:
        took = f"p50 {server.p50_s * 1000:.1f} ms, p99 {server.p99_s * 1000:.1f} ms"
    return f"{'up' if server.up else 'DOWN'}, {took}, failures: {counts(server.failures)}"


def _of_cache(health: Health) -> str:
    if not health.beat:
        return "use is told from the next beat on"
    return f"{health.cache_used / _MIB:.1f} MiB of it used at {datetime.fromtimestamp(health.beat, UTC):%H:%M:%SZ}"


def _of_reload(last: Reloaded | None, now: float) -> str:
    if last is None:
        return "none since the start"
    return f"{'done' if last.good else 'REFUSED'} {span(now - last.at)} ago{f': {last.where}' if last.where else ''}"


def _about_verdicts(health: Health) -> Iterator[Advice]:
    there = all(one.enforced for one in health.lists)
    if not health.enforcing and there:
        what = "a verdict failed since the start, it is not sure that all is enforced"
        yield Advice(Urgency.OUT, what, "restart the service and report it")
    if not health.ready and there:
        yield Advice(Urgency.OUT, "the service is stopping", f"see {LOG}")


def _about_upstreams(health: Health) -> Iterator[Advice]:
    down = [one for one in health.upstreams if not one.up]
    if down and len(down) == len(health.upstreams):
        do = "look at the network, and at these:"
        yield Advice(Urgency.OUT, "NO upstream answers, unlisted names fail", do)
    for one in down:
        do = f"blocklist-resolver ask example.com --server {one.upstream}"
        yield Advice(Urgency.FAILS, f"upstream {one.upstream} is down ({counts(one.failures)})", do)


def _about_reload(health: Health) -> Iterator[Advice]:
    if health.reload and health.reload.restart:
        what = f"the file is not taken before a restart ({health.reload.where})"
        yield Advice(Urgency.LATER, what, "restart, or take that back")
    elif health.reload and not health.reload.good:
        do = f"blocklist-resolver check-config {health.config}"
        yield Advice(Urgency.LATER, "the last reload was refused, correct the file", do)


def _about_load(health: Health) -> Iterator[Advice]:
    if health.connections >= CROWDED * health.connections_bound:
        do = "look for who holds them (ss -tn), or raise limits.connections"
        yield Advice(Urgency.FAILS, "TCP connections are near their bound", do)
    for warning in health.warnings:
        yield Advice(Urgency.LATER, warning, "")
