"""The verbs of `list` with which persons look and decide: fetch, held, approve, resume, rollback.

Rules:
- Each signature goes to the service in a request of its own: one that is refused takes none with it.
- The output says how many signatures are missing and what to type next.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from resolver.cli.progress import working
from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, called, complain
from resolver.config.values import utc_text
from resolver.control import requests
from resolver.feed.actions import MAX_SIGNATURE_BYTES, OF_A_LIST, Action


def add_verbs(steps: "argparse._SubParsersAction[Any]") -> None:
    """Add the steps to those of `list`."""
    fetch = steps.add_parser("fetch", help=requests.Fetch.help)
    fetch.add_argument("list", metavar="ID")
    fetch.add_argument("--explain", action="store_true", help=requests.Explain.help)
    add_config(fetch)
    fetch.set_defaults(verb=_fetch)
    held = steps.add_parser("held", help="pending decisions and their reasons; the bytes to sign")
    held.add_argument("list", metavar="ID")
    held.add_argument("--json", action="store_true")
    actions = [action.value for action in OF_A_LIST]
    held.add_argument(
        "--statement", choices=actions, metavar="ACTION", help=f"print the bytes to sign for {', '.join(actions)}"
    )
    add_config(held)
    held.set_defaults(verb=_held)
    for action, request in requests.DECISIONS.items():
        verb, _, option = action.partition("-")
        if option:
            steps.choices[verb].add_argument(
                f"--{option}", dest="action", action="store_const", const=action, help=request.help
            )
            continue
        step = steps.add_parser(verb, help=request.help)
        step.add_argument("list", metavar="ID")
        step.add_argument("serial", metavar="SERIAL", type=int)
        step.add_argument("--signature", metavar="FILE", type=Path, action="append", required=True)
        add_config(step)
        step.set_defaults(verb=_decide, action=action)


def _fetch(arguments: argparse.Namespace) -> int:
    one = arguments.list
    if not arguments.explain:
        with working("polling"):
            reply = called(arguments, requests.Fetch(list=one))
        _show_fetched(one, reply)
        return DONE
    with working("polling"):
        explained = called(arguments, requests.Explain(list=one))
    for said, seconds in explained.steps:
        print(f"{seconds * 1000:8.0f} ms  {said}")
    if explained.fetched is not None:
        _show_fetched(one, explained.fetched)
        return DONE
    print(f"{one}: {explained.refused}")
    print(f"next: {explained.do}")
    return REFUSED


def _show_fetched(one: str, reply: requests.FetchReply) -> None:
    """Print the result of a poll that was not refused."""
    if reply.found == "held":
        print(f"{one}: serial {reply.serial} is held ({', '.join(reply.reasons)}); see: list held {one}")
    elif reply.found == "in_force":
        print(f"{one}: serial {reply.serial} is in force now")
    elif reply.again_at:
        print(f"{one}: its list is dated ahead of this host's clock; it is tried again at {utc_text(reply.again_at)}")
    elif reply.taken_out:
        stays = f"serial {reply.serial} stays until the authority publishes a corrected list"
        print(f"{one}: serial {reply.taken_out} was taken out; {stays}")
    else:
        kept = f"serial {reply.serial} stays" if reply.serial else "no list is in force"
        print(f"{one}: nothing new; {kept}")
    if reply.passed_over:
        print(f"{one}: {reply.passed_over}")


def _held(arguments: argparse.Namespace) -> int:
    from resolver.cli import by_service, list_held, list_lookup
    from resolver.config import config

    loaded = config.load(arguments.config)
    if not by_service.reads_here(loaded):
        return by_service.show(arguments)
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
    signatures = [signature_of(path) for path in arguments.signature]
    for signature in signatures:
        request = requests.DECISIONS[arguments.action](
            list=arguments.list, serial=arguments.serial, signature=signature
        )
        print(_said(request, called(arguments, request)), flush=True)
    return DONE


def signature_of(path: Path) -> str:
    """Return the signature in a file, as ssh-keygen writes it; UsageError if there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIGNATURE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--signature: {path}: {error.strerror}") from None
    text = data.decode("ascii", "replace")
    if len(data) > MAX_SIGNATURE_BYTES or not text.startswith("-----BEGIN SSH SIGNATURE-----"):
        raise UsageError(f"--signature: {path}: not a signature of ssh-keygen -Y sign")
    return text


def _said(request: requests.Decide, reply: requests.DecideReply) -> str:
    one, serial = request.list, request.serial
    by = f"{one}: signature of {reply.principal} counts"
    if reply.missing:
        return f"{by}; {reply.missing} more needed, of another person: list held {one} says how to sign"
    if reply.confirmed:
        return f"{by}: the rollback to serial {serial} is confirmed"
    if request.action is Action.ROLLBACK:
        then = f"have another person confirm it within 24 hours: list held {one}"
        return f"{by}: serial {serial} is in force again; {then}"
    done = {
        Action.APPROVE: f"serial {serial} is in force",
        Action.APPROVE_SET_ASIDE: f"the lines set aside of serial {serial} block now",
        Action.REVOKE: f"standing approval {serial} is taken back",
        Action.RESUME: f"the new entries of serial {serial} block again",
    }[request.action]
    return f"{by}: {done}"
