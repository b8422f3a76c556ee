"""Says what names get that no list blocks, while a list of the configuration has no serial in force.

Rules:
- It reads the state folder as a start would, and changes nothing there. `feed.state` has the rule.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from resolver.config.config import Config, List
from resolver.feed.places import Places
from resolver.feed.state import State, forwards_without
from resolver.feed.store import StateUnreadable, Store, in_force_once

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
