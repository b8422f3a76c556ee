"""Makes the text of a detail for the log, for `list fetch` and for `status`.

Rules:
- Text comes from here and from the configuration of the list alone. A number that is not within the bounds of its kind
  drops the whole detail.
- A text is printable ASCII of at most MAX_OCTETS.
"""

import errno
import http
import os
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import dns.exception
import dns.rcode

from resolver.config.lists import List
from resolver.config.values import many, span, utc_text
from resolver.feed import refusals
from resolver.feed.details import Detail, Kind, Place, Unusable

MAX_OCTETS: Final = 300
MAX_PLACE_OCTETS: Final = 160
_YEARS_10: Final = 10 * 366 * 86400

_VERDICTS: Final[Mapping[int, str]] = {
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself, not by a CA known here",
    19: "is signed by a CA that is not known here",
    20: "is signed by a CA that is not known here",
    21: "is signed by a CA that is not known here",
    23: "is revoked",
    24: "is signed by what is no CA",
    62: "is for another host",
    64: "is for another address",
}
"""The verdicts of OpenSSL's verification (X509_V_ERR_...) that have words of their own."""

_TLS_VERSIONS: Final = {12: "TLS 1.2", 13: "TLS 1.3"}


def _status(number: int) -> str | None:
    if not 100 <= number <= 599:
        return None
    try:
        return f"{number} {http.HTTPStatus(number).phrase}"
    except ValueError:
        return str(number)


def _rcode(number: int) -> str | None:
    try:
        text: str = dns.rcode.to_text(dns.rcode.Rcode.make(number))
    except (ValueError, dns.exception.DNSException):
        return None
    return text


class _Count(str):
    """A count as it is shown; in a template with its noun: `{0:line}`, `{0:entry/entries}`."""

    __slots__ = ()

    def __format__(self, nouns: str) -> str:
        return many(int(self), *nouns.split("/")) if nouns else str(self)


def _within(least: int, most: int) -> Callable[[int], str | None]:
    return lambda number: f"{number}" if least <= number <= most else None


WRITTEN: Final[Mapping[Kind, Callable[[int], str | None]]] = {
    Kind.COUNT: lambda number: _Count(number) if 0 <= number <= 2**32 else None,
    Kind.STATUS: _status,
    Kind.ERRNO: lambda number: os.strerror(number) if number in errno.errorcode else None,
    Kind.SECONDS: lambda number: span(number) if number <= _YEARS_10 else None,
    Kind.DATE: lambda number: utc_text(number) if number <= 2**35 else None,
    Kind.ROW: _within(1, 2**27),
    Kind.CELL: _within(1, 256),
    Kind.SERIAL: _within(0, 2**63 - 1),
    Kind.RCODE: _rcode,
    Kind.TLS_VERSION: _TLS_VERSIONS.get,
    Kind.TLS_VERDICT: lambda number: _VERDICTS.get(number) or (
        f"does not verify (OpenSSL verdict {number})" if 1 <= number <= 999 else None
    ),
    Kind.MILLISECONDS: _within(0, 10**7),
}


def text(detail: Detail | None, one: List) -> str:
    """Return the text of a detail about a list; "" if there is none, or if it is not as its code demands."""
    if detail is not None and detail.unusable is not None:
        return printable(_unusable(detail.unusable), MAX_OCTETS)
    if detail is None or len(detail.numbers) != len(detail.code.kinds):
        return ""
    shown = [WRITTEN[kind](number) for kind, number in zip(detail.code.kinds, detail.numbers, strict=True)]
    if None in shown:
        return ""
    return printable(detail.code.said.format(*shown, at=place(detail, one), word=detail.word.value), MAX_OCTETS)


def _unusable(said: Unusable) -> str:
    if said.exceptions:
        return "it holds only exceptions: to end the list, its authority withdraws it"
    return refusals.unusable(
        said.reason,
        {str(reason): count for reason, count in said.refused.items()},
        {str(reason): numbers for reason, numbers in said.refused_lines.items()},
        shape=said.shape or "",
        line=said.line,
        read_as=said.read_as,
    )


def place(detail: Detail, one: List) -> str:
    """Return the place of a detail as the operator knows it: a host, a url or a path of the configuration."""
    source, at = one.source, detail.at
    paths = {
        Place.ROOT_FILE: source.root,
        Place.CA: source.ca or "the system's store of CAs",
        Place.CERTIFICATE: source.certificate,
        Place.KEY: source.key,
        Place.IDENTITY: source.identity,
        Place.SEED: source.seed,
        Place.POPULAR: one.guard.popular,
        Place.STATE: "the list's folder in the state folder",
    }
    return printable(paths[at] if at in paths else _remote(detail, one), MAX_PLACE_OCTETS)


def _remote(detail: Detail, one: List) -> str:
    """Return a host, or the url (for file: the path) of a file of the source."""
    parts = urlsplit(one.source.url)
    name = one.source.target or one.id
    base = unquote(parts.path) if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc}{parts.path}"
    numbered = f"{detail.version}." if detail.version else ""
    match detail.at:
        case Place.HOST:
            return parts.netloc
        case Place.ROOT | Place.TIMESTAMP | Place.SNAPSHOT | Place.TARGETS:
            return f"{base.rstrip('/')}/metadata/{numbered}{detail.at.value}.json"
        case Place.MANIFEST:
            return f"{base.rstrip('/')}/{name}.json"
        case Place.RELEASES:
            return f"{base.rstrip('/')}/releases.json"
        case Place.IMAGE:
            return f"the image that {base.rstrip('/')}/{name}.json names"
        case Place.SIGNATURE:
            return f"{base}.minisig"
        case Place.LIST if one.source.kind == "tuf":
            return f"the list below {base.rstrip('/')}/targets"
    return base


def printable(said: str, most: int) -> str:
    """Return a text as printable ASCII of at most `most` octets; what is cut off shows as `...`."""
    plain = "".join(each if " " <= each <= "~" else "?" for each in said)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."
