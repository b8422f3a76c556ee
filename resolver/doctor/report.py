"""Shows what was found: a table that a person reads, and JSON with a schema (doctor.schema.json).

Rules:
- All words come from the catalogue and from the verdicts; neither the test entry nor any client is in them.
- The table has every probe, then each finding with why it matters and the lines that close it, the worst first.
"""

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from resolver.doctor.catalogue import BY_ID, PRODUCTS
from resolver.doctor.probes import Examined, Result
from resolver.doctor.verdicts import ORDER, Verdict

WIDTH: Final = 100
FINDINGS: Final = (Verdict.LEAKS, Verdict.OVER_BLOCKS, Verdict.WEAK)
"""What is explained below the table, and has lines that close it."""
_WHAT, _VERDICT = 50, 13
_COLOURS: Final = {
    Verdict.LEAKS: "\x1b[31m",
    Verdict.OVER_BLOCKS: "\x1b[31m",
    Verdict.WEAK: "\x1b[33m",
    Verdict.ENFORCED: "\x1b[32m",
}
_PLAIN: Final = "\x1b[0m"


def table(found: Examined, *, product: str = "", colour: bool = False) -> str:
    """Return the table as text; `product`: the lines of this product alone."""
    return "\n".join(_lines(found, product, colour=colour))


def _lines(found: Examined, product: str, *, colour: bool) -> Iterator[str]:
    yield from _wrapped(_opening(found), "")
    yield ""
    for one in found.results:
        verdict = f"{one.verdict:<{_VERDICT}}"
        first, *rest = textwrap.wrap(one.said, WIDTH - _WHAT - _VERDICT) or [""]
        painted = f"{_COLOURS.get(one.verdict, '')}{verdict}{_PLAIN}" if colour else verdict
        yield f"{BY_ID[one.id].what:<{_WHAT}}{painted}{first}"
        yield from (" " * (_WHAT + _VERDICT) + line for line in rest)
    yield ""
    counts = ", ".join(f"{one} {found.count(one)}" for one in ORDER)
    yield f"{counts}; {found.queries} queries in {found.seconds:.1f} s"
    findings = _findings(found)
    for one in findings:
        yield ""
        yield from _explained(one, product)
    if findings:
        yield ""
        yield "Lines that begin alike are one statement: write their options one behind the other."


def _opening(found: Examined) -> str:
    if found.expected is None:
        looks = "what blocked answers look like is not known (--expect says it)"
    elif found.expected.learnt:
        looks = f"blocked answers are {found.expected}, as it answers A and AAAA itself (--expect says what is right)"
    else:
        looks = f"blocked answers are {found.expected}, as you said"
    return f"{found.server}: {looks}"


def _findings(found: Examined) -> list[Result]:
    wanted = [one for one in found.results if one.verdict in FINDINGS]
    return sorted(wanted, key=lambda one: ORDER.index(one.verdict))


def _explained(one: Result, product: str) -> Iterator[str]:
    probe = BY_ID[one.id]
    yield f"{one.verdict.upper()}: {probe.what}: {one.said}"
    yield from _wrapped(probe.why, "  ")
    for key, name in PRODUCTS.items():
        if key in probe.closes and product in ("", key):
            yield from _wrapped(probe.closes[key], f"  {name:<10}", " " * 12)


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_object(found: Examined) -> dict[str, Any]:
    """Return what was found as doctor.schema.json has it."""
    return {
        "format": 1,
        "server": found.server,
        "blocked_answers": None if found.expected is None else str(found.expected),
        "learnt": found.expected is not None and found.expected.learnt,
        "queries": found.queries,
        "seconds": round(found.seconds, 3),
        "counts": {str(one): found.count(one) for one in ORDER},
        "probes": [
            {
                "id": one.id,
                "what": BY_ID[one.id].what,
                "verdict": str(one.verdict),
                "said": one.said,
                "why": BY_ID[one.id].why,
                "closes": dict(BY_ID[one.id].closes) if one.verdict in FINDINGS else {},
            }
            for one in found.results
        ],
    }


def as_json(found: Examined) -> str:
    """Return what was found as JSON."""
    return json.dumps(as_object(found), indent=2, ensure_ascii=False)
