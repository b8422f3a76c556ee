"""Builds a receipt: which list is in force on this host, since when, and what was tested.

Rules:
- It states what was tested, in words and numbers, and never that "the list is blocked".
- It holds serial, digest, counts and line numbers of a list, which its authority knows, and no names.
- `suspended` stays for those who read it: no entries are suspended; those that wait are in `set_aside`.
- It is about the list in force when it is made: so it is made after the proof on the sockets, never before.
"""

from dataclasses import dataclass
from typing import Any, Final

from resolver.config.values import many
from resolver.feed.state import Record

KIND: Final = "receipt"
CAVEAT: Final = (
    "This says what this host tested of its own answers when the list came in force. "
    "It does not say that no visitor reaches a listed name."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The self-test in process: digests of the list found in its image, and names that it cannot hold that passed."""

    digests: int
    unlisted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The proof on the sockets: sockets and questions asked for the synthetic name, wrong answers, and missing ones.

    A missing answer (silent) says nothing about the list.
    """

    sockets: int
    questions: int
    wrong: int = 0
    silent: int = 0

    @property
    def passed(self) -> bool:
        """Return whether every question got the list's answer; without a question nothing is proved."""
        return self.questions > 0 and self.wrong == 0 and self.silent == 0


def receipt(
    record: Record,
    *,
    list_id: str,
    host: str,
    at: float,
    head: tuple[int, str],
    tested: Tested | None,
    proof: Proof | None,
) -> dict[str, Any]:
    """Return the statement, ready to be signed. head: number and hash of the audit log's last line."""
    return {
        **about(KIND, record, list_id=list_id, host=host),
        "expires": record.expires,
        "at": int(at),
        "in_force_since": record.since,
        "generation": record.generation,
        "entries": record.entries,
        "exceptions": record.exceptions,
        "enforced": proof is not None,
        "withdrawn": record.withdrawn,
        "suspended": False,
        "approved": record.approved,
        "refused": record.refused,
        "refused_lines": record.refused_lines,
        "set_aside": record.set_aside,
        "set_aside_lines": record.set_aside_lines,
        "audit_head": {"number": head[0], "hash": head[1]},
        "tested": words(tested, proof),
        "caveat": CAVEAT,
    }


def about(kind: str, record: Record, *, list_id: str, host: str) -> dict[str, Any]:
    """Return what a statement that a list is in force begins with: its kind, the host that signs, and which list."""
    return {
        "kind": kind,
        "host": host,
        "list": list_id,
        "serial": record.serial,
        "digest": record.digest,
        "issued": record.issued,
    }


def name_of(list_id: str, record: Record) -> str:
    """Return the name of the receipt's file, without suffix."""
    return f"{list_id}-{record.serial}-{record.generation}"


def words(tested: Tested | None, proof: Proof | None) -> str:
    """Return what was tested, in words for people."""
    said = []
    if proof is not None:
        said.append(
            "the list's synthetic name was answered as blocked for A, AAAA and HTTPS over UDP and TCP "
            f"on {many(proof.sockets, 'socket')} ({proof.questions} questions)"
        )
    if tested is not None:
        said.append(
            f"{tested.digests} digests of the list were found in its image, "
            f"{tested.unlisted} names that are not listed passed"
        )
    return "; ".join(said) or "nothing was asked: the list is not enforced on this host"
