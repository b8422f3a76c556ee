"""Makes operators and their authority, from fixed seeds: keys, joins, rosters, submissions."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver.count.national import forms, join, roster, submission
from resolver.count.national.forms import Signed
from resolver.count.national.kept import Kept, alone
from resolver.count.national.roster import Noise, Roster
from resolver.count.national.submission import Figure
from resolver.count.national.submit import Accepted, Done, submit
from resolver.signed import statement

JANUARY = 1798761600
"""2027-01-01T00:00:00Z: the month of all rosters here."""
FEBRUARY = JANUARY + 31 * 86400
BEFORE = JANUARY - 86400
OPEN = FEBRUARY + 86400
CLOSED = FEBRUARY + 900 + 14 * 86400

AUTHORITY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"authority").digest())
PINNED = statement.public_of(AUTHORITY)
NOISE = Noise(unit=480, scale=480, honest=1)


@dataclass(frozen=True)
class Member:
    """An operator with all its keys."""

    name: str
    key: Ed25519PrivateKey
    agreement: X25519PrivateKey

    @property
    def public(self) -> bytes:
        return statement.public_of(self.key)

    def join(self, made: int = BEFORE) -> Signed[join.Join]:
        return join.read(join.make(self.name, self.agreement, self.key, made))


def seed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def members(count: int) -> list[Member]:
    """Operators in the order of a roster."""
    made = [
        Member(
            f"Operator {number}",
            Ed25519PrivateKey.from_private_bytes(seed(f"sign {number}")),
            X25519PrivateKey.from_private_bytes(seed(f"agree {number}")),
        )
        for number in range(1, count + 1)
    ]
    return sorted(made, key=lambda one: one.public)


def form(of: list[Member], **changes: Any) -> Roster:
    """The roster of these operators for January, as a form that breaks no rule unless a change does."""
    made = Roster(
        authority="Example Police",
        month="2027-01",
        round=1,
        corrects="",
        definition="v2",
        lists=("court", "demo"),
        signed=BEFORE,
        closes=CLOSED,
        noise=NOISE,
        operators=roster.operators_of(one.join() for one in of),
    )
    return msgspec.structs.replace(made, **changes)


def task(made: Roster) -> Signed[Roster]:
    """The roster as its operators read it."""
    return roster.read(roster.make(made, AUTHORITY), PINNED)


def correction(first: Signed[Roster], **changes: Any) -> Roster:
    """The correction of a round, as a form."""
    wanted = {
        "round": 2,
        "corrects": first.digest,
        "signed": CLOSED + 3600,
        "closes": CLOSED + 3600 + 14 * 86400,
        **changes,
    }
    return msgspec.structs.replace(first.form, **wanted)


def figures(of: Signed[Roster], number: int, noise: int = 0) -> dict[str, Figure]:
    """The figures of one operator, different for each operator and list."""
    return {
        name: Figure(list=name, figure=1000 * number + place, noise=noise, salt=seed(f"salt {number} {name}").hex())
        for place, name in enumerate(of.form.lists)
    }


def submissions(of: Signed[Roster], by: list[Member], noise: int = 0) -> list[tuple[str, bytes]]:
    """The file of each operator, as `total.add` takes them."""
    return [
        (f"{one.name}.json", submission.make(of, figures(of, number, noise), one.key, one.agreement))
        for number, one in enumerate(by)
    ]


def keeping(folder: Path, one: Member) -> Path:
    """The folder in which an operator keeps its X25519 key."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = one.agreement.private_bytes_raw().hex()
    (folder / "agreement.json").write_text(f'{{"format":1,"keys":[{{"private":"{raw}","made":1}}]}}')
    return folder


def hand_in(
    folder: Path,
    one: Member,
    of: Signed[Roster],
    counts: Mapping[str, int] | None = None,
    *,
    first: Signed[Roster] | None = None,
    now: float = OPEN,
    least_scale: int = 480,
    most_honest: int = 1,
    most_epsilon: float = 1.0,
    least_operators: int = 5,
    digest: str | None = None,
    drawn: int = 1,
) -> Done:
    """Submit as an operator's host does, with what it keeps in `folder`; random numbers come from the seed `drawn`.

    digest: the one that the operators have compared; None: the roster's own.
    """
    chance = random.Random(drawn)
    with alone(folder) as mine:
        return submit(
            of,
            first,
            mine,
            one.key,
            lambda _: counts if counts is not None else {"court": 100, "demo": 5},
            now=now,
            octets=chance.randbytes,
            accepted=Accepted(
                digest=digest or of.digest,
                scale=least_scale,
                honest=most_honest,
                epsilon=most_epsilon,
                operators=least_operators,
            ),
        )


def kept(folder: Path) -> Kept:
    return Kept(folder)


def signed_again(data: bytes, key: Ed25519PrivateKey, **changes: Any) -> bytes:
    """A signed file with other fields, signed by this key."""
    said, _ = statement.claimed(data, most_bytes=forms.MOST_BYTES)
    return statement.sign(said | changes, key)
