"""Makes the receipt of a fleet: verifies its nodes' receipts with their pinned keys, and counts them.

    [fleet] receipts/*.json    receipts of the nodes (feed.receipt), as delivered: NODE-LIST-SERIAL-GENERATION.json
    [fleet] nodes/NAME.pub     the public key (PEM) of the node that is called NAME
    [fleet] nodes/NAME.lists   the ids of the lists that this node carries, one a line; without it, all of them

Rules:
- A node has reported a list when its own key has signed a receipt of this very serial and digest under its own name.
- The fleet's receipt of a list is made once all nodes that carry it have. It says what was reported and tested, never
  that a list is blocked.
- Which lists a node carries is said here, by the operator, and never learnt from what a node sends: a node that loses a
  list is missing. A file of lists that cannot be read counts as none: then the node carries all lists.
- A file that does not verify is ignored: anyone may deliver a file, only the pinned keys count.
- Every node writes to the folder, so nothing in it may stop the reader or hide another node's receipt: files are opened
  as `dropped` does, the name that a node's receipt has is looked for first, and the newest files of each node have a
  bound of their own.
"""

import heapq
import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct, ValidationError, convert

from resolver.feed import dropped, inbox, receipt
from resolver.feed.state import Record
from resolver.signed import statement

KIND: Final = "fleet receipt"
CAVEAT: Final = (
    "Each host has signed what it tested of its own answers when the list came in force. "
    "This does not say that no visitor reaches a listed name."
)
FILES_OF_NODE: Final = 1_000
"""How many files of each node are read beside the one expected, and how many whose name begins with no node's."""
MAX_NAMES: Final = 200_000
"""How many names in the folder are looked at."""


_Mark: TypeAlias = tuple[str, int, int]
_MAX_KEY_BYTES: Final = 16_384
_MAX_LISTS_BYTES: Final = 65_536


class _Receipt(Struct, frozen=True):
    """The fields of a node's receipt that are read here."""

    kind: str
    host: str
    list: str
    serial: int
    digest: str
    in_force_since: int


