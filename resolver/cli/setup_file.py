"""Writes a configuration from answers: deploy/resolver.toml with its comments, and the keys that were answered set.

Rules:
- A key stands where the file explains it, and its comment stays. What is not answered stays as it is there.
- A key whose answer is its default stays a comment.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from resolver.config import explained

_HEADER: Final = re.compile(r"\[{1,2}([a-z_.]+)\]{1,2}\Z")
_OPTION: Final = re.compile(r"#?([a-z][a-z0-9_]*) = (.+)\Z")


def text(answers: Mapping[str, Any]) -> str:
    """Return the file; answers: `list.source.url` to a value of TOML. KeyError if the file has no such key."""
    lines, table, left = [], "", dict(answers)
    for line in explained.text().splitlines():
        header, option = _HEADER.match(line), _OPTION.match(line)
        table = header[1] if header else table
        if option and table and f"{table}.{option[1]}" in left:
            value = left.pop(f"{table}.{option[1]}")
            if not (line.startswith("#") and value in (_value(option[2]), "")):
                lines.append(f"{option[1]} = {toml(value)}")
                continue
        lines.append(line)
    if left:
        raise KeyError(next(iter(left)))
    return "\n".join(lines) + "\n"


def set_lines(file: str) -> str:
    """Return the lines of a file that set something, and the headers of their tables."""
    shown: list[str] = []
    for line in file.splitlines():
        if _HEADER.match(line):
            if shown and shown[-1].startswith("["):
                shown.pop()
            shown.append(line)
        elif line and not line.startswith("#"):
            shown.append(line)
    return "\n".join(shown[:-1] if shown and shown[-1].startswith("[") else shown)


def _value(said: str) -> Any:
    return tomllib.loads(f"value = {said}")["value"]


def toml(value: Any) -> str:
    """Return a text, a number, a truth, a list or a table of these as TOML has it, in one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # A string of JSON is one of TOML, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {toml(one)}' for key, one in value.items())} }}"
        case _:
            return str(value)
