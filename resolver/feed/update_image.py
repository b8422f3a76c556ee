"""The step of a list on a fleet's node: pull the image that a compile host has in force, as it is there.

Rules:
- Nothing is compiled and nothing is held here: the guard, holds and approvals are the compile host's. What it takes
  back is taken back here: its statements only go forward, its serials need not.
- The image must be made with the fleet's digest key, and sealed with the fleet's seal key.
- It is tested and put in force as any list, also if only its dates or what counts in it have changed.
- The names that the compile host has released are followed with every poll.
- Entries that this node has suspended stay new in every image that comes until somebody resumes them: the compile host
  marks what is new to it, and knows nothing of them.
"""

import asyncio
import os
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from resolver.core import entries, image
from resolver.feed import activate, manifest, processes, seal, state
from resolver.feed.activate import Activation
from resolver.feed.coming import Coming, Shown, Take
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
        """Follow what was released before the start: it stays released."""
        self._follow()

    async def update(self, take: Take) -> None:
        """Pull, and have `take` put in force what is due; UpdateFailed if a rule refuses it."""
        handle = memory_file("image")
        try:
            facts, fetched = await self._pull(handle)
            self._follow()
            made = facts.made
            if made is None:
                raise UpdateFailed(Reason.PROCESS)
            if fetched or self._has_changed(facts, made):
                await take(await self._coming(facts, made, handle if fetched else -1))
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
        """Why a compile host's statement is not accepted; None if it is."""
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
        """Whether this very image is in force here already."""
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
        told = "suspended" if made.suspended else "all"
        return (record.approved, record.confirmed) != (made.approved, made.confirmed) or told != found.told

    async def _coming(self, facts: Facts, made: Made, handle: int) -> Coming:
        """The list with its image in the store: the one in `handle`, or if that is -1 the one in force."""
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
        return Coming(record=record, made_in=made_in, arrive=partial(state.follow, suspended=made.suspended))

    def _marked(self, sealed: bytes, current: Record) -> bytes:
        """The sealed image with the entries marked that are new to the list in force or lifted, sealed again."""
        keys, one = self._host.keys, self._list
        try:
            made = bytearray(seal.unseal(sealed, keys.seal))
            image.view(made)
            saved = activate.load(
                self._journal.store.folder, current, keys, list_id=one.id, demonstration=one.demonstration
            )
        except (seal.SealBroken, image.ImageMalformed, activate.ImageUnusable):
            return sealed  # The self-test refuses the one; without the other nothing tells what is new.
        entries.mark_new(made, saved, approved=current.approved)
        return bytes(made) + seal.seal_of(made, keys.seal)

    def _free(self, number: int) -> str:
        """A unique file name for an image: another compile host restarts its numbering."""
        found, floor = self._journal.state, self._journal.floor
        records = (found.in_force, found.previous, floor.record if floor else None)
        taken = {record.image for record in records if record}
        while f"{number}.image" in taken:
            number += 1
        return f"{number}.image"

    def _follow(self) -> None:
        """Hand over what is released according to the newest statement that verified."""
        root = Path(self._list.source.root)
        released = manifest.released(self._journal.store.metadata, root, self._host.keys.digest_id)
        if released is not None:
            self._host.hooks.follow(self._list.id, [(until, sealed) for _, until, sealed in released])
