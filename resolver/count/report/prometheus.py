"""Reads the days of a fleet from any server that speaks Prometheus' API (also Thanos, Mimir, VictoriaMetrics).

Rules:
- A total at a midnight is the last value known ten minutes after it: by then the beat of that midnight is scraped, and
  the next beat is not before a quarter past. Differences of such values equal those of the ledgers; increase()
  extrapolates and is not used.
- Differences are taken for each resolver (instance) and then summed by region. If the value at a midnight is missing,
  the growth counts on the day that ends with the next value, and both days are gaps.
- Region and definition are labels of build_info.
- The share of a day for which a list was enforced is that of `list_enforced`, sampled every 15 minutes; if a resolver's
  release does not export it, that of `enforcing`, which covers all its lists.
- An error is one line; of a response it repeats only the server's own error text, shortened.
"""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final

from resolver.count.metrics import PREFIX, SATURATED
from resolver.count.report.days import (
    ANSWERS,
    ATTEMPTS,
    DAY,
    DAY_S,
    PARTS,
    QUERIES,
    SILENT,
    DayFacts,
    Days,
    Parts,
    Place,
    difference,
    gap_of,
    midnight,
    together,
)

AFTER_S: Final = 600
TIMEOUT_S: Final = 60.0
LARGEST: Final = 64 * 1024 * 1024
CHUNK: Final = timedelta(days=92)

# Labels that differ between the series of one instance, or change with its release.
_NOT_OF_AN_INSTANCE: Final = frozenset({"__name__", "list", "rcode", "version", "engine", "definition", "region"})
_SAID: Final = 200

_QUERIES: Final = {
    ATTEMPTS: f"last_over_time({PREFIX}{ATTEMPTS}[1h])",
    QUERIES: f"last_over_time({PREFIX}{QUERIES}[1h])",
    ANSWERS: f"sum without(rcode) (last_over_time({PREFIX}{ANSWERS}[1h]))",
    **{name: f"last_over_time({PREFIX}{metric}[1h])" for name, metric in PARTS.items() if name != "full"},
    "full": f"sum_over_time({PREFIX}{SATURATED}[{DAY_S - 1}s:900s])",
    "list_entries": f"last_over_time({PREFIX}list_entries[1h])",
    "list_serial": f"last_over_time({PREFIX}list_serial[1h])",
    "subscribers_covered": f"last_over_time({PREFIX}subscribers_covered[1h])",
    "build_info": f"last_over_time({PREFIX}build_info[1h])",
    "enforcing": f"sum_over_time({PREFIX}enforcing[{DAY_S - 1}s:900s]) / {DAY_S // 900}",
    "list_enforced": f"sum_over_time({PREFIX}list_enforced[{DAY_S - 1}s:900s]) / {DAY_S // 900}",
}

Instance = tuple[tuple[str, str], ...]
Ask = Callable[[str, int, int], Any]
"""Takes an expression and the first and last moment (unix seconds, in steps of a day); returns the API's `result`."""


class PrometheusUnusable(Exception):
    """The server gave no figures; the text says why, in one line."""


