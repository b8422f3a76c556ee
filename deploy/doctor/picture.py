#!/usr/bin/env python3
"""Draws what the doctor found as a picture: `python3 deploy/doctor/picture.py FOUND.json OUT.svg`.

The README's picture is that of bind-default.json beside this file: Debian 12's BIND with a response policy zone and no
other option, as tests/peers/test_doctor.py starts it. The same JSON makes the same octets.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from resolver.doctor import catalogue, probes, report, verdicts

SIZE: Final = 13
LINE: Final = 18
ADVANCE: Final = 7.8
"""Width of a character: with it every font that the reader has fills the same columns."""
EDGE: Final = 16
FINDINGS: Final = 5
COLOURS: Final = {
    "leaks": "#c62828",
    "over-blocks": "#c62828",
    "weak": "#a15c00",
    "enforced": "#2e7d32",
    "unknown": "#5f6368",
}


def examined(said: dict[str, Any]) -> probes.Examined:
    """Return what JSON of the doctor says."""
    words = said["blocked_answers"]
    expected = verdicts.expected_of(words.split()) if words else None
    if expected is not None and said["learnt"]:
        expected = verdicts.Expected(expected.rcode, expected.v4, expected.v6, learnt=True)
    results = [probes.Result(one["id"], verdicts.Verdict(one["verdict"]), one["said"]) for one in said["probes"]]
    return probes.Examined(
        server=said["server"],
        expected=expected,
        results=tuple(results),
        queries=said["queries"],
        seconds=said["seconds"],
    )


def shown(found: probes.Examined, product: str) -> list[str]:
    """Return the lines of the table, with the first findings alone."""
    lines = report.table(found, product=product).splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith(("LEAKS:", "OVER-BLOCKS:", "WEAK:"))]
    return [*lines[: heads[FINDINGS]], "…"] if len(heads) > FINDINGS else lines


def svg(found: probes.Examined, product: str) -> str:
    """Return the table as SVG."""
    lines = shown(found, product)
    width, height = round(report.WIDTH * ADVANCE) + 2 * EDGE, len(lines) * LINE + 2 * EDGE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace" '
            f'font-size="{SIZE}">',
            f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff" stroke="#d0d7de"/>',
            *(one for number, line in enumerate(lines) for one in _drawn(line, EDGE + SIZE + number * LINE)),
            "</svg>",
            "",
        ]
    )


def _drawn(line: str, y: int) -> Iterator[str]:
    at = 0
    for text, colour in _parts(line):
        if text.strip():
            start = at + len(text) - len(text.lstrip())
            body = text.strip()
            weight = ' font-weight="bold"' if colour != "#1f2328" else ""
            yield (
                f'<text x="{EDGE + start * ADVANCE:.1f}" y="{y}" textLength="{len(body) * ADVANCE:.1f}" '
                f'lengthAdjust="spacingAndGlyphs" fill="{colour}"{weight} xml:space="preserve">{escape(body)}</text>'
            )
        at += len(text)


def _parts(line: str) -> list[tuple[str, str]]:
    """Return a line in parts with their colours: the verdict of a row, or the head of a finding."""
    ink = "#1f2328"
    head = line.partition(":")[0]
    if head.lower() in COLOURS and head.isupper():
        return [(head, COLOURS[head.lower()]), (line[len(head) :], ink)]
    for one in catalogue.PROBES:
        for verdict in verdicts.ORDER:
            start = line.find(f" {verdict} ", len(one.what))
            if line.startswith(f"{one.what} ") and start > 0 and not line[len(one.what) : start].strip():
                end = start + 1 + len(verdict)
                return [(line[: start + 1], ink), (line[start + 1 : end], COLOURS[verdict]), (line[end:], ink)]
    return [(line, ink)]


def main(source: Path, out: Path) -> None:
    """Draw one JSON file."""
    out.write_text(svg(examined(json.loads(source.read_text())), "bind"))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: picture.py FOUND.json OUT.svg")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
