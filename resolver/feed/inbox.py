"""Takes signed statements that other hosts deliver, and writes those that verify into a folder: the outbox's other end.

    KEYS/HOST.pub     the public key (PEM) of each host whose statements are taken; read again with each statement
    FOLDER/*.json     the statements, named as a host itself names them in a folder: HOST-LIST-SERIAL-GENERATION.json

Rules:
- Nothing is written before its signature has verified by the key of the host that it names; so a stranger writes
  nothing, and a host can neither fill another's place nor take its name.
- A file is written whole or not at all. The same octets again are accepted and written once; other octets under a name
  that is taken get a name of their own.
- Each host has bounds: `per_minute` new files, and `most` files at a time. With `keep` its oldest files give their
  place to new ones, for a fleet; without, nothing is ever removed, for an authority, to whom receipts are evidence.
- What is refused is a number by reason: no host's name, no address and nothing of a statement reaches a log.
"""

import enum
import hashlib
import os
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Final

from resolver import atomic_file
from resolver.feed import dropped
from resolver.signed import statement

MOST_OCTETS: Final = statement.MAX_STATEMENT_BYTES
MOST: Final = 100_000
"""Files of one host, if none is removed."""
PER_MINUTE: Final = 600
"""New files of one host: more than a host writes in a day; what it could not deliver for weeks comes within minutes."""

_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_LIST: Final = re.compile(r"[a-z0-9-]{1,32}")
_MAX_KEY_BYTES: Final = 16_384
_MODE: Final = 0o640
_SUFFIX: Final = ".json"


class Outcome(enum.StrEnum):
    """What became of a statement; the text is the reason in logs."""

    WRITTEN = "written"
    THERE = "there already"
    MALFORMED = "no signed statement"
    UNKNOWN = "not signed by the key of a known host"
    TOO_MANY = "too many of one host in a minute"
    FULL = "the folder holds as many of one host as it may"

    @property
    def accepted(self) -> bool:
        """Return whether the sender is done with the statement."""
        return self in (Outcome.WRITTEN, Outcome.THERE)


class Inbox:
    """A folder of statements, and the keys of those who may deliver. Calls come from one thread at a time.

    keep: how many files of a host stay, the newest ones; 0: all, up to `most`. clock: returns seconds.
    """

    def __init__(
        self,
        folder: Path,
        keys: Path,
        *,
        keep: int = 0,
        most: int = MOST,
        per_minute: int = PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder.absolute()
        self._keys = keys.absolute()
        self._keep = keep
        self._most = most
        self._per_minute = per_minute
        self._clock = clock
        self._minute = -1
        self._new: Counter[str] = Counter()
        # Of each host its files, the oldest first.
        self._files: dict[str, OrderedDict[str, None]] = {}

    def open(self) -> int:
        """Remove what a crash left half written, and count the files that are there; OSError if a folder is unusable.

        Returns the number of hosts whose keys are known.
        """
        hosts = frozenset(path.stem for path in self._keys.iterdir() if path.suffix == ".pub")
        atomic_file.drop_parts(self._folder)
        with os.scandir(self._folder) as entries:
            found = sorted((one.stat(follow_symlinks=False).st_mtime_ns, one.name) for one in entries)
        for _, name in found:
            host = host_of(name, hosts)
            if host and name.endswith(_SUFFIX):
                self._files_of(host)[name] = None
        return len(hosts)

    def take(self, data: bytes) -> Outcome:
        """Verify one statement and write it; OSError if the folder cannot be written now."""
        try:
            said, key = statement.claimed(data)
        except statement.StatementBroken:
            return Outcome.MALFORMED
        host = said.get("host")
        if not isinstance(host, str) or not _HOST.fullmatch(host) or self._key_of(host) != key:
            return Outcome.UNKNOWN
        name = self._free(host, said, data)
        if not name:
            return Outcome.THERE
        files = self._files_of(host)
        if not self._keep and len(files) >= self._most:
            return Outcome.FULL
        if not self._counted(host):
            return Outcome.TOO_MANY
        atomic_file.write(self._folder / name, data, _MODE)
        files[name] = None
        while self._keep and len(files) > self._keep:
            (self._folder / files.popitem(last=False)[0]).unlink(missing_ok=True)
        return Outcome.WRITTEN

    def _key_of(self, host: str) -> bytes:
        """Return the raw public key of a host, as it is pinned now; empty if there is none that can be used."""
        try:
            return statement.pinned_of(dropped.read(self._keys / f"{host}.pub", _MAX_KEY_BYTES, follow=True))
        except (OSError, statement.StatementBroken):
            return b""

    def _free(self, host: str, said: dict[str, Any], data: bytes) -> str:
        """Return the file name of a statement; empty if the very octets are there."""
        mark = hashlib.sha256(data).hexdigest()[:32]
        own = f"{host}-{mark}{_SUFFIX}"
        for name in (f"{_name_of(host, said) or f'{host}-{mark}'}{_SUFFIX}", own):
            try:
                if dropped.read(self._folder / name, statement.MAX_STATEMENT_BYTES) == data:
                    return ""
            except FileNotFoundError:
                return name
            except OSError:
                continue  # something else stands there
        return own

    def _files_of(self, host: str) -> OrderedDict[str, None]:
        return self._files.setdefault(host, OrderedDict())

    def _counted(self, host: str) -> bool:
        """Count one new file of a host; return whether it may have it in this minute."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._new.clear()
        self._new[host] += 1
        return self._new[host] <= self._per_minute


def _name_of(host: str, said: dict[str, Any]) -> str:
    """Return the name that the collector of a fleet looks for first; empty for what is no receipt of a list."""
    list_id, numbers = said.get("list"), (said.get("serial"), said.get("generation"))
    if said.get("kind") != "receipt" or not isinstance(list_id, str) or not _LIST.fullmatch(list_id):
        return ""
    if not all(type(one) is int and 0 <= one < 2**63 for one in numbers):
        return ""
    name = f"{host}-{list_id}-{numbers[0]}-{numbers[1]}"
    return name if len(name) <= 200 else ""


def host_of(name: str, hosts: Container[str]) -> str:
    """Return the host whose name, with a dash, a file name begins with: the longest of `hosts`; empty if none."""
    end = len(name)
    while (end := name.rfind("-", 0, end)) > 0:
        if name[:end] in hosts:
            return name[:end]
    return ""
