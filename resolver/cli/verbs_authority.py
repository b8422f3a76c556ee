"""The verbs of `authority`: each calls one function and prints its result in a line or two."""

import argparse
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from resolver.authority import elsewhere, publish, recipients, verify
from resolver.authority.repository import AuthorityError, Refused
from resolver.cli import verbs_formats
from resolver.cli.acting import owner_of
from resolver.cli.progress import working
from resolver.cli.terminal import DONE, FAILED, REFUSED
from resolver.config.config import MAX_TARGET_BYTES
from resolver.config.values import many, seconds
from resolver.signed import statement

_PEM_BYTES: Final = 2**16


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add init, publish, refresh, withdraw, rotate, sign, verify, check and convert."""
    init = _verb(verbs, "init", "make a repository without lists, and its keys")
    init.add_argument(
        "--threshold", type=int, default=1, metavar="T", help="signatures that root and targets need"
    )
    init.add_argument(
        "--keys", type=int, metavar="N", help="keys of root and of targets; default: the threshold"
    )
    issue = _verb(verbs, "publish", "check, sign and publish a list")
    issue.add_argument("--id", required=True)
    issue.add_argument("--list", required=True, type=Path, metavar="FILE", help="the file with the names")
    issue.add_argument("--serial", required=True, type=int, metavar="N")
    issue.add_argument(
        "--expires", type=_duration, metavar="14d", help="the list's own hard limit; default: none"
    )
    issue.add_argument(
        "--expect-entries", type=int, metavar="N", help="announce this number of different names"
    )
    issue.add_argument(
        "--expect-refused", type=int, default=0, metavar="N", help="number of refused lines to accept"
    )
    issue.add_argument(
        "--expect-exceptions", type=int, default=0, metavar="N", help="number of exceptions that are meant"
    )
    issue.add_argument(
        "--production", action="store_true", help="refuse reserved names, as resolvers in production do"
    )
    issue.add_argument(
        "--recipient",
        action="append",
        default=[],
        metavar="NAME=KEY",
        help="encrypt a copy with age, target ID-NAME; KEY is age1… or @FILE; repeatable",
    )
    issue.add_argument("--recipients", type=Path, metavar="FILE", help="the same from a file: NAME KEY a line")
    issue.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="a recipient that gets no further copy"
    )
    _add_seen(issue)
    refresh = _verb(verbs, "refresh", "sign snapshot and timestamp again")
    refresh.add_argument(
        "--expires", type=_duration, default=publish.FRESH_SECONDS, metavar="48h", help="default: 48h"
    )
    for verb in (issue, refresh):
        verb.add_argument(
            "--clock-was-ahead", action="store_true", help="what was signed last was signed by a clock that was ahead"
        )
    end = _verb(verbs, "withdraw", "publish that a list is withdrawn")
    end.add_argument("--id", required=True)
    end.add_argument("--serial", required=True, type=int, metavar="N")
    _add_seen(end)
    rotate = _verb(verbs, "rotate", "replace all keys of a role")
    rotate.add_argument("--role", required=True, choices=publish.ROLES)
    rotate.add_argument(
        "--drop-lists", action="store_true", help="after a theft: no list until the next publish"
    )
    sign = _verb(verbs, "sign", "add one person's signature to what is pending")
    sign.add_argument("--key", required=True, type=Path, metavar="FILE", help="the person's private key (PEM)")
    sign.add_argument("--list", type=Path, metavar="FILE", help="sign only if the pending list is this one")
    proof = _verb(verbs, "verify", "prove what was in force: a list, the receipts of hosts, and what was signed here")
    proof.add_argument("--list", required=True, type=Path, metavar="FILE", help="the file that was published")
    proof.add_argument("--receipt", required=True, action="append", type=Path, metavar="FILE", help="repeatable")
    proof.add_argument(
        "--host-key", action="append", default=[], type=Path, metavar="PEM", help="a host's public key; repeatable"
    )
    verbs_formats.add_verbs(verbs)


def _add_seen(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--served", metavar="URL|DIR", help="refuse if what is served there is newer than DIR (a restored backup)"
    )
    verb.add_argument("--served-ca", default="", metavar="PEM", help="the CA of an https URL; default: the system's")
    verb.add_argument(
        "--receipts",
        action="append",
        default=[],
        type=Path,
        metavar="FILE|DIR",
        help="refuse a serial that is not above those that hosts had in force; repeatable",
    )


def _seen(arguments: argparse.Namespace, *, clock_was_ahead: bool = False) -> publish.Seen:
    served = elsewhere.Place(arguments.served, arguments.served_ca) if arguments.served else None
    return publish.Seen(served=served, receipts=tuple(arguments.receipts), clock_was_ahead=clock_was_ahead)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the verb; return the exit status."""
    try:
        # check and convert take a file and no repository: they write as the person who types.
        folder = owner_of(arguments.dir) if "dir" in arguments else nullcontext()
        with working(f"authority {arguments.step}"), folder:
            said = _STEPS[arguments.step](arguments, time.time())
        sys.stdout.write(said + "\n")
    except Refused as error:
        return _complain(f"refused: {error}", REFUSED)
    except AuthorityError as error:
        return _complain(str(error), FAILED)
    return DONE


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, allow_abbrev=False)
    parser.add_argument("dir", type=Path, metavar="DIR")
    parser.set_defaults(step=name)
    return parser


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _init(arguments: argparse.Namespace, now: float) -> str:
    keys = arguments.threshold if arguments.keys is None else arguments.keys
    publish.init(arguments.dir, threshold=arguments.threshold, keys=keys, now=now)
    pin, keys = arguments.dir / "root.json", arguments.dir / "keys"
    return f"{arguments.dir}: ready; resolvers pin {pin}; keep {keys} secret"


