"""Updates a list that is a zone: as any list that is compiled here, but with a sealed copy for incremental transfers.

Rules:
- The fetch process gets the copy, the key that opens it, and an empty file for the next copy: this process reads none
  of them.
- The next copy gets its name only once its list is in force or held. After a crash before that, the whole zone is
  transferred.
- No copy is kept if the host's keys are in the state folder: a thief of that folder would have both.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from resolver.config.lists import List
from resolver.feed import copies
from resolver.feed.activate import Activation
from resolver.feed.candidate import Shown, Take
from resolver.feed.processes import memory_file
from resolver.feed.update_compile import CompileStep, CopyHandles

_log: Final = logging.getLogger("resolver.feed")


class ZoneStep:
    """Has a zone fetched and compiled, and keeps its copy."""

    def __init__(self, activation: Activation, shown: Shown) -> None:
        self._activation = activation
        self._compile = CompileStep(activation, shown)
        self._journal = activation.journal
        self._keys = activation.host.keys

    @property
    def _list(self) -> List:
        """The list as it is configured now."""
        return self._activation.list

    def recover(self) -> None:
        """Remove the zone copies of other sources, at a start; warn if `source.incremental` has no effect."""
        store, source = self._journal.store, self._list.source
        if source.incremental and not store.copies:
            said = "list %s: source.incremental has no effect while the keys are in the state folder; set state.keys"
            _log.warning(said, self._list.id)
        copies.forget_sources(store.folder, source.url)

    async def update(self, take: Take) -> None:
        """Update as any list; then keep the copy of a list that is in force or held now."""
        store = self._journal.store
        if not store.copies:
            await self._compile.update(take)
            return
        output, part = store.open_part()
        try:
            with self._opened(output) as handles:
                await self._compile.update(take, handles)
            newest = self._journal.newest
            if os.fstat(output).st_size and newest is not None and newest.copy:
                await asyncio.to_thread(store.keep_copy, part, newest.copy)
        finally:
            part.unlink(missing_ok=True)
            os.close(output)

    @contextmanager
    def _opened(self, output: int) -> Iterator[CopyHandles]:
        """Open the newest copy and its key within the block."""
        copy, newest = -1, self._journal.newest
        key = memory_file("copy-key", self._keys.copy_key(self._list.id))
        try:
            if newest is not None and newest.copy:
                with suppress(OSError):
                    copy = os.open(self._journal.store.folder / newest.copy, os.O_RDONLY)
            yield CopyHandles(copy, key, output)
        finally:
            for handle in (copy, key):
                if handle >= 0:
                    os.close(handle)
