"""Fetches, compares and compiles a list on this host, and has the guard check it: the step of most sources.

Rules:
- A list that is in force or held already is not fetched, unless its image cannot be used here, or the export process
  lacks its names.
- A list is compiled before the guard holds it: what is held is a sealed image, not names.
"""

import asyncio
import logging
import operator
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from msgspec.structs import replace

from resolver.config.lists import List
from resolver.core import image
from resolver.feed import detail_text, guard, in_use, processes, refusal_details, seal, set_aside, state
from resolver.feed.activate import Activation
from resolver.feed.candidate import Candidate, Shown, Take
from resolver.feed.details import Code, Detail
from resolver.feed.enforced import Nothing
from resolver.feed.exported import key_of
from resolver.feed.messages import Facts
from resolver.feed.processes import Handles, Known, UpdateFailed, memory_file
from resolver.feed.reasons import Reason, SetAside
from resolver.feed.state import Record, Unmet

CONFIRM_SECONDS: Final = 3600
"""Shortest time between two writes of the state because a source without dates has confirmed its list, in seconds."""

_log: Final = logging.getLogger("resolver.feed")
MANY_DEPTHS = 4
"""So many numbers of labels that few names have are reported: a few odd names are in every list."""


class CopyHandles(NamedTuple):
    """Descriptors of a zone's sealed copy, of its key, and of a file for the next copy; -1 for none."""

    copy: int = -1
    key: int = -1
    output: int = -1


NO_COPIES: Final = CopyHandles()


