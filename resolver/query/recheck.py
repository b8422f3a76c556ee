"""Remembers the judgements of upstreams' replies for those who still wait; core.judgement makes them.

Rules:
- A reply is known by being the very octets of its exchange, not by what it says: equal ones of two exchanges are two.
- At most RECENT of them and RECENT_OCTETS are remembered; the one used longest ago is forgotten, and judged again.
"""

from resolver.core.judgement import Judgement

RECENT = 512
RECENT_OCTETS = 4 * 2**20


class Recheck:
    """The judgements of the latest replies."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[bytes, Judgement]] = {}
        self._octets = 0

    def of(self, reply: bytes) -> Judgement:
        """Return the judgement of the answer of an exchange, the same for all who wait for these very octets."""
        # By identity, which holds as long as the octets are remembered.
        known = self._of.pop(id(reply), None) or (reply, self._room_for(reply))
        self._of[id(reply)] = known
        return known[1]

    def _room_for(self, reply: bytes) -> Judgement:
        """Forget the oldest judgements until this reply has room; return one of it."""
        one = None
        self._octets += len(reply)
        while self._of and (len(self._of) >= RECENT or self._octets > RECENT_OCTETS):
            octets, one = self._of.pop(next(iter(self._of)))
            self._octets -= len(octets)
        if one is None:
            return Judgement(reply)
        one.again(reply)
        return one
