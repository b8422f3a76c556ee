"""Says in one sentence why lines, or a whole list, were refused, and what to do next: by numbers and closed words only.

Rules:
- Nothing here reads a list, and no argument can hold a name: counts, numbers of lines, and words of closed sets.
- The authority's commands and the service say the same of the same file.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from resolver.config.values import many
from resolver.feed.reasons import Refusal, Shape

MOST_REASONS: Final = 4
SAMPLE_LINES: Final = 5
"""So many numbers of lines are said for each reason."""

_CONVERTIBLE: Final = {
    Shape.HOSTS: "a hosts file",
    Shape.ADBLOCK: "an adblock list",
    Shape.DNSMASQ: "a dnsmasq configuration",
    Shape.UNBOUND: "an Unbound configuration",
    Shape.RPZ: "a response policy zone",
    Shape.CSV: "a CSV",
    Shape.URLS: "a list of URLs",
    Shape.WILDCARDS: "a list of wildcards",
}
_WHAT_TO_DO: Final = {
    Shape.PLAIN: ("a plain list", "give it as one (format = plain)"),
    Shape.COMMAS: ("rows separated by commas", "separate cells by `;`, or write one name a line"),
    Shape.HTML: ("an HTML page, not a list", "ask for the file itself; the server may show a log-in or an error page"),
    Shape.XML: ("XML", "write one name a line"),
    Shape.JSON: ("JSON", "write one name a line"),
    Shape.REGEX: ("regular expressions", "a list holds names: write one name a line"),
    Shape.ADDRESSES: ("addresses", "a resolver blocks names: write one name a line"),
    Shape.OPENPGP: ("an OpenPGP message", "decrypt it first, or use a source of kind openpgp"),
    Shape.AGE: ("a file encrypted with age", "decrypt it first"),
    Shape.GZIP: ("gzip", "decompress it first"),
    Shape.BZIP2: ("bzip2", "decompress it first"),
    Shape.XZ: ("xz", "decompress it first"),
    Shape.ZSTD: ("zstd", "decompress it first"),
    Shape.ZIP: ("a zip archive", "take the file out of it"),
    Shape.XLSX: ("an Excel file", "save it as text: one name a line, or a CSV separated by `;`, in UTF-8"),
    Shape.XLS: ("an Excel file", "save it as text: one name a line, or a CSV separated by `;`, in UTF-8"),
    Shape.PDF: ("a PDF", "write one name a line"),
    Shape.UTF16: ("UTF-16", "save it as UTF-8: iconv -f UTF-16 -t UTF-8"),
    Shape.LATIN1: ("Latin-1 or another 8-bit encoding", "save it as UTF-8: iconv -f LATIN1 -t UTF-8"),
    Shape.BINARY: ("no text", "see that the file is the list itself"),
}

ADVICE: Final = {
    Refusal.WILDCARD: "a `*` stands alone before the first dot: `*.name` covers the names below, `name` also itself",
    Refusal.SEVERAL_WORDS: "one name a line; a comment begins with a blank and `#`",
    Refusal.PORT: "a resolver sees names, not ports: write the name alone",
    Refusal.URL: "a resolver sees names, not paths: write the name alone if the whole site is meant",
    Refusal.LOOSE_EXCEPTION: "a comment begins with `#`; an exception has no blank after its `!`",
    Refusal.MALFORMED: "one name a line, ended by LF or CRLF, without quotes, brackets or other marks around it",
    Refusal.ADDRESS: "a resolver blocks names, not addresses",
    Refusal.TOO_LONG: "a name has at most 253 octets, a label 63, a line 4,096",
    Refusal.OUT_OF_ZONE: "an owner with a dot at its end has to end in the zone's name",
}
"""What to write instead, for reasons that have one remedy."""


def lines(counts: Mapping[str, int], numbers: Mapping[str, Sequence[int]]) -> str:
    """Return refused lines by reason, the most first, with the numbers of the first few; "none" if there are none."""
    parts = []
    for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        said = ", ".join(map(str, numbers.get(reason, ())[:SAMPLE_LINES]))
        more = ", ..." if count > SAMPLE_LINES else ""
        parts.append(f"{count} {reason.replace('_', ' ')}" + (f" (line {said}{more})" if said else ""))
    return "; ".join(parts) or "none"


def hint(shape: str, read_as: str = "plain") -> str:
    """Return what a file looks like and what to do, in words; "" if it looks like what it was read as, or like nothing.
    """
    if not shape or shape == read_as:
        return ""
    one = Shape(shape)
    if one in _CONVERTIBLE:
        return f"it looks like {_CONVERTIBLE[one]}: blocklist-resolver authority convert --from {one.value}"
    looks, do = _WHAT_TO_DO[one]
    return f"it looks like {looks}: {do}"


def unusable(
    reason: str,
    counts: Mapping[str, int],
    numbers: Mapping[str, Sequence[int]],
    *,
    shape: str = "",
    line: int = 0,
    read_as: str = "plain",
) -> str:
    """Return why a whole list cannot be used, for a `reason` of ReadError.

    line: of the first octet that is not UTF-8, 0 if unknown. read_as: the format that it was read as.
    """
    if reason == "not_utf8":
        what = f"not UTF-8 from line {line} on" if line else "not UTF-8"
    elif reason == "malformed":
        what = "its first record is no SOA" + (f" (line {line})" if line else "")
    elif reason == "too_many_entries":
        what = "it has too many entries"
    elif refused := sum(counts.values()):
        most = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_REASONS])
        others = refused - sum(most.values())
        more = f"; {many(others, 'other')}" if others else ""
        what = f"no line of {refused} is an entry: {lines(most, numbers)}{more}"
    else:
        what = "it holds no entry: no line but comments and empty ones"
    said = hint(shape, read_as)
    if not said and counts:
        said = ADVICE.get(Refusal(max(counts, key=lambda each: counts[each])), "")
    return "; ".join(part for part in (what, said) if part)
