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
- Each file is read once, and again when its inode, size or times have changed; nobody who writes it can set its ctime.
  Which key signed a receipt is kept with it and compared with the pinned one each time: a key that is changed or taken
  out counts at once. Of what was not looked at the last time nothing is kept.
- Beside the expected names only files of nodes that are missing are read, and none whose name says another list or
  serial: in a folder of the last twenty receipts of 10,000 nodes nineteen need not be read.
- What a service has read it saves for `list status`, which else would read all of it again. Only a screen is made of
  what was saved: each service verifies by itself what it signs.
"""

import contextlib
import heapq
import itertools
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct, ValidationError, convert

from resolver import atomic_file
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

_T = TypeVar("_T")
_Mark: TypeAlias = tuple[int, int, int, int]
"""Inode, size, mtime and ctime (ns) of a file."""
_Keys: TypeAlias = dict[str, tuple[_Mark, bytes]]
_Lists: TypeAlias = dict[str, tuple[_Mark, frozenset[str] | None]]
_NO_MARK: Final = (0, 0, 0, 0)
"""Of what could not be looked at or opened: it is tried again each time."""
_MAX_KEY_BYTES: Final = 16_384
_MAX_LISTS_BYTES: Final = 65_536
_MAX_SAVED_BYTES: Final = 128 * 2**20
_NUMBERED: Final = re.compile(r"[a-z0-9-]{1,32}-\d+-\d+(-\d+)?\.json")
"""What follows the node in the name of a receipt, as `outbox` and `inbox` write it."""


_Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Date: TypeAlias = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Anyone may sign a receipt: one with a number that cannot be saved, or a date behind the year 9999, counts as none."""


class _Receipt(Struct, frozen=True):
    """The fields of a node's receipt that are read here."""

    kind: str
    host: str
    list: str
    serial: _Number
    digest: str
    in_force_since: _Date


class _Said(Struct, frozen=True, array_like=True):
    """What `key` has signed in a file: a list, serial and digest, in force at `host` since then."""

    key: bytes
    host: str
    list: str
    serial: int
    digest: str
    since: int


class _Known(Struct, frozen=True, array_like=True):
    """What the files had in them when they were read, by name. keys: b"" for none that can be used. lists: of a node;
    None for all. said: None for no receipt."""

    keys: _Keys
    lists: _Lists
    said: dict[str, tuple[_Mark, _Said | None]]


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
        self._known = _Known({}, {}, {})
        self._saved = self._known

    def reports(self, records: Mapping[str, Record]) -> dict[str, Reports]:
        """Return which nodes have reported the list of each record, by its id; OSError if a folder cannot be read."""
        keys, lists = self._of_nodes()
        known = _Known(keys, lists, {})
        pinned = {name: key for name, (_, key) in sorted(keys.items())}
        looks = [_Look(list_id, record, pinned, lists) for list_id, record in records.items()]
        for look in looks:
            self._count((f"{name}-{look.expected}.json" for name in look.carriers), [look], pinned, known)
        missing = frozenset(name for look in looks for name in look.missing)
        if missing:
            self._count(self._names(pinned, missing, looks), looks, pinned, known)
        if known != self._known:
            self._known = known
        return {look.list_id: Reports(look.since, len(look.carriers), tuple(look.missing)) for look in looks}

    def save(self, path: Path) -> None:
        """Write what is known, if it has changed, for a `load` in another process; OSError if that fails."""
        if self._saved is not self._known:
            keys, lists = _of_text(self._known.keys), _of_text(self._known.lists)
            known = _Known(keys, lists, _of_text(self._known.said))
            atomic_file.write(path, msgspec.msgpack.encode(known))
            self._saved = self._known

    def load(self, path: Path) -> None:
        """Take what was saved; nothing if there is none that can be read."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self._known = msgspec.msgpack.decode(dropped.read(path, _MAX_SAVED_BYTES), type=_Known)

    def _of_nodes(self) -> tuple[_Keys, _Lists]:
        """Return what the files of the folder of nodes have in them; nothing if there is no such folder yet."""
        keys, lists = _Keys(), _Lists()
        with contextlib.suppress(FileNotFoundError), os.scandir(self._nodes) as entries:
            for entry in entries:
                node, _, kind = entry.name.rpartition(".")
                if not node or kind not in ("pub", "lists"):
                    continue
                # A link is the operator's: what it leads to counts, and its marks.
                mark = _mark(entry.path, follow=True)
                if kind == "pub":
                    # A node without a key that can be used cannot report: the fleet's receipt waits for the correction.
                    keys[node] = _read(entry.path, mark, self._known.keys.get(node), _key_in, b"")
                else:
                    lists[node] = _read(entry.path, mark, self._known.lists.get(node), _ids_in, None)
        return keys, lists

    def _count(
        self, names: Iterable[str], looks: Iterable["_Look"], pinned: Mapping[str, bytes], known: _Known
    ) -> None:
        """Read the files that have changed, and count what the nodes' own keys have signed."""
        for name in names:
            found = known.said.get(name)
            if found is None:
                path = f"{self._receipts}{os.sep}{name}"
                mark = _mark(path)
                if mark == _NO_MARK:
                    continue
                found = known.said[name] = _read(path, mark, self._known.said.get(name), _said_in, None)
            said = found[1]
            if said is not None and said.key and said.key == pinned.get(said.host):
                for look in looks:
                    look.count(said)

    def _names(self, pinned: Mapping[str, bytes], missing: frozenset[str], looks: Iterable["_Look"]) -> list[str]:
        """Return the names of the newest files of each node that is missing, and of the newest others; OSError."""
        newest: dict[str, list[tuple[int, str]]] = {}
        about = tuple(f"{look.list_id}-{look.serial}-" for look in looks)
        with os.scandir(self._receipts) as entries:
            for entry in itertools.islice(entries, MAX_NAMES):
                name = entry.name
                if not name.endswith(".json") or not _may_count(name, pinned, missing, about):
                    continue
                with contextlib.suppress(OSError):
                    if not entry.is_file(follow_symlinks=False):
                        continue
                    at = entry.stat(follow_symlinks=False).st_mtime_ns
                    kept = newest.setdefault(inbox.host_of(name, pinned), [])
                    push = heapq.heappush if len(kept) < FILES_OF_NODE else heapq.heappushpop
                    push(kept, (at, name))
        return sorted(name for kept in newest.values() for _, name in kept)


