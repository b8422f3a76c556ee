"""The verbs of `list`: what is in force, what is listed."""

import argparse
import time
from typing import Any

from resolver.cli import verbs_audit, verbs_decision, verbs_release
from resolver.cli.terminal import DONE, FAILED, UsageError, add_config, coloured, complain, names


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `list` and its steps."""
    steps = verbs.add_parser("list", help="the lists in force").add_subparsers(metavar="STEP", required=True)
    status = steps.add_parser("status", help="per list: serial, dates, entries, what waits for whom, what to do next")
    add_config(status)
    status.add_argument("--json", action="store_true")
    status.set_defaults(verb=_status)
    check = steps.add_parser("check", help="is a name listed, by which list and serial, and is it blocked now")
    check.add_argument("name", metavar="-", help="names come from the terminal without echo, or from stdin")
    add_config(check)
    check.set_defaults(verb=_check)
    verbs_decision.add_verbs(steps)
    verbs_audit.add_verbs(steps)
    verbs_release.add_verbs(steps)
    receipt = steps.add_parser("receipt", help="what this host signs with, to hand over to the authority")
    receipt.add_argument("--key", action="store_true", required=True, help="the public key, as PEM")
    add_config(receipt)
    receipt.set_defaults(verb=_receipt)


def _receipt(arguments: argparse.Namespace) -> int:
    from resolver.cli import list_lookup
    from resolver.config import config

    try:
        print(list_lookup.public_key(config.load(arguments.config)), end="")
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE


def _status(arguments: argparse.Namespace) -> int:
    from resolver.cli import list_lookup, list_status
    from resolver.config import config

    loaded, now = config.load(arguments.config), time.time()
    try:
        if arguments.json:
            print(list_status.as_json(loaded, now))
        else:
            print(list_status.screen(loaded, arguments.config, now, colour=coloured()))
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    from resolver.cli import list_lookup
    from resolver.config import config

    if arguments.name != "-" and not list_lookup.is_reserved(arguments.name):
        raise UsageError("names come from the terminal or from stdin, never the command line: list check -")
    try:
        images = list_lookup.Lists(config.load(arguments.config), time.time())
        for name in names() if arguments.name == "-" else [arguments.name]:
            print(images.describe(name), flush=True)
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE
