"""The verbs of `list`: what is in force, whether a name is listed, the audit log, and the host's public key.

Rules:
- All of it is read from the disk; no service need run. Who may not read the state folder gets it from the service
  (`by_service`), but for `list check`: a reply may not say by which list a name is blocked.
- `list audit` exits 3 if the log does not verify, or has no entry of the expected hash: it was cut short or replaced.
"""

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from resolver.cli import verbs_decision, verbs_release, verbs_standing, verbs_try
from resolver.cli.terminal import DONE, FAILED, REFUSED, USAGE, UsageError, add_config, coloured, complain, names

if TYPE_CHECKING:
    from resolver.feed.audit import Entry


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `list` and its steps."""
    steps = verbs.add_parser("list", help="the lists in force").add_subparsers(metavar="STEP", required=True)
    status = steps.add_parser("status", help="per list: serial, dates, entries, pending approvals and next steps")
    add_config(status)
    status.add_argument("--json", action="store_true")
    status.set_defaults(verb=_status)
    check = steps.add_parser("check", help="whether a name is listed, by which list and serial, and blocked now")
    check.add_argument("name", metavar="-", help="names come from the terminal without echo, or from stdin")
    add_config(check)
    check.set_defaults(verb=_check)
    verbs_decision.add_verbs(steps)
    verbs_try.add_verbs(steps)
    verbs_standing.add_verbs(steps)
    audit = steps.add_parser("audit", help="verify and show the audit log; exit 3: it does not verify")
    audit.add_argument("--head", action="store_true", help="number and hash of the newest entry alone")
    audit.add_argument("--expect", metavar="HASH", help="exit 3 unless an entry of the log has this hash")
    audit.add_argument("--json", action="store_true")
    add_config(audit)
    audit.set_defaults(verb=_audit)
    verbs_release.add_verbs(steps)
    receipt = steps.add_parser("receipt", help="the public key of this host's receipts, to give to the authority")
    receipt.add_argument("--key", action="store_true", required=True, help="as PEM")
    add_config(receipt)
    receipt.set_defaults(verb=_receipt)


def _receipt(arguments: argparse.Namespace) -> int:
    from resolver.cli import by_service, list_lookup
    from resolver.config import config

    loaded = config.load(arguments.config)
    if not by_service.reads_here(loaded):
        return by_service.show(arguments)
    try:
        print(list_lookup.public_key(loaded), end="")
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE


def _status(arguments: argparse.Namespace) -> int:
    from resolver.cli import by_service, list_lookup, list_status
    from resolver.config import config

    loaded, now = config.load(arguments.config), time.time()
    if not by_service.reads_here(loaded):
        return by_service.show(arguments)
    try:
        if arguments.json:
            print(list_status.as_json(loaded, now))
        else:
            print(list_status.screen(loaded, arguments.config, now, colour=coloured()))
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    from resolver.cli import list_lookup, typed
    from resolver.config import config

    if arguments.name != "-" and not typed.is_reserved(arguments.name):
        raise UsageError("names come from the terminal or from stdin, never the command line: list check -")
    status = DONE
    try:
        images = list_lookup.Lists(config.load(arguments.config), time.time())
        for name in names() if arguments.name == "-" else [arguments.name]:
            try:
                said = images.describe(name)
            except typed.NotAName as error:
                said, status = str(error), USAGE
            print(said, flush=True)
    except list_lookup.ListUnreadable as error:
        return complain(str(error), FAILED)
    return status


def _audit(arguments: argparse.Namespace) -> int:
    from resolver.cli import by_service
    from resolver.config import config
    from resolver.feed import audit, audit_details
    from resolver.feed.places import Places

    loaded = config.load(arguments.config)
    if not by_service.reads_here(loaded):
        return by_service.show(arguments)
    path = Places(loaded.state.directory).audit_log
    try:
        entries, hashes = audit.verified(path)
    except audit.ChainBroken as broken:
        return complain(f"{path}: does not verify: {broken}", REFUSED)
    except OSError as error:
        return complain(f"{path}: {error.strerror}; run this as root or as the service's account", FAILED)
    if arguments.expect is not None and arguments.expect.lower() not in hashes[1:]:
        return complain(f"{path}: no entry has the expected hash: the log was cut short, or replaced", REFUSED)
    number = entries[-1].number if entries else 0
    if arguments.json:
        shown = [] if arguments.head else [{**_facts(one), "hash": hashes[at]} for at, one in enumerate(entries, 1)]
        print(json.dumps({"head": {"number": number, "hash": hashes[-1]}, "entries": shown}, indent=2))
        return DONE
    if not arguments.head:
        for one in entries:
            about = f" {one.list} serial {one.serial}" if one.list else ""
            detail = audit_details.in_words(one.detail)
            print(f"{one.number} {_facts(one)['at']} {one.event.value}{about}{detail and f': {detail}'}")
    print(f"{number} {hashes[-1]}" if arguments.head else f"verified; newest entry {number}: {hashes[-1]}")
    return DONE


def _facts(one: "Entry") -> dict[str, Any]:
    from resolver.config.values import utc_text

    return {
        "number": one.number,
        "at": utc_text(one.at),
        "event": one.event.value,
        "list": one.list,
        "serial": one.serial,
        "digest": one.digest,
        "detail": one.detail,
    }
