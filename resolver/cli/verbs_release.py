"""The verbs `list release` and `list releases`: unblock a wrongly blocked name at once, and show what is released.

Rules:
- A name is typed unseen or comes from stdin, and goes over the control socket: never onto the command line.
- Of a release its number, list, serial, line, dates and signer are shown: never its name.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from resolver.cli import verbs_decision
from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, called, complain, name_of
from resolver.config.values import utc_text
from resolver.control import requests


def add_verbs(steps: "argparse._SubParsersAction[Any]") -> None:
    """Add the steps to those of `list`."""
    release = steps.add_parser("release", help=requests.Release.help)
    release.add_argument(
        "name", metavar="-|N", help="-: the name comes from the terminal without echo, or from stdin; N: release N"
    )
    release.add_argument("--reason", metavar="TEXT", help="why, in words without a name; the authority reads it")
    release.add_argument("--for", dest="lasting", metavar="TIME", help="1h to 30d; default: 7d")
    release.add_argument("--statement", action="store_true", help="print the bytes to sign to confirm release N")
    release.add_argument("--signature", metavar="FILE", type=Path, help=requests.ConfirmRelease.help)
    release.add_argument("--end", action="store_true", help=requests.EndRelease.help)
    add_config(release)
    release.set_defaults(verb=_release)
    releases = steps.add_parser("releases", help="each release: number, list, serial, line, and when it ends")
    releases.add_argument("--json", action="store_true")
    add_config(releases)
    releases.set_defaults(verb=_releases)


def _release(arguments: argparse.Namespace) -> int:
    if arguments.name.isdecimal():
        return _of_number(arguments, int(arguments.name[:18]))
    if arguments.end or arguments.statement or arguments.signature is not None:
        raise UsageError("--statement, --signature and --end go with a release's number: list release N --end")
    from resolver.cli import typed
    from resolver.config import values
    from resolver.feed.release import DEFAULT_S

    if arguments.name != "-" and not typed.is_reserved(arguments.name):
        raise UsageError("names come from the terminal or from stdin, never the command line: list release -")
    if arguments.reason is None:
        raise UsageError("--reason TEXT is needed: the authority reads why")
    try:
        for_s = values.seconds(arguments.lasting) if arguments.lasting else DEFAULT_S
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    try:
        name = typed.read(name_of(arguments))
    except typed.NotAName as error:
        raise UsageError(str(error)) from None
    request = requests.Release(name=name.wire.hex(), reason=arguments.reason, for_s=float(for_s))
    if name.read_as:
        print(f"{name.read_as}{name.name}", flush=True)
    one = called(arguments, request).release
    print(f"released now: release {one['number']}; {_where(one)}; it ends by itself at {utc_text(one['until'])}")
    print(f"have another person confirm it within 24 hours: list release {one['number']} --signature FILE")
    return DONE


def _of_number(arguments: argparse.Namespace, number: int) -> int:
    if [arguments.statement, arguments.signature is not None, arguments.end].count(True) != 1:
        raise UsageError("say what to do with the release: --statement, --signature FILE or --end")
    if arguments.statement:
        return _statement(arguments, number)
    if arguments.signature is not None:
        signature = verbs_decision.signature_of(arguments.signature)
        one = called(arguments, requests.ConfirmRelease(number=number, signature=signature)).release
        print(f"release {one['number']} is confirmed by {one['confirmed_by']}; {_where(one)}")
        return DONE
    one = called(arguments, requests.EndRelease(number=number)).release
    print(f"release {one['number']} has ended: its name is blocked again; {_where(one)}")
    return DONE


def _statement(arguments: argparse.Namespace, number: int) -> int:
    from resolver.cli import by_service, list_lookup
    from resolver.config import config

    loaded = config.load(arguments.config)
    if not by_service.reads_here(loaded):
        return by_service.show(arguments)
    try:
        found = list_lookup.releases(loaded)
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    for one in found:
        if one.number == number:
            statements = one.statements(time.time())
            print(statements[max(statements)].decode(), end="")
            return DONE
    return complain("no release has this number; see: blocklist-resolver list releases", REFUSED)


def _releases(arguments: argparse.Namespace) -> int:
    from resolver.cli import by_service, list_lookup
    from resolver.config import config

    loaded = config.load(arguments.config)
    if not by_service.reads_here(loaded):
        return by_service.show(arguments)
    try:
        found = [one.to_json() for one in list_lookup.releases(loaded)]
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return DONE
    for one in found:
        confirmed = f"confirmed by {one['confirmed_by']}" if one["confirmed_by"] else "NOT CONFIRMED"
        until = utc_text(one["until"])
        print(f"release {one['number']}: {_where(one)}; until {until}; {confirmed}; by uid {one['uid']}")
        print(f"  reason: {one['reason']}")
    if not found:
        print("nothing is released")
    return DONE


def _where(one: dict[str, Any]) -> str:
    """Return list, serial and line of each entry that the release overrides."""
    said = []
    for about in one["lists"]:
        line = "" if about["line"] is None else f", line {about['line']}"
        said.append(f"list {about['list']}, serial {about['serial']}{line}")
    return "; ".join(said)
