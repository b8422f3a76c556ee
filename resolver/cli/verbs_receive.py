"""The verb `receive`: takes receipts of other hosts, on a compile host or on an authority's machine.

Rules:
- It needs no configuration, no state and no key but the public ones of those who deliver.
- It listens on a Unix socket: the one that systemd hands over, else the path of --socket. TLS and client certificates
  are the web server's before it (deploy/receipts/nginx.conf).
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from resolver.cli.terminal import DONE, NOT_NOW, Refusal, UsageError
from resolver.config.values import many


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `receive`."""
    receive = verbs.add_parser("receive", help="take receipts that other hosts send, and keep those that verify")
    receive.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where they are written")
    receive.add_argument("--keys", type=Path, required=True, metavar="DIR", help="HOST.pub of each host, as PEM")
    receive.add_argument("--socket", type=Path, metavar="PATH", help="the Unix socket; default: the one of systemd")
    receive.add_argument(
        "--keep", type=_number, default=0, metavar="N", help="of each host the newest N files; default: all"
    )
    receive.set_defaults(verb=_receive)


def _number(typed: str) -> int:
    number = int(typed)
    if not 1 <= number <= 1_000_000:
        raise ValueError
    return number


def _receive(arguments: argparse.Namespace) -> int:
    from resolver.feed.inbox import Inbox
    from resolver.service import receive

    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    inbox = Inbox(arguments.folder, arguments.keys, keep=arguments.keep)
    try:
        hosts = inbox.open()
        listening = receive.listening(os.environ, os.getpid(), arguments.socket)
    except OSError as error:
        raise Refusal(f"{error.filename or arguments.socket}: {error.strerror}", NOT_NOW) from None
    if listening is None:
        raise UsageError("no socket: systemd has handed none over, and --socket names none")
    accepted = receive.run(listening, inbox, lambda: print(f"receiving from {many(hosts, 'host')}", flush=True))
    print(f"stopped: {many(accepted, 'statement')} accepted")
    return DONE
