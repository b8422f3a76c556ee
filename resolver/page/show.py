"""Shows the stop page: the response depends on the address reached and the language alone; counts how often.

Rules:
- Of a request these are looked at, and nothing is kept: its method, whether its path is one of the page's own, what it
  accepts (a document, languages, codings), and at which of our addresses it arrived. Host and query are never read.
- A view is a GET that asks for a document. Pictures and scripts that other pages load from a blocked address get the
  same response, are not seen, and are not counted; nor is another language of the page, which the same visitor reads.
- A link to help is a redirect. It is counted by kind of help, and only if the request asks for a document.
- Every response is made before the first request, but for its date: a visit costs a choice and a copy.
"""

import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from resolver.config.page import HELP_KINDS
from resolver.core import visit
from resolver.page.rendered import Rendered, Version, Versions
from resolver.quiet_http.connection import SERVER, constant

STATUS: Final = 451
REASON: Final = "Unavailable For Legal Reasons"
COUNTS: Final = 1 + len(HELP_KINDS)
"""How many numbers the page counts: views, then links to help that were followed, by kind."""

Counts: TypeAlias = "array[int] | memoryview[int]"

_QUIET: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_MALFORMED: Final = constant("400 Bad Request", "bad request\n")


class Reached(Protocol):
    """What knows which of our own addresses a visitor has reached."""

    @property
    def reached(self) -> bytes | None:
        """The address in 16 octets; None if it is not known."""


class _Made(NamedTuple):
    """A response without its status line and date, and the same for HEAD."""

    whole: bytes
    without_body: bytes


class _Versions(NamedTuple):
    """The responses of one page, by the number of the language: as they are, and by gzip."""

    tags: visit.Tags
    numbers: Mapping[str, int]
    plain: Sequence[_Made]
    packed: Sequence[_Made]


class Page:
    """Responds to every method, host and path with the page.

    counts: COUNTS numbers, counted up here; an array of its own if none is given.
    """

    def __init__(self, rendered: Rendered, counts: "Counts | None" = None) -> None:
        self._counts: Counts = array("Q", bytes(8 * COUNTS)) if counts is None else counts
        self._second = -1
        self._visit = visit.Visit()
        self._shown = self._sent_on = b""
        self.show(rendered)

    @property
    def views(self) -> int:
        """The number of requests for a document that got the page."""
        return self._counts[0]

    @property
    def followed(self) -> dict[str, int]:
        """The number of followed links to help, by kind."""
        return dict(zip(HELP_KINDS, self._counts[1:], strict=True))

    def show(self, rendered: Rendered) -> None:
        """Serve these pages from the next request on."""
        made: dict[int, _Versions] = {}
        for versions in (rendered.elsewhere, *rendered.by_address.values()):
            if id(versions) not in made:
                made[id(versions)] = _made(versions, rendered.language)
        self._elsewhere = made[id(rendered.elsewhere)]
        # With one page only, the address does not matter.
        self._by_address = {
            address: made[id(versions)]
            for address, versions in (rendered.by_address.items() if len(made) > 1 else ())
        }
        self._chosen = {path.encode("ascii"): tag for path, tag in rendered.chosen.items()}
        self._help = {
            path.encode("ascii"): (1 + HELP_KINDS.index(kind), _tail({**_QUIET, "Location": url}, b""))
            for path, (kind, url) in rendered.help.items()
        }

    def respond(self, octets: bytes, visitor: Reached) -> bytes:
        """Return the response to a head: the page (without its body for HEAD) or the redirect to help."""
        asked = self._visit
        try:
            if not visit.read(asked, octets):
                return _MALFORMED
            return self._response(asked, octets, visitor)
        finally:
            visit.forget(asked)

    def _response(self, asked: visit.Visit, octets: bytes, visitor: Reached) -> bytes:
        if int(time.time()) != self._second:
            self._date()
        path = octets[asked.path : asked.path_end]
        reading = bool(asked.get and asked.document)
        if path in self._help:
            kind, tail = self._help[path]
            self._counts[kind] += reading
            return self._sent_on + tail
        versions = self._reached(visitor)
        tag = self._chosen.get(path)
        if tag is None:
            self._counts[0] += reading
            number: int = visit.language(asked, versions.tags)
        else:
            number = versions.numbers[tag]
        made = (versions.packed if visit.takes_gzip(asked) else versions.plain)[number]
        tail = made.without_body if asked.head else made.whole
        return self._shown + tail

    def _reached(self, visitor: Reached) -> _Versions:
        """Return the page of the address that the visitor reached."""
        if not self._by_address:
            return self._elsewhere
        ours = visitor.reached
        return self._by_address.get(ours, self._elsewhere) if ours else self._elsewhere

    def _date(self) -> None:
        """Write the beginning of each response, up to the end of its date (RFC 9110 5.6.7, 6.6.1)."""
        self._second = int(time.time())
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self._second))
        self._shown = f"HTTP/1.1 {STATUS} {REASON}\r\nDate: {date}\r\n".encode()
        self._sent_on = f"HTTP/1.1 303 See Other\r\nDate: {date}\r\n".encode()


def _made(versions: Versions, default: str) -> _Versions:
    def of(one: Version, headers: Mapping[str, str], body: bytes) -> _Made:
        without = _tail(headers, body)
        return _Made(without + body, without)

    return _Versions(
        visit.Tags([*versions], default),
        {tag: number for number, tag in enumerate(versions)},
        [of(one, one.headers, one.body) for one in versions.values()],
        [of(one, one.packed_headers, one.packed) for one in versions.values()],
    )


def _tail(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the end of a head after its date."""
    lines = {**headers, "Content-Length": str(len(body)), "Server": SERVER, "Connection": "close"}
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("ascii") + b"\r\n"
