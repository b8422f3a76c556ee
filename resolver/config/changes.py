"""Compares two configurations: names the keys that changed, and those of them that need a restart.

Rules:
- Every key that is not fixed here takes effect while serving; service applies them in one place.
- The upstreams keep their sockets, health and labels in /metrics until a restart.
- Lists are added, changed, moved and removed while serving. Only `demonstration` waits for a restart: the images that
  are in force were made by it.
- Keys are reported, values are not: a value may hold a secret or a name that was pasted there.
"""

from collections.abc import Iterator

from msgspec import Struct

from resolver.config.config import Config, Export, List

_FIXED = frozenset(
    (
        "listen.dns",
        "listen.engine",
        "listen.threads",
        "listen.user",
        "upstream.servers",
        "upstream.zone",
        "upstream.order",
        "upstream.ca",
        "upstream.pins",
        "cache.size",
        "page.listen",
        "metrics.listen",
        "count.publish_every",
        "count.batch",
        "count.region",
        "count.keep",
        "state.directory",
        "state.keys",
        "state.audit_keep",
        "control.socket",
        "control.group",
        "fleet.host",
        "fleet.publish",
        "fleet.receipts",
        "fleet.nodes",
        "plugin.folder",
        "plugin.resolvers",
        "edge.socket",
        *(f"export.{key}" for key in Export.__struct_fields__),
    )
)
_FIXED_OF_LIST = frozenset(("demonstration",))


def changed(old: Config, new: Config) -> tuple[str, ...]:
    """Return the keys whose values differ, in configured order.

    "list.ID" stands for a list that was added or removed, "list" for lists that stand in another order.
    """
    keys = tuple(_changed(old, new))
    if "state.without_list" in keys:
        # It is the default of each list, and was changed once.
        keys = tuple(key for key in keys if not (key.startswith("list.") and key.endswith(".without_list")))
    return keys


def needing_restart(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `keys` that take effect only after a restart."""
    return tuple(key for key in keys if key in _FIXED or _is_fixed_of_list(key))


def _is_fixed_of_list(key: str) -> bool:
    words = key.split(".")
    return len(words) > 2 and words[0] == "list" and words[2] in _FIXED_OF_LIST


def _changed(old: Config, new: Config) -> Iterator[str]:
    for section in old.__struct_fields__:
        before, after = getattr(old, section), getattr(new, section)
        if section == "lists":
            yield from _changed_lists(before, after)
        else:
            yield from _changed_keys(before, after, section)


def _changed_lists(old: tuple[List, ...], new: tuple[List, ...]) -> Iterator[str]:
    before, after = {one.id: one for one in old}, {one.id: one for one in new}
    both = [list_id for list_id in before if list_id in after]
    if both != [list_id for list_id in after if list_id in before]:
        yield "list"
    for list_id in both:
        yield from _changed_keys(before[list_id], after[list_id], f"list.{list_id}")
    for list_id in (*before, *after):
        if list_id not in both:
            yield f"list.{list_id}"


def _changed_keys(old: Struct, new: Struct, at: str) -> Iterator[str]:
    for key in old.__struct_fields__:
        before, after = getattr(old, key), getattr(new, key)
        if before == after:
            continue
        if isinstance(before, Struct) and isinstance(after, Struct) and key in ("source", "guard"):
            yield from _changed_keys(before, after, f"{at}.{key}")
        else:
            yield f"{at}.{key}"
