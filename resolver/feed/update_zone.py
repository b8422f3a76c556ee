"""Update a list that is a zone: as any list; if it is incremental, keep a sealed copy of the zone for the next update.

Rules:
- The fetch process gets the copy, the key that opens it, and an empty file for the next copy: this process reads none
  of them.
- The next copy gets its name only once its list is in force or held. A crash before that costs a whole transfer.
- No copy is kept if the host's keys lie in the state folder, beside it: a thief would have both.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from resolver.feed import copies
from resolver.feed.messages import Facts
from resolver.feed.processes import Known, memory_file
from resolver.feed.update import ListUpdate

_log: Final = logging.getLogger("resolver.feed")


class ZoneUpdate(ListUpdate):
    """The life of a list whose source is a zone."""

    _handles: tuple[int, int, int] = (-1, -1, -1)

    def recover(self) -> None:
        """Recover as every list does, and remove copies of another source."""
        super().recover()
        if self.list.source.incremental and not self.store.copies:
            said = "list %s: source.incremental has no effect while the keys lie in the state folder; set state.keys"
            _log.warning(said, self.list.id)
        copies.forget_sources(self.store.folder, self.list.source.url)

    async def update(self) -> None:
        """Update as every list does, then keep the copy that came with a list which is now in force or held."""
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
            _log.info("list %s: serial %d received as a difference (IXFR)", self.list.id, facts.custom.serial)
        return facts, fetched

    def known(self) -> Known:
        """Return what a fetch needs to know of this host, with the descriptors that are open for it."""
        copy, key, output = self._handles
        return replace(super().known(), copy=copy, copy_key=key, copy_output=output)

    @contextmanager
    def _handed(self, output: int) -> Iterator[None]:
        """Open the newest copy and its key for the duration of the block."""
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
