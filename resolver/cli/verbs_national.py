"""The verbs of `national`: many operators, one authority, one figure (blocklists/NATIONAL.md).

Rules:
- Files are all that is exchanged: no verb opens a connection, but for --prometheus, the operator's own.
- Figures come from the ledger, from the operator's Prometheus or from a file, never from the command line.
- What an operator keeps lies in the state folder; what it hands out is written where it says.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.cli.acting import owner_of
from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, complain

if TYPE_CHECKING:
    from resolver.config.config import Config
    from resolver.count.national.forms import Signed
    from resolver.count.national.kept import Kept
    from resolver.count.national.roster import Noise, Operator, Roster

UNIT: Final = 480
"""Attempts that one client address can add in a day (20 an hour): what noise hides by default."""
CLOSES_AFTER: Final = "14d"
_KEY_BYTES: Final = 2**16
_PUBLIC: Final = 0o644


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `national` and its steps."""
    national = verbs.add_parser("national", help="one figure of many operators that nobody can take apart")
    steps = national.add_subparsers(metavar="STEP", required=True)
    join = _step(steps, "join", "ask to be in the rosters of an authority", _join)
    join.add_argument("--name", required=True, metavar="TEXT", help="the operator's contact name, for all to read")
    join.add_argument("--renew", action="store_true", help="make a new X25519 key")
    _add_out(join)
    add_config(join)
    _add_roster(_step(steps, "roster", "the authority: sign the roster of a month", _roster))
    shown = _step(steps, "show", "a roster: its digest, noise and operators, to be compared before the month", _show)
    _add_task(shown)
    shown.add_argument("--outside", action="store_true", help="this host is none of its operators")
    add_config(shown)
    _add_submit(_step(steps, "submit", "write this operator's one submission to a roster", _submit))
    total = _step(steps, "sum", "add the submissions of all operators of a roster", _sum)
    _add_task(total)
    total.add_argument("files", nargs="+", type=Path, metavar="SUBMISSION|DIR")
    total.add_argument("--out", type=Path, metavar="FILE", help="write the sum as JSON; -: stdout")
    total.add_argument("--metrics", type=Path, metavar="FILE", help="write it for node_exporter's textfile collector")
    opened = _step(steps, "open", "open the commitment to a figure, for an auditor", _open)
    opened.add_argument("--month", required=True, metavar="YYYY-MM")
    opened.add_argument("--list", required=True, metavar="ID", help="the list's id")
    opened.add_argument("--round", type=int, choices=(1, 2), default=1, help="2: the correction; default: %(default)s")
    _add_out(opened)
    add_config(opened)
    verify = _step(steps, "verify", "an auditor: compare an opened figure with signed evidence", _verify)
    verify.add_argument("opening", type=Path, metavar="FILE")
    _add_task(verify)
    verify.add_argument("--evidence", type=Path, required=True, metavar="FILE", help="the bundle with the commitment")
    verify.add_argument("--host-key", type=Path, metavar="FILE", help="the host's public key (PEM), to verify with")


def _add_roster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("joins", nargs="+", type=Path, metavar="JOIN|DIR", help="the operators' joins")
    parser.add_argument("--key", required=True, type=Path, metavar="FILE", help="the authority's Ed25519 key (PEM)")
    parser.add_argument("--name", metavar="TEXT", help="the authority's name")
    parser.add_argument("--month", metavar="YYYY-MM", help="a month that has not begun (UTC)")
    parser.add_argument("--list", action="append", default=[], metavar="ID", dest="lists", help="repeatable")
    parser.add_argument(
        "--closes-after", type=_duration, default=CLOSES_AFTER, metavar="14d", help="time to submit; default: 14d"
    )
    parser.add_argument("--unit", type=int, metavar="N", help=f"attempts that the noise hides; default: {UNIT}")
    parser.add_argument("--scale", type=int, metavar="N", help="of the noise; epsilon is unit / scale; default: unit")
    parser.add_argument("--honest", type=int, metavar="N", help="so many shares are the whole noise; default: 1")
    parser.add_argument("--exact", action="store_true", help="no noise; each operator consents with --least-scale 0")
    parser.add_argument("--corrects", type=Path, metavar="ROSTER", help="the closed round that this one repeats")
    _add_out(parser)


