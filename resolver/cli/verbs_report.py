"""The verb `report`: what was blocked, by month, and what the figures mean."""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from resolver.cli.acting import owner_of
from resolver.cli.terminal import DONE, FAILED, UsageError, add_config, complain

FORMATS: Final = ("table", "csv", "json", "html", "svg")


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `report`."""
    report = verbs.add_parser("report", help="what was blocked, by month: counts, ratios, peaks, and what they mean")
    add_config(report)
    report.add_argument("--from", dest="first", type=_day, metavar="DAY", help="YYYY-MM-DD; default: the last month")
    report.add_argument("--to", dest="last", type=_day, metavar="DAY", help="that day included; days are UTC")
    report.add_argument("--so-far", action="store_true", help="this month until now: marked, and not for publication")
    report.add_argument("--prometheus", metavar="URL", help="report on a fleet, from a server with Prometheus' API")
    report.add_argument("--by", choices=("region",), help="one row for each region; default: all together")
    report.add_argument("--noise", action="store_true", help="add noise, for figures that are published")
    report.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: stdout")
    report.set_defaults(verb=_report)


def _day(text: str) -> date:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()


def _report(arguments: argparse.Namespace) -> int:
    from resolver.count.ledger import LedgerUnusable
    from resolver.count.report import report
    from resolver.count.report.prometheus import PrometheusUnusable, Server

    if arguments.so_far and (arguments.first or arguments.last or arguments.noise):
        raise UsageError("--so-far is of this month until now: it goes without --from, --to and --noise")
    now = time.time()
    today = datetime.fromtimestamp(now, UTC).date()
    try:
        span = report.so_far(today) if arguments.so_far else report.span(arguments.first, arguments.last, today)
        if arguments.prometheus:
            until = int(now) if arguments.so_far else 0
            source, facts = report.OF_FLEET, report.of_fleet(Server(arguments.prometheus).ask, *span, _shown, until)
        else:
            from resolver.cli import by_service
            from resolver.config import config
            from resolver.feed.places import Places

            loaded = config.load(arguments.config)
            if not by_service.reads_here(loaded):
                return _by_service(arguments)
            ledger = Places(loaded.state.directory).ledger
            with owner_of(ledger.parent):
                source, facts = report.OF_LEDGER, _of_ledger(ledger, span, now)
        found = report.made(
            facts,
            *span,
            source=source,
            now=now,
            by_region=bool(arguments.by),
            noise=arguments.noise,
            so_far=arguments.so_far,
        )
    except report.NotADayRange as error:
        raise UsageError(str(error)) from None
    except (report.NoFigures, LedgerUnusable, PrometheusUnusable) as error:
        return complain(str(error), FAILED)
    return _out(_rendered(found, arguments), arguments.out)


def _of_ledger(ledger: Path, span: tuple[date, date], now: float) -> Any:
    from resolver.cli.progress import working
    from resolver.count.report import report

    with working("reading the ledger"):
        return report.of_ledger(ledger, *span, now)


def _by_service(arguments: argparse.Namespace) -> int:
    from resolver.cli import by_service

    reply = by_service.read(arguments)
    sys.stderr.write(reply.err)
    return reply.status or _out(reply.out, arguments.out)


def _rendered(found: Any, arguments: argparse.Namespace) -> str:
    from resolver.count.report import report

    if arguments.format == "table" and arguments.out is None and sys.stdout.isatty():
        from shutil import get_terminal_size

        from resolver.count.report.as_table import WIDTH, as_table

        return as_table(found, width=get_terminal_size((WIDTH, 0)).columns, colour=True)
    return report.FORMATS[arguments.format](found)


def _out(text: str, path: Path | None) -> int:
    if path is None:
        sys.stdout.write(text)
        return DONE
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        return complain(f"{path}: {error.strerror}", FAILED)
    return DONE


def _shown(steps: list[Any]) -> Iterator[Any]:
    from resolver.cli import progress

    return progress.steps(steps, "asking Prometheus")
