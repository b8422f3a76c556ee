"""The verb `list audit`: does the log of list operations hold, and what does it say.

Rules:
- Exit 3 where the log does not hold, or does not have the hash that was expected: it was cut short or replaced.
- It is read from the disk; no service need run.
"""

import argparse
import json
from typing import Any

from resolver.cli.terminal import DONE, FAILED, REFUSED, add_config, complain
from resolver.config.values import utc_text


def add_verbs(steps: "argparse._SubParsersAction[Any]") -> None:
    """Add the step to those of `list`."""
    audit = steps.add_parser("audit", help="verify and show the log of list operations; exit 3: it does not hold")
    audit.add_argument("--head", action="store_true", help="number and hash of the newest entry alone")
    audit.add_argument("--expect", metavar="HASH", help="exit 3 unless an entry of the log has this hash")
    audit.add_argument("--json", action="store_true")
    add_config(audit)
    audit.set_defaults(verb=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from resolver.config import config
    from resolver.feed import audit
    from resolver.feed.places import Places

    path = Places(config.load(arguments.config).state.directory).audit_log
    try:
        entries, hashes = audit.verified(path)
    except audit.ChainBroken as broken:
        return complain(f"{path}: does not hold: {broken}", REFUSED)
    except OSError as error:
        return complain(f"{path}: {error.strerror}; run this as root or as the service's account", FAILED)
    if arguments.expect is not None and arguments.expect.lower() not in hashes[1:]:
        return complain(f"{path}: no entry has the hash that was expected: cut short, or another log", REFUSED)
    number = entries[-1].number if entries else 0
    if arguments.json:
        told = [] if arguments.head else [{**_told(one), "hash": hashes[at]} for at, one in enumerate(entries, 1)]
        print(json.dumps({"head": {"number": number, "hash": hashes[-1]}, "entries": told}, indent=2))
        return DONE
    if not arguments.head:
        for one in entries:
            said = _told(one)
            about = f" {one.list} serial {one.serial}" if one.list else ""
            print(f"{one.number} {said['at']} {one.event.value}{about}{one.detail and f': {one.detail}'}")
    print(f"{number} {hashes[-1]}" if arguments.head else f"holds; newest entry {number}: {hashes[-1]}")
    return DONE


def _told(one: Any) -> dict[str, Any]:
    return {
        "number": one.number,
        "at": utc_text(one.at),
        "event": one.event.value,
        "list": one.list,
        "serial": one.serial,
        "digest": one.digest,
        "detail": one.detail,
    }
