"""Makes the checklist of the page: each sentence that a visitor reads, who checks it, and its source.

    python -m resolver.page.checklist LANGUAGE

Rules:
- It is made from the texts themselves, so that it is never of another page than visitors see.
- Every sentence has a source (`sources.toml`): what this system does, what somebody has published, or the operator.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Final, Literal

import msgspec
from msgspec import Struct

from resolver.config.page import PURPOSES
from resolver.page.wording import Texts, languages, sentences

Checker = Literal["helpline", "lawyer", "operator"]

_END: Final = re.compile(r"(?<=[.?!؟])\s+")
_SECTIONS: Final = {
    "frame": "Above and below every page",
    "help": "Help (child-abuse lists)",
    "records": "What is recorded: one of the last three, by page.flow_records",
    "mistake": "A wrong block",
    "who": "Who blocks, who decides",
    **{f"purposes.{purpose}": f'Lists with the purpose "{purpose}"' for purpose in PURPOSES},
}
_HEAD: Final = """\
# The page, sentence by sentence: {name}

Made by `python -m resolver.page.checklist {tag}` from the texts that visitors read; changes belong into
`resolver/page/texts/{tag}.toml` and `resolver/page/sources.toml`.

Go through it before the first visitor, and again when the law, a service or the network changes. A helpline reads
whether the words help, a lawyer whether they are true in this country, the operator whether they are true of its
network and its help desk. Tick a line when all who are named beside it agree. A line without a name states what this
system does, or is a placeholder of a demonstration; the tests that are named show it.

The operator's own words stand in the configuration and are not here: `page.operator`, `contact`, `authority`, `law`,
`appeal`, every `[[page.help]]` (call each number, open each chat), and `authority`, `legal_reference`, `complaint` and
`appeal` of each list.
"""


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Who checks a sentence, and its source."""

    check: tuple[Checker, ...]
    source: str


@cache
def sources() -> Mapping[str, Source]:
    """Return the source of each text, by the beginning of its key."""
    text = resources.files(__package__).joinpath("sources.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Source])


def rows(texts: Texts) -> Iterator[tuple[str, str, str]]:
    """Yield each sentence of a language with its key, and the key of its source ("" if it has none)."""
    for key, text in sentences(texts):
        if key != "name":
            for number, sentence in enumerate(_END.split(text), 1):
                yield key, sentence, covering(f"{key}.{number}")


def covering(key: str) -> str:
    """Return the longest key of a source that begins `key`, "" if there is none."""
    while key and key not in sources():
        key = re.sub(r"(?:\.|\[|^)[^.\[]*\Z", "", key)
    return key


def checklist(texts: Texts) -> str:
    """Return the checklist of a language, in Markdown."""
    lines = [_HEAD.format(name=texts.name, tag=texts.tag)]
    found = list(rows(texts))
    for section, title in _SECTIONS.items():
        lines += [f"## {title}\n", "| | a visitor reads | who checks it | source |", "|---|---|---|---|"]
        for key, sentence, covered_by in found:
            if key.startswith(f"{section}."):
                one = sources()[covered_by]
                lines.append(f"| ☐ | {sentence} | {', '.join(one.check)} | {one.source} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the checklist of the language that is named to standard output."""
    texts = languages().get(arguments[0].lower()) if len(arguments) == 1 else None
    if texts is None:
        tags = ", ".join(one.tag for one in languages().values())
        sys.stderr.write(f"usage: python -m resolver.page.checklist LANGUAGE\nlanguages: {tags}\n")
        return 2
    sys.stdout.write(checklist(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