class CompileStep:
    """Fetches, compiles and guards one list; writes into `shown` what its source has shown."""

    def __init__(self, activation: Activation, shown: Shown) -> None:
        self._activation = activation
        self._journal = activation.journal
        self._host = activation.host
        self._shown = shown
        self._passed_over: tuple[int, ...] = ()

    @property
    def _list(self) -> List:
        """The list as it is configured now."""
        return self._activation.list

    def recover(self) -> None:
        """Do nothing: the state has all that a start needs."""

    async def update(self, take: Take, copies: CopyHandles = NO_COPIES) -> None:
        """Fetch and compile what is due, and hand it to `take`; UpdateFailed if a step refuses it."""
        try:
            await self._update(take, copies)
        except (UpdateFailed, OSError):
            await asyncio.to_thread(self._owe)
            raise

    async def _update(self, take: Take, copies: CopyHandles) -> None:
        handle = memory_file("list")
        try:
            facts, fetched = await self._fetch(handle, copies)
            if state.is_taken_out(self._journal.state, facts.digest):
                return
            if not self._is_due(facts):
                await asyncio.to_thread(self._confirm, facts)
                return
            record = await self._compile(facts, handle) if fetched else self._withdrawal(facts)
        finally:
            os.close(handle)
        self._tell(record)
        self._shown.step(Detail(code=Code.STEP_TAKE))
        await take(Candidate(record=record, reasons=self._holds(record)))

    def _owe(self) -> None:
        """Write down from which list the deadline counts, if a list could not be put in force."""
        journal = self._journal
        with journal.changing, suppress(OSError):
            new = state.owe(journal.state, self._shown.newest)
            if new != journal.state:
                journal.write(new)

    # The steps.

    async def _fetch(self, handle: int, copies: CopyHandles) -> tuple[Facts, bool]:
        journal, source, refused = self._journal, self._list.source, []

        def wanted(facts: Facts) -> bool:
            reason = state.refusal(
                facts,
                journal.state,
                journal.floor,
                list_id=self._list.id,
                minimum=source.minimum_serial,
                now=self._host.now(),
            )
            taken_out = reason is Reason.QUARANTINED and state.is_taken_out(journal.state, facts.digest)
            refused.append(None if taken_out else reason)
            if reason in (None, Reason.QUARANTINED):
                self._shown.newest = None if taken_out else self._unmet(facts)
            return reason is None and self._is_due(facts) and not facts.custom.withdrawn

        facts, fetched = await processes.fetch_list(self._list, self._known(copies), handle, wanted)
        if refused[0] is Reason.CLOCK_BEHIND:
            due_at = state.acceptable_at(facts, journal.state, journal.floor)
            raise processes.too_early(due_at, self._host.now())
        if refused[0] is not None:
            now, minimum = self._host.now(), source.minimum_serial
            detail = refusal_details.of(refused[0], facts, journal.state, journal.floor, minimum=minimum, now=now)
            raise UpdateFailed(refused[0], detail)
        self._shown.fresh_until = facts.fresh_until
        self._tell_passed_over(facts)
        if fetched and facts.difference:
            _log.info("list %s: serial %d received as a difference (IXFR)", self._list.id, facts.custom.serial)
        return facts, fetched

    def _unmet(self, facts: Facts) -> Unmet:
        return Unmet(
            serial=facts.custom.serial,
            digest=facts.digest,
            issued=facts.custom.issued or int(self._host.now()),
            targets_keys=facts.targets_keys,
        )

    def _tell_passed_over(self, facts: Facts) -> None:
        """Log what a drop folder holds beside the list, when it has become more."""
        said, now = detail_text.text(facts.passed_over, self._list), facts.passed_over
        counts = now.numbers if now else ()
        if said and (not self._passed_over or any(map(operator.gt, counts, self._passed_over))):
            _log.warning("list %s: %s", self._list.id, said)
        self._passed_over, self._shown.passed_over = counts, said

    def _known(self, copies: CopyHandles) -> Known:
        newest = self._journal.newest
        return Known(
            metadata=self._journal.store.metadata,
            resolvers=self._host.resolvers,
            serial=newest.serial if newest else 0,
            issued=newest.issued if newest else 0,
            digest=newest.digest if newest else "",
            targets_keys=newest.targets_keys if newest else "",
            withdrawn=newest is not None and newest.withdrawn,
            copy=copies.copy,
            copy_key=copies.key,
            copy_output=copies.output,
            step=self._shown.step,
        )

    def _is_due(self, facts: Facts) -> bool:
        found = self._journal.state
        if found.held is not None and self._made_here(found.held.record) and not state.due(facts, found.held.record):
            return False
        if self._is_lacking(facts):
            return True
        return state.due(facts, None if isinstance(self._activation.enforced, Nothing) else found.in_force)

    def _is_lacking(self, facts: Facts) -> bool:
        """Return whether the export process lacks the names of the list in force, which the source still has."""
        export, record = self._host.export, self._journal.state.in_force
        if export is None or record is None or record.withdrawn or record.digest != facts.digest:
            return False
        return export.lacks(self._list.id, key_of(record.generation, record.digest))

    def _confirm(self, facts: Facts) -> None:
        """Write that a source without dates has confirmed its list: its hard limit counts from now."""
        journal, now, said = self._journal, int(self._host.now()), (facts.custom.serial, facts.digest)
        with journal.changing:
            record = journal.state.in_force
            if self._list.source.kind != "zone" or record is None or record.identity != said:
                return
            if now - max(record.confirmed, record.issued) >= min(CONFIRM_SECONDS, self._list.limit / 4):
                journal.write(replace(journal.state, in_force=replace(record, confirmed=now)))

    async def _compile(self, facts: Facts, handle: int) -> Record:
        record, store = self._withdrawal(facts), self._journal.store
        current = self._journal.state.in_force
        output, part = store.open_part()
        lines, lines_part = store.open_part()
        previous = self._open_image()
        export = -1 if self._host.export is None else self._host.export.stage(self._list.id)
        try:
            self._shown.step(Detail(code=Code.STEP_COMPILE))
            compiled = await processes.compile_image(
                facts,
                Handles(handle, output, previous, lines, export),
                self._host.keys,
                self._list,
                generation=record.generation,
                keep_new=current is not None and current.identity == record.identity,
                approved=current is not None and current.approved,
            )
            numbers = compiled.entries, sum(compiled.refused.values()), sum(compiled.set_aside.values())
            self._shown.step(Detail(code=Code.FOUND_ENTRIES, numbers=numbers))
            self._warn_of_depths(record, compiled.rare_depths)
            self._warn_of_export(record, compiled.exported)
            record = replace(record, image=f"{record.generation}.image")
            used = await asyncio.to_thread(self._set_aside_used, record, output, lines)
            stays = await asyncio.to_thread(self._stays_approved, record, output)
            await asyncio.to_thread(store.keep_files, (part, lines_part), (record.image, record.lines))
        finally:
            for path, opened in ((part, output), (lines_part, lines), (None, previous), (None, export)):
                if path is not None:
                    path.unlink(missing_ok=True)
                if opened >= 0:
                    os.close(opened)
        aside = in_use.added(compiled.set_aside, used[0])
        aside_lines = dict(compiled.set_aside_lines)
        if used[0]:
            aside_lines[SetAside.IN_USE] = used[1]
        return replace(
            record,
            entries=compiled.entries,
            refused=compiled.refused,
            refused_lines=compiled.refused_lines,
            set_aside=aside,
            set_aside_lines=aside_lines,
            exceptions=compiled.exceptions,
            approved=current is not None
            and current.approved
            and ((stays and bool(aside)) or _same_aside(current, record, aside, aside_lines)),
        )

    def _stays_approved(self, record: Record, output: int) -> bool:
        """Return whether persons have approved, in the list in force, all that the image in an open file sets aside."""
        current = self._journal.state.in_force
        if current is None or not (current.approved and current.set_aside):
            return False
        if current.targets_keys != record.targets_keys:
            return False
        before = self._activation.image_in_force()
        sealed = os.pread(output, os.fstat(output).st_size, 0)
        try:
            new = image.view(seal.unseal(memoryview(sealed), self._host.keys.seal))
        except (seal.SealBroken, image.ImageMalformed):
            return False
        return before is not None and set_aside.stays_approved(new, before)

    def _warn_of_depths(self, record: Record, depths: tuple[int, ...]) -> None:
        if len(depths) >= MANY_DEPTHS:
            _log.warning(
                "list %s: serial %d has names of %s labels, a few of each: each such number makes every query dearer;"
                " ask the authority whether these names are meant",
                self._list.id,
                record.serial,
                ", ".join(map(str, depths)),
            )

    def _warn_of_export(self, record: Record, taken: bool | None) -> None:
        wanted = self._host.export is not None and self._list.id in self._host.export.lists
        if wanted and not taken:
            said = "list %s: serial %d: the export process has not taken its names; secondaries keep what they have"
            _log.error(said, self._list.id, record.serial)

    def _set_aside_used(self, record: Record, output: int, lines: int) -> tuple[int, tuple[int, ...]]:
        """Set aside what was in wide use before this list came; return how many entries, and their first lines."""
        current = self._journal.state.in_force
        try:
            slots = self._activation.set_aside_used(
                output, record, approved=current is not None and current.approved
            )
        except seal.SealBroken:
            raise UpdateFailed(Reason.IMAGE_UNUSABLE) from None
        return len(slots), in_use.lines_of(slots, os.pread(lines, os.fstat(lines).st_size, 0) if slots else b"")

    def _open_image(self) -> int:
        """Open the image in force or lifted, by which new entries are marked; return its descriptor, -1 for none."""
        record = self._journal.state.in_force
        if record is None or not record.image or not self._made_here(record):
            return -1
        try:
            return os.open(self._journal.store.folder / record.image, os.O_RDONLY)
        except OSError:
            return -1

    def _made_here(self, record: Record) -> bool:
        """Return whether the image was made with this host's digest key and its rules for reserved names."""
        return record.digest_key == self._host.keys.digest_id and record.demonstration is self._list.demonstration

    def _withdrawal(self, facts: Facts) -> Record:
        """Return the record of a list without an image."""
        found, floor = self._journal.state, self._journal.floor
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
            # Above the floor's too: the floor's image must last if the state could not be written after it.
            generation=max(found.generation, floor.record.generation if floor else 0) + 1,
            digest_key=self._host.keys.digest_id,
            demonstration=self._list.demonstration,
            targets_keys=facts.targets_keys,
            pinned=facts.pinned,
            root_version=facts.root_version,
        )

    def _tell(self, record: Record) -> None:
        """Log that entries wait because they were in wide use before their list came."""
        current, count = self._journal.state.in_force, record.set_aside.get(SetAside.IN_USE, 0)
        if count and not record.approved and (current is None or current.identity != record.identity):
            in_use.tell(self._list.id, record.serial, count)

    def _holds(self, record: Record) -> tuple[str, ...]:
        current = self._journal.state.in_force
        if current is not None and current.digest == record.digest and current.withdrawn is record.withdrawn:
            return ()  # a renewal: the same names are in force
        counts = guard.Counts(
            entries=record.entries,
            refused=sum(record.refused.values()),
            announced=record.announced,
            withdrawn=record.withdrawn,
            # Entries in wide use wait alone: what clients ask holds no list. Nor does what was approved before.
            set_aside=0
            if record.approved
            else sum(count for why, count in record.set_aside.items() if why != SetAside.IN_USE),
            exceptions=record.exceptions,
            emptied=self._list.source.kind == "zone",
        )
        previous = None if current is None or current.withdrawn else current.entries
        spared = current.exceptions if current is not None else 0
        return tuple(reason.value for reason in guard.holds(counts, previous, self._list.guard, spared))


def _same_aside(
    current: Record, record: Record, counts: Mapping[str, int], lines: Mapping[str, tuple[int, ...]]
) -> bool:
    """Return whether a renewal sets the same lines aside as the list in force, by number.

    Only the first line numbers are kept: how many lines there are is part of what was approved.
    """
    return current.identity == record.identity and (current.set_aside, current.set_aside_lines) == (counts, lines)
