"""Makes the receipt of a fleet: verifies its nodes' receipts with their pinned keys, and counts them.

    [fleet] receipts/*.json    receipts of the nodes (feed.receipt), as delivered
    [fleet] nodes/NAME.pub     the public key (PEM) of the node that is called NAME

Rules:
- A node has reported a list when its own key has signed a receipt of this very serial and digest under its own name.
- The fleet's receipt is made once all nodes have. It says what was reported and tested, never that a list is blocked.
- A file that does not verify is ignored: anyone may deliver a file, only the pinned keys count.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, ValidationError, convert

from resolver.feed import receipt
from resolver.feed.state import Record
from resolver.feed.update import ListUpdate
from resolver.signed import statement

KIND: Final = "fleet receipt"
CAVEAT: Final = (
    "Each host has signed what it tested of its own answers when the list came in force. "
    "This does not say that no visitor reaches a listed name."
)
MAX_FILES: Final = 20_000


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

    since: by node that has reported, when the list came in force there, in unix seconds. nodes: how many there are.
    missing: the nodes that have not reported.
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
        self._read: dict[tuple[str, int, int], _Receipt | None] = {}

    def reports(self, list_id: str, record: Record) -> Reports:
        """Return which nodes have reported the list of `record`; OSError if a folder cannot be read."""
        keys, since = self._keys(), dict[str, int]()
        for one in self._all(keys):
            if (one.list, one.serial, one.digest) == (list_id, record.serial, record.digest):
                since[one.host] = min(one.in_force_since, since.get(one.host, one.in_force_since))
        return Reports(since, len(keys), tuple(name for name in keys if name not in since))

    def _keys(self) -> dict[str, bytes]:
        found = {}
        for path in sorted(self._nodes.glob("*.pub")):
            try:
                found[path.stem] = statement.pinned_of(path.read_bytes())
            except statement.StatementBroken:
                found[path.stem] = b""  # this node cannot report: the fleet's receipt waits until its key is corrected
        return found

    def _all(self, keys: Mapping[str, bytes]) -> Iterable[_Receipt]:
        read: dict[tuple[str, int, int], _Receipt | None] = {}
        for path in sorted(self._receipts.glob("*.json"))[:MAX_FILES]:
            stat = path.stat()
            mark = (path.name, stat.st_ino, stat.st_mtime_ns)
            read[mark] = self._read[mark] if mark in self._read else _verified(path, keys)
        self._read = read
        return [one for one in read.values() if one is not None and one.host in keys]


def _verified(path: Path, keys: Mapping[str, bytes]) -> _Receipt | None:
    try:
        with open(path, "rb") as file:
            said, key = statement.claimed(file.read(statement.MAX_STATEMENT_BYTES + 1))
        one = convert(said, _Receipt)
    except (OSError, statement.StatementBroken, ValidationError):
        return None
    return one if one.kind == receipt.KIND and keys.get(one.host) == key else None


def made(record: Record, reports: Reports, *, list_id: str, host: str, at: float) -> dict[str, Any]:
    """Return the statement of a fleet whose nodes have all reported; `at` in unix seconds."""
    return {
        "kind": KIND,
        "host": host,
        "list": list_id,
        "serial": record.serial,
        "digest": record.digest,
        "issued": record.issued,
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
    collector: Collector,
    lists: Iterable[ListUpdate],
    *,
    host: str,
    now: float,
    has: Callable[[str], bool],
    put: Callable[[str, str, Mapping[str, Any]], object],
) -> bool:
    """Make the receipt of each list that all nodes have reported, once; return whether there is a new one.

    has, put: look a receipt up by its name, and keep it. OSError if a folder cannot be used.
    """
    found = False
    for one in lists:
        record = one.state.in_force
        if record is None or has(name_of(one.list.id, record)):
            continue
        reports = collector.reports(one.list.id, record)
        if reports.complete:
            said = made(record, reports, list_id=one.list.id, host=host, at=now)
            put(name_of(one.list.id, record), one.list.id, said)
            found = True
    return found
