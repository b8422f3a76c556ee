"""Adds the submissions of one task: the sums, as JSON and as Prometheus text.

Rules:
- Each operator of the roster has exactly one submission, or there is no sum: what is missing is named.
- A file that is no submission to the task by one of its operators is skipped with a warning: who is no operator cannot
  stop a sum, nor who lays an operator's file of another task beside its own. Two different ones of one operator that
  both fit stop it; nobody else can make them.
- The sum names the SHA-256 of each file that is in it, so that an operator sees whether its own is.
- The check words must sum to zero, and no sum may exceed what the operators' figures can reach; else some submission
  was made with other keys or another roster, and no number is shown.
- The same submissions give the same octets.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from resolver.config.values import many, noun, utc_text
from resolver.count import definition
from resolver.count.national import submission
from resolver.count.national.forms import MOST_FIGURE, Refused, Signed
from resolver.count.national.masks import summed
from resolver.count.national.roster import Roster, deviation
from resolver.count.national.submission import Submission

MOST_NAMED: Final = 20
"""Operators that are named in one line; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The sum of one task by list id; operators: how many have submitted; files: SHA-256 of theirs, in its order."""

    task: Signed[Roster]
    sums: dict[str, int]
    operators: int
    files: tuple[str, ...]


def add(
    task: Signed[Roster],
    files: Iterable[tuple[str, bytes]],
    now: float,
    warn: Callable[[str], object] = lambda _: None,
) -> Total:
    """Return the sums of (place, octets) of files; Refused with the place of the file, or the operators missing.

    warn: called for each file that is skipped, with its place and why.
    """
    roster = task.form
    found: dict[bytes, Signed[Submission]] = {}
    hashes: dict[bytes, str] = {}
    for place, data in files:
        try:
            one = submission.read(data, task)
        except Refused as error:
            warn(f"{place}: skipped: {error}")
            continue
        file = hashlib.sha256(data).hexdigest()
        if hashes.setdefault(one.key, file) != file:
            raise Refused(
                f"{place}: a second submission of {_name(roster, one.key)}, which differs from the first: neither "
                "counts; ask the operator which one its host has kept"
            )
        found[one.key] = one
    missing = [one.name for one in roster.operators if bytes.fromhex(one.key) not in found]
    if missing:
        raise Refused(_missing(roster, missing, now))
    every = [one.form for one in found.values()]
    most = 2 * MOST_FIGURE * len(every)
    sums = {name: summed([one.values[number].masked for one in every]) for number, name in enumerate(roster.lists)}
    if summed([one.check for one in every]) or any(abs(one) > most for one in sums.values()):
        raise Refused(
            "the masks do not cancel: an operator has used another key than the roster names; there is no figure. "
            "Each operator runs `national submit` again with this roster and compares the SHA-256 of its file"
        )
    hashed = tuple(hashes[bytes.fromhex(one.key)] for one in roster.operators)
    return Total(task=task, sums=sums, operators=len(every), files=hashed)


def _name(roster: Roster, key: bytes) -> str:
    place = roster.place_of(key)
    return roster.operators[place].name if place is not None else ""


def _missing(roster: Roster, names: list[str], now: float) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    count = f"{len(names):,} of {len(roster.operators):,}"
    begin = f"missing: {shown}{more} ({count}); without each of them there is no sum. "
    if now < roster.closes:
        return f"{begin}They can submit until {utc_text(roster.closes)}"
    if roster.round == 1:
        return (
            f"{begin}The round is closed: sign a correction with the same operators "
            "(`national roster --corrects ROSTER`), and all submit again"
        )
    return f"{begin}The correction is closed too: {roster.month} has no national figure"


def _attempts(list_id: str, count: int) -> str:
    return f"{list_id}: {count:,} {noun(count, 'attempt')}"


def as_json(total: Total) -> bytes:
    """Return the sums as JSON, ended by a line feed."""
    roster = total.task.form
    noise = roster.noise
    said = {
        "kind": "national-sum",
        "format": 1,
        "authority": roster.authority,
        "month": roster.month,
        "round": roster.round,
        "roster": total.task.digest,
        "operators": total.operators,
        "definition": roster.definition,
        "attempts_are": definition.IN_PRINT,
        "sums": [{"list": name, "attempts": total.sums[name]} for name in roster.lists],
        "noise": noise
        and {
            "unit": noise.unit,
            "scale": noise.scale,
            "honest": noise.honest,
            "standard_deviation": deviation(noise, total.operators),
        },
        "submissions": [
            {"key": one.key, "name": one.name, "sha256": file}
            for one, file in zip(roster.operators, total.files, strict=True)
        ],
        "caveat": definition.CAVEAT,
    }
    return json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n"


def as_metrics(total: Total) -> bytes:
    """Return the sums in Prometheus' text format, for node_exporter's textfile collector."""
    roster = total.task.form
    month = roster.month
    lines = [
        "# HELP blocklist_national_attempts Attempts of a month at all operators together, by list.",
        "# TYPE blocklist_national_attempts gauge",
        *(f'blocklist_national_attempts{{month="{month}",list="{name}"}} {total.sums[name]}' for name in roster.lists),
        "# HELP blocklist_national_deviation Standard deviation of the noise in each sum.",
        "# TYPE blocklist_national_deviation gauge",
        f'blocklist_national_deviation{{month="{month}"}} {deviation(roster.noise, total.operators)}',
        "# HELP blocklist_national_operators Operators that are in the sum.",
        "# TYPE blocklist_national_operators gauge",
        f'blocklist_national_operators{{month="{month}"}} {total.operators}',
    ]
    return "\n".join(lines).encode() + b"\n"


def as_text(total: Total) -> str:
    """Return the sums in lines for a person."""
    roster = total.task.form
    blurred = deviation(roster.noise, total.operators)
    said = f"noise with a standard deviation of {blurred:,}" if blurred else "no noise"
    head = f"{roster.month}, round {roster.round}: {many(total.operators, 'operator')}, {said}"
    sums = (_attempts(name, total.sums[name]) for name in roster.lists)
    files = (f"{file}  {one.name}" for one, file in zip(roster.operators, total.files, strict=True))
    return "\n".join((head, *sums, definition.CAVEAT, "SHA-256 of the submissions in it:", *files))
