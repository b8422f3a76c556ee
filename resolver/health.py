"""One screen of a running service's health, and what to do next where something is wrong.

Rules:
- Facts come in as they were told over the control socket; nothing is looked up here, and `now` is handed in.
- Only facts that may be told live are in it, and what was published: no fact of it moves because a name was blocked.
- Whatever is wrong has one line "next: ...", the worst first: what is wrong, and the command or the place to look.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

PATIENCE_POLLS: Final = 3
CROWDED: Final = 0.9
LOG: Final = "journalctl -u blocklist-resolver"

_MIB: Final = 2**20


class NotHealth(Exception):
    """What was told are not these facts."""


class _Facts(Struct, frozen=True, kw_only=True):
    """Facts at one moment; times in unix seconds, 0 where there is none."""


class ListHealth(_Facts, frozen=True):
    """One list; `enforced` is also true of one that was lifted. failures: since the start, by reason."""

    list_id: str
    enforced: bool
    lifted: bool
    serial: int
    entries: int
    issued: int
    in_force_since: int
    expiry: int
    last_success: int
    poll_s: float
    failures: dict[str, int]
    held_serial: int
    held_for: tuple[str, ...]
    selftest_passed: bool


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
    return json.dumps({**told(health), "next": advice(health, now)}, indent=2)


def screen(health: Health, now: float) -> str:
    """Return one screen that a person reads, advice last."""
    lines = [f"{title:<11}{text}" for title, text in _rows(health, now)]
    return "\n".join([*lines, *(f"next: {one}" for one in advice(health, now) or ("nothing to do",))])


def advice(health: Health, now: float) -> tuple[str, ...]:
    """Return what is wrong and what to do about each, the worst first."""
    return tuple(
        line
        for part in (_about_lists, _about_verdicts, _about_upstreams, _about_feeds, _about_load)
        for line in part(health, now)
    )


def _rows(health: Health, now: float) -> Iterator[tuple[str, str]]:
    state = f"{'ready' if health.ready else 'NOT READY'}, {'enforcing' if health.enforcing else 'NOT ENFORCING'}"
    yield "service", f"{state}; version {health.version}, up {span(now - health.started)}"
    yield "from", health.config
    for one in health.lists:
        yield "list", f"{one.list_id}: {_of_list(one, now)}"
        yield "", f"feed {_of_feed(one, now)}; self-test {'passed' if one.selftest_passed else 'NOT passed'}"
    for server in health.upstreams:
        yield "upstream", f"{server.upstream} {_of_upstream(server)}"
    yield "cache", f"{health.cache_size / _MIB:.1f} MiB, {_of_cache(health)}"
    open_ = f"{health.connections} of {health.connections_bound} connections"
    yield "load", f"{health.in_flight} queries in flight, {open_}"
    yield "dropped", _counts(health.dropped)
    yield "failed", _counts(health.failed)
    yield "reload", _of_reload(health.reload, now)


def _of_list(one: ListHealth, now: float) -> str:
    held = f"; serial {one.held_serial} HELD ({', '.join(one.held_for)})" if one.held_serial else ""
    if one.lifted:
        return f"lifted, nothing is blocked by it{held}"
    if not one.enforced:
        return f"NOT IN FORCE{held}"
    end = f"ends in {span(one.expiry - now)}" if one.expiry > now else f"ENDED {span(now - one.expiry)} ago"
    since = f", in force for {span(now - one.in_force_since)}" if one.in_force_since else ""
    issued = f", issued {span(now - one.issued)} ago" if one.issued else ""
    return f"serial {one.serial}, {one.entries} entries{issued}{since}, {end}{held}"


def _of_feed(one: ListHealth, now: float) -> str:
    seen = f"last good {span(now - one.last_success)} ago" if one.last_success else "not good since the start"
    return f"{seen}, failures: {_counts(one.failures)}"


def _of_upstream(server: UpstreamHealth) -> str:
    if server.p50_s is None or server.p99_s is None:
        took = "too few exchanges for a latency"
    else:
        took = f"p50 {server.p50_s * 1000:.1f} ms, p99 {server.p99_s * 1000:.1f} ms"
    return f"{'up' if server.up else 'DOWN'}, {took}, failures: {_counts(server.failures)}"


def _of_cache(health: Health) -> str:
    if not health.beat:
        return "use is told from the next beat on"
    return f"{health.cache_used / _MIB:.1f} MiB of it used at {datetime.fromtimestamp(health.beat, UTC):%H:%M:%SZ}"


def _of_reload(last: Reloaded | None, now: float) -> str:
    if last is None:
        return "none since the start"
    return f"{'done' if last.good else 'REFUSED'} {span(now - last.at)} ago{f': {last.where}' if last.where else ''}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()) if count) or "none"


def _about_lists(health: Health, now: float) -> Iterator[str]:
    status = f"blocklist-resolver list status --config {health.config}"
    for one in health.lists:
        if not one.enforced and one.held_serial:
            yield f"list {one.list_id} is not in force, its first serial is held: why, says {status}"
        elif not one.enforced:
            reasons = f" ({_counts(one.failures)})" if any(one.failures.values()) else ""
            yield f"list {one.list_id} is not in force{reasons}: look at its source.url and root, and {LOG}"
        elif not one.lifted and one.expiry <= now:
            yield f"list {one.list_id} is past its hard limit: have the authority issue a new serial, or see {LOG}"
        if one.enforced and one.held_serial:
            yield f"serial {one.held_serial} of list {one.list_id} is held: why, says {status}"
        if one.enforced and not one.lifted and not one.selftest_passed:
            yield f"the self-test of list {one.list_id} did not pass: see {LOG}"


def _about_verdicts(health: Health, now: float) -> Iterator[str]:
    del now
    if not health.enforcing and all(one.enforced for one in health.lists):
        yield "a verdict failed since the start, it is not sure that all is enforced: restart the service and report it"
    if not health.ready and all(one.enforced for one in health.lists):
        yield f"the service is stopping: see {LOG}"


def _about_upstreams(health: Health, now: float) -> Iterator[str]:
    del now
    down = [one for one in health.upstreams if not one.up]
    if down and len(down) == len(health.upstreams):
        yield "NO upstream answers, unlisted names fail: look at the network and at the servers below"
    for one in down:
        yield (
            f"upstream {one.upstream} is down ({_counts(one.failures)}): does it answer you? "
            f"blocklist-resolver ask example.com --server {one.upstream}"
        )


def _about_feeds(health: Health, now: float) -> Iterator[str]:
    for one in health.lists:
        silent_s = now - (one.last_success or health.started)
        failing = any(one.failures.values()) and not one.last_success
        if one.enforced and (failing or silent_s > PATIENCE_POLLS * one.poll_s + 60):
            yield (
                f"the feed of list {one.list_id} has been silent for {span(silent_s)} ({_counts(one.failures)}), "
                f"the last good list stays: look at its source.url, and {LOG}"
            )
    if health.reload and health.reload.restart:
        yield f"the file is not taken before a restart ({health.reload.where}): restart the service, or take that back"
    elif health.reload and not health.reload.good:
        yield f"the last reload was refused: blocklist-resolver check-config {health.config}, then reload"


def _about_load(health: Health, now: float) -> Iterator[str]:
    del now
    if health.connections >= CROWDED * health.connections_bound:
        yield "TCP connections are near their bound: look for who holds them (ss -tn), or raise limits.connections"
    yield from health.warnings


def span(seconds: float) -> str:
    """Return a duration as a person says it, in its two largest units."""
    left = max(0, int(seconds))
    days, hours, minutes = left // 86400, left % 86400 // 3600, left % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{left} s"