@dataclass(frozen=True, slots=True)
class Reports:
    """The nodes' reports of one list.

    since: by node that has reported, when the list came in force there, in unix seconds. nodes: how many carry it.
    missing: those that have not reported.
    """

    since: Mapping[str, int]
    nodes: int
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True if there are nodes, and all have reported."""
        return 0 < self.nodes == len(self.since)


class Collector:
    """Reads the receipts that nodes have delivered: each file once, and again after it has changed."""

    def __init__(self, receipts: Path, nodes: Path) -> None:
        self._receipts = receipts
        self._nodes = nodes
        self._read: dict[_Mark, _Receipt | None] = {}

    def reports(self, list_id: str, record: Record) -> Reports:
        """Return which nodes have reported the list of `record`; OSError if a folder cannot be read."""
        keys, since = self._keys(), dict[str, int]()
        carriers = [name for name in keys if self._carries(name, list_id)]
        read: dict[_Mark, _Receipt | None] = {}
        expected = [f"{name}-{receipt.name_of(list_id, record)}.json" for name in carriers]
        for every in (False, True):
            for one in self._all(self._names(keys) if every else expected, keys, read):
                of_this = (one.list, one.serial, one.digest) == (list_id, record.serial, record.digest)
                if of_this and one.host in carriers:
                    since[one.host] = min(one.in_force_since, since.get(one.host, one.in_force_since))
            if len(since) == len(carriers):
                break
        # What was not looked at this time is read again when it is.
        self._read = read
        return Reports(since, len(carriers), tuple(name for name in carriers if name not in since))

    def _carries(self, node: str, list_id: str) -> bool:
        """Return whether a node carries a list."""
        said = lists_in(self._nodes / f"{node}.lists")
        return said is None or list_id in said

    def _keys(self) -> dict[str, bytes]:
        found = {}
        for path in sorted(self._nodes.glob("*.pub")):
            try:
                found[path.stem] = statement.pinned_of(dropped.read(path, _MAX_KEY_BYTES, follow=True))
            except (OSError, statement.StatementBroken):
                found[path.stem] = b""  # this node cannot report: the fleet's receipt waits until its key is corrected
        return found

    def _names(self, keys: Mapping[str, bytes]) -> list[str]:
        """Return the names of the newest files of each node, and of the newest others; OSError."""
        newest: dict[str, list[tuple[int, str]]] = {}
        with os.scandir(self._receipts) as entries:
            for entry in itertools.islice(entries, MAX_NAMES):
                if not entry.name.endswith(".json") or not entry.is_file(follow_symlinks=False):
                    continue
                with suppress(OSError):
                    at = entry.stat(follow_symlinks=False).st_mtime_ns
                    node = inbox.host_of(entry.name, keys)
                    kept = newest.setdefault(node, [])
                    push = heapq.heappush if len(kept) < FILES_OF_NODE else heapq.heappushpop
                    push(kept, (at, entry.name))
        return sorted(name for kept in newest.values() for _, name in kept)

    def _all(
        self, names: Iterable[str], keys: Mapping[str, bytes], read: dict[_Mark, _Receipt | None]
    ) -> Iterable[_Receipt]:
        for name in names:
            path = self._receipts / name
            try:
                stat = path.lstat()
            except OSError:
                continue
            mark = (name, stat.st_ino, stat.st_mtime_ns)
            read[mark] = self._read[mark] if mark in self._read else _verified(path, keys)
            one = read[mark]
            if one is not None and one.host in keys:
                yield one


def lists_in(path: Path) -> frozenset[str] | None:
    """Return the ids in a node's file of lists; None if it cannot be read."""
    try:
        return frozenset(dropped.read(path, _MAX_LISTS_BYTES, follow=True).decode().split())
    except (OSError, UnicodeDecodeError):
        return None


def _verified(path: Path, keys: Mapping[str, bytes]) -> _Receipt | None:
    try:
        said, key = statement.claimed(dropped.read(path, statement.MAX_STATEMENT_BYTES))
        one = convert(said, _Receipt)
    except (OSError, statement.StatementBroken, ValidationError):
        return None
    return one if one.kind == receipt.KIND and keys.get(one.host) == key else None


def made(record: Record, reports: Reports, *, list_id: str, host: str, at: float) -> dict[str, Any]:
    """Return the statement of a fleet whose nodes have all reported; `at` in unix seconds."""
    return {
        **receipt.about(KIND, record, list_id=list_id, host=host),
        "at": int(at),
        "hosts": reports.nodes,
        "reported": len(reports.since),
        "first": min(reports.since.values()),
        "last": max(reports.since.values()),
        "since": dict(sorted(reports.since.items())),
        "tested": (
            f"serial {record.serial} is reported in force by {len(reports.since)} of {reports.nodes} hosts, "
            "each after its own test of its own answers"
        ),
        "caveat": CAVEAT,
    }


def name_of(list_id: str, record: Record) -> str:
    """Return the file name of the fleet's receipt, without a suffix."""
    return f"fleet-{list_id}-{record.serial}-{record.generation}"


def look(
    reported: Iterable[tuple[str, Record, Reports]],
    *,
    host: str,
    now: float,
    has: Callable[[str], bool],
    put: Callable[[str, str, Mapping[str, Any]], object],
) -> bool:
    """Make the receipt of each list that all nodes have reported, once; return whether there is a new one.

    reported: id, record in force and reports of each list. has, put: look a receipt up by its name, and keep it.
    OSError if a folder cannot be used.
    """
    found = False
    for list_id, record, reports in reported:
        if reports.complete and not has(name_of(list_id, record)):
            put(name_of(list_id, record), list_id, made(record, reports, list_id=list_id, host=host, at=now))
            found = True
    return found