class Server:
    """A server at `url` (http or https, with its path prefix if any), e.g. https://mimir.example/prometheus."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise PrometheusUnusable("not a server's URL: expected one such as https://prometheus.example/prefix")
        self._url = url.rstrip("/")
        self._context = ssl.create_default_context() if parts.scheme == "https" else None

    def ask(self, query: str, first: int, last: int) -> Any:
        """Query the server, as described by `Ask`; PrometheusUnusable."""
        # VictoriaMetrics moves moments of 50 steps or more to whole steps unless `nocache` is set; others ignore it.
        words = urllib.parse.urlencode({"query": query, "start": first, "end": last, "step": DAY_S, "nocache": 1})
        request = urllib.request.Request(f"{self._url}/api/v1/query_range?{words}")  # noqa: S310 - http or https, held above
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._context) as opened:  # noqa: S310 - as above
                body = opened.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            with error:
                said = _said(error.read(LARGEST))
            raise PrometheusUnusable(f"{self._url}: status {error.code}{said}") from None
        except urllib.error.URLError as error:
            raise PrometheusUnusable(f"{self._url}: {error.reason}") from None
        except (OSError, ValueError) as error:
            raise PrometheusUnusable(f"{self._url}: {str(error) or type(error).__name__}") from None
        if len(body) > LARGEST:
            raise PrometheusUnusable(f"{self._url}: a response of more than {LARGEST} octets")
        try:
            response = json.loads(body)
            if response["status"] != "success" or response["data"]["resultType"] != "matrix":
                raise PrometheusUnusable(f"{self._url}: no figures{_said(body)}")
            return response["data"]["result"]
        except (ValueError, KeyError, TypeError):
            raise PrometheusUnusable(f"{self._url}: the response is not that of Prometheus' API") from None


def from_prometheus(
    ask: Ask, first: date, last: date, walk: Callable[[list[Any]], Iterator[Any]] = iter, until: int = 0
) -> dict[Place, Days]:
    """Return the days from `first` to `last` by region and list. `walk` iterates over the queries, to show progress.

    until: the moment (unix seconds) to which the last day goes if it is not over, else 0; its values are those known
    then, in place of those of its last midnight.
    """
    read: dict[str, dict[tuple[Instance, str], dict[int, Any]]] = {name: {} for name in _QUERIES}
    for name, start, end in walk(list(_steps(first, last if until else last + DAY))):
        for series in ask(_QUERIES[name], midnight(start) + AFTER_S, midnight(end) + AFTER_S):
            _take(read[name], name, series)
    if until:
        elapsed = max(1, until - midnight(last))
        for name, query in _QUERIES.items():
            for series in ask(query.replace(f"[{DAY_S - 1}s:", f"[{elapsed}s:"), until, until):
                _take(read[name], name, series, midnight(last + DAY) + AFTER_S - until)
    return _by_region(read, first, last)


def _steps(first: date, end: date) -> Iterator[tuple[str, date, date]]:
    """Yield (query, first midnight, last midnight) so that no query is about more than a quarter of a year."""
    while first <= end:
        until = min(end, first + CHUNK)
        yield from ((name, first, until) for name in _QUERIES)
        first = until + DAY


def _take(into: dict[tuple[Instance, str], dict[int, Any]], name: str, series: Any, later_s: int = 0) -> None:
    """Add one series to `into`: by instance and list, its value at each midnight; for build_info, its labels.

    later_s: seconds by which its moments are moved.
    """
    try:
        labels: dict[str, str] = dict(series["metric"])
        instance = tuple(sorted((key, value) for key, value in labels.items() if key not in _NOT_OF_AN_INSTANCE))
        values = into.setdefault((instance, labels.get("list", "")), {})
        for moment, value in series["values"]:
            at = round(float(moment)) - AFTER_S + later_s
            if name == "build_info":
                values.setdefault(at, []).append((labels.get("region", ""), labels.get("definition", "")))
            else:
                values[at] = float(value)
    except (KeyError, TypeError, ValueError):
        raise PrometheusUnusable("the server's response is not that of Prometheus' API") from None


def _by_region(
    read: Mapping[str, Mapping[tuple[Instance, str], Mapping[int, Any]]], first: date, last: date
) -> dict[Place, Days]:
    parts: dict[Place, list[Days]] = {}
    for (instance, list_id), totals in read[ATTEMPTS].items():
        by_metric = {
            ATTEMPTS: totals,
            QUERIES: read[QUERIES].get((instance, list_id), {}),
            ANSWERS: read[ANSWERS].get((instance, ""), {}),
        }
        info = read["build_info"].get((instance, ""), {})
        by_region: dict[str, Days] = {}
        region = ""
        grown = {metric: _grown(values, first, last) for metric, values in by_metric.items()}
        of_parts = {name: read[name].get((instance, list_id), {}) for name in PARTS}
        full = of_parts.pop("full")
        grown_parts = {name: _grown(values, first, last) for name, values in of_parts.items()}
        for day in sorted(set(grown[ATTEMPTS]) & set(grown[QUERIES]) & set(grown[ANSWERS])):
            start, end = midnight(day), midnight(day + DAY)
            region = next((name for at in (end, start) for name, _ in info.get(at, ())), region)
            of_all = read["enforcing"].get((instance, ""), {}).get(end, 0.0)
            enforced = min(1.0, read["list_enforced"].get((instance, list_id), {}).get(end, of_all))
            counted = [grown[metric][day] for metric in (ATTEMPTS, QUERIES, ANSWERS)]
            entries = read["list_entries"].get((instance, list_id), {}).get(end)
            serial = read["list_serial"].get((instance, list_id), {}).get(end)
            missing = any(at not in values for at in (start, end) for values in by_metric.values())
            by_region.setdefault(region, {})[day] = DayFacts(
                attempts=counted[0],
                queries=counted[1],
                answers=counted[2],
                enforced=enforced,
                entries=None if entries is None else round(entries),
                serial=None if serial is None else round(serial),
                subscribers=round(read["subscribers_covered"].get((instance, ""), {}).get(end, 0)),
                definitions=frozenset(name for at in (start, end) for _, name in info.get(at, ()) if name),
                gap=SILENT if missing else gap_of(counted, enforced),
                parts=Parts(
                    **{name: days.get(day) for name, days in grown_parts.items()},
                    full=round(full[end]) if end in full else None,
                ),
            )
        for name, days in by_region.items():
            parts.setdefault(Place(name, list_id), []).append(days)
    return {place: together(by_resolver) for place, by_resolver in parts.items()}


def _grown(totals: Mapping[int, float], first: date, last: date) -> dict[date, int | None]:
    """Return the growth of a total on each day, from the first day with a value at either midnight to the last one.

    None if it fell or cannot be known.
    """
    found: dict[date, int | None] = {}
    before: float | None = totals.get(midnight(first))
    seen = before is not None
    final = max(totals, default=0)
    day = first
    while day <= last and midnight(day) <= final:
        after = totals.get(midnight(day + DAY))
        if after is not None:
            found[day] = None if before is None else difference(before, after)
            before, seen = after, True
        elif seen:
            found[day] = None
        day += DAY
    return found


def _said(body: bytes) -> str:
    """Return the error text of a response, shortened; "" if it has none."""
    try:
        said = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""
    return ": " + "".join(one if one.isprintable() else " " for one in said)[:_SAID]
