"""The verbs of `list` with which persons look and decide: fetch, held, approve, resume, rollback.

Rules:
- Each signature goes to the service in a request of its own: one that is refused takes none with it.
- What is printed says how many signatures are missing and what to type next.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, called, complain

MAX_SIGNATURE_BYTES = 6144
_ACTIONS = ("approve", "approve-set-aside", "resume", "rollback")


def add_verbs(steps: "argparse._SubParsersAction[Any]") -> None:
    """Add the steps to those of `list`."""
    fetch = steps.add_parser("fetch", help="poll one list now, and tell what came of it")
    fetch.add_argument("list", metavar="ID")
    add_config(fetch)
    fetch.set_defaults(verb=_fetch)
    held = steps.add_parser("held", help="what waits for a person and why; the bytes to sign")
    held.add_argument("list", metavar="ID")
    held.add_argument("--json", action="store_true")
    held.add_argument("--statement", choices=_ACTIONS, metavar="ACTION", help=f"print the bytes to sign: {_ACTIONS}")
    add_config(held)
    held.set_defaults(verb=_held)
    for name, said in (
        ("approve", "put in force what is held, or have the lines set aside count: two signatures"),
        ("resume", "have the entries count again that the breaker took out: two signatures"),
        ("rollback", "take out the list in force for good: one signature; another's confirms it"),
    ):
        step = steps.add_parser(name, help=said)
        step.add_argument("list", metavar="ID")
        step.add_argument("serial", metavar="SERIAL", type=int)
        step.add_argument("--signature", metavar="FILE", type=Path, action="append", required=True)
        if name == "approve":
            step.add_argument("--set-aside", action="store_true", help="the lines set aside of the list in force")
        add_config(step)
        step.set_defaults(verb=_decide, action=name, set_aside=False)


def _fetch(arguments: argparse.Namespace) -> int:
    one = arguments.list
    found = called(arguments, {"verb": "fetch", "list": one})
    if found["found"] == "held":
        print(f"{one}: serial {found['serial']} is held ({', '.join(found['reasons'])}); see: list held {one}")
    elif found["found"] == "in_force":
        print(f"{one}: serial {found['serial']} is in force now")
    else:
        print(f"{one}: nothing new; serial {found['serial']} stays")
    return DONE


def _held(arguments: argparse.Namespace) -> int:
    from resolver.cli import list_held, list_lookup
    from resolver.config import config

    loaded = config.load(arguments.config)
    try:
        if arguments.statement:
            data = list_held.statement(loaded, arguments.list, arguments.statement, time.time())
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
        elif arguments.json:
            print(list_held.as_json(loaded, arguments.list, time.time()))
        else:
            print(list_held.screen(loaded, arguments.list, time.time(), arguments.config))
    except list_held.NothingWaits as error:
        return complain(str(error), REFUSED)
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE


def _decide(arguments: argparse.Namespace) -> int:
    verb = "approve-set-aside" if arguments.set_aside else arguments.action
    signatures = [signature_of(path) for path in arguments.signature]
    for signature in signatures:
        asked = {"verb": verb, "list": arguments.list, "serial": arguments.serial, "signature": signature}
        print(_said(arguments, verb, called(arguments, asked)), flush=True)
    return DONE


def signature_of(path: Path) -> str:
    """The signature in a file, as ssh-keygen writes it; UsageError where it is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIGNATURE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--signature: {path}: {error.strerror}") from None
    text = data.decode("ascii", "replace")
    if len(data) > MAX_SIGNATURE_BYTES or not text.startswith("-----BEGIN SSH SIGNATURE-----"):
        raise UsageError(f"--signature: {path}: not a signature of ssh-keygen -Y sign")
    return text


def _said(arguments: argparse.Namespace, verb: str, answer: dict[str, Any]) -> str:
    one, serial = arguments.list, arguments.serial
    by = f"{one}: signature of {answer['principal']} counts"
    if answer["missing"]:
        return f"{by}; {answer['missing']} more needed, of another person: list held {one} says how to sign"
    if answer["confirmed"]:
        return f"{by}: the rollback to serial {serial} is confirmed"
    if verb == "rollback":
        then = f"have another person confirm it within 24 hours: list held {one}"
        return f"{by}: serial {serial} is in force again; {then}"
    done = {
        "approve": f"serial {serial} is in force",
        "approve-set-aside": f"the lines set aside of serial {serial} count",
        "resume": f"the new entries of serial {serial} count again",
    }[verb]
    return f"{by}: {done}"
