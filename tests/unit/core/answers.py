"""A store of kept answers that is asked by name, for the tests of the core."""

from collections.abc import Callable
from types import ModuleType

from tests.parity import wires
from tests.unit.core.generations import query, question

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
NOW = 1000


class Answers:
    """A store that is asked by name."""

    def __init__(self, core: Core, octets: int = 16384, stale_s: int = 0) -> None:
        self.core = core
        self.memory = bytearray(octets)
        self.store = core("store").Store(self.memory, KEY, stale_s)
        self.kept = core("store").Kept()
        self.scratch = core("scratch").Scratch()

    def digest(self, name: str, bits: int = 0, kind: int = 1, klass: int = 1) -> tuple[int, int]:
        self.core("store").set_key(self.store, question(self.core, query(name, kind, klass=klass)), bits, self.scratch)
        return self.scratch.key[0], self.scratch.key[1]

    def keep(
        self, name: str, body: bytes, ttl: int = 60, errors: bytes = b"", now: int = NOW, *, apart: int = 0, **key: int
    ) -> int:
        made = wires.to_keep(self.core, body, ttl_s=ttl, kind=self.core("store").NEGATIVE, errors=errors)
        made.apart = apart
        said: int = self.core("store").keep(self.store, *self.digest(name, **key), now, made)
        return said

    def find(self, name: str, now: int = NOW, **key: int) -> bytes | None:
        return self.body() if self.look(name, now, **key) else None

    def look(self, name: str, now: int = NOW, **key: int) -> int:
        """What `find` says: NOTHING, FRESH or STALE."""
        said: int = self.core("store").find(self.store, *self.digest(name, **key), now, self.kept)
        return said

    def body(self) -> bytes:
        """The reply found last."""
        return bytes(self.store.ring[self.kept.start : self.kept.end])

    def fail(self, name: str, now: int = NOW, body: bytes = b"failed", errors: bytes = b"", rcode: int = 2) -> None:
        made = self.core("store").Kept()
        self.core("store").set_failure(made, memoryview(body), rcode, errors or b"\0", len(errors))
        assert self.core("store").fail(self.store, *self.digest(name), now, made) == 1

    def is_there(self, name: str, now: int = NOW) -> bool:
        """Tell whether it would be found, and leave no trace of having looked."""
        found: int = self.core("store").peek(self.store, *self.digest(name), now, self.kept)
        return found != 0

    def come_round(self, start: int, octets: int, now: int = NOW) -> None:
        """Keep others until so many octets have been written."""
        until, number = self.store.heads[0] + octets, start
        while self.store.heads[0] < until:
            self.keep(f"filler{number}.test", bytes(100), now=now)
            number += 1
