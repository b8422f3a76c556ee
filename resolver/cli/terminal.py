"""What every verb of the command line shares: exit status, names that are typed, and the running service's answer.

Rules:
1. Names are read from the terminal without echo, or from stdin; what was typed is never repeated.
2. An error is one or two lines on stderr in our own words.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resolver.cli import screen

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3

DEFAULT_CONFIG = Path(screen.DEFAULT_CONFIG)
MAX_LINE = 1024


class UsageError(Exception):
    """The command line cannot be carried out; the text says why and repeats nothing of it."""


class Refusal(Exception):
    """What was asked was not done; the text says where, why and what to do. `status` is the exit status."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


def add_config(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told which configuration."""
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")


def coloured() -> bool:
    """Whether what is printed may have colours: a terminal looks on, and nobody said no (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def name_of(arguments: argparse.Namespace) -> str:
    """The name that was typed, or the first of stdin; UsageError where there is none."""
    name: str = next(names(), "") if arguments.name == "-" else arguments.name
    if not name:
        raise UsageError("no name given")
    return name


def called(arguments: argparse.Namespace, request: dict[str, object], answer_s: float | None = None) -> dict[str, Any]:
    """What the running service answers; Refusal where it does not do what was asked, or is not there."""
    from resolver.control import server

    try:
        answer = server.call(server.settings(arguments.config), request, answer_s=answer_s or server.ANSWERED_S)
    except server.Unreachable as error:
        raise Refusal(str(error), FAILED) from None
    if answer["outcome"] != server.DONE:
        if answer["outcome"] == server.REFUSED:
            if request["verb"] == "reload":
                raise Refusal(f"{answer['said']}; the old configuration stays", USAGE)
            raise Refusal(answer["said"], REFUSED)
        raise Refusal(answer["said"], FAILED)
    return answer


def names() -> Iterator[str]:
    """Names, one a line: from the terminal without echo until an empty one, else from stdin."""
    if sys.stdin.isatty():
        while line := getpass.getpass("name (not shown; empty to end): ").strip():
            yield line
        return
    while line := sys.stdin.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise UsageError("a line of stdin is longer than a name can be")
        if line.strip():
            yield line.strip()


def complain(text: str, status: int) -> int:
    """Says `text` on stderr, in its own words only; returns `status`."""
    print(f"blocklist-resolver: {text}", file=sys.stderr)
    return status
