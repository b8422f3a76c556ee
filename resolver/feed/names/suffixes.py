"""Reads the Public Suffix List: suffixes below which strangers register names, and which no list may hold.

Rules:
- An ICANN suffix is a name of the list's ICANN section: a rule itself, the name above a wildcard, or any name directly
  below a wildcard that no exception rule spares.
- The private section is kept apart: a list may hold its names.
"""

from typing import Final, NamedTuple

import idna
import publicsuffixlist

_BEGIN: Final = "// ===BEGIN ICANN DOMAINS==="
_END: Final = "// ===END ICANN DOMAINS==="
_BEGIN_PRIVATE: Final = "// ===BEGIN PRIVATE DOMAINS==="
_END_PRIVATE: Final = "// ===END PRIVATE DOMAINS==="


class Suffixes(NamedTuple):
    """Suffixes in lower-case ASCII: whole ones, parents of wildcards, names that a wildcard spares; first those of the
    ICANN section, then the same of the private section."""

    exact: frozenset[bytes]
    wildcard_parents: frozenset[bytes]
    spared: frozenset[bytes]
    private: frozenset[bytes] = frozenset()
    private_wildcards: frozenset[bytes] = frozenset()
    private_spared: frozenset[bytes] = frozenset()

    def holds(self, name: bytes) -> bool:
        """Return whether `name` is an ICANN suffix."""
        if name in self.exact or name in self.wildcard_parents:
            return True
        return name.partition(b".")[2] in self.wildcard_parents and name not in self.spared


def _ascii(rule: str) -> bytes:
    return rule.encode("ascii") if rule.isascii() else idna.encode(rule, uts46=True)


def parse(text: str) -> Suffixes:
    """Parse a Public Suffix List file; ValueError if it has no ICANN section."""
    if _BEGIN not in text or _END not in text:
        raise ValueError("public suffix list: no ICANN section")
    return Suffixes(*_rules(text, _BEGIN, _END), *_rules(text, _BEGIN_PRIVATE, _END_PRIVATE))


def _rules(text: str, begin: str, end: str) -> tuple[frozenset[bytes], frozenset[bytes], frozenset[bytes]]:
    """Return the rules of one section: whole suffixes, parents of wildcards, names that a wildcard spares."""
    section = text.partition(begin)[2].partition(end)[0]
    rules = [line.split()[0] for line in section.splitlines() if line.strip() and not line.startswith("//")]
    return (
        frozenset(_ascii(rule) for rule in rules if rule[0] not in "*!"),
        frozenset(_ascii(rule[2:]) for rule in rules if rule[0] == "*"),
        frozenset(_ascii(rule[1:]) for rule in rules if rule[0] == "!"),
    )


def load() -> Suffixes:
    """Read and parse the installed Public Suffix List; OSError, or ValueError if it has no ICANN section."""
    with open(publicsuffixlist.PSLFILE, encoding="utf-8") as file:
        return parse(file.read())
