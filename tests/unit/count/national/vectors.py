"""Makes blocklists/national-vectors.json: `python -m tests.unit.count.national.vectors` writes it."""

import json
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver.count.national import join, keys, masks, opening, roster, submission, total
from resolver.count.national.forms import Refused, Signed
from resolver.count.national.kept import Record
from resolver.count.national.roster import Roster
from resolver.count.national.submission import Figure
from tests.unit.count.national import operators

FILE = Path(__file__).parents[4] / "blocklists" / "national-vectors.json"
FIGURES = {"court": [0, 1, 16_800, 403_200, 2**40], "demo": [7, 0, 0, 12, 3]}
SHARES = {"court": [0, -680, 512, 33, -1], "demo": [-2_000, 5, 0, 1, 0]}

UNSIGNED = X25519PrivateKey.from_private_bytes(operators.seed("other"))
MIXED = (
    '{"statement":"{\\"kind\\":\\"national-join\\",\\"format\\":1,\\"name\\":\\"Mixed\\",\\"agreement\\":'
    '\\"5a97346d949312270e9b575d13cc1cdd57caf33f4f222154a320cb72f565432f\\",\\"made\\":1798675200}",'
    '"key":"fS2QWccr7QzWtENzMeCCc51/62oC7HxRbxubVOv5Nrs=","signature":'
    '"cuZSn4wnPx/GZojPFatjGVcCwXMDS2NGwhATG3mXkSfgVjnyAjP2uJPG86sKjk0UopBNfAFLt18FyUJIYUnGAA=="}\n'
)
"""A join by a key with a part of order 8, made of its private scalar."""


def made() -> dict[str, Any]:
    """All vectors."""
    by = operators.members(5)
    exact = operators.task(operators.form(by, noise=None))
    noisy = operators.task(operators.form(by))
    second = operators.task(operators.correction(noisy))
    return {
        "about": "Vectors of blocklists/NATIONAL.md, version 1. Private keys are for these vectors alone.",
        "authority": {"private": operators.AUTHORITY.private_bytes_raw().hex(), "public": operators.PINNED.hex()},
        "operators": [
            {
                "ed25519_private": one.key.private_bytes_raw().hex(),
                "x25519_private": one.agreement.private_bytes_raw().hex(),
                "join": operators.join.make(one.name, one.agreement, one.key, operators.BEFORE).decode(),
            }
            for one in by
        ],
        "pair": _pair(exact, by),
        "tasks": [
            _task("without noise: the sum is exact", exact, by, noise=False),
            _task("with noise", noisy, by, noise=True),
            _task("a correction of the task before it", second, by, noise=True),
        ],
        "opening": _opening(noisy, by),
        "refused_rosters": list(_refused(by)),
        "refused_corrections": list(_refused_corrections(noisy, by)),
        "refused_joins": [
            {
                "about": "its key has an order that is a multiple of the prime one; the signature meets RFC 8032's "
                "equation with the cofactor 8 and not the one without it",
                "join": MIXED,
            }
        ],
        "refused_agreements": {
            "small order": [one.to_bytes(32, "little").hex() for one in sorted(keys.SMALL_AGREEMENTS)],
            "not canonical": ["ed" + "ff" * 30 + "7f", "ff" * 32],
        },
        "refused_keys": [
            (one | sign << 255).to_bytes(32, "little").hex()
            for one in (*sorted(keys.SMALL_SIGNERS), 2**255 - 19, 2**255 - 1)
            for sign in (0, 1)
        ],
    }


def _pair(of: Signed[Roster], by: list[operators.Member]) -> dict[str, Any]:
    first, second = by[0], by[1]
    secret = first.agreement.exchange(second.agreement.public_key())
    infos = {name: masks.info_of(of.form, name, first.public, second.public) for name in ("", *of.form.lists)}
    return {
        "about": "the first two operators in the first task: info and mask for each list id",
        "secret": secret.hex(),
        "salt": of.digest,
        "info": {name: info.hex() for name, info in infos.items()},
        "mask": {name: f"{masks.pair_mask(secret, bytes.fromhex(of.digest), one):016x}" for name, one in infos.items()},
    }


