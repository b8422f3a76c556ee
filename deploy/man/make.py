#!/usr/bin/env python3
"""Generates the manual pages, and the completion of bash and zsh.

`pip install '.[manual]'`, then `python3 deploy/man/make.py FOLDER`.

Rules:
- What is shown stands in the parser of the command line and in deploy/resolver.toml; this file knows only the forms.
- FOLDER is laid out as /usr/share. The same source makes the same octets: the date is SOURCE_DATE_EPOCH, else today.
- A path that a person types is completed by files; nothing else asks the host anything.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import shtab

from resolver import __version__
from resolver.cli import examples, main
from resolver.config import explained

PROGRAM: Final = "blocklist-resolver"
STATUS: Final = re.compile(r"(?P<status>[0-4]) (?P<meaning>[^,.]*)[,.]")
FILES: Final = (
    ("/etc/blocklist-resolver/resolver.toml", "The configuration, resolver.toml(5)."),
    ("/etc/blocklist-resolver/allowed_signers", "The persons who may approve (ssh-keygen -Y)."),
    ("/var/lib/blocklist-resolver/", "State: sealed images of the lists, the audit log, the ledger of counts."),
    ("/run/blocklist-resolver/control", "The socket by which the verbs reach the running service."),
)


def text(said: str) -> str:
    """A line of running text in roff: no character of it is a request, and hyphens are what is typed."""
    found = said.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    found = found.replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + found if found.startswith((".", "\\(aq")) else found


def sentences(said: str) -> str:
    """Running text, each sentence on a line of its own, as roff sets sentences."""
    return "\n".join(text(one) for one in re.split(r"(?<=[.:;]) (?=[A-Z\"`])", said))


def bold(word: str) -> str:
    return f"\\fB{text(word)}\\fR"


def item(label: str, said: str) -> str:
    return f".TP\n{label}\n{said}"


def header(name: str, section: int, title: str) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    return f'.TH {name.upper()} {section} {day} "{PROGRAM} {__version__}" "{title}"'


def command_page() -> str:
    """blocklist-resolver(8)."""
    parser = main.parser_of(authority=True)
    return "\n".join(
        [
            header(text(PROGRAM), 8, "System administration"),
            ".SH NAME",
            f"{text(PROGRAM)} \\- {text(_without_article(parser.description or ''))}",
            ".SH SYNOPSIS",
            f"{bold(PROGRAM)} \\fIVERB\\fR [\\fIOPTIONS\\fR]",
            ".SH DESCRIPTION",
            sentences(parser.description or ""),
            "Names that may be listed are never typed on the command line:",
            "\\- in the place of a name reads it from the terminal without echo, or from standard input.",
            ".SH VERBS",
            *(line for words, verb in examples.verbs(parser) for line in _verb(words, verb)),
            ".SH EXIT STATUS",
            *(item(bold(one["status"]), f"{text(one['meaning'])}.") for one in STATUS.finditer(parser.epilog or "")),
            ".SH FILES",
            *(item(f"\\fI{text(path)}\\fR", text(said)) for path, said in FILES),
            ".SH SEE ALSO",
            "\\fBresolver.toml\\fR(5)",
            "",
        ]
    )


def _without_article(said: str) -> str:
    return re.sub(r"^A ", "", said).rstrip(".")


def _verb(words: str, verb: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SS {text(words)}"
    yield from (sentences(verb.description or ""), ".PP", _usage(verb))
    for action in examples.shown(verb):
        yield item(_label(verb, action), sentences(verb._get_formatter()._expand_help(action)))
    said = examples.SAID.get(words)
    if said:
        yield ".PP\nExamples:"
        yield ".nf"
        yield from (f".RS 4\n{text(f'{PROGRAM} {one}')}\n.RE" for one in said.examples)
        yield ".fi"


def _usage(verb: argparse.ArgumentParser) -> str:
    """The one line of a verb's usage, without -h, which all have: options bold, what stands for values in italics."""
    # argparse folds at the width of a terminal, also within an option; roff folds at that of the reader's.
    verb.formatter_class = partial(argparse.HelpFormatter, width=10_000)
    said = " ".join(verb.format_usage().split()).removeprefix("usage: ").replace(" [-h]", "")
    word = re.compile(r"(?P<option>(?<![\w-])--?[a-z][\w-]*)|(?P<value>\b[A-Z][A-Z0-9_]+\b)")
    shown, at = bold(verb.prog), len(verb.prog)
    for found in word.finditer(said, at):
        shown += text(said[at : found.start()])
        shown += bold(found[0]) if found["option"] else f"\\fI{text(found[0])}\\fR"
        at = found.end()
    return shown + text(said[at:])


def _label(verb: argparse.ArgumentParser, action: argparse.Action) -> str:
    shown = verb._get_formatter()._format_action_invocation(action)
    if not action.option_strings:
        return f"\\fI{text(shown)}\\fR"
    option, _, value = shown.partition(" ")
    return bold(option) + (f" \\fI{text(value)}\\fR" if value else "")


def configuration_page() -> str:
    """resolver.toml(5)."""
    tables = explained.tables(explained.text())
    return "\n".join(
        [
            header("RESOLVER.TOML", 5, "File formats"),
            ".SH NAME",
            f"resolver.toml \\- configuration of {text(PROGRAM)}",
            ".SH SYNOPSIS",
            f"\\fI{text(FILES[0][0])}\\fR",
            ".SH DESCRIPTION",
            "A file in TOML.",
            "Options that are left out have the default that is shown here; those marked as required have none.",
            "An unknown option is refused.",
            sentences("Durations: 10s 15m 48h 14d 5y. Sizes: 512KiB 64MiB 1GiB."),
            "Addresses with a port: 192.0.2.53:53 or [2001:db8::53]:53.",
            f"{bold(f'{PROGRAM} check-config')} checks a file,",
            f"and {bold(f'{PROGRAM} check-config --schema')} prints its JSON Schema for editors.",
            *(line for one in tables for line in _table(one)),
            ".SH SEE ALSO",
            f"{bold(PROGRAM)}(8)",
            "",
        ]
    )


def _table(one: explained.Table) -> Iterator[str]:
    yield f".SH {text(f'[[{one.name}]]' if one.is_array else f'[{one.name}]')}"
    if one.said:
        yield sentences(one.said)
    for at, option in enumerate(one.options):
        tag = ".TP" if at == 0 or one.options[at - 1].said != option.said else ".TQ"
        value = "(required)" if option.required else f"= {option.value}"
        yield f"{tag}\n{bold(option.key)} {text(value)}"
        if at + 1 == len(one.options) or one.options[at + 1].said != option.said:
            yield sentences(option.said)


def completion(shell: str) -> str:
    """The script that completes the words of a command line in bash or zsh."""
    parser = main.parser_of(authority=True)
    for _, verb in examples.verbs(parser):
        for action in examples.shown(verb):
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
    return shtab.complete(parser, shell=shell)


MADE: Final = {
    "man/man8/blocklist-resolver.8": command_page,
    "man/man5/resolver.toml.5": configuration_page,
    "bash-completion/completions/blocklist-resolver": lambda: completion("bash"),
    "zsh/vendor-completions/_blocklist-resolver": lambda: completion("zsh"),
}
"""Each file below FOLDER, and what makes it."""


def write(folder: Path) -> None:
    """Write all files below `folder`, which is laid out as /usr/share."""
    for name, made in MADE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 deploy/man/make.py FOLDER")
    write(Path(sys.argv[1]))
