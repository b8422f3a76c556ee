"""One zone's update: as any list's; where it is incremental, with a sealed copy of the zone kept for the next one.

Rules:
- The copy is handed to the fetch process with the key that opens it, and so is an empty file for the next one: neither
  is read here.
- The next copy gets its name only once its list is in force or held. A crash before that costs a whole transfer.
- No copy is kept where the host's keys lie in the state folder, beside it: whoever had the one would have the other.
- A copy goes with what it was kept for: its list, its source, the setting.
"""

import asyncio
import logging
import os
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from resolver.feed.fetch import zone_copy
from resolver.feed.messages import Facts
from resolver.feed.processes import Known, memory_file
from resolver.feed.update import ListUpdate

_HEAD: Final = 64

_log: Final = logging.getLogger("resolver.feed")


def forget_copies(lists: Path, configured: Set[str]) -> None:
    """Remove the copies of lists that are not configured any more; `lists`: the folder of their folders."""
    for path in lists.glob("*/*.copy"):
        if path.parent.name not in configured:
            path.unlink(missing_ok=True)


def _head(path: Path) -> bytes:
    """How a file begins; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


class ZoneUpdate(ListUpdate):
    """The life of a list that is a zone."""

    _handles: tuple[int, int, int] = (-1, -1, -1)

    def recover(self) -> None:
        """As for every list; and a copy of another source goes."""
        super().recover()
        if self.list.source.incremental and not self.store.copies:
            said = "list %s: source.incremental has no effect while the keys lie in the state folder; set state.keys"
            _log.warning(said, self.list.id)
        for path in self.store.folder.glob("*.copy"):
            if not zone_copy.is_of(_head(path), self.list.source.url):
                path.unlink(missing_ok=True)

    async def update(self) -> None:
        """As for every list; then keep the copy that came with a list that is in force or held now."""
        if not self.store.copies:
            await super().update()
            return
        output, part = self.store.open_part()
        try:
            with self._handed(output):
                await super().update()
            newest = self.newest_record
            if os.fstat(output).st_size and newest is not None and newest.copy:
                await asyncio.to_thread(self.store.keep_copy, part, newest.copy)
        finally:
            part.unlink(missing_ok=True)
            os.close(output)

    async def _fetch(self, handle: int) -> tuple[Facts, bool]:
        facts, fetched = await super()._fetch(handle)
        if fetched and facts.difference:
            _log.info("list %s: serial %d came as what has changed", self.list.id, facts.custom.serial)
        return facts, fetched

    def known(self) -> Known:
        """What a fetch is told, with the descriptors that are open for it."""
        copy, key, output = self._handles
        return replace(super().known(), copy=copy, copy_key=key, copy_output=output)

    @contextmanager
    def _handed(self, output: int) -> Iterator[None]:
        """Have the newest copy and its key open within the block."""
        copy, newest = -1, self.newest_record
        key = memory_file("copy-key", self._keys.copy_key(self.list.id))
        try:
            if newest is not None and newest.copy:
                with suppress(OSError):
                    copy = os.open(self.store.folder / newest.copy, os.O_RDONLY)
            self._handles = copy, key, output
            yield
        finally:
            self._handles = (-1, -1, -1)
            for handle in (copy, key):
                if handle >= 0:
                    os.close(handle)
