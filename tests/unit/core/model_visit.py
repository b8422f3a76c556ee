"""What core.visit does, written a second time with regular expressions: the model that it is compared with."""

import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from resolver.core.visit import MAX_FIELDS, MAX_LENGTH, MAX_PARTS

# RFC 9110 5.6.2, 5.5; RFC 9112 3, 5: no space before a colon, no continued lines. Nothing here is tried twice.
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
HEAD = re.compile(
    rb"(?:\r?\n)?+(%b) ([!-~]++) HTTP/1\.[0-9]\r?\n(?:%b:[^\r\n\0]*+\r?\n){0,%d}+\r?\n" % (TOKEN, TOKEN, MAX_FIELDS)
)
WHOLE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+://[^/?#]*+")
# A range or a coding, and its weight (RFC 9110 12.4.2, 12.5.3, 12.5.4; ranges as RFC 4647 2.1), between commas.
PART = re.compile(
    r"(?:\A|(?<=,))[ \t]*+([A-Za-z0-9*-]{1,64}+)[ \t]*+"
    r"(?:;[ \t]*+[qQ]=(0(?:\.[0-9]{0,3}+)?+|1(?:\.0{0,3}+)?+)[ \t]*+)?+(?=,|\Z)",
    re.ASCII,
)


class Said(NamedTuple):
    """What a head says: method, path without query, and the lists of three fields in lower case."""

    method: str
    path: str
    accept: str
    languages: str
    encodings: str


def read(head: bytes) -> Said | None:
    """What a whole head says, None if it is malformed."""
    found = HEAD.fullmatch(head)
    if found is None:
        return None
    method, target = found.groups()
    lower = head.lower()
    if lower.count(b"\nhost:") > 1:
        return None
    if target[:1] != b"/" and (whole := WHOLE.match(target)):
        target = target[whole.end() :]
    return Said(
        method.decode("ascii"),
        target.partition(b"?")[0].partition(b"#")[0].decode("ascii"),
        *(listed(lower, name) for name in (b"\naccept:", b"\naccept-language:", b"\naccept-encoding:")),
    )


def listed(lower: bytes, name: bytes) -> str:
    """The value of a field, by the end of the line before it and its name; of several the list."""
    values = [part.partition(b"\n")[0].strip() for part in lower.split(name)[1:]]
    return b", ".join(values).decode("latin-1")


def weights(header: str) -> list[tuple[str, float]]:
    """What a header accepts, in lower case and in its order, with the weight of each: 0 is refused."""
    if len(header) > MAX_LENGTH:
        header = header[:MAX_LENGTH].rpartition(",")[0]  # The last may be half a word.
    found = PART.findall(header.lower())[:MAX_PARTS]
    return [(what, float(weight) if weight else 1.0) for what, weight in found]


def language(header: str, available: Sequence[str], default: str) -> str:
    """The one of `available` that an Accept-Language header prefers (RFC 4647 3.4)."""
    accepted = weights(header)
    refused = [tag for tag, weight in accepted if not weight]
    accepted.sort(key=itemgetter(1), reverse=True)
    for tag, weight in accepted:
        if not weight:
            break
        if tag == "*":
            return next((one for one in (default, *available) if one not in refused), default)
        for shorter in shortened(tag):
            if shorter in available and shorter not in refused:
                return shorter
    return default


def shortened(tag: str) -> Iterator[str]:
    """A tag, and what is left of it as its last subtags are cut off, with each single letter before them."""
    subtags = tag.split("-")
    while subtags:
        yield "-".join(subtags)
        subtags.pop()
        while subtags and len(subtags[-1]) == 1:
            subtags.pop()


def takes_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip (RFC 9110 12.5.3)."""
    accepted = dict(weights(header))
    return accepted.get("gzip", accepted.get("x-gzip", accepted.get("*", 0.0))) > 0
