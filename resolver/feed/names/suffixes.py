"""Names that no list may hold: suffixes under which strangers register, and reserved names.

Rules:
- An ICANN suffix is a name of the ICANN section of the Public Suffix List: a rule itself, the name above a
  wildcard, or any name directly below one that no exception rule spares. The private section is kept apart: what
  stands there is no suffix to refuse.
- `DOCUMENTATION` names are what a demonstration list is made of (RFC 2606, RFC 6761); a production list has
  none.
- `SPECIAL` top-level names never belong into a list: they are answered on the spot (RFC 6761, 6762, 7686,
  8375, 9476).
"""

from typing import Final, NamedTuple

import idna
import publicsuffixlist

from resolver.core.image import SELFTEST_NAME

DOCUMENTATION_TLDS: Final = frozenset({b"test", b"example", b"invalid"})
DOCUMENTATION_NAMES: Final = (b"example.com", b"example.net", b"example.org")
SPECIAL_TLDS: Final = frozenset({b"localhost", b"local", b"onion", b"arpa", b"alt", b"internal"})
SELFTEST: Final = SELFTEST_NAME.encode()

_BEGIN: Final = "// ===BEGIN ICANN DOMAINS==="
_END: Final = "// ===END ICANN DOMAINS==="
_BEGIN_PRIVATE: Final = "// ===BEGIN PRIVATE DOMAINS==="
_END_PRIVATE: Final = "// ===END PRIVATE DOMAINS==="


class Suffixes(NamedTuple):
    """ICANN suffixes in lower-case ASCII: whole ones, parents of wildcards, names that a wildcard spares; the same of
    the private section."""

    exact: frozenset[bytes]
    wildcard_parents: frozenset[bytes]
    spared: frozenset[bytes]
    private: frozenset[bytes] = frozenset()
    private_wildcards: frozenset[bytes] = frozenset()
    private_spared: frozenset[bytes] = frozenset()

    def holds(self, name: bytes) -> bool:
        """Whether `name` is an ICANN suffix."""
        if name in self.exact or name in self.wildcard_parents:
            return True
        return name.partition(b".")[2] in self.wildcard_parents and name not in self.spared


def _ascii(rule: str) -> bytes:
    return rule.encode("ascii") if rule.isascii() else idna.encode(rule, uts46=True)


def parse(text: str) -> Suffixes:
    """The ICANN section of a Public Suffix List file; ValueError where it has none."""
    if _BEGIN not in text or _END not in text:
        raise ValueError("public suffix list: no ICANN section")
    return Suffixes(*_rules(text, _BEGIN, _END), *_rules(text, _BEGIN_PRIVATE, _END_PRIVATE))


def _rules(text: str, begin: str, end: str) -> tuple[frozenset[bytes], frozenset[bytes], frozenset[bytes]]:
    """Of one section: whole suffixes, parents of wildcards, names that a wildcard spares."""
    section = text.partition(begin)[2].partition(end)[0]
    rules = [line.split()[0] for line in section.splitlines() if line.strip() and not line.startswith("//")]
    return (
        frozenset(_ascii(rule) for rule in rules if rule[0] not in "*!"),
        frozenset(_ascii(rule[2:]) for rule in rules if rule[0] == "*"),
        frozenset(_ascii(rule[1:]) for rule in rules if rule[0] == "!"),
    )


def load() -> Suffixes:
    """The suffixes of the installed Public Suffix List; OSError where it cannot be read."""
    with open(publicsuffixlist.PSLFILE, encoding="utf-8") as file:
        return parse(file.read())
