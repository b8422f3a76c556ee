"""Reads a domain name as people type and paste it: for `list check`, `list release`, `ask` and `cache flush`.

Rules:
- A name is read out of a URL, a mail address, a name with a port, and the ways in which people make links harmless
  (`hxxp://`, `x[.]example`). The reading is shown before anything is said of it.
- What is no name is refused with the reason, never taken for a name: an answer about something else than what was
  meant is worse than none. A refusal repeats nothing that was typed.
- Beyond ASCII names are mapped by UTS 46, as in lists.
"""

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import unquote

import idna

from resolver.feed.reserved import DOCUMENTATION_NAMES, DOCUMENTATION_TLDS

_QUOTES: Final = "\"'`<>\u00ab\u00bb\u2039\u203a\u2018\u2019\u201a\u201c\u201d\u201e"
_DEFANGED: Final = (
    (re.compile(r"\s*(?:[\[({]\s*(?:\.|dot)\s*[\])}])\s*", re.IGNORECASE), "."),
    (re.compile(r"[\[({](?:@|at)[\])}]", re.IGNORECASE), "@"),
    (re.compile(r"[\[({](:(?://)?)[\])}]"), r"\1"),
    (re.compile(r"^h(?:xx|\*\*)p(s?)(?=:)", re.IGNORECASE), r"http\1"),
)
"""How people write links that no program follows, and what they mean."""
_SCHEME: Final = re.compile(r"(?:view-source:)?(?:(?:[a-z][a-z0-9+.-]*:)?//|https?:/?)", re.IGNORECASE)
_MAIL: Final = re.compile(r"mailto:", re.IGNORECASE)
_PORT: Final = re.compile(r":(\d{0,5})\Z")
_LABEL: Final = re.compile(r"[a-z0-9_-]+", re.IGNORECASE)
_LABEL_OF_REVERSE: Final = re.compile(r"[a-z0-9_/-]+", re.IGNORECASE)
"""Networks smaller than a /24 have a / in their reverse names (RFC 2317)."""
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
_ADDRESS: Final = "an address, not a name: lists hold names; its reverse name ends in in-addr.arpa or ip6.arpa"
_REGEX: Final = re.compile(r"[\\^$(){}|+]")


class NotAName(Exception):
    """The text is not a domain name; says what it looks like, and repeats nothing of it."""


class Typed(NamedTuple):
    """A name in ASCII without a final dot ("" is the root). read_as: how it was read out of the text, "" if it is the
    text."""

    name: str
    read_as: str = ""

    @property
    def wire(self) -> bytes:
        """Return its wire format."""
        labels = self.name.encode("ascii").split(b".") if self.name else []
        return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"

    def shown(self, said: str) -> str:
        """Return a finding with the reading before it, if the name was read out of something else."""
        return f"{self.read_as}{self.name}: {said}" if self.read_as else said


def read(text: str, *, root: bool = False) -> Typed:
    """Return the name in what a person typed; NotAName if there is none, or not one alone. root: whether . is one."""
    bare = text.strip().strip(_QUOTES).strip()
    if not bare:
        raise NotAName("no name: the line is empty")
    _refuse_marks(bare)
    plain = bare
    for pattern, meant in _DEFANGED:
        plain = pattern.sub(meant, plain)
    if plain == ".":
        if not root:
            raise NotAName("the root, not a name that a list can hold")
        return Typed("")
    host, kind = _host(plain)
    name = _name(host)
    return Typed(name, kind if kind or plain == bare else "read as ")


def wire(text: str) -> bytes:
    """Return the wire format of the name in what a person typed; NotAName if there is none."""
    return read(text).wire


def is_reserved(text: str) -> bool:
    """Return whether the text is a name that is reserved for documentation (RFC 2606), and so no secret."""
    try:
        name = b"." + read(text).name.encode("ascii").lower()
    except NotAName:
        return False
    return name.endswith(tuple(b"." + one for one in (*DOCUMENTATION_TLDS, *DOCUMENTATION_NAMES)))


def _refuse_marks(text: str) -> None:
    """Refuse lines of lists and rules, which say more than a name."""
    if text.startswith(("#", ";")):
        raise NotAName("a comment, not a name")
    if re.match(r"@@|\|\||.*\^(?:\$|\Z)", text):
        raise NotAName("a rule of an ad blocker: type the name alone")
    if text.startswith(("=", "!")):
        raise NotAName("= and ! are marks of a list, not part of a name: type the name alone")
    if text.startswith(("*", ".")) and text.strip("."):
        raise NotAName("a wildcard, not a name: type the name alone, or one below it")
    if re.search(r"\s[#;!]|\s//", text):
        raise NotAName("a name and a comment: type the name alone")


def _host(text: str) -> tuple[str, str]:
    """Return the host in the text, and how it was read out of it ("" if it is the text)."""
    if _is_address(text):
        raise NotAName(_ADDRESS)
    url = _SCHEME.match(text)
    if re.search(r"\s", text if url is None else text[: url.end()] + re.split(r"[/?#]", text[url.end() :])[0]):
        raise NotAName("several words: type one name a line")
    if url is not None:
        return _of_authority(unquote(re.split(r"[/?#\\]", text[url.end() :], maxsplit=1)[0])), "of the URL: "
    mail = _MAIL.match(text)
    rest = text[mail.end() :] if mail else text
    before, cut, _ = rest.partition("/")
    if cut and not _is_reverse(rest):
        if "." not in before.strip("."):
            raise NotAName("not a domain name: it has a / in it")
        return _of_authority(before), "of the URL: "
    rest, query, _ = re.sub(r"[?#]", "?", rest).partition("?")
    host = _of_authority(rest)
    if mail or ("@" in rest and not query):
        return host, "of the mail address: "
    if query:
        return host, "of the URL: "
    return host, "read as " if host != rest else ""


def _of_authority(text: str) -> str:
    """Return the host of what stands before the path of a URL: without user, port and brackets."""
    host = text.rpartition("@")[2]
    if _is_address(host):
        raise NotAName(_ADDRESS)
    return _PORT.sub("", host).rstrip(",;")


def _is_address(text: str) -> bool:
    plain = text.strip("[]")
    for one in (plain, plain.partition("/")[0], _PORT.sub("", text).strip("[]"), plain.partition("]")[0]):
        try:
            ipaddress.ip_address(one.partition("%")[0])
        except ValueError:
            continue
        return True
    return False


def _is_reverse(text: str) -> bool:
    return text.lower().removesuffix(".").endswith((".in-addr.arpa", ".ip6.arpa"))


def _name(host: str) -> str:
    if _is_address(host):
        raise NotAName(_ADDRESS)
    if not host.strip("."):
        raise NotAName("not a domain name: there is no host in it")
    try:
        plain = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise NotAName("not a domain name: its letters cannot be mapped (IDNA)") from None
    plain = plain.removesuffix(".")
    labels = plain.split(".")
    if any(not label for label in labels):
        raise NotAName("not a domain name: two dots follow each other")
    if any(len(label) > 63 for label in labels) or len(plain) > 253:
        raise NotAName("not a domain name: it is longer than a name or a label can be")
    if _NUMBER.fullmatch(labels[-1]):
        raise NotAName(_ADDRESS)  # browsers take 0x7f.1 for one too
    form = _LABEL_OF_REVERSE if _is_reverse(plain) else _LABEL
    for label in labels:
        if not form.fullmatch(label):
            odd = "a pattern" if _REGEX.search(label) else "it holds a character that no name of a host has"
            raise NotAName(f"not a domain name: {odd}")
    return plain
