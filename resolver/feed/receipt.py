"""What a receipt says of a list: which one is in force on this host since when, and what was tested of it.

Rules:
- It says what was tested, in words and numbers, and never that "the list is blocked".
- It counts lines and names none: of a list it holds serial, digest, counts and line numbers, which its authority knows.
- It is about what is in force when it is made, so it is made after the proof on the sockets, never before.
"""

from dataclasses import dataclass
from typing import Any, Final

from resolver.feed.state import Record

KIND: Final = "receipt"
CAVEAT: Final = (
    "This says what this host tested of its own answers when the list came in force. "
    "It does not say that no visitor reaches a listed name."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """How many digests of the list were found in its image, and how many names that it cannot hold passed."""

    digests: int
    unlisted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How many sockets were asked how many questions for the synthetic name, how many answers were not the list's, and
    how many did not come in time, which says nothing of the list."""

    sockets: int
    questions: int
    wrong: int = 0
    silent: int = 0

    @property
    def passed(self) -> bool:
        """Whether every question was answered as the list answers; without a question nothing is proved."""
        return self.questions > 0 and self.wrong == 0 and self.silent == 0


def receipt(
    record: Record,
    *,
    list_id: str,
    host: str,
    at: float,
    suspended: bool,
    head: tuple[int, str],
    tested: Tested | None,
    proof: Proof | None,
) -> dict[str, Any]:
    """The statement, ready to be signed; head: number and hash of the audit log's last line. Times in unix seconds."""
    return {
        "kind": KIND,
        "host": host,
        "list": list_id,
        "serial": record.serial,
        "digest": record.digest,
        "issued": record.issued,
        "expires": record.expires,
        "at": int(at),
        "in_force_since": record.since,
        "generation": record.generation,
        "entries": record.entries,
        "enforced": proof is not None,
        "withdrawn": record.withdrawn,
        "suspended": suspended,
        "approved": record.approved,
        "refused": record.refused,
        "refused_lines": record.refused_lines,
        "set_aside": record.set_aside,
        "set_aside_lines": record.set_aside_lines,
        "audit_head": {"number": head[0], "hash": head[1]},
        "tested": words(tested, proof),
        "caveat": CAVEAT,
    }


def name_of(list_id: str, record: Record) -> str:
    """The name of the receipt's file, without a suffix."""
    return f"{list_id}-{record.serial}-{record.generation}"


def words(tested: Tested | None, proof: Proof | None) -> str:
    """What was tested, as a person reads it."""
    said = []
    if proof is not None:
        said.append(
            "the list's synthetic name was answered as blocked for A, AAAA and HTTPS over UDP and TCP "
            f"on {proof.sockets} socket{'s' * (proof.sockets != 1)} ({proof.questions} questions)"
        )
    if tested is not None:
        said.append(
            f"{tested.digests} digests of the list were found in its image, "
            f"{tested.unlisted} names that are not listed passed"
        )
    return "; ".join(said) or "nothing was asked: the list has no say on this host"
