"""Pulls the image that a compile host has in force: the step of a list on a fleet's node.

Rules:
- Nothing is compiled or held here: guard, held lists and approvals are the compile host's. A list that it takes back is
  taken back here too: only the numbers of its statements have to go forward, not the serials of its lists.
- The image must be made with the fleet's digest key, and sealed with the fleet's seal key.
- It is tested and put in force as any list, also if only its dates or its approval have changed.
- Every poll takes over the names that the compile host has released.
- Entries in wide use at this node are set aside here, though the compile host enforces them, until persons approve them
  here or there.
"""

import asyncio
import os
from pathlib import Path

from msgspec.structs import replace

from resolver.config.lists import List
from resolver.feed import in_use, manifest, processes, seal, state
from resolver.feed.activate import Activation
from resolver.feed.candidate import Candidate, Shown, Take
from resolver.feed.details import Code, Detail
from resolver.feed.enforced import Nothing
from resolver.feed.messages import Facts, Made
from resolver.feed.processes import Known, UpdateFailed, memory_file
from resolver.feed.reasons import Reason, SetAside
from resolver.feed.state import Record


class ImageStep:
    """Pulls the image of a list that another host compiles."""

    def __init__(self, activation: Activation, shown: Shown) -> None:
        self._activation = activation
        self._journal = activation.journal
        self._host = activation.host
        self._shown = shown

    @property
    def _list(self) -> List:
        """The list as it is configured now."""
        return self._activation.list

    def recover(self) -> None:
        """Take over the releases of before the start: these names stay released."""
        self._follow()

    async def update(self, take: Take) -> None:
        """Pull what is due and hand it to `take`; UpdateFailed if a rule refuses it."""
        handle = memory_file("image")
        try:
            facts, fetched = await self._pull(handle)
            self._follow()
            if state.is_taken_out(self._journal.state, facts.digest):
                return
            made = facts.made
            if made is None:
                raise UpdateFailed(Reason.PROCESS)
            if fetched or self._has_changed(facts, made):
                self._shown.step(Detail(code=Code.STEP_TAKE))
                await take(await self._candidate_of(facts, made, handle if fetched else -1))
        finally:
            os.close(handle)
        if made.complaint:
            raise UpdateFailed(Reason(made.complaint), facts.complaint)

    async def _pull(self, handle: int) -> tuple[Facts, bool]:
        refused: list[Reason | None] = []

        def wanted(facts: Facts) -> bool:
            reason = self._refusal(facts)
            taken_out = reason is Reason.QUARANTINED and state.is_taken_out(self._journal.state, facts.digest)
            refused.append(None if taken_out else reason)
            return reason is None and not facts.custom.withdrawn and not self._is_here(facts)

        known = Known(metadata=self._journal.store.metadata, resolvers=self._host.resolvers, step=self._shown.step)
        facts, fetched = await processes.fetch_list(self._list, known, handle, wanted)
        if refused[0] is not None:
            self._follow()
            if refused[0] is Reason.CLOCK_BEHIND:
                raise processes.too_early(facts.custom.issued, self._host.now())
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
        record = self._journal.state.in_force
        if record is None or not self._is_here(facts):
            return True
        approved = made.approved or record.approved_here
        return (record.approved, record.confirmed) != (approved, made.confirmed)

    async def _candidate_of(self, facts: Facts, made: Made, handle: int) -> Candidate:
        """Return the list with its image in the store: that in `handle`, or the one in force if `handle` is -1."""
        record, current = manifest.record_of(facts), self._journal.state.in_force
        if handle < 0 and current is not None and record.image:
            record = replace(record, image=current.image, set_aside=current.set_aside)
        elif handle >= 0:
            record = replace(record, image=self._free(record.generation))
            record = replace(record, set_aside=await asyncio.to_thread(self._set_aside_used, record, handle, made))
            with os.fdopen(handle, "rb", closefd=False) as file:
                file.seek(0)
                sealed = await asyncio.to_thread(file.read)
            await asyncio.to_thread(self._journal.store.keep_image, sealed, record.image)
        if current is not None and current.approved_here and record.identity == current.identity:
            same = record.set_aside == current.set_aside
            record = replace(record, approved=record.approved or same, approved_here=same)
        return Candidate(record=record, arrive=state.follow)

    def _set_aside_used(self, record: Record, handle: int, made: Made) -> dict[str, int]:
        """Set aside what was in wide use here before this list came; return the counts of all that is set aside.

        What was in wide use at the compile host is set aside for any other reason here: its persons decide about it.
        """
        current = self._journal.state.in_force
        approved = current is not None and current.approved
        try:
            if made.set_aside.get(SetAside.IN_USE):
                in_use.unmark(handle, self._host.keys.seal)
            slots = self._activation.set_aside_used(handle, record, approved=approved)
        except (seal.SealBroken, ValueError, IndexError):
            return made.set_aside  # not an image of the fleet: the self-test refuses it
        if slots and (current is None or current.identity != record.identity):
            in_use.tell(self._list.id, record.serial, len(slots))
        return in_use.added(made.set_aside, len(slots))

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