class _Look:
    """A list whose reports are counted."""

    def __init__(
        self,
        list_id: str,
        record: Record,
        pinned: Iterable[str],
        lists: _Lists,
    ) -> None:
        self.list_id = list_id
        self.serial = record.serial
        self.expected = receipt.name_of(list_id, record)
        carried = ((name, lists[name][1] if name in lists else None) for name in pinned)
        self.carriers = dict.fromkeys(name for name, ids in carried if ids is None or list_id in ids)
        self.since: dict[str, int] = {}
        self._about = (list_id, record.serial, record.digest)

    def count(self, said: _Said) -> None:
        """Count what a node has said, if it is about this list."""
        if (said.list, said.serial, said.digest) == self._about and said.host in self.carriers:
            self.since[said.host] = min(said.since, self.since.get(said.host, said.since))

    @property
    def missing(self) -> Iterator[str]:
        """The nodes that have not reported, in order."""
        return (name for name in self.carriers if name not in self.since)


def _may_count(name: str, pinned: Container[str], missing: Container[str], about: tuple[str, ...]) -> bool:
    """Return whether a file may have a receipt that is missing: by its name it is no node's, or that of one that is
    missing, and not about another list or serial. about: what the names of such receipts begin with after the node."""
    end, of_nobody = len(name), True
    while (end := name.rfind("-", 0, end)) > 0:
        node, rest = name[:end], name[end + 1 :]
        if node in pinned:
            of_nobody = False
            if node in missing and (rest.startswith(about) or not _NUMBERED.fullmatch(rest)):
                return True
    return of_nobody


def _of_text(found: dict[str, _T]) -> dict[str, _T]:
    """Return those whose file names are text: a name may have octets that are not, and they cannot be saved."""
    return {name: one for name, one in found.items() if name.isascii() or _is_text(name)}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mark(path: str, *, follow: bool = False) -> _Mark:
    try:
        found = os.stat(path, follow_symlinks=follow)
    except OSError:
        return _NO_MARK
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(
    path: str, mark: _Mark, known: tuple[_Mark, _T] | None, read: Callable[[Path], _T], nothing: _T
) -> tuple[_Mark, _T]:
    """Return what is known of a file if its mark is still the same, else what `read` finds; `nothing` if it fails."""
    if known is not None and known[0] == mark != _NO_MARK:
        return known
    try:
        return mark, read(Path(path))
    except (dropped.NotAFile, statement.StatementBroken, ValidationError, UnicodeDecodeError):
        return mark, nothing
    except OSError:
        return _NO_MARK, nothing


def _key_in(path: Path) -> bytes:
    """Return the raw public key in a file."""
    return statement.pinned_of(dropped.read(path, _MAX_KEY_BYTES, follow=True))


def _ids_in(path: Path) -> frozenset[str] | None:
    """Return the ids in a node's file of lists."""
    return frozenset(dropped.read(path, _MAX_LISTS_BYTES, follow=True).decode().split())


def lists_in(path: Path) -> frozenset[str] | None:
    """Return the ids in a node's file of lists; None if it cannot be read."""
    try:
        return _ids_in(path)
    except (OSError, UnicodeDecodeError):
        return None


def _said_in(path: Path) -> _Said | None:
    """Return the receipt in a file that some key has signed; None if that has signed something else."""
    said, key = statement.claimed(dropped.read(path, statement.MAX_STATEMENT_BYTES))
    one = convert(said, _Receipt)
    if one.kind != receipt.KIND:
        return None
    return _Said(key, one.host, one.list, one.serial, one.digest, one.in_force_since)


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