def _figures(of: Signed[Roster], number: int, *, noise: bool) -> dict[str, Figure]:
    return {
        name: Figure(
            list=name,
            figure=FIGURES[name][number],
            noise=SHARES[name][number] if noise else 0,
            salt=operators.seed(f"salt {of.digest} {number} {name}").hex(),
        )
        for name in of.form.lists
    }


def _task(about: str, of: Signed[Roster], by: list[operators.Member], *, noise: bool) -> dict[str, Any]:
    every = [_figures(of, number, noise=noise) for number in range(len(by))]
    files = [
        submission.make(of, figures, one.key, one.agreement) for figures, one in zip(every, by, strict=True)
    ]
    found = total.add(of, [(str(number), data) for number, data in enumerate(files)], operators.CLOSED)
    return {
        "about": about,
        "roster": roster.make(of.form, operators.AUTHORITY).decode(),
        "digest": of.digest,
        "figures": [[msgspec.to_builtins(one) for one in figures.values()] for figures in every],
        "submissions": [data.decode() for data in files],
        "sums": found.sums,
    }


def _opening(of: Signed[Roster], by: list[operators.Member]) -> dict[str, str]:
    figures = _figures(of, 2, noise=True)
    data = submission.make(of, figures, by[2].key, by[2].agreement)
    record = Record(
        at=operators.OPEN,
        month=of.form.month,
        round=1,
        roster=of.digest,
        submission=data.decode(),
        figures=tuple(figures.values()),
    )
    file = opening.make([record], of.form.month, 1, "court", by[2].key)
    about = "of the third operator, in the second task"
    return {"about": about, "file": file.decode(), "commitment": opening.read(file)[1]}


def _refused(by: list[operators.Member]) -> Any:
    whole = operators.form(by)
    first, *others = whole.operators
    cases = {
        "four operators": {"operators": whole.operators[:4], "noise": None},
        "signed when its month has begun": {"signed": operators.JANUARY},
        "operators in another order": {"operators": (*others, first)},
        "an X25519 key twice": _joined(operators.Member(by[0].name, by[0].key, by[1].agreement), *by[1:]),
        "a name twice": _joined(operators.Member(by[1].name.upper(), by[0].key, by[0].agreement), *by[1:]),
        "an X25519 key that the operator has not signed": {
            "operators": (msgspec.structs.replace(first, agreement=join.public_of(UNSIGNED).hex()), *others)
        },
        "a name that the operator has not signed": {
            "operators": (msgspec.structs.replace(first, name="Another"), *others)
        },
        "a join by another key": {
            "operators": (msgspec.structs.replace(first, signature=others[0].signature), *others)
        },
        "a list twice": {"lists": ("court", "court")},
        "more honest operators than there are": {"noise": roster.Noise(unit=1, scale=1, honest=6)},
        "a first round that corrects another": {"corrects": "00" * 32},
        "open for less than a day": {"closes": operators.FEBRUARY + 900 + 86399},
    }
    for about, changes in cases.items():
        data = operators.forms.sign(msgspec.structs.replace(whole, **changes), operators.AUTHORITY)
        try:
            roster.read(data, operators.PINNED)
        except Refused:
            yield {"about": about, "roster": data.decode()}
        else:
            raise AssertionError(about)


def _refused_corrections(first: Signed[Roster], by: list[operators.Member]) -> Any:
    """Corrections of the second task: rosters of round 2 that keep the rules of a roster, but not those of a round."""
    cases: dict[str, dict[str, Any]] = {
        "another operator": _joined(*operators.members(6)[1:]),
        "one operator more": _joined(*operators.members(6)),
        "signed before the first round closed": {"signed": first.form.closes - 1},
        "it corrects another roster": {"corrects": "00" * 32},
        "another list": {"lists": ("court",)},
        "less noise": {"noise": roster.Noise(unit=480, scale=479, honest=1)},
        "no noise": {"noise": None},
        "another definition": {"definition": "v1"},
        "another authority's name": {"authority": "Another Office"},
    }
    for about, changes in cases.items():
        said = operators.correction(first, **changes)
        data = roster.make(said, operators.AUTHORITY)
        try:
            roster.check_correction(said, first)
        except Refused:
            yield {"about": about, "roster": data.decode()}
        else:
            raise AssertionError(about)


def _joined(*by: operators.Member) -> dict[str, Any]:
    return {"operators": roster.operators_of(one.join() for one in by)}


def text() -> str:
    """The octets of the file."""
    return json.dumps(made(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