def _add_submit(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    parser.add_argument(
        "--digest",
        required=True,
        type=_digest,
        metavar="HEX",
        help="the roster's whole digest (`national show`), as you have compared it with the other operators",
    )
    parser.add_argument("--corrects", type=Path, metavar="ROSTER", help="for a correction: the first round's roster")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--prometheus", metavar="URL", help="the figures of a fleet; default: this host's ledger")
    source.add_argument("--figures", type=Path, metavar="FILE", help='the figures from a file, {"LIST": N}; -: stdin')
    parser.add_argument(
        "--least-scale",
        type=int,
        default=UNIT,
        metavar="N",
        help="the least scale of noise that you accept; 0: none; default: %(default)s",
    )
    parser.add_argument(
        "--most-epsilon",
        type=float,
        default=1.0,
        metavar="E",
        help="the most epsilon of the roster's unit that you accept; default: %(default)g",
    )
    parser.add_argument(
        "--most-honest",
        type=int,
        default=1,
        metavar="N",
        help="operators that you count on not to collude, you among them; default: %(default)s",
    )
    parser.add_argument(
        "--least-operators",
        type=int,
        default=5,
        metavar="N",
        help="the least number of operators that you accept in a roster; default: %(default)s",
    )
    _add_out(parser)
    add_config(parser)


def _step(
    steps: "argparse._SubParsersAction[Any]", name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = steps.add_parser(name, help=text, allow_abbrev=False)
    parser.set_defaults(verb=_guarded, run=run)
    return parser


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the file to write")


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--roster", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--authority", required=True, type=Path, metavar="PEM", help="the authority's Ed25519 public key, pinned"
    )


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError("expected the whole digest as `national show` prints it: 64 hex digits")
    return text


def _duration(text: str) -> float:
    from resolver.config.values import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _guarded(arguments: argparse.Namespace) -> int:
    """Carry out a step; each of its errors is one line."""
    from resolver.count.ledger import LedgerUnusable
    from resolver.count.national.forms import Refused
    from resolver.count.report.prometheus import PrometheusUnusable
    from resolver.evidence.check import Refused as EvidenceRefused
    from resolver.feed.seal import KeyUnusable

    try:
        status: int = arguments.run(arguments)
        return status
    except (Refused, EvidenceRefused) as error:
        return complain(f"refused: {error}", REFUSED)
    except (LedgerUnusable, KeyUnusable, PrometheusUnusable) as error:
        return complain(str(error), FAILED)


def _join(arguments: argparse.Namespace) -> int:
    from resolver.count.national import join

    loaded, now = _config(arguments), time.time()
    with _mine(loaded) as mine:
        host_key = _host_key(loaded)
        agreement = None if arguments.renew else mine.newest_key()
        data = join.make(arguments.name, agreement or mine.new_key(now), host_key, now)
    _write(arguments.out, data)
    print(f"{arguments.out}: hand this to the authority; it holds public keys and the name alone")
    return DONE


def _roster(arguments: argparse.Namespace) -> int:
    from resolver.count import definition
    from resolver.count.national import forms, join, roster
    from resolver.signed import statement

    now = time.time()
    key = _named(arguments.key, forms.private_of)
    operators = roster.operators_of(_named(path, join.read) for path in _files(arguments.joins))
    if arguments.corrects:
        if any((arguments.month, arguments.lists, arguments.exact, *_noise_typed(arguments))):
            raise UsageError("--corrects: month, lists and noise are those of the round that it repeats")
        first = roster.read(_read(arguments.corrects), statement.public_of(key))
        made = _second(first, operators, now, arguments.closes_after)
        roster.check_correction(made, first)
    else:
        if not (arguments.month and arguments.lists and arguments.name):
            raise UsageError("a roster needs --month, --list and --name")
        made = _first(arguments, operators, definition.VERSION, now)
    data = roster.make(made, key)
    digest = forms.read(data, roster.Roster).digest
    _write(arguments.out, data)
    print(f"{arguments.out}: {_said(made)}")
    print(f"digest {digest}: each operator compares it by another way before {made.month} begins")
    return DONE


def _first(
    arguments: argparse.Namespace, operators: "tuple[Operator, ...]", definition: str, now: float
) -> "Roster":
    import msgspec

    from resolver.count.national.roster import Roster

    said = {
        "authority": arguments.name,
        "month": arguments.month,
        "round": 1,
        "corrects": "",
        "definition": definition,
        "lists": sorted(set(arguments.lists)),
        "signed": int(now),
        "closes": 0,
        "noise": None if arguments.exact else _noise(arguments),
        "operators": [],
    }
    try:
        made = msgspec.convert(said, Roster)
    except msgspec.ValidationError as error:
        raise UsageError(f"not a roster: {error}") from None
    return msgspec.structs.replace(made, closes=made.opens + int(arguments.closes_after), operators=operators)


def _second(first: "Signed[Roster]", operators: "tuple[Operator, ...]", now: float, lasts: float) -> "Roster":
    import msgspec

    made = msgspec.structs.replace(
        first.form, round=2, corrects=first.digest, signed=int(now), closes=0, operators=operators
    )
    return msgspec.structs.replace(made, closes=made.opens + int(lasts))


def _noise_typed(arguments: argparse.Namespace) -> tuple[int | None, ...]:
    return arguments.unit, arguments.scale, arguments.honest


def _noise(arguments: argparse.Namespace) -> dict[str, int]:
    unit = arguments.unit or UNIT
    return {"unit": unit, "scale": arguments.scale or unit, "honest": arguments.honest or 1}


def _show(arguments: argparse.Namespace) -> int:
    from resolver.count.national import roster

    task = roster.read(_read(arguments.roster), _pinned(arguments.authority, "--authority"))
    print(f"{task.form.authority}: {_said(task.form)}")
    print(f"digest {task.digest}")
    for one in task.form.operators:
        print(f"{one.key}  {one.name}")
    if not arguments.outside:
        print(_own_entry(arguments, task.form))
    return DONE


def _own_entry(arguments: argparse.Namespace, roster: "Roster") -> str:
    """Return the entry of this host in a line; Refused unless `submit` would use both of its keys."""
    from resolver.count.national import submit
    from resolver.count.national.forms import Refused
    from resolver.signed.statement import public_of as signer_of

    loaded = _config(arguments)
    with _mine(loaded) as mine:
        place = roster.place_of(signer_of(_host_key(loaded)))
        if place is None:
            raise Refused("this host's Ed25519 key is not in the roster; --outside shows it to others than operators")
        submit.own_key(roster, place, mine)
    return f"this host is {roster.operators[place].name}; both keys are its own, and its newest of that time"


def _submit(arguments: argparse.Namespace) -> int:
    import hashlib
    import secrets

    from resolver.count.national import roster, submit

    pinned = _pinned(arguments.authority, "--authority")
    task = roster.read(_read(arguments.roster), pinned)
    first = roster.read(_read(arguments.corrects), pinned) if arguments.corrects else None
    given = _given(arguments.figures)
    loaded, now = _config(arguments), time.time()
    with _mine(loaded) as mine:
        done = submit.submit(
            task,
            first,
            mine,
            _host_key(loaded),
            lambda wanted: _figures(arguments, loaded, wanted, given, now),
            now=now,
            octets=secrets.token_bytes,
            accepted=submit.Accepted(
                digest=arguments.digest,
                scale=arguments.least_scale,
                honest=arguments.most_honest,
                epsilon=arguments.most_epsilon,
                operators=arguments.least_operators,
            ),
        )
    _write(arguments.out, done.data)
    again = ", made before, octet for octet" if done.again else ""
    print(f"{arguments.out}: {_said(task.form)}{again}, SHA-256 {hashlib.sha256(done.data).hexdigest()}")
    print(f"roster {task.digest}")
    return DONE


def _figures(
    arguments: argparse.Namespace, loaded: "Config", wanted: "Roster", given: bytes | None, now: float
) -> dict[str, int]:
    from resolver.count.national import figures
    from resolver.count.report import report
    from resolver.count.report.prometheus import Server
    from resolver.feed.places import Places

    if given is not None:
        return figures.of_file(given, wanted)
    first, last = figures.span_of(wanted)
    if arguments.prometheus:
        return figures.of_days(report.of_fleet(Server(arguments.prometheus).ask, first, last), wanted)
    return figures.of_days(report.of_ledger(Places(loaded.state.directory).ledger, first, last, now), wanted)


def _sum(arguments: argparse.Namespace) -> int:
    from resolver import atomic_file
    from resolver.count.national import roster, total

    task = roster.read(_read(arguments.roster), _pinned(arguments.authority, "--authority"))
    files = ((str(path), _read(path)) for path in _files(arguments.files))
    found = total.add(task, files, time.time(), lambda line: print(line, file=sys.stderr))
    if arguments.metrics:
        atomic_file.write(arguments.metrics, total.as_metrics(found), _PUBLIC)
    if str(arguments.out) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(total.as_json(found))
        return DONE
    if arguments.out:
        _write(arguments.out, total.as_json(found))
    print(total.as_text(found))
    return DONE


def _open(arguments: argparse.Namespace) -> int:
    from resolver import atomic_file
    from resolver.count.national import opening

    loaded = _config(arguments)
    with _mine(loaded) as mine:
        data = opening.make(mine.records(), arguments.month, arguments.round, arguments.list, _host_key(loaded))
    atomic_file.write(arguments.out, data)
    print(f"{arguments.out}: the figure in clear, for an auditor who may read it, never for the authority")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    from resolver.count.national import opening, roster
    from resolver.evidence import check, commitments
    from resolver.evidence.bundle import MAX_BUNDLE_BYTES

    pinned = _pinned(arguments.host_key, "--host-key") if arguments.host_key else None
    task = roster.read(_read(arguments.roster), _pinned(arguments.authority, "--authority"))
    opened, committed = opening.read(_read(arguments.opening))
    bundle = check.opened(_read(arguments.evidence, MAX_BUNDLE_BYTES), pinned)
    check.verified(bundle, pinned=pinned is not None)
    lines = [*commitments.compared(bundle, opened, committed), opening.check_noise(opened.form, task)]
    if pinned is None:
        lines.append("Not proved: which host owns the key: give --host-key, as it was handed over.")
    print("\n".join(lines))
    return DONE


def _said(roster: "Roster") -> str:
    from resolver.config.values import many, utc_text

    correction = ", correction" if roster.round == 2 else ""
    when = f"submit from {utc_text(roster.opens)} to {utc_text(roster.closes)}"
    operators = many(len(roster.operators), "operator")
    blurred = _blurred(roster.noise, roster)
    return f"{roster.month}{correction}, {', '.join(roster.lists)}, {operators}, {blurred}; {when}"


def _blurred(noise: "Noise | None", roster: "Roster") -> str:
    from resolver.config.values import noun
    from resolver.count.national.roster import deviation

    if noise is None:
        return "no noise: the sum is exact, and all others together can read one figure"
    spread = deviation(noise, len(roster.operators))
    return (
        f"noise that hides {noise.unit:,} {noun(noise.unit, 'attempt')} with epsilon {noise.unit / noise.scale:.3g} "
        f"if {noise.honest:,} or more do not collude (standard deviation of the sum {spread:,})"
    )


def _config(arguments: argparse.Namespace) -> "Config":
    from resolver.config import config

    return config.load(arguments.config)


@contextmanager
def _mine(loaded: "Config") -> "Iterator[Kept]":
    """Give what this operator keeps to this process alone, as the owner of the state folder."""
    from resolver.count.national import kept
    from resolver.feed.places import Places

    with owner_of(Path(loaded.state.directory)), kept.alone(Places(loaded.state.directory).national) as mine:
        yield mine


def _host_key(loaded: "Config") -> Any:
    from resolver.feed import poll

    return poll.host_key_of(loaded, make=False)


def _pinned(path: Path, option: str) -> bytes:
    from resolver.signed import statement

    try:
        return statement.pinned_of(_read(path, _KEY_BYTES))
    except statement.StatementBroken as error:
        raise UsageError(f"{option}: {path}: {error}") from None


def _given(path: Path | None) -> bytes | None:
    from resolver.count.national.figures import MOST_FILE

    if path is None:
        return None
    return sys.stdin.buffer.read(MOST_FILE) if str(path) == "-" else _read(path, MOST_FILE)


def _files(paths: "list[Path]") -> Iterator[Path]:
    """Yield the files, and those named .json in folders, in the order of their names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(path.glob("*.json"))
        if not found:
            raise UsageError(f"{path}: no file that ends in .json")
        yield from found


def _named(path: Path, read: Callable[[bytes], Any]) -> Any:
    """Return what `read` makes of a file; Refused with the file's name."""
    from resolver.count.national.forms import Refused

    try:
        return read(_read(path))
    except Refused as error:
        raise Refused(f"{path}: {error}") from None


def _read(path: Path, most: int = 0) -> bytes:
    from resolver.count.national.forms import MOST_BYTES

    try:
        with path.open("rb") as file:
            return file.read((most or MOST_BYTES) + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    from resolver import atomic_file

    atomic_file.write(path, data, _PUBLIC)
