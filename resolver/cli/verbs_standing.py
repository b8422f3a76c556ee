"""The verb `list standing`: approve beforehand what later serials of a list will be held for.

Rules:
- The end is a moment in UTC, so that two persons sign the same statement hours apart; "midnight" is the next one.
- The statement follows from the saved state; the signature goes to the service, which makes the same statement.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, called, complain
from resolver.cli.verbs_decision import signature_of
from resolver.config.values import utc_seconds
from resolver.control import requests

_DAY_S = 86400


def add_verbs(steps: "argparse._SubParsersAction[Any]") -> None:
    """Add the step to those of `list`."""
    step = steps.add_parser("standing", help=requests.Stand.help)
    step.add_argument("list", metavar="ID")
    step.add_argument("--growth-to", metavar="N", type=int, default=0, help="lists held for growth, up to N entries")
    step.add_argument("--refused-to", metavar="N", type=int, default=0, help="lists with up to N refused lines")
    step.add_argument(
        "--until", metavar="TIME", default="midnight", help="its end, such as 2026-11-30T00:00:00Z; or midnight (UTC)"
    )
    which = step.add_mutually_exclusive_group(required=True)
    which.add_argument("--statement", action="store_true", help="print the bytes to sign")
    which.add_argument("--signature", metavar="FILE", type=Path, action="append")
    add_config(step)
    step.set_defaults(verb=_standing)


def until_of(text: str, now: float) -> int:
    """Return the end that a person has typed, in unix seconds; UsageError if it is none."""
    if text == "midnight":
        return (int(now) // _DAY_S + 1) * _DAY_S
    try:
        return utc_seconds(text)
    except ValueError:
        raise UsageError("--until: expected a time such as 2026-11-30T00:00:00Z, or midnight") from None


def _standing(arguments: argparse.Namespace) -> int:
    until = until_of(arguments.until, time.time())
    if min(arguments.growth_to, arguments.refused_to) < 0:
        raise UsageError("--growth-to, --refused-to: expected a number")
    if arguments.statement:
        return _statement(arguments, until)
    for signature in [signature_of(path) for path in arguments.signature]:
        request = requests.Stand(
            list=arguments.list,
            growth_to=arguments.growth_to,
            refused_to=arguments.refused_to,
            until=until,
            signature=signature,
        )
        print(_said(request, called(arguments, request)), flush=True)
    return DONE


def _statement(arguments: argparse.Namespace, until: int) -> int:
    from resolver.cli import list_held, list_lookup
    from resolver.config import config

    try:
        data = list_held.standing_statement(
            config.load(arguments.config),
            arguments.list,
            growth_to=arguments.growth_to,
            refused_to=arguments.refused_to,
            until=until,
            now=time.time(),
        )
    except list_held.NothingWaits as error:
        return complain(str(error), REFUSED)
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    return DONE


def _said(request: requests.Stand, reply: requests.DecideReply) -> str:
    by = f"{request.list}: signature of {reply.principal} counts"
    if reply.missing:
        return f"{by}; {reply.missing} more needed, of another person: list held {request.list} says how to sign"
    serial = "no list is in force" if reply.in_force is None else f"serial {reply.in_force} is in force"
    return f"{by}: standing approval {reply.number} is given; {serial}"
