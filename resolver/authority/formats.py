"""Reads files in which others write lists, line by line, for `authority convert`: what each line says as an entry.

Rules:
- Never wider than the source: what a line does not say for certain becomes no entry. A hosts line names one name, an
  adblock rule with options or a path is more than a name.
- Each line that becomes no entry is dropped for a reason and with its number; comments and empty lines are not.
- A line that spares a name in its own format becomes an exception, or is `exception`: without it the list would block
  more than the source. A name that the source answers in another way (`redirect`, `forward`) is spared only where an
  entry would cover it.
- Nothing here judges a name: the entries are read as a list afterwards (feed.names.read).
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from resolver.feed.reasons import Refusal


class Drop(StrEnum):
    """Why a line becomes no entry, beside the reasons of feed.reasons.Refusal."""

    LOCAL = "local"
    REDIRECT = "redirect"
    OPTIONS = "options"
    COSMETIC = "cosmetic"
    REGEX = "regex"
    PATTERN = "pattern"
    DIRECTIVE = "other_setting"
    OTHER_SYNTAX = "other_syntax"
    EXCEPTION = "exception"
    SPARED = "spared"


MEANING: Final = {
    Drop.LOCAL: "a name of the host itself, as in every hosts file",
    Drop.REDIRECT: "an answer with another address, which blocks nothing",
    Drop.OPTIONS: "a rule with options holds for some requests only; a resolver would block all",
    Drop.COSMETIC: "hides a part of a page; a resolver cannot",
    Drop.REGEX: "a regular expression is no name",
    Drop.PATTERN: "a part of a URL, not a whole name",
    Drop.DIRECTIVE: "a setting that blocks no name",
    Drop.OTHER_SYNTAX: "not a line of this format",
    Drop.EXCEPTION: "an exception that a list cannot express",
    Drop.SPARED: "an exception of the same file spares it: there it holds for all names below it",
    Refusal.URL: "a path: the whole site would be blocked",
    Refusal.PORT: "a port: the whole host would be blocked",
    Refusal.WILDCARD: "a `*` that is not alone before the first dot",
}
"""What the reasons mean, for those who convert a file."""

Reason = Drop | Refusal


class Entry(NamedTuple):
    """An entry: its line, its marker in a plain list, and the name as the source writes it.

    unless: the reason why it is dropped unless another entry covers its name; None if it stands in any case.
    """

    line: int
    marker: str
    name: str
    unless: Reason | None = None


class Dropped(NamedTuple):
    """A line, or a name of it, that becomes no entry."""

    line: int
    reason: Reason


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


Item = Entry | Dropped
Reader = Callable[[list[str]], Iterator[Item]]

_SINKS: Final = frozenset(map(ipaddress.ip_address, ("0.0.0.0", "127.0.0.1", "::", "::1")))  # noqa: S104 - no binding
_LOCAL: Final = _words(
    "localhost localhost.localdomain localhost4 localhost6 localhost4.localdomain4 localhost6.localdomain6 local "
    "localdomain broadcasthost ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix ip6-allnodes ip6-allrouters "
    "ip6-allhosts 0.0.0.0 127.0.0.1 255.255.255.255 :: ::1"
)
_NO_NAME: Final = re.compile(r"[\s=!#@|^$,;\"'()\[\]{}<>\\&%+~`]")
_COSMETIC: Final = re.compile(r"#[@?$%]*#|\$@?\$|#@?\$\?#")
_RULE: Final = re.compile(r"\|\|([^|^/$]+)\^\Z")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
_WORD: Final = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^\s\"']+)")
_VALUE: Final = re.compile(r"(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)(?:\s+(?:\"[^\"]*\"|'[^']*'|[^\s\"']+))*\Z")
_SETTING: Final = re.compile(r"([a-z0-9-]+)\s*:\s*(.*)\Z", re.IGNORECASE)

_BLOCKING_ZONES: Final = _words(
    "always_nxdomain always_nodata always_refuse always_deny always_null refuse deny inform_deny static"
)
_SPARING_ZONES: Final = _words("transparent always_transparent typetransparent inform nodefault")
_REDIRECTING_ZONES: Final = _words("redirect inform_redirect")


def _entry(line: int, marker: str, name: str, unless: Reason | None = None) -> Item:
    """Return the entry of a name, or why the word is no name: it must not be read as a marker and a name."""
    if "/" in name or "?" in name:
        return Dropped(line, Refusal.URL)
    if "*" in name:
        return Dropped(line, Refusal.WILDCARD)
    if not _NO_NAME.search(name) and name:
        # What has a colon is an address or a port: the list's own rules say which.
        return Entry(line, marker, name, unless)
    return Dropped(line, Refusal.MALFORMED)


def _is_sink(text: str) -> bool | None:
    """Return whether an address leads nowhere; None if the text is no address."""
    try:
        return ipaddress.ip_address(text.partition("%")[0]) in _SINKS
    except ValueError:
        return None


def hosts(lines: list[str]) -> Iterator[Item]:
    """Lines of an address and names: each name alone, without those below it."""
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        sink = _is_sink(words[0])
        if sink is None or len(words) == 1:
            yield Dropped(number, Drop.OTHER_SYNTAX)
            continue
        for name in words[1:]:
            if name.lower().removesuffix(".") in _LOCAL:
                yield Dropped(number, Drop.LOCAL)
            elif sink:
                yield _entry(number, "=", name)
            else:
                yield _entry(number, "!=", name, Drop.REDIRECT)


def adblock(lines: list[str]) -> Iterator[Item]:
    """Rules `||name^` and `@@||name^` alone: the name and all below it."""
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line[0] == "!" or (line[0] == "[" and line[-1] == "]") or line == "#" or line.startswith("# "):
            continue
        if _COSMETIC.search(line):
            yield Dropped(number, Drop.COSMETIC)
            continue
        spares = line.startswith("@@")
        rule = line.removeprefix("@@")
        found = _rule(number, rule, "!" if spares else "")
        # `badfilter` takes another rule of the file out.
        if isinstance(found, Dropped) and (spares or "badfilter" in rule.rpartition("$")[2].split(",")):
            found = Dropped(number, Drop.EXCEPTION)
        yield found


def _rule(number: int, rule: str, marker: str) -> Item:
    if rule.startswith("/") and rule.rpartition("$")[0 if "/$" in rule else 2].endswith("/") and len(rule) > 1:
        return Dropped(number, Drop.REGEX)
    if "$" in rule:
        return Dropped(number, Drop.OPTIONS)
    if found := _RULE.match(rule):
        return _entry(number, marker, found[1])
    if rule.startswith("||") and "/" in rule:
        return Dropped(number, Refusal.URL)
    return Dropped(number, Drop.PATTERN)


def dnsmasq(lines: list[str]) -> Iterator[Item]:
    """`address=`, `server=` and `local=` with names between slashes: each name and all below it."""
    for number, line in enumerate(lines, 1):
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if not text:
            continue
        key, _, value = text.removeprefix("--").partition("=")
        key, value = key.strip().lower(), value.strip()
        if key not in ("address", "server", "local") or not value.startswith("/") or value.count("/") < 2:
            yield Dropped(number, Drop.DIRECTIVE)
            continue
        *names, target = value[1:].split("/")
        blocks = _is_sink(target) or target in ("", "#") if key == "address" else not target
        for name in names:
            if blocks:
                yield _entry(number, "", name)
            else:
                yield _entry(number, "!", name, Drop.REDIRECT if key == "address" else Drop.DIRECTIVE)


def unbound(lines: list[str]) -> Iterator[Item]:
    """`local-zone` (the name and all below it) and `local-data` with an address that leads nowhere (the name alone)."""
    zones: list[tuple[int, str, str]] = []
    elsewhere: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if not text:
            continue
        found = _SETTING.match(text)
        if found is None or (found[2] and not _VALUE.match(found[2])):
            yield Dropped(number, Drop.OTHER_SYNTAX)
            continue
        words = [one or two or three for one, two, three in _WORD.findall(found[2])]
        if found[1].lower() == "local-zone" and len(words) == 2:
            zones.append((number, words[0], words[1].lower()))
        elif found[1].lower() == "local-data" and len(words) == 1 and len(data := words[0].split()) > 1:
            item = _data(number, data)
            if isinstance(item, Entry) and item.unless:
                elsewhere.add(_folded(item.name))
            yield item
        else:
            yield Dropped(number, Drop.DIRECTIVE)
    for number, name, kind in zones:
        if kind in _SPARING_ZONES:
            yield _entry(number, "!", name, Drop.DIRECTIVE)
        elif kind in _REDIRECTING_ZONES and _folded(name) in elsewhere:
            yield _entry(number, "!", name, Drop.REDIRECT)
        elif kind in _BLOCKING_ZONES or kind in _REDIRECTING_ZONES:
            yield _entry(number, "", name)
        else:
            yield Dropped(number, Drop.DIRECTIVE)


def _data(number: int, words: list[str]) -> Item:
    """Return what a record of local data says."""
    rest = [word for word in words[1:] if not word.isdigit() and word.upper() != "IN"]
    sink = _is_sink(rest[1]) if len(rest) == 2 and rest[0].upper() in ("A", "AAAA") else False
    return _entry(number, "=", words[0]) if sink else _entry(number, "!=", words[0], Drop.REDIRECT)


def urls(lines: list[str]) -> Iterator[Item]:
    """URLs without a path, a port or a user: the name alone, without those below it."""
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line[0] == "#":
            continue
        if _CONTROL.search(line):
            # urlsplit passes over some of these.
            yield Dropped(number, Refusal.MALFORMED)
            continue
        try:
            parts = urlsplit(line)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            yield Dropped(number, Refusal.MALFORMED)
            continue
        if parts.scheme.lower() not in ("http", "https", "hxxp", "hxxps") or not host:
            yield Dropped(number, Drop.OTHER_SYNTAX)
        elif parts.path not in ("", "/") or "?" in line or "#" in line:
            yield Dropped(number, Refusal.URL)
        elif port is not None:
            yield Dropped(number, Refusal.PORT)
        else:
            yield Dropped(number, Refusal.MALFORMED) if "@" in parts.netloc else _entry(number, "=", host)


def wildcards(lines: list[str]) -> Iterator[Item]:
    """`*.name`, the names below it, and `name`, the name alone."""
    for number, line in enumerate(lines, 1):
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if text.startswith("*."):
            yield _entry(number, "*.", text.removeprefix("*."))
        elif text:
            yield Dropped(number, Refusal.SEVERAL_WORDS) if len(text.split()) > 1 else _entry(number, "=", text)


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")


EXCEPTIONS_PREVAIL: Final = frozenset(("adblock",))
"""Formats in which an exception spares all names below it; in a list, and elsewhere, the most specific name wins."""

READERS: Final[dict[str, Reader]] = {
    "hosts": hosts,
    "adblock": adblock,
    "dnsmasq": dnsmasq,
    "unbound": unbound,
    "urls": urls,
    "wildcards": wildcards,
}
