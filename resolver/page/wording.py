"""Reads the page's texts: one file a language, `texts/TAG.toml`.

Rules:
- A new language is one file and nothing else: its name is the language's tag (BCP 47), and it has every key.
- A text is words alone: no markup, and a placeholder only where PLACEHOLDERS names it, each of them once.
- The files are read once: a reload after an upgrade on the disk still gets what the first start read.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from resolver.config.page import PURPOSES

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "help.hours": "hours",
    "help.languages": "languages",
    "mistake.how": "contact",
    "mistake.appeal": "appeal",
}
"""Key of a text to the placeholder that it holds, in braces; every other text has none."""

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}|[{}<>]")
_SUFFIX: Final = ".toml"

Text = Annotated[str, Meta(min_length=1, max_length=400)]
Maybe = Annotated[str, Meta(max_length=400)]


class TextFault(Exception):
    """A file of texts cannot be used; the text names it, the key and the reason."""


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of a file of texts; every key is required."""


class Frame(_Section, frozen=True):
    """What stands above and below the page. language: the label of the languages; leave: the link that leaves."""

    language: Text
    leave: Text
    demonstration: Text
    footer: Text


class Missing(_Section, frozen=True):
    """What a demonstration shows in the place of a text that only the operator can give."""

    operator: Text
    contact: Text
    authority: Text
    law: Text
    help: Text


class Offers(_Section, frozen=True):
    """The section on help. calm: what happens next; young, worried, report, other: for whom an offer of a kind is."""

    heading: Text
    calm: Text
    about: Text
    young: Text
    worried: Text
    report: Text
    other: Text
    chat: Text
    call: Text
    website: Text
    hours: Text
    languages: Text


class Records(_Section, frozen=True):
    """What is recorded. page: by the page itself; none, exempted, kept: by the operator's network."""

    heading: Text
    page: Text
    none: Text
    exempted: Text
    kept: Text


class Mistake(_Section, frozen=True):
    """What to do about a wrong block."""

    heading: Text
    how: Text
    say: Text
    appeal: Text


class Deciders(_Section, frozen=True):
    """Who blocks, who decides, and by which law."""

    heading: Text
    operator: Text
    authority: Text
    law: Text


class Reason(_Section, frozen=True):
    """The texts of one purpose. strong: a sentence that stands out; steps: what to do; mistake: more on a wrong block.

    An empty text, or an empty list with its heading, is left out.
    """

    title: Text
    lead: Text
    heading: Text
    strong: Maybe
    about: tuple[Text, ...]
    steps_heading: Maybe
    steps: tuple[Text, ...]
    mistake: Maybe


class Texts(_Section, frozen=True):
    """All texts in one language. name: the language's name in itself; direction: of its script."""

    tag: Text
    name: Text
    direction: Literal["ltr", "rtl"]
    frame: Frame
    missing: Missing
    help: Offers
    records: Records
    mistake: Mistake
    who: Deciders
    purposes: Mapping[str, Reason]


def parse(text: str, tag: str) -> Texts:
    """Return the texts of the language `tag` in a file's content; TextFault if a key or a placeholder is wrong."""
    file = f"{tag}{_SUFFIX}"
    try:
        texts = msgspec.convert(tomllib.loads(text), Texts)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise TextFault(f"{file}: {error}") from None
    if texts.tag != tag:
        raise TextFault(f"{file}: tag: expected {tag}, the name of the file")
    if set(texts.purposes) != set(PURPOSES):
        raise TextFault(f"{file}: purposes: expected {', '.join(PURPOSES)}")
    for key, said in sentences(texts):
        held, expected = [found[0] for found in _PLACEHOLDER.finditer(said)], PLACEHOLDERS.get(key)
        if held != ([f"{{{expected}}}"] if expected else []):
            reason = f"expected one {{{expected}}}" if expected else "no placeholder and no markup belongs here"
            raise TextFault(f"{file}: {key}: {reason}")
    return texts


def sentences(texts: Texts) -> Iterator[tuple[str, str]]:
    """Yield every text that visitors read, after its key, in the order of the file; an empty one is left out."""
    yield from _below(msgspec.to_builtins(texts), "")


def _below(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if key or name not in ("tag", "direction"):
                yield from _below(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _below(inner, f"{key}[{number}]")
    elif isinstance(value, str) and value:
        yield key, value


@cache
def languages() -> Mapping[str, Texts]:
    """Return the texts of each language by its tag in lower case, in the order of the languages' names."""
    folder = resources.files(__package__).joinpath("texts")
    found = {one.name.removesuffix(_SUFFIX): one.read_text("utf-8") for one in folder.iterdir()}
    parsed = sorted((parse(text, tag) for tag, text in found.items()), key=lambda texts: texts.name.casefold())
    return {texts.tag.lower(): texts for texts in parsed}
