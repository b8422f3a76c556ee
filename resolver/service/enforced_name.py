"""Makes the name that is blocked exactly while this host enforces every list, for balancers and for who announces it.

Rules:
- It is no entry of a list: it has the flag of synthetic names, which no figure of a list counts.
- A list that was proved since it came in force for the first time stays proved over its next serials: the name does not
  come and go with a swap. A proof that is late says nothing against a list; a wrong answer does.
- A process that takes over from one that answers takes its lists as proved until its own proof: the name stays.
- A list that its authority has withdrawn has nothing left to enforce. One that its hard limit lifts is not enforced,
  and the name goes a little before: a balancer takes this host out before a listed name gets its real answer.
- Verdicts that failed do not count: they were answered SERVFAIL, and a query that causes them would take out all hosts.
"""

from collections.abc import Iterable
from typing import Final

from resolver.core import entries, image
from resolver.feed.enforced import InForce, Lifted, Nothing, Stage
from resolver.feed.update import ListUpdate

LABEL: Final = b"enforced"
NAME: Final = f"{LABEL.decode()}.{image.SELFTEST_NAME}"
MARGIN_S: Final = 6.0
"""How long before a hard limit that lifts its list the name goes, in seconds."""


def made(digest_key: bytes) -> memoryview:
    """Return the view of an image without entries whose synthetic name is this one."""
    octets = entries.write(
        b"", b"", digest_key, list_id="", serial=1, issued=0, expires=0, generation=1, selftest=LABEL
    )
    view: memoryview = image.view(octets)
    return view


class Proved:
    """Remembers which lists were proved on this host's sockets since the start."""

    def __init__(self) -> None:
        self._proved: set[str] = set()

    def trust(self, lists: Iterable[ListUpdate]) -> None:
        """Take the lists in force as proved, as another process of this host has proved them."""
        self._proved |= {one.list.id for one in lists if isinstance(one.enforced, InForce)}

    def every(self, lists: Iterable[ListUpdate], now: float) -> bool:
        """Return whether each of the lists is proved and enforced now (unix seconds), and for a little longer."""
        # Each is looked at: a list that comes in force is noted whatever the others do.
        found = [self._holds(one, now) for one in lists]
        return all(found)

    def _holds(self, one: ListUpdate, now: float) -> bool:
        record, list_id = one.state.in_force, one.list.id
        match one.enforced:
            case Nothing():
                self._proved.discard(list_id)
                return False
            case Lifted():
                self._proved.discard(list_id)
                return record is not None and record.withdrawn
            case InForce() as found:
                if found.proof is Stage.PROVED:
                    self._proved.add(list_id)
                elif found.proof is Stage.WRONG:
                    self._proved.discard(list_id)
        ends = one.list.expire == "lift" and record is not None and one.hard_limit_at(record) <= now + MARGIN_S
        return list_id in self._proved and not ends
