"""Saves state and floor of one list, and appends its entries to the audit log.

Rules:
- The disk comes first: memory follows once the file is there, so that a start goes on from what this process knew.
- A file that could not be fsynced may have its new content all the same. It is read again then, and memory follows it.
- Code that replaces the state holds `changing`: a poll writes it in another thread while a person decides.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from resolver.feed import approve, standing
from resolver.feed.audit import Audit, Event
from resolver.feed.candidate import FEED
from resolver.feed.state import Floor, Record, State
from resolver.feed.store import StateUnreadable, Store


class Journal:
    """State, floor and audit log of the list `list_id`. `now` returns unix seconds."""

    def __init__(self, list_id: str, store: Store, audit: Audit, now: Callable[[], float]) -> None:
        self.store = store
        self.state = State()
        self.floor: Floor | None = None
        self.changing = threading.RLock()
        self._list_id = list_id
        self._audit = audit
        self._now = now

    def read(self) -> bool:
        """Take state and floor from the disk; return whether both could be read."""
        whole = True
        try:
            self.state = self.store.read_state()
        except StateUnreadable:
            self.state, whole = State(), False
        try:
            self.floor = self.store.read_floor()
        except StateUnreadable:
            record, whole = self.state.in_force, False
            self.floor = Floor(record=record) if record else None
        return whole

    def write(self, new: State) -> None:
        """Write the state, without the approvals that no longer count; may raise OSError."""
        new = standing.kept(approve.kept(new, self._now()), self._now())
        try:
            self.store.write_state(new)
        except OSError:
            with suppress(OSError, StateUnreadable):
                if self.store.read_state() == new:
                    self.state = new
            raise
        self.state = new

    def begin(self, first: State) -> None:
        """Write the first state of a list that is new on this host, which counts here even if the disk fails."""
        self.state = first
        self.store.write_state(first)

    def raise_floor(self, floor: Floor) -> None:
        """Write the floor; may raise OSError."""
        try:
            self.store.write_floor(floor)
        except OSError:
            with suppress(OSError, StateUnreadable):
                self.floor = self.store.read_floor()
            raise
        self.floor = floor

    def log(self, event: Event, record: Record, detail: str = "", by: str = FEED) -> None:
        """Append a line about `record` to the audit log, `by` as of Audit.append; may raise OSError."""
        self._audit.append(
            event,
            self._now(),
            list_id=self._list_id,
            serial=record.serial,
            digest=record.digest,
            detail=detail,
            by=by,
        )

    def clean(self) -> None:
        """Remove the files that neither state nor floor name."""
        self.store.clean(self.state, self.floor)

    @property
    def newest(self) -> Record | None:
        """Return the newest list that was accepted: the one held, else that of the floor."""
        if self.state.held is not None:
            return self.state.held.record
        return self.floor.record if self.floor is not None else None
