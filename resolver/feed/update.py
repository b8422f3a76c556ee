"""One list's update: fetch, judge, compile, guard, hold or put in force; on any failure the last good one stays.

Rules:
- The next poll tries again what failed.
- Compile comes before the guard's hold: what waits is a sealed image, not names.
- The rest of a list's life is in `enforced`.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from resolver.feed import audit_details, guard, state
from resolver.feed.audit import Event
from resolver.feed.messages import Facts
from resolver.feed.processes import Handles, Known, UpdateFailed, compile_image, fetch_list, memory_file
from resolver.feed.proof import Overtaken, ProvedList
from resolver.feed.reasons import Reason
from resolver.feed.state import Record

CONFIRM_SECONDS: Final = 3600
"""How often, at the most, the state is written because a source without dates confirms its list."""

_log: Final = logging.getLogger("resolver.feed")


class ListUpdate(ProvedList):
    """The life of one list in this process, from its source on."""

    async def poll(self) -> None:
        """Update once; whatever happens, a list stays in force, and its deadline is looked at."""
        async with self.one_at_a_time:
            before, good = dict(self.failures), False
            with self.counted():
                await self._updated()
                self.last_success, good = int(self._now()), True
            self._note_poll(before, good=good)
            with self.counted():
                self.look_at_dates()

    def _note_poll(self, before: dict[str, int], *, good: bool) -> None:
        """Remember since when, and by which reasons, polls fail; before: the failures when this one began."""
        if good:
            self.failing_since, self.failing = 0, {}
            return
        self.failing_since = self.failing_since or int(self._now())
        new = {reason: count - before.get(reason, 0) for reason, count in self.failures.items()}
        self.failing = {
            reason: count for reason, added in new.items() if (count := self.failing.get(reason, 0) + added)
        }

    async def _updated(self) -> None:
        """Update, and anew where entries were suspended meanwhile."""
        while True:
            self._overtaken = False
            try:
                return await self.update()
            except Overtaken:
                continue

    async def update(self) -> None:
        """Fetch, judge, compile, guard and put in force what is due; UpdateFailed where a step says no."""
        if state.clock_behind(self.floor, self._now()):
            raise UpdateFailed(Reason.CLOCK_BEHIND)
        handle = memory_file("list")
        try:
            facts, wanted = await self._fetch(handle)
            if not self._due(facts):
                await asyncio.to_thread(self._confirm, facts)
                return
            record = await self._compile(facts, handle) if wanted else self._withdrawal(facts)
        finally:
            os.close(handle)
        reasons = self._holds(record)
        if reasons:
            await asyncio.to_thread(self._hold, record, reasons)
        else:
            await self.activate(record)

    async def _fetch(self, handle: int) -> tuple[Facts, bool]:
        source, refused = self.list.source, []

        def wanted(facts: Facts) -> bool:
            reason = state.refusal(
                facts, self.state, self.floor, list_id=self.list.id, minimum=source.minimum_serial, now=self._now()
            )
            refused.append(reason)
            if reason in (None, Reason.QUARANTINED):
                self.newest = facts.custom.issued, (facts.custom.serial, facts.digest)
            return reason is None and self._due(facts) and not facts.custom.withdrawn

        facts, fetched = await fetch_list(self.list, self.known(), handle, wanted)
        if refused[0] is not None:
            raise UpdateFailed(refused[0])
        self.fresh_until = facts.fresh_until
        return facts, fetched

    @property
    def newest_record(self) -> Record | None:
        """The newest list that was accepted: what is held, else the floor."""
        floor = self.floor.record if self.floor is not None else None
        return self.state.held.record if self.state.held is not None else floor

    def known(self) -> Known:
        """What a fetch is told of this host."""
        newest = self.newest_record
        return Known(
            metadata=self.store.metadata,
            resolvers=self.resolvers,
            serial=newest.serial if newest else 0,
            issued=newest.issued if newest else 0,
            digest=newest.digest if newest else "",
            targets_keys=newest.targets_keys if newest else "",
        )

    def _due(self, facts: Facts) -> bool:
        held = self.state.held
        if held is not None and self.made_here(held.record) and not state.due(facts, held.record):
            return False
        return state.due(facts, self.state.in_force if self.enforced is not None else None)

    def _confirm(self, facts: Facts) -> None:
        """Note that a source without dates has said again that this is its list: its hard limit counts from there."""
        now, said = int(self._now()), (facts.custom.serial, facts.digest)
        with self._changing:
            record = self.state.in_force
            if self.list.source.kind != "zone" or record is None or record.identity != said:
                return
            if now - max(record.confirmed, record.issued) >= min(CONFIRM_SECONDS, self.list.limit / 4):
                self._write(replace(self.state, in_force=replace(record, confirmed=now)))

    async def _compile(self, facts: Facts, handle: int) -> Record:
        record = self._withdrawal(facts)
        current = self.state.in_force
        keep_new = current is not None and (self.state.suspended or current.identity == record.identity)
        output, part = self.store.open_part()
        lines, lines_part = self.store.open_part()
        previous = self._open_image()
        try:
            compiled = await compile_image(
                facts,
                Handles(handle, output, previous, lines),
                self._keys,
                self.list,
                generation=record.generation,
                keep_new=keep_new,
                approved=current is not None and current.approved,
            )
            record = replace(record, image=f"{record.generation}.image")
            await asyncio.to_thread(self._keep_files, (part, lines_part), (record.image, record.lines))
        finally:
            for path, opened in ((part, output), (lines_part, lines), (None, previous)):
                if path is not None:
                    path.unlink(missing_ok=True)
                if opened >= 0:
                    os.close(opened)
        return replace(
            record,
            entries=compiled.entries,
            refused=compiled.refused,
            refused_lines=compiled.refused_lines,
            set_aside=compiled.set_aside,
            set_aside_lines=compiled.set_aside_lines,
            exceptions=compiled.exceptions,
            approved=current is not None
            and current.approved
            and current.identity == record.identity
            # The numbers of lines are the first ones alone: how many there are is part of what was approved.
            and (current.set_aside, current.set_aside_lines) == (compiled.set_aside, compiled.set_aside_lines),
        )

    def _open_image(self) -> int:
        """A descriptor of the image in force or lifted, against which new names are marked; -1 for none."""
        record = self.state.in_force
        if record is None or not record.image or not self.made_here(record):
            return -1
        try:
            return os.open(self.store.folder / record.image, os.O_RDONLY)
        except OSError:
            return -1

    def keep_image(self, sealed: bytes, name: str) -> None:
        """Keep an image that was sealed elsewhere, as it came: without lines, since they are known there."""
        output, part = self.store.open_part()
        try:
            with os.fdopen(output, "wb") as file:
                file.write(sealed)
            self.store.drop_lines(name)
            self._keep_files((part,), (name,))
        finally:
            part.unlink(missing_ok=True)

    def _keep_files(self, parts: tuple[Path, ...], names: tuple[str, ...]) -> None:
        for part, name in zip(parts, names, strict=True):
            self.store.fsync_image(part)
            self.store.rename_image(part, name)
        self.store.fsync_folder()

    def _withdrawal(self, facts: Facts) -> Record:
        """The record of a list of which there is no image."""
        return Record(
            serial=facts.custom.serial,
            digest=facts.digest,
            issued=facts.custom.issued,
            expires=facts.custom.expires,
            withdrawn=facts.custom.withdrawn,
            announced=facts.custom.entries,
            entries=0,
            refused={},
            refused_lines={},
            image="",
            # Past the floor's, too: its image must last where the state could not be written after it.
            generation=max(self.state.generation, self.floor.record.generation if self.floor else 0) + 1,
            digest_key=self._keys.digest_id,
            demonstration=self.list.demonstration,
            targets_keys=facts.targets_keys,
            pinned=facts.pinned,
            root_version=facts.root_version,
        )

    def _holds(self, record: Record) -> tuple[str, ...]:
        current = self.state.in_force
        if current is not None and current.digest == record.digest and current.withdrawn is record.withdrawn:
            return ()  # a renewal: these very names are in force
        counts = guard.Counts(
            entries=record.entries,
            refused=sum(record.refused.values()),
            announced=record.announced,
            withdrawn=record.withdrawn,
            set_aside=sum(record.set_aside.values()),
            exceptions=record.exceptions,
        )
        previous = None if current is None or current.withdrawn else current.entries
        spared = current.exceptions if current is not None else 0
        return tuple(reason.value for reason in guard.holds(counts, previous, self.list.guard, spared))

    def _hold(self, record: Record, reasons: tuple[str, ...]) -> None:
        with self._changing:
            self._not_overtaken(record)
            self._say(Event.HELD, record, audit_details.held(reasons, record.issued))
            self._write(state.hold(self.state, record, reasons, int(self._now())))
        self.store.clean(self.state, self.floor)
        _log.warning("list %s: serial %d is held: %s", self.list.id, record.serial, " ".join(reasons))
