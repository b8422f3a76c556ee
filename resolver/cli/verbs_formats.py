"""`authority check` and `authority convert`: a list before it is signed, and a list out of another format.

Rules:
- What is printed are counts, reasons and line numbers; names go to the file of --out alone, which only its owner reads.
- That file is written whole or not at all.
"""

import argparse
from pathlib import Path

from resolver import atomic_file
from resolver.authority import check, convert, formats
from resolver.authority.repository import AuthorityError, Refused
from resolver.config.config import MAX_TARGET_BYTES
from resolver.config.values import many
from resolver.feed import refusals


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add check and convert."""
    look = verbs.add_parser("check", help="read a list as a resolver does, before it is signed", allow_abbrev=False)
    look.add_argument("file", type=Path, metavar="FILE")
    look.add_argument("--format", choices=tuple(check.FORMATS), default="plain", help="default: plain")
    look.set_defaults(step="check")
    make = verbs.add_parser("convert", help="make a plain list of a file in another format", allow_abbrev=False)
    make.add_argument("file", type=Path, metavar="FILE")
    make.add_argument("--from", required=True, choices=convert.FORMATS, dest="source", help="the format of FILE")
    make.add_argument("--out", required=True, type=Path, metavar="FILE", help="written whole or not at all, 0600")
    make.add_argument(
        "--without-exceptions",
        action="store_true",
        help="go on if an exception cannot be converted: the list then blocks more than FILE says",
    )
    make.set_defaults(step="convert")


def checked(arguments: argparse.Namespace, now: float) -> str:
    """Return what a resolver makes of a list; Refused if it is unusable."""
    try:
        return "\n".join(f"{arguments.file}: {line}" for line in check.check(_read(arguments.file), arguments.format))
    except Refused as error:
        raise Refused(f"{arguments.file}: {error}") from None


def converted(arguments: argparse.Namespace, now: float) -> str:
    """Write the converted list, and return its counts and what was dropped; Refused if nothing can be used."""
    into = arguments.out
    if into.exists() and arguments.file.exists() and into.samefile(arguments.file):
        raise AuthorityError(f"--out {into}: the file to convert; name another")
    try:
        done = convert.convert(_read(arguments.file), arguments.source, without_exceptions=arguments.without_exceptions)
    except Refused as error:
        raise Refused(f"{arguments.file}: {error}") from None
    try:
        atomic_file.write(into, done.data, 0o600)
    except OSError as error:
        raise AuthorityError(f"{into}: {error.strerror}") from None
    names = f"{many(done.blocked, 'name')} blocked, {many(done.exceptions, 'exception')}"
    said = [
        f"{into}: {names}, from {many(done.lines, 'line')} of {arguments.file}",
        f"dropped: {refusals.lines(done.dropped, done.dropped_lines)}",
    ]
    meant = ((reason, why) for reason, why in formats.MEANING.items() if reason in done.dropped)
    said += [f"  {reason.replace('_', ' ')}: {why}" for reason, why in meant]
    if done.repeated:
        said.append(f"repeated, written once: {done.repeated}")
    said.append(f"next: blocklist-resolver authority check {into}")
    return "\n".join(said)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_TARGET_BYTES + 1)
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from None
