"""One list's update on a fleet's node: the image that a compile host has in force, as it is there.

Rules:
- Nothing is compiled and nothing is held here: the guard, holds and approvals are the compile host's. What it takes
  back is taken back here: its statements only go forward, its serials need not.
- The image must be made with the fleet's digest key, and sealed with the fleet's seal key.
- It is tested and put in force as any list, with a renewal of its dates or a change of what counts in it alike.
- What is released in the fleet is followed with every poll.
- Entries that this node has suspended stay new in every image that comes until somebody resumes them: the compile host
  marks what is new to it, and knows nothing of them.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec.structs import replace

from resolver.core import entries, image
from resolver.feed import manifest, seal, state
from resolver.feed.audit import Event
from resolver.feed.messages import Facts, Made
from resolver.feed.processes import Known, UpdateFailed, fetch_list, memory_file
from resolver.feed.reasons import Reason
from resolver.feed.state import Record, State
from resolver.feed.update import ListUpdate

Follow = Callable[[str, Iterable[tuple[int, bytes]]], None]
"""Takes a list's id, and of each name that its compile host has released when that ends and the sealed image."""


class ImageUpdate(ListUpdate):
    """The life of a list that another host compiles. `follow` is called with what it releases."""

    follow: Follow | None = None
    _said_suspended = False

    def recover(self) -> None:
        """As for every list; and what was released stays released."""
        super().recover()
        self._follow()

    async def update(self) -> None:
        """Pull, test and put in force what is due; UpdateFailed where a step says no."""
        if state.clock_behind(self.floor, self._now()):
            raise UpdateFailed(Reason.CLOCK_BEHIND)
        handle = memory_file("image")
        try:
            facts, fetched = await self._pull(handle)
            self._follow()
            made = facts.made
            if made is None:
                raise UpdateFailed(Reason.PROCESS)
            if fetched or self._changed(facts, made):
                await self._take(facts, made, handle if fetched else -1)
        finally:
            os.close(handle)
        if made.complaint:
            raise UpdateFailed(Reason(made.complaint))

    def take_in(self, record: Record, *, suspended: bool) -> None:
        """As for every list; what the compile host said then is what it said last."""
        self._said_suspended = suspended
        super().take_in(record, suspended=suspended)

    async def _pull(self, handle: int) -> tuple[Facts, bool]:
        refused: list[Reason | None] = []

        def wanted(facts: Facts) -> bool:
            refused.append(self._refusal(facts))
            return refused[0] is None and not facts.custom.withdrawn and not self._here(facts)

        known = Known(metadata=self.store.metadata, resolvers=self.resolvers)
        facts, fetched = await fetch_list(self.list, known, handle, wanted)
        if refused[0] is not None:
            self._follow()
            raise UpdateFailed(refused[0])
        self.fresh_until = facts.fresh_until
        return facts, fetched

    def _refusal(self, facts: Facts) -> Reason | None:
        """Why what a compile host says is not taken; None where it may be."""
        made, custom = facts.made, facts.custom
        if custom.list != self.list.id:
            return Reason.WRONG_LIST
        if self._now() < custom.issued:
            return Reason.CLOCK_BEHIND
        if any(digest == facts.digest for _, digest in self.state.quarantined):
            return Reason.QUARANTINED
        if custom.serial < self.list.source.minimum_serial:
            return Reason.ROLLED_BACK
        if made is None or made.digest_key != self._keys.digest_id or made.demonstration is not self.list.demonstration:
            return Reason.IMAGE_UNUSABLE
        return None

    def _here(self, facts: Facts) -> bool:
        """Whether the very image is in force here already."""
        record, made = self.state.in_force, facts.made
        return (
            record is not None
            and made is not None
            and self.enforced is not None
            and not state.due(facts, record)
            and (record.generation, record.digest_key) == (made.generation, made.digest_key)
        )

    def _changed(self, facts: Facts, made: Made) -> bool:
        record = self.state.in_force
        if record is None or not self._here(facts):
            return True
        told = "suspended" if made.suspended else "all"
        return (record.approved, record.confirmed) != (made.approved, made.confirmed) or told != self.state.told

    async def _take(self, facts: Facts, made: Made, handle: int) -> None:
        record, current = manifest.record_of(facts), self.state.in_force
        if handle < 0 and current is not None and record.image:
            record = replace(record, image=current.image)
        elif handle >= 0:
            record = replace(record, image=self._free(record.generation))
            with os.fdopen(handle, "rb", closefd=False) as file:
                file.seek(0)
                sealed = await asyncio.to_thread(file.read)
            if self.state.suspended and self.view is not None and current is not None:
                sealed = await asyncio.to_thread(self._marked, sealed, self.view, approved=current.approved)
            await asyncio.to_thread(self.keep_image, sealed, record.image)
        self._said_suspended = made.suspended
        await self.activate(record)

    def _marked(self, sealed: bytes, enforced: memoryview, *, approved: bool) -> bytes:
        """The sealed image with what is new beside the view `enforced` marked, sealed again."""
        try:
            made = bytearray(seal.unseal(sealed, self._keys.seal))
            image.view(made)
        except (seal.SealBroken, image.ImageMalformed):
            return sealed  # Refused by the self-test, where all images are.
        entries.mark_new(made, enforced, approved=approved)
        return bytes(made) + seal.seal_of(made, self._keys.seal)

    def _free(self, number: int) -> str:
        """A name for an image that takes no other's place: another compile host's numbers may begin anew."""
        records = (self.state.in_force, self.state.previous, self.floor and self.floor.record)
        taken = {record.image for record in records if record}
        while f"{number}.image" in taken:
            number += 1
        return f"{number}.image"

    def _write_down(self, record: Record) -> None:
        current = self.state.in_force
        if current is not None and state.taken_back(self.state, record):
            self._say(Event.QUARANTINED, current, "taken back by the compile host")
        super()._write_down(record)

    def _with(self, record: Record) -> State:
        return state.follow(self.state, record, suspended=self._said_suspended)

    def _follow(self) -> None:
        """Hand over what the newest statement that verified says is released."""
        if self.follow is None:
            return
        released = manifest.released(self.store.metadata, Path(self.list.source.root), self._keys.digest_id)
        if released is not None:
            self.follow(self.list.id, [(until, sealed) for _, until, sealed in released])
