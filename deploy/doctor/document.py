#!/usr/bin/env python3
"""Writes the catalogue of probes into deploy/doctor.md, between its two marks: `python3 deploy/doctor/document.py`."""

import re
from pathlib import Path
from typing import Final

from resolver.doctor import catalogue

DOCUMENT: Final = Path(__file__).parents[1] / "doctor.md"
_MARKED: Final = re.compile(r"(?<=<!-- the probes -->\n).*(?=<!-- the probes end -->)", re.DOTALL)


def table() -> str:
    """Return the catalogue as a table in Markdown."""
    lines = ["| probe | what | why it matters | what closes it |", "|---|---|---|---|"]
    for one in catalogue.PROBES:
        same: dict[str, list[str]] = {}
        for product, line in one.closes.items():
            same.setdefault(line, []).append(catalogue.PRODUCTS[product])
        closes = "<br>".join(f"{', '.join(products)}: `{line}`" for line, products in same.items())
        lines.append(f"| `{one.id}` | {one.what} | {one.why} | {closes} |")
    return "\n".join([*lines, ""])


def written(text: str) -> str:
    """Return the document with the table as the catalogue has it."""
    return _MARKED.sub(lambda _: table(), text)


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
