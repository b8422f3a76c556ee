"""Pulls the image that a compile host has in force: the step of a list on a fleet's node.

Rules:
- Nothing is compiled or held here: guard, held lists and approvals are the compile host's. A list that it takes back is
  taken back here too: only the numbers of its statements have to go forward, not the serials of its lists.
- The image must be made with the fleet's digest key, and sealed with the fleet's seal key.
- It is tested and put in force as any list, also if only its dates, its approval or its suspension have changed.
- Every poll takes over the names that the compile host has released.
- Entries that this node has suspended stay marked as new in every later image until a person resumes them: the compile
  host marks only what is new to it, and does not know of them.
"""

import asyncio
import os
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from resolver.core import entries, image
from resolver.feed import activate, manifest, processes, seal, state
from resolver.feed.activate import Activation
from resolver.feed.candidate import Candidate, Shown, Take
from resolver.feed.enforced import Nothing
from resolver.feed.messages import Facts, Made
from resolver.feed.processes import Known, UpdateFailed, memory_file
from resolver.feed.reasons import Reason
from resolver.feed.state import Record


class ImageStep:
    """Pulls the image of a list that another host compiles."""

    def __init__(self, activation: Activation, shown: Shown) -> None:
        self._activation = activation
        self._journal = activation.journal
        self._list = activation.list
        self._host = activation.host
        self._shown = shown

    def recover(self) -> None:
        """Take over the releases of before the start: these names stay released."""
        self._follow()

    async def update(self, take: Take) -> None:
        """Pull what is due and hand it to `take`; UpdateFailed if a rule refuses it."""
        handle = memory_file("image")
        try:
            facts, fetched = await self._pull(handle)
            self._follow()
            made = facts.made
            if made is None:
                raise UpdateFailed(Reason.PROCESS)
            if fetched or self._has_changed(facts, made):
                await take(await self._candidate_of(facts, made, handle if fetched else -1))
        finally:
            os.close(handle)
        if made.complaint:
            raise UpdateFailed(Reason(made.complaint))

    async def _pull(self, handle: int) -> tuple[Facts, bool]:
        refused: list[Reason | None] = []

        def wanted(facts: Facts) -> bool:
            refused.append(self._refusal(facts))
            return refused[0] is None and not facts.custom.withdrawn and not self._is_here(facts)

        known = Known(metadata=self._journal.store.metadata, resolvers=self._host.resolvers)
        facts, fetched = await processes.fetch_list(self._list, known, handle, wanted)
        if refused[0] is not None:
            self._follow()
            raise UpdateFailed(refused[0])
        self._shown.fresh_until = facts.fresh_until
        return facts, fetched

    def _refusal(self, facts: Facts) -> Reason | None:
        """Return why a compile host's statement is not accepted; None if it is."""
        made, custom = facts.made, facts.custom
        if custom.list != self._list.id:
            return Reason.WRONG_LIST
        if self._host.now() < custom.issued:
            return Reason.CLOCK_BEHIND
        if any(digest == facts.digest for _, digest in self._journal.state.quarantined):
            return Reason.QUARANTINED
        if custom.serial < self._list.source.minimum_serial:
            return Reason.ROLLED_BACK
        ours = (self._host.keys.digest_id, self._list.demonstration)
        if made is None or (made.digest_key, made.demonstration) != ours:
            return Reason.IMAGE_UNUSABLE
        return None

    def _is_here(self, facts: Facts) -> bool:
        """Return whether this very image is in force here already."""
        record, made = self._journal.state.in_force, facts.made
        return (
            record is not None
            and made is not None
            and not isinstance(self._activation.enforced, Nothing)
            and not state.due(facts, record)
            and (record.generation, record.digest_key) == (made.generation, made.digest_key)
        )

    def _has_changed(self, facts: Facts, made: Made) -> bool:
        found = self._journal.state
        record = found.in_force
        if record is None or not self._is_here(facts):
            return True
        said = "suspended" if made.suspended else "all"
        return (record.approved, record.confirmed) != (made.approved, made.confirmed) or said != found.host_enforces

    async def _candidate_of(self, facts: Facts, made: Made, handle: int) -> Candidate:
        """Return the list with its image in the store: that in `handle`, or the one in force if `handle` is -1."""
        record, made_in = manifest.record_of(facts), self._journal.state
        current = made_in.in_force
        if handle < 0 and current is not None and record.image:
            record = replace(record, image=current.image)
        elif handle >= 0:
            record = replace(record, image=self._free(record.generation))
            with os.fdopen(handle, "rb", closefd=False) as file:
                file.seek(0)
                sealed = await asyncio.to_thread(file.read)
            if made_in.suspended and current is not None:
                sealed = await asyncio.to_thread(self._marked, sealed, current)
            await asyncio.to_thread(self._journal.store.keep_image, sealed, record.image)
        return Candidate(record=record, made_in=made_in, arrive=partial(state.follow, suspended=made.suspended))

    def _marked(self, sealed: bytes, current: Record) -> bytes:
        """Mark the entries that are new since the list in force or lifted; return the image, sealed again."""
        keys, one = self._host.keys, self._list
        try:
            made = bytearray(seal.unseal(sealed, keys.seal))
            image.view(made)
            saved = activate.load(
                self._journal.store.folder, current, keys, list_id=one.id, demonstration=one.demonstration
            )
        except (seal.SealBroken, image.ImageMalformed, activate.ImageUnusable):
            # The self-test refuses a broken new image; without the saved one it is not known which entries are new.
            return sealed
        entries.mark_new(made, saved, approved=current.approved)
        return bytes(made) + seal.seal_of(made, keys.seal)

    def _free(self, number: int) -> str:
        """Return the first NUMBER.image, counted from `number`, that no record uses; compile hosts count apart."""
        found, floor = self._journal.state, self._journal.floor
        records = (found.in_force, found.previous, floor.record if floor else None)
        taken = {record.image for record in records if record}
        while f"{number}.image" in taken:
            number += 1
        return f"{number}.image"

    def _follow(self) -> None:
        """Take over the releases of the newest statement that verified."""
        root = Path(self._list.source.root)
        released = manifest.released(self._journal.store.metadata, root, self._host.keys.digest_id)
        if released is not None:
            self._host.hooks.follow(self._list.id, [(until, sealed) for _, until, sealed in released])
