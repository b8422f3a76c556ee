"""A made-up bad night of thirty resolvers with three lists, as OpenMetrics: nothing in it was ever counted.

What is wrong at its end: list `court` is held and its deadline is near; the feed of `hotline` has failed for hours; one
host does not enforce list `police`; a core of another works 80 % of the time.
"""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Final, TextIO

from tests.unit.count import spring

replay = spring.replay
LISTS: Final = ("court", "hotline", "police")
HOSTS: Final = tuple(f"dns{number:02}.isp.example:9153" for number in range(1, 31))
BROKEN, BUSY = HOSTS[16], HOSTS[3]
EVENING: Final = replay.midnight(date(2020, 6, 16)) + 16 * 3600
NOW: Final = EVENING + 12 * 3600 - 1800
STEP_S: Final = 300
POLL_S: Final = 900

HELD_SINCE: Final = NOW - 5 * 3600
DEADLINE: Final = NOW + 2 * 3600 + 600
LAST_POLL: Final = NOW - 4 * 3600
BROKEN_SINCE: Final = NOW - 2 * 3600
BUSY_SINCE: Final = NOW - 3 * 3600

Value = Callable[[str, str, int], float]
"""Takes a host, a list and a moment."""


def feed_success(host: str, list_id: str, at: int) -> float:
    return min(at - at % POLL_S, LAST_POLL) if list_id == "hotline" else at - at % POLL_S


def failures(host: str, list_id: str, at: int) -> float:
    return max(0, at - LAST_POLL) // POLL_S if list_id == "hotline" else 0


def enforced(host: str, list_id: str, at: int) -> float:
    return float(not (host == BROKEN and list_id == "police" and at >= BROKEN_SINCE))


def serial(host: str, list_id: str, at: int) -> float:
    newer = list_id == "police" and host != BROKEN and at >= BROKEN_SINCE
    return 400 + LISTS.index(list_id) + newer


def busy(host: str, at: int) -> float:
    usual = 0.18 + 0.01 * (HOSTS.index(host) % 7)
    return 0.8 if host == BUSY and at >= BUSY_SINCE else usual


OF_LISTS: Final[dict[str, Value]] = {
    "list_enforced": enforced,
    "list_held": lambda host, one, at: float(one == "court" and at >= HELD_SINCE),
    "list_deadline_timestamp_seconds": lambda host, one, at: DEADLINE if one == "court" and at >= HELD_SINCE else 0,
    "list_serial": serial,
    "list_entries": lambda host, one, at: 9000,
    "list_in_force_timestamp_seconds": lambda host, one, at: EVENING - 86400,
    "list_expiry_timestamp_seconds": lambda host, one, at: EVENING + 12 * 86400,
    "feed_last_success_timestamp_seconds": feed_success,
    "list_poll_seconds": lambda host, one, at: POLL_S,
    "breaker_open": lambda host, one, at: 0,
    "list_taken_out": lambda host, one, at: 0,
    "list_forwarded": lambda host, one, at: 0,
    "list_suspended_entries": lambda host, one, at: 0,
    "selftest_success": lambda host, one, at: 1,
}
OF_HOSTS: Final[dict[str, Callable[[str, int], float]]] = {
    "enforcing": lambda host, at: float(not (host == BROKEN and at >= BROKEN_SINCE)),
    'engine_busy_ratio{thread="0"}': busy,
    "upstream_answering": lambda host, at: 1,
    'upstream_up{upstream="192.0.2.53:53"}': lambda host, at: 1,
    'upstream_up{upstream="192.0.2.54:53"}': lambda host, at: 1,
    "config_reload_success": lambda host, at: 1,
    "listen_missing": lambda host, at: 0,
    "publish_timestamp_seconds": lambda host, at: at - at % 900,
    'build_info{version="0",engine="compiled",definition="v2",region="made-up"}': lambda host, at: 1,
}


def moments() -> range:
    """The moments of the night."""
    return range(EVENING, NOW + 1, STEP_S)


def write(out: TextIO) -> None:
    """Write the night as OpenMetrics; the totals of attempts began ten weeks before it."""
    for name, read in OF_LISTS.items():
        replay.head(out, name, "gauge")
        for host in HOSTS:
            for one in LISTS:
                labels = f'instance="{host}",list="{one}"'
                out.writelines(
                    f"blocklist_resolver_{name}{{{labels}}} {read(host, one, at):.10g} {at}\n" for at in moments()
                )
    headed = ""
    for series, told in OF_HOSTS.items():
        name, _, own = series.partition("{")
        labels = f"{own.removesuffix('}')}{',' if own else ''}"
        if name != headed:
            replay.head(out, name, "gauge")
            headed = name
        for host in HOSTS:
            line = f'blocklist_resolver_{name}{{{labels}instance="{host}"}}'
            out.writelines(f"{line} {told(host, at):.10g} {at}\n" for at in moments())
    totals(out)
    out.write("# EOF\n")


def totals(out: TextIO) -> None:
    """Write the totals: attempts over ten weeks, failed polls over the night."""
    replay.head(out, "blocked_attempts", "counter")
    first = EVENING - EVENING % 86400 - 70 * 86400
    for host, one in pairs():
        line = f'blocklist_resolver_blocked_attempts_total{{instance="{host}",list="{one}"}}'
        each = 10 * (1 + LISTS.index(one))
        days = [*range(first, EVENING, 6 * 3600), *moments()]
        out.writelines(f"{line} {(at - first) // 900 * each} {at}\n" for at in days)
    replay.head(out, "feed_failures", "counter")
    for host, one in pairs():
        line = f'blocklist_resolver_feed_failures_total{{instance="{host}",list="{one}",reason="unreachable"}}'
        out.writelines(f"{line} {failures(host, one, at):g} {at}\n" for at in moments())


def pairs() -> Iterator[tuple[str, str]]:
    """Each host with each list."""
    yield from ((host, one) for host in HOSTS for one in LISTS)


NIGHT: Final = replay.Made(write=write, begin=EVENING, end=NOW, step=STEP_S, baseline=False)
