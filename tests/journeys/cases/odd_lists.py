"""Odd lists: files that people have published as a list by mistake, or in another program's format.

Each row: what it is, the file, and what `authority check` and a resolver say of it: the entries that are taken, or the
words of the refusal, with the next step. `N` names of a file are N0.test and so on; a refusal repeats none of them.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import NamedTuple

NAMES = [f"n{at}.test" for at in range(30)]


class Odd(NamedTuple):
    """One file. taken: how many entries are taken, 0 if it is refused whole. refused: how many lines are refused. said:
    what `authority check` says of it, with a number of a line and a next step where something is refused."""

    what: str
    data: bytes
    taken: int = 0
    refused: int = 0
    said: str = ""


def _lines(form: str | Callable[[str], str], *head: str) -> bytes:
    made = [form(name) if callable(form) else form.format(name) for name in NAMES]
    return "".join(f"{line}\n" for line in (*head, *made)).encode()


def _zip(name: str) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr(name, "\n".join(NAMES))
    return into.getvalue()


_CONVERT = "blocklist-resolver authority convert --from "
_WORDS = "no line of 30 is an entry: 30 several words (line 1, 2, 3, 4, 5, ...)"
_ODD = "no line of 30 is an entry: 30 malformed (line 1, 2, 3, 4, 5, ...)"
_PLAIN = _lines("{}")

ROWS = (
    # What is taken.
    Odd("plain", _PLAIN, 30),
    Odd("plain, CRLF", _PLAIN.replace(b"\n", b"\r\n"), 30),
    Odd("plain, byte order mark", b"\xef\xbb\xbf" + _PLAIN, 30),
    Odd("plain, no last LF", _PLAIN.rstrip(), 30),
    Odd("plain, upper case and a dot", _lines(lambda name: name.upper() + "."), 30),
    Odd("plain, blanks around", _lines("  {}\t"), 30),
    Odd("plain, comments", _lines("{} # why", "# a list"), 30),
    Odd("plain, each name twice", _PLAIN * 2, 30),
    Odd("plain, empty lines", _lines("{}\n"), 30),
    Odd("exact names", _lines("={}"), 30),
    Odd("wildcards", _lines("*.{}"), 30),
    Odd("names and wildcards", _lines("{0}\n*.{0}"), 30),
    Odd("underscores", _lines("_dmarc.{}"), 30),
    Odd("U-labels", _lines("b\u00fccher.{}"), 30),
    Odd("A-labels", _lines("xn--bcher-kva.{}"), 30),
    Odd("a soft hyphen and a zero-width space", _lines("\u00ad\u200b{}"), 30),
    # One odd line, the rest is taken.
    Odd("a merge conflict", _PLAIN + b"<<<<<<< HEAD\n=======\n>>>>>>> x\n", 30, 3, "malformed (line 32)"),
    Odd("a heading", b"My list\n" + _PLAIN, 30, 1, "1 several words (line 1)"),
    Odd("a column's heading", b"domain\n" + _PLAIN, 30, 1, "1 tld (line 1)"),
    Odd("a line of dashes", b"-----\n" + _PLAIN, 30, 1, "1 tld (line 1)"),
    Odd("a NUL line", _PLAIN + b"\x00\x00\n", 30, 1, "1 malformed (line 31)"),
    Odd("a form feed", _PLAIN + b"\x0c\n", 30, 1, "1 malformed (line 31)"),
    Odd("two files joined in a line", _PLAIN.rstrip() + _PLAIN, 31),
    Odd("an address among names", _PLAIN + b"192.0.2.1\n", 30, 1, "1 address (line 31)"),
    Odd("a top-level name", _PLAIN + b"test\n", 30, 1, "1 tld (line 31)"),
    Odd("a comment in adblock's way", b"! a list\n" + _PLAIN, 30, 1, "1 loose exception (line 1)"),
    # Formats of other programs.
    Odd("hosts", _lines("0.0.0.0 {}"), said=f"{_WORDS}; it looks like a hosts file: {_CONVERT}hosts"),
    Odd("hosts, 127.0.0.1 and a tab", _lines("127.0.0.1\t{}"), said=f"looks like a hosts file: {_CONVERT}hosts"),
    Odd("hosts, IPv6", _lines(":: {}"), said=f"{_WORDS}; it looks like a hosts file: {_CONVERT}hosts"),
    Odd(
        "hosts, nine names a line",
        "".join(f"0.0.0.0 {' '.join(NAMES[at : at + 9])}\n" for at in range(0, 30, 9)).encode(),
        said="no line of 4 is an entry: 4 several words (line 1, 2, 3, 4); it looks like a hosts file",
    ),
    Odd("hosts, comments behind", _lines("0.0.0.0 {} # why"), said="it looks like a hosts file: " + _CONVERT + "hosts"),
    Odd("adblock", _lines("||{}^"), said=f"{_ODD}; it looks like an adblock list: {_CONVERT}adblock"),
    Odd("adblock, options", _lines("||{}^$third-party"), said="it looks like an adblock list: " + _CONVERT + "adblock"),
    Odd("adblock, a header", _lines("||{}^", "[Adblock Plus 2.0]"), said="it looks like an adblock list"),
    Odd("adblock, exceptions", _lines("@@||{}^"), said="it looks like an adblock list"),
    Odd("adblock, cosmetic", _lines("{}##.banner"), said="it looks like an adblock list"),
    Odd("dnsmasq, address", _lines("address=/{}/#"), said=f"it looks like a dnsmasq configuration: {_CONVERT}dnsmasq"),
    Odd("dnsmasq, server", _lines("server=/{}/"), said=f"it looks like a dnsmasq configuration: {_CONVERT}dnsmasq"),
    Odd("dnsmasq, local", _lines("local=/{}/"), said=f"it looks like a dnsmasq configuration: {_CONVERT}dnsmasq"),
    Odd(
        "Unbound, zones",
        _lines('local-zone: "{}" always_nxdomain', "server:"),
        said=f"it looks like an Unbound configuration: {_CONVERT}unbound",
    ),
    Odd(
        "Unbound, data",
        _lines('local-data: "{} A 0.0.0.0"'),
        said=f"it looks like an Unbound configuration: {_CONVERT}unbound",
    ),
    Odd("RPZ", _lines("{} CNAME .", "$TTL 60", "@ SOA ns. mail. 1 1 1 1 1"), said=f"zone: {_CONVERT}rpz"),
    Odd("RPZ, wildcards", _lines("*.{} IN CNAME .", "$ORIGIN rpz.example."), said=f"zone: {_CONVERT}rpz"),
    Odd("rbldnsd", _lines(".{} :127.0.0.2:why"), said=f"{_WORDS}; one name a line"),
    Odd("CSV with `;`", _lines("http://{0}/;{0};;", "1;1700000000"), said=f"it looks like a CSV: {_CONVERT}csv"),
    Odd("commas", _lines("{},2026-01-01"), said="rows separated by commas: separate cells by `;`, or write one name a"),
    Odd("commas at the end", _lines("{},"), said=f"{_ODD}; it looks like rows separated by commas"),
    Odd("quotes", _lines('"{}"'), said=_ODD),
    Odd("quotes and commas", _lines('"{}",'), said=f"{_ODD}; it looks like rows separated by commas"),
    Odd("URLs", _lines("https://{}/"), said=f"5, ...); it looks like a list of URLs: {_CONVERT}urls"),
    Odd("URLs with paths", _lines("https://{}/a/b"), said="it looks like a list of URLs"),
    Odd("names with a slash", _lines("{}/"), said="30 url (line 1, 2, 3, 4, 5, ...)"),
    Odd("ports", _lines("{}:443"), said="30 port (line 1, 2, 3, 4, 5, ...); a resolver sees names"),
    Odd("a dot first", _lines(".{}"), said=_ODD),
    Odd("a star at the end", _lines(lambda name: name.removesuffix("test") + "*"), said="30 wildcard (line 1, 2, 3, 4"),
    Odd("a star without a dot", _lines("*{}"), said="30 wildcard (line 1, 2, 3, 4, 5, ...)"),
    Odd("a comment without a blank", _lines("{}#why"), said=_ODD),
    Odd("`;` comments", _lines("{} ; why"), said=_WORDS),
    Odd("numbered lines", _lines(lambda name: f"{NAMES.index(name) + 1} {name}"), said=_WORDS),
    Odd("numbered with a dot", _lines(lambda name: f"{NAMES.index(name) + 1}. {name}"), said=_WORDS),
    Odd("a markdown list", _lines("- {}"), said=_WORDS),
    Odd("defanged", _lines(lambda name: name.replace(".", "[.]")), said=_ODD),
    Odd("mail addresses", _lines("user@{}"), said=_ODD),
    Odd("regular expressions", _lines(r"^(.*\.)?{}$"), said="it looks like regular expressions: a list holds names"),
    Odd("addresses", b"".join(b"192.0.2.%d\n" % at for at in range(30)), said="30 address (line 1, 2, 3, 4, 5, ...)"),
    Odd("networks", b"192.0.2.0/24\n2001:db8::/32\n", said="2 address (line 1, 2); it looks like addresses"),
    Odd("JSON", json.dumps({"names": NAMES}, indent=1).encode(), said="it looks like JSON: write one name a line"),
    Odd("JSON in one line", json.dumps(NAMES).encode(), said="it looks like JSON: write one name a line"),
    Odd("an HTML page", b"<!DOCTYPE html>\n<title>Log in</title>\n", said="an HTML page, not a list: ask for the file"),
    Odd("XML", b"<?xml version='1.0'?>\n<list/>\n", said="it looks like XML: write one name a line"),
    Odd("CR only", _PLAIN.replace(b"\n", b"\r"), said="no line of 1 is an entry: 1 malformed (line 1)"),
    # No text.
    Odd("gzip", gzip.compress(_PLAIN), said="not UTF-8 from line 1 on; it looks like gzip: decompress it first"),
    Odd("zip", _zip("list.txt"), said="it looks like a zip archive: take the file out of it"),
    Odd("an Excel file", _zip("xl/workbook.xml"), said="it looks like an Excel file: save it as text"),
    Odd("UTF-16", _PLAIN.decode().encode("utf-16"), said="not UTF-8 from line 1 on; it looks like UTF-16: save it"),
    Odd("UTF-16 without a mark", _PLAIN.decode().encode("utf-16-le"), said="it looks like UTF-16: save it as UTF-8"),
    Odd(
        "Latin-1 in a comment",
        _PLAIN + "# b\u00fccher\n".encode("latin-1"),
        said="not UTF-8 from line 31 on; it looks like Latin-1 or another 8-bit encoding: save it as UTF-8: iconv",
    ),
    Odd("an OpenPGP message", b"-----BEGIN PGP MESSAGE-----\n\nhQEM\n", said="an OpenPGP message: decrypt it first"),
    # Nothing.
    Odd("empty", b"", said="it holds no entry"),
    Odd("comments alone", b"# a\n# b\n", said="it holds no entry: no line but comments and empty ones"),
    Odd("exceptions alone", _lines("!{}"), said="it holds only exceptions; to end the list, withdraw it"),
    Odd("names in production use", b"domain-of-nobody.com\n", 1),
)
