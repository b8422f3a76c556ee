"""Remembers which answers a resolver has cached, so that a policy that comes can take out those that it blocks.

Rules:
- A resolver answers from its cache without asking a plugin. So each answer that passed is remembered here: the
  question, and the reply if a name beside the question's is judged in it.
- The memory is bounded by a number of answers. Of what it has forgotten, an answer stays as long as the cache keeps it
  (its TTL, at most the resolver's own bound): the bound has to be above what the cache holds.
- It holds what the resolver's cache beside it holds: names that were asked, not who asked, and it is never written.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

MOST: Final = 131_072
TYPE_OCTETS: Final = 2


class Answer(NamedTuple):
    """An answer that was remembered: the wire-format name and the type of the question."""

    name: bytes
    qtype: int


class Remembered:
    """The newest answers, at most `most`. is_blocked: whether a name or a reply is blocked now, or cannot be judged."""

    def __init__(self, is_blocked: Callable[[bytes, int, bytes], bool], most: int = MOST) -> None:
        self._is_blocked = is_blocked
        self._most = most
        self._answers: dict[bytes, bytes] = {}
        self._pending: list[bytes] = []

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def pending(self) -> int:
        """The number of answers that are not yet judged by the newest policy."""
        return len(self._pending)

    def keep(self, name: bytes, qtype: int, reply: bytes) -> None:
        """Remember an answer that passed; reply: b"" if no name beside the question's is judged in it."""
        key = name + qtype.to_bytes(TYPE_OCTETS, "big")
        self._answers.pop(key, None)
        if len(self._answers) >= self._most:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = reply

    def judge_again(self) -> None:
        """Begin with all answers: another policy is in force."""
        self._pending = list(self._answers)

    def take(self, until_s: float, clock: Callable[[], float]) -> list[Answer]:
        """Judge pending answers until `clock` says `until_s`; forget and return those that have to leave the cache."""
        found = []
        while self._pending:
            key = self._pending.pop()
            reply = self._answers.get(key)
            name, qtype = key[:-TYPE_OCTETS], int.from_bytes(key[-TYPE_OCTETS:], "big")
            if reply is not None and self._is_blocked(name, qtype, reply):
                del self._answers[key]
                found.append(Answer(name, qtype))
            if clock() >= until_s:
                break
        return found
