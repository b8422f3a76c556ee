"""Draws the status of a running service on one screen, with the next step for whatever is wrong.

Rules:
- The status comes from the control socket; nothing is looked up here, and `now` is an argument.
- Each thing that is wrong has one line "next: ...", the worst first: what is wrong, and a command or a place to look.
- `screen_list` draws a list; `screen` lays the rows out.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from resolver.cli import screen as screens
from resolver.cli import screen_list
from resolver.cli.screen import LOG, Advice, Mark, Row, Urgency, counts, span
from resolver.config.values import many
from resolver.control.status import EdgeHealth, Reloaded, Status, UpstreamHealth, to_json

CROWDED: Final = 0.9
SOON_S: Final = 14 * 86400

_MIB: Final = 2**20


def as_json(status: Status, now: float) -> str:
    """Return the status and the advice as one JSON object."""
    return json.dumps({**to_json(status), "next": [one.text for one in advice(status, now)]}, indent=2)


def screen(status: Status, now: float, *, colour: bool = False) -> str:
    """Return the screen, advice last."""
    return screens.screen(_rows(status, now), advice(status, now), nothing=screens.NOTHING, colour=colour)


def advice(status: Status, now: float) -> tuple[Advice, ...]:
    """Return what is wrong and what to do about it, the worst first."""
    lists = [line for one in status.lists for line in screen_list.advice(one, now, status.config)]
    about = (_about_verdicts, _about_upstreams, _about_sockets, _about_reload, _about_load)
    others = (line for part in about for line in part(status))
    return screens.in_order([*lists, *others, *_about_edges(status, now)])


def _rows(status: Status, now: float) -> Iterator[Row]:
    state = f"{'ready' if status.ready else 'NOT READY'}, {'enforcing' if status.enforcing else 'NOT ENFORCING'}"
    well = status.ready and status.enforcing
    said = f"{state}; version {status.version}, up {span(now - status.started)}"
    yield Row("service", said, Mark.PLAIN if well else Mark.BAD)
    yield Row("from", status.config)
    yield from (Row("listen", f"NOT {line}", Mark.WARN) for line in status.missing)
    for one in status.lists:
        yield from screen_list.rows(one, now)
    for server in status.upstreams:
        yield Row("upstream", f"{server.upstream}{_of_zones(server)} {_of_upstream(server)}", _mark(server))
    if status.edges is not None:
        yield Row("edges", _of_edges(status.edges, now), Mark.WARN if tuple(_about_edges(status, now)) else Mark.PLAIN)
    yield Row("cache", f"{status.cache_size / _MIB:.1f} MiB, {_of_cache(status)}")
    open_ = f"{status.connections} of {status.connections_bound} connections"
    yield Row("load", f"{many(status.in_flight, 'query', 'queries')} in flight, {open_}")
    yield Row("dropped", counts(status.dropped))
    yield Row("failed", counts(status.failed))
    taken = status.reload is None or status.reload.good
    yield Row("reload", _of_reload(status.reload, now), Mark.PLAIN if taken else Mark.WARN)


def _mark(server: UpstreamHealth) -> Mark:
    if server.up or not server.asked:
        return Mark.WARN if server.fault else Mark.PLAIN
    return Mark.BAD


def _of_zones(server: UpstreamHealth) -> str:
    if server.zones == ("",):
        return ""
    return f" ({', '.join(zone or 'all other names' for zone in server.zones)})"


def _of_upstream(server: UpstreamHealth) -> str:
    if server.p50_s is None or server.p99_s is None:
        took = "too few exchanges for a latency"
    else:
        took = f"p50 {server.p50_s * 1000:.1f} ms, p99 {server.p99_s * 1000:.1f} ms"
    down = f"DOWN: {server.fault}" if server.fault else "DOWN"
    state = (server.fault or "up") if server.up else down if server.asked else "not asked yet"
    return f"{state}, {took}, failures: {counts(server.failures)}"


def _of_cache(status: Status) -> str:
    if not status.beat:
        return "its use is shown from the next beat on"
    return f"{status.cache_used / _MIB:.1f} MiB of it used at {datetime.fromtimestamp(status.beat, UTC):%H:%M:%SZ}"


def _of_reload(last: Reloaded | None, now: float) -> str:
    if last is None:
        return "none since the start"
    return f"{'done' if last.good else 'REFUSED'} {span(now - last.at)} ago{f': {last.where}' if last.where else ''}"


def _about_verdicts(status: Status) -> Iterator[Advice]:
    there = all(one.has_list for one in status.lists)
    if not status.enforcing and there:
        what = "a verdict failed since the start: it is not certain that every list is enforced"
        yield Advice(Urgency.OUT, what, "restart the service, then report this as a fault of the software")
    if not status.ready and there and status.answering:
        yield Advice(Urgency.OUT, "the service is stopping", f"see {LOG}")


def _about_upstreams(status: Status) -> Iterator[Advice]:
    asked = [one for one in status.upstreams if one.asked]
    if asked and not status.answering:
        do = "look at the network, and at these:"
        yield Advice(Urgency.OUT, "NO upstream answers, unlisted names fail", do)
    for zone in dict.fromkeys(zone for one in asked for zone in one.zones if zone):
        if not any(one.up or not one.asked for one in status.upstreams if zone in one.zones):
            yield Advice(Urgency.OUT, f"NO server of zone {zone} answers, its names fail", "look at these:")
    for one in asked:
        if one.up and not one.fault:
            continue
        do = f"blocklist-resolver ask example.com --server {one.upstream}"
        said = one.fault or "is down"
        if "://" in one.upstream:
            do = _look_at(one.upstream)
            said = one.fault if one.up else f"is down: {one.fault}" if one.fault else "is down"
        yield Advice(Urgency.FAILS, f"upstream {one.upstream} {said} ({counts(one.failures)})", do)


def _look_at(upstream: str) -> str:
    """Return a command that shows what an encrypted upstream offers."""
    name, _, at = upstream.partition("://")[2].partition("@")
    return f"openssl s_client -connect {at.partition('/')[0]} -servername {name} -verify_hostname {name}"


def _about_sockets(status: Status) -> Iterator[Advice]:
    if status.missing:
        what = f"{many(len(status.missing), 'configured socket')} cannot be reached"
        yield Advice(Urgency.FAILS, what, "see who has the port (ss -lntup) or add the address; it is taken by itself")


def _of_edges(edges: EdgeHealth, now: float) -> str:
    if not edges.expires:
        return f"{edges.connected} connected, no certificate is known"
    word = "ends" if edges.expires > now else "ENDED"
    return f"{edges.connected} connected, certificate {word} {datetime.fromtimestamp(edges.expires, UTC):%Y-%m-%d}"


def _about_edges(status: Status, now: float) -> Iterator[Advice]:
    edges = status.edges
    if edges is None:
        return
    if not edges.connected:
        what = "no edge is connected: nobody is answered over TLS, HTTPS or QUIC"
        yield Advice(Urgency.FAILS, what, "see journalctl -u 'blocklist-edge@*'")
    if edges.expires and edges.expires <= now:
        what = "the certificate of an edge has ended: clients refuse its connections"
        yield Advice(Urgency.FAILS, what, "renew edge.certificate and edge.key; an edge takes the new files by itself")
    elif edges.expires and edges.expires - now < SOON_S:
        what = f"the certificate of an edge ends in {span(edges.expires - now)}"
        yield Advice(Urgency.LATER, what, "renew edge.certificate and edge.key; an edge takes the new files by itself")


def _about_reload(status: Status) -> Iterator[Advice]:
    if status.reload and status.reload.restart:
        what = f"the new configuration needs a restart ({status.reload.where})"
        yield Advice(Urgency.LATER, what, "restart, or undo the change")
    elif status.reload and not status.reload.good:
        do = f"blocklist-resolver check-config {status.config}"
        yield Advice(Urgency.LATER, "the last reload was refused, correct the file", do)


def _about_load(status: Status) -> Iterator[Advice]:
    if status.connections >= CROWDED * status.connections_bound:
        do = "see which clients hold them (ss -tn), or raise limits.connections"
        yield Advice(Urgency.FAILS, "TCP connections are near their limit", do)
    for warning in status.warnings:
        yield Advice(Urgency.LATER, warning, "")
