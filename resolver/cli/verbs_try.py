"""The verb `list try`: what would come of a list, before it counts; nothing of it stays.

Rules:
- ID is a list of the configuration; FILE is a TOML file with one `[[list]]`, which need not be in the configuration.
- No service need run, and one that runs is not asked. Counts, reasons and line numbers are shown, never a name.
"""

import argparse
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.cli.screen import entries
from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, complain
from resolver.config.values import many

if TYPE_CHECKING:
    from resolver.config.config import Config, List
    from resolver.feed.state import Record
    from resolver.service.list_trial import Tried

AS_THE_ACCOUNT: Final = "run this as the service's account"
_ID: Final = re.compile(r"[a-z0-9-]{1,32}\Z")


def add_verbs(steps: "argparse._SubParsersAction[Any]") -> None:
    """Add the step to those of `list`."""
    step = steps.add_parser("try", help="fetch, test and guard a list without its counting; exit 3: it is refused")
    step.add_argument("what", metavar="FILE|ID", help="a file with one [[list]], or the id of a configured list")
    add_config(step)
    step.set_defaults(verb=_try)


def _try(arguments: argparse.Namespace) -> int:
    from resolver.cli.progress import working
    from resolver.feed.seal import KeyUnusable
    from resolver.service import list_trial

    config, one = _meant(arguments.what, arguments.config)
    # What the trial logs is said below, in other words.
    logging.getLogger("resolver").addHandler(logging.NullHandler())
    logging.getLogger("resolver").propagate = False
    try:
        with working("fetching, compiling and testing the list"):
            tried = list_trial.try_list(config, one)
    except OSError as error:
        return complain(f"a folder for the trial cannot be made: {error.strerror}; set TMPDIR", FAILED)
    except KeyUnusable as error:
        return complain(f"an image of a compile host needs this host's keys: {error}: {AS_THE_ACCOUNT}", FAILED)
    for line in lines(config, one, tried):
        print(line)
    return DONE if tried.failed is None else REFUSED


def _meant(what: str, path: Path) -> tuple["Config", "List"]:
    from resolver.config import config

    if not _ID.match(what):
        loaded, one = config.load_with(path, Path(what))
    else:
        loaded = config.load(path)
        found = [each for each in loaded.lists if each.id == what]
        if not found:
            raise UsageError(f"{path}: no list has this id; a file with a [[list]] is named with its path: ./FILE")
        (one,) = found
    return loaded, one


def lines(config: "Config", one: "List", tried: "Tried") -> Iterator[str]:
    """Yield what would come of a list, the verdict last."""
    from resolver.feed import detail_text
    from resolver.service import newcomers

    yield f"{one.id}: tried from {one.source.url}; nothing was changed, and nothing of it is kept"
    if tried.failed is not None:
        why = detail_text.text(tried.failed.detail, one)
        yield f"would be REFUSED: {tried.failed.reason.value}{f': {why}' if why else ''}"
    elif tried.record is None:
        yield f"nothing new: serial {tried.same} is in force or held here already"
        return
    else:
        yield from _of(tried.record)
        if tried.held:
            yield f"would be HELD: {', '.join(tried.held)}: two signatures, or other values in its [list.guard]"
        elif tried.same:
            yield "would be IN FORCE: this serial is in force here already, and passes again"
        else:
            yield "would be IN FORCE: it verifies, passes its self-test and the guard"
        if tried.complaint is not None:
            why = ": ".join(filter(None, (tried.complaint.reason.value, detail_text.text(tried.complaint.detail, one))))
            yield f"in force all the same, each poll would count a failure: {why}"
        yield from _shared(config, one, tried)
        if one.guard.popular_share and not tried.record.withdrawn:
            yield "not tried: entries that clients use widely; only the running service knows them"
    if tried.failed is not None or tried.held:
        try:
            yield newcomers.without(config, one)
        except OSError as error:
            yield f"{config.state.directory} cannot be read ({error.strerror}): {AS_THE_ACCOUNT}"


def _shared(config: "Config", one: "List", tried: "Tried") -> Iterator[str]:
    """Yield how many names it shares with each list in force here."""
    if tried.record is None or tried.record.withdrawn:
        return
    if tried.shared is None:
        if len(config.lists) > 1 or tried.same:
            yield f"not counted: names that lists in force have too, which needs this host's keys: {AS_THE_ACCOUNT}"
        return
    for list_id, count in tried.shared.items():
        there = f"list {list_id} in force" if list_id != one.id else "the serial of this list that is in force"
        said = many(count, "name") if count >= 0 else "not counted: its image cannot be used"
        yield f"shared with {there}: {said}"


def _of(record: "Record") -> Iterator[str]:
    from resolver.config.values import utc_text
    from resolver.feed import refusals

    issued = f", issued {utc_text(record.issued)}" if record.issued else ""
    expires = f", expires {utc_text(record.expires)}" if record.expires else ""
    yield f"serial {record.serial}{issued}{expires}"
    if record.withdrawn:
        yield "it is withdrawn: nothing would be blocked by it"
        return
    yield entries(record.entries, record.exceptions)
    yield f"refused lines: {refusals.lines(record.refused, record.refused_lines)}"
    yield f"set aside until approved: {refusals.lines(record.set_aside, record.set_aside_lines)}"