def _publish(arguments: argparse.Namespace, now: float) -> str:
    data = _read(arguments.list, MAX_TARGET_BYTES)
    issue = publish.Issue(
        list_id=arguments.id,
        data=data,
        serial=arguments.serial,
        expires_s=arguments.expires,
        expect_entries=arguments.expect_entries,
        expect_refused=arguments.expect_refused,
        expect_exceptions=arguments.expect_exceptions,
        production=arguments.production,
        recipients=recipients.typed(arguments.recipient, arguments.recipients),
        drop=tuple(arguments.drop),
    )
    seen = _seen(arguments, clock_was_ahead=arguments.clock_was_ahead)
    done = publish.publish(arguments.dir, issue, now=now, seen=seen)
    return f"{arguments.id}: serial {arguments.serial}, {_counted(done)}: {_state(done)}"


def _refresh(arguments: argparse.Namespace, now: float) -> str:
    publish.refresh(
        arguments.dir, now=now, seconds=arguments.expires, clock_was_ahead=arguments.clock_was_ahead
    )
    return f"{arguments.dir}: fresh for {int(arguments.expires)} s"


def _withdraw(arguments: argparse.Namespace, now: float) -> str:
    seen = _seen(arguments)
    done = publish.withdraw(arguments.dir, list_id=arguments.id, serial=arguments.serial, now=now, seen=seen)
    return f"{arguments.id}: serial {arguments.serial}, withdrawn: {_state(done)}"


def _rotate(arguments: argparse.Namespace, now: float) -> str:
    done = publish.rotate(arguments.dir, role=arguments.role, now=now, drop_lists=arguments.drop_lists)
    return f"{arguments.role}: new keys: {_state(done)}"


def _sign(arguments: argparse.Namespace, now: float) -> str:
    data = None if arguments.list is None else _read(arguments.list, MAX_TARGET_BYTES)
    done = publish.sign(arguments.dir, key=arguments.key, now=now, data=data)
    return f"{arguments.dir}: {done.what}: {_state(done)}"


def _verify(arguments: argparse.Namespace, now: float) -> str:
    try:
        pinned = [statement.pinned_of(_read(path, _PEM_BYTES)) for path in arguments.host_key]
    except statement.StatementBroken as error:
        raise AuthorityError(f"--host-key: {error}") from None
    receipts = {str(path): _read(path, statement.MAX_STATEMENT_BYTES) for path in arguments.receipt}
    return "\n".join(verify.verified(arguments.dir, _read(arguments.list, MAX_TARGET_BYTES), receipts, pinned))


def _read(path: Path, most: int) -> bytes:
    """Return the bytes of a file, at most one more than `most`; AuthorityError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from None


def _counted(done: publish.Done) -> str:
    entries = many(done.entries, "entry", "entries")
    if not done.exceptions:
        return entries
    return f"{entries} ({many(done.blocked, 'name')} blocked, {many(done.exceptions, 'exception')})"


def _state(done: publish.Done) -> str:
    more = many(done.missing, "more signature")
    return "published" if done.published else f"pending, {more} needed (`authority sign`)"


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"blocklist-resolver: {text}\n")
    return status


_STEPS: Final = {
    "init": _init,
    "publish": _publish,
    "refresh": _refresh,
    "withdraw": _withdraw,
    "rotate": _rotate,
    "sign": _sign,
    "verify": _verify,
    "check": verbs_formats.checked,
    "convert": verbs_formats.converted,
}
