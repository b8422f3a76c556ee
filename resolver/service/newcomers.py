"""Says what comes with a new list and goes with an old one: what names get while a list has no serial in force.

Rules:
- It reads the state folder as a start would, and changes nothing there. `feed.state` has the rule.
"""

import logging
from collections.abc import Iterator

from msgspec.structs import replace

from resolver.config.config import Config, List
from resolver.feed.places import Places
from resolver.feed.state import State, forwards_without
from resolver.feed.store import StateUnreadable, Store, in_force_once

_log = logging.getLogger("resolver")

FORWARDED = "other lists count, and names that only it would block are forwarded, with an alarm"
REFUSED = "names that no list blocks get SERVFAIL"


def lines(config: Config) -> Iterator[str]:
    """Yield a line for each list that has no serial in force; OSError if the state folder cannot be read."""
    for one in config.lists:
        state = _state(config, one)
        if state.in_force is None:
            yield f"list {one.id} has no serial in force yet: {without(config, one)}"


def without(config: Config, one: List) -> str:
    """Return what happens until the list's first serial is in force; OSError if the state folder cannot be read."""
    forwards = forwards_without(_state(config, one), one.without_list)
    return f"until its first serial is, {FORWARDED if forwards else REFUSED} (without_list)"


def tell(old: Config, new: Config) -> None:
    """Log which lists another configuration adds and removes, and what that means."""
    before, after = {one.id for one in old.lists}, {one.id for one in new.lists}
    for list_id in sorted(after - before):
        _log.info("list %s: added, it is fetched now", list_id)
    for list_id in sorted(before - after):
        said = "list %s: removed, it blocks nothing any more. Its folder of state stays, so that nothing older is "
        said += "accepted if it comes back; its totals stay in the ledger; released names stay released"
        _log.warning(said, list_id)


def _state(config: Config, one: List) -> State:
    """Return the list's state, that of a list which is new here included."""
    lists = Places(config.state.directory).lists
    store = Store(lists / one.id)
    try:
        found = store.read_state()
    except StateUnreadable:
        return State()
    if store.is_new() and in_force_once(lists) - {one.id}:
        return replace(found, joined=1)
    return found
