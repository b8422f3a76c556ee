"""The verb `report`: what was blocked, by month, and what the figures mean.

Rules:
- Noise needs this host's keys, and its ledger to keep the figures and the budget: of a fleet too.
- What spends the budget is typed by root or the service's account; the service does not do it for its group.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.cli.acting import owner_of
from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, complain

if TYPE_CHECKING:
    from resolver.count.report.figures import Report

FORMATS: Final = ("table", "csv", "json", "html", "svg")
EPSILONS: Final = ("0.1", "0.2", "0.5", "1", "2")


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
    report.add_argument("--epsilon", choices=EPSILONS, help="how much a report with --noise may give away; default: 1")
    report.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: stdout")
    report.set_defaults(verb=_report)


def _day(text: str) -> date:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()


def _report(arguments: argparse.Namespace) -> int:
    from resolver.count.ledger import LedgerUnusable
    from resolver.count.report import report
    from resolver.count.report.budget import Spent
    from resolver.count.report.prometheus import PrometheusUnusable, Server
    from resolver.feed.seal import KeyUnusable

    if arguments.epsilon and not arguments.noise:
        raise UsageError("--epsilon goes with --noise")
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
            if not by_service.reads_here(loaded) and not arguments.noise:
                return _by_service(arguments)
            ledger = Places(loaded.state.directory).ledger
            with owner_of(ledger.parent):
                source, facts = report.OF_LEDGER, _of_ledger(ledger, span, now)
        made = partial(
            report.made, facts, *span, source=source, now=now, by_region=bool(arguments.by), so_far=arguments.so_far
        )
        found = _with_noise(arguments, made, now) if arguments.noise else made()
    except report.NotADayRange as error:
        raise UsageError(str(error)) from None
    except Spent as error:
        return complain(str(error), REFUSED)
    except (report.NoFigures, LedgerUnusable, PrometheusUnusable, KeyUnusable) as error:
        return complain(str(error), FAILED)
    except PermissionError:
        return complain("permission denied: --noise spends the budget, run it as the service's account", FAILED)
    return _out(_rendered(found, arguments), arguments.out)


def _with_noise(arguments: argparse.Namespace, made: "Callable[..., Report]", now: float) -> "Report":
    """Return the report with noise, by the keys and the ledger of this host."""
    from resolver.config import config
    from resolver.count.ledger import Ledger, LedgerUnusable
    from resolver.count.report.noise import DEFAULT, Noise
    from resolver.feed import poll
    from resolver.feed.places import Places
    from resolver.signed import statement

    loaded = config.load(arguments.config)
    ledger = Places(loaded.state.directory).ledger
    with owner_of(ledger.parent):
        if not ledger.is_file():
            raise LedgerUnusable(f"{ledger}: no ledger here: --noise keeps its figures in that of a service's host")
        key = poll.keys_of(loaded, make=False).noise_key()
        host = "" if arguments.prometheus else statement.public_of(poll.host_key_of(loaded, make=False)).hex()
        books, epsilon, batch = Ledger(ledger, now), arguments.epsilon or DEFAULT, loaded.count.batch
        return made(noise=Noise(key=key, host=host, books=books, now=now, batch=batch, epsilon=epsilon))


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
