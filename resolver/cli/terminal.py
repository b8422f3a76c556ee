"""Provides what every verb of the command line shares: exit status, typed names, and calls to the running service.

Rules:
1. Names are read from the terminal without echo, or from stdin; nothing that was typed is repeated.
2. An error is one or two lines on stderr in our own words.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

from resolver.cli import screen
from resolver.control import requests

DONE, FAILED, USAGE, REFUSED, NOT_NOW = 0, 1, 2, 3, 4

DEFAULT_CONFIG: Final = Path(screen.DEFAULT_CONFIG)
MAX_LINE: Final = 1024

_R = TypeVar("_R", bound=requests.Done)


class UsageError(Exception):
    """The command line cannot be carried out; the text says why and repeats nothing of it."""


class Refusal(Exception):
    """The verb was not carried out; the text says where, why and what to do. `status` is the exit status."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the configuration."""
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")


def coloured() -> bool:
    """Return whether output may have colours: it goes to a terminal, and NO_COLOR is not set (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def name_of(arguments: argparse.Namespace) -> str:
    """Return the name that was typed, or the first of stdin; UsageError if there is none."""
    name: str = next(names(), "") if arguments.name == "-" else arguments.name
    if not name:
        raise UsageError("no name given")
    return name


def called(arguments: argparse.Namespace, request: requests.Request[_R], timeout_s: float | None = None) -> _R:
    """Have the running service carry out a request; return its reply, or raise Refusal if it was not carried out."""
    from resolver.control import client

    try:
        reply = client.call(
            client.settings(arguments.config), request, timeout_s=timeout_s if timeout_s else client.TIMEOUT_S
        )
    except client.Unreachable as error:
        raise Refusal(str(error), FAILED) from None
    if isinstance(reply, requests.Failed):
        raise Refusal(reply.said, FAILED)
    if isinstance(reply, requests.Refused):
        if isinstance(request, requests.Reload):
            raise Refusal(f"{reply.said}; the old configuration stays", USAGE)
        raise Refusal(reply.said, REFUSED)
    return reply


def names() -> Iterator[str]:
    """Yield names, one a line: from the terminal without echo until an empty line, else from stdin."""
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
    """Print `text`, in our own words only, on stderr; return `status`."""
    print(f"blocklist-resolver: {text}", file=sys.stderr)
    return status
