"""The verbs of `list`: what is in force, what is listed."""

import argparse
import time
from typing import Any

from resolver import audit_verbs, decision_verbs, release_verbs
from resolver.terminal import DONE, FAILED, UsageError, add_config, coloured, complain, names


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
    decision_verbs.add_verbs(steps)
    audit_verbs.add_verbs(steps)
    release_verbs.add_verbs(steps)
    receipt = steps.add_parser("receipt", help="what this host signs with, to hand over to the authority")
    receipt.add_argument("--key", action="store_true", required=True, help="the public key, as PEM")
    add_config(receipt)
    receipt.set_defaults(verb=_receipt)


def _receipt(arguments: argparse.Namespace) -> int:
    from resolver import config, lists

    try:
        print(lists.public_key(config.load(arguments.config)), end="")
    except lists.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE


def _status(arguments: argparse.Namespace) -> int:
    from resolver import config, list_status, lists

    loaded, now = config.load(arguments.config), time.time()
    try:
        if arguments.json:
            print(list_status.as_json(loaded, now))
        else:
            print(list_status.screen(loaded, arguments.config, now, colour=coloured()))
    except lists.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    from resolver import config, lists

    if arguments.name != "-" and not lists.is_reserved(arguments.name):
        raise UsageError("names come from the terminal or from stdin, never the command line: list check -")
    try:
        images = lists.Lists(config.load(arguments.config), time.time())
        for name in names() if arguments.name == "-" else [arguments.name]:
            print(images.describe(name), flush=True)
    except lists.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE
