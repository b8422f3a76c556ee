"""Measures the national figure: `python -m tests.bench.national [OPERATORS]` prints sizes, and seconds of a processor.

One operator's submission is made in full. Those of the others have masks that cancel without a secret for each pair,
which would take hours: the authority does the same work for them.
"""

import random
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from resolver.count.draws import laplace_share
from resolver.count.national import forms, roster, submission, total
from resolver.count.national.masks import MODULUS
from resolver.count.national.submission import Figure, Submission, Value
from tests.unit.count.national import operators

LIST = "court"


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Do the work, print the processor time that it took, and return its result."""
    began = time.process_time()
    made = work()
    print(f"{what:<40} {time.process_time() - began:8.3f} s")
    return made


def cancelling(count: int, draw: random.Random) -> list[int]:
    """Numbers that add up to nothing."""
    found = [draw.randrange(MODULUS) for _ in range(count - 1)]
    return [*found, -sum(found) % MODULUS]


def main(count: int) -> None:
    by = operators.members(count)
    joins = timed("joins, made and read", lambda: [one.join() for one in by])
    form = msgspec.structs.replace(
        operators.form(by[:5]), operators=roster.operators_of(joins), lists=(LIST,)
    )
    data = timed("roster, signed", lambda: roster.make(form, operators.AUTHORITY))
    task = timed("roster, read", lambda: roster.read(data, operators.PINNED))
    share = timed("a share of noise", lambda: laplace_share(480, 1, secrets.randbelow))
    own = {LIST: Figure(list=LIST, figure=16_800, noise=share, salt="00" * 32)}
    one = timed("a submission", lambda: submission.make(task, own, by[0].key, by[0].agreement))
    draw = random.Random(1)
    masks, checks = cancelling(count, draw), cancelling(count, draw)
    files = [
        forms.sign(
            Submission(
                month=form.month,
                round=1,
                roster=task.digest,
                check=f"{check:016x}",
                values=(Value(list=LIST, masked=f"{(16_800 + mask) % MODULUS:016x}", commitment="00" * 32),),
            ),
            each.key,
        )
        for each, mask, check in zip(by, masks, checks, strict=True)
    ]
    found = timed("the sum", lambda: total.add(task, (("", each) for each in files), operators.OPEN))
    if found.sums[LIST] != 16_800 * count:
        raise SystemExit("the sum is wrong")
    print(f"{'roster':<40} {len(data):8,} octets\n{'submission':<40} {len(one):8,} octets")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10_000)
