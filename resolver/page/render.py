"""Renders the stop page to bytes, once, from the operator's settings.

Rules:
1. Every visitor gets the same bytes: no script, no picture, nothing from another server.
2. Every setting is escaped; only http, https, mailto and tel addresses become links.
3. A link to help leads through a path of the page, so that it is counted without a script or a cookie, and the help
   service does not learn where the visitor came from; the visitor reads the real address.
4. The page never invents a text that only the operator can give: a setting that still holds the marker stops the
   start; in a demonstration it is shown as a placeholder, and the page says so.
5. The page states only what is true of this system: such material may be illegal, and no visit is logged.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from string import Template
from typing import Final

from resolver.config import config

LANGUAGE: Final = "en"
FOLLOW: Final = "/blocklist-resolver-help/"
"""Path prefix of a link to help; the number of the offer follows it."""

MAX_BYTES: Final = 30_000

_TEXTS: Final = {
    "operator": "the internet provider's name",
    "contact": "the internet provider's address for wrong blocks",
    "authority": "the authority's name",
    "law": "the law or the order",
}
# A mail address has at most 64 octets before its @ (RFC 5321 4.5.3.1.1): without the bound a long word takes seconds.
_LINK: Final = re.compile(r"(https?://[!-~]*[\w/]|[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+)", re.ASCII)
_WEB: Final = re.compile(r"https?://[!#-;=?-~]+\Z", re.ASCII)
_PHONE: Final = re.compile(r"\+?[\d ()/.-]{2,40}\Z", re.ASCII)

_DEMONSTRATION: Final = (
    '<section class="demo"><p><strong>Demonstration.</strong> Nothing is really blocked here: the list holds '
    "reserved names only, and the marked texts are placeholders.</p></section>\n"
)


class PageError(Exception):
    """No page can be rendered from these settings; `key` is the setting's path."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key


class PageNotFilledIn(PageError):
    """A text that only the operator can give still holds the marker."""


class PageAddressRefused(PageError):
    """An offer of help has an invalid web address or telephone number."""


class PageTooLarge(PageError):
    """The settings make the page larger than `MAX_BYTES`."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Body and headers of every response; `help` maps each path that leads to help to its kind and web address."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    help: Mapping[str, tuple[config.HelpKind, str]]


def render(page: config.Page, *, demonstration: bool) -> Rendered:
    """Return the page for these settings (RFC 7725); PageError if none can be rendered."""
    texts = {key: _text(key, getattr(page, key), demonstration) for key in _TEXTS}
    style = resource("stop.css")
    html = Template(resource(f"stop.{LANGUAGE}.html")).substitute(
        texts,
        style=style,
        demonstration=_DEMONSTRATION if demonstration else "",
        help=_help(page.help, demonstration),
    )
    body = html.encode("utf-8")
    if len(body) > MAX_BYTES:
        raise PageTooLarge("page", f"the texts make a page of more than {MAX_BYTES} bytes")
    offers = enumerate(page.help)
    help_ = {f"{FOLLOW}{number}": (one.kind, one.url) for number, one in offers if one.url and _is_filled_in(one)}
    return Rendered(body, _headers(style, page), help_)


@cache
def resource(name: str) -> str:
    """Return a file of this package as first read: a reload after an upgrade on the disk still gets the old one."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _text(key: str, text: str, demonstration: bool) -> str:
    if config.MARKER not in text:
        return _linked(text)
    if not demonstration:
        raise PageNotFilledIn(f"page.{key}", f"still holds {config.MARKER}: visitors must see who you are")
    return f"<mark>[{escape(_TEXTS[key])}]</mark>"


def _linked(text: str) -> str:
    """Return the text escaped, its web and mail addresses as links."""
    parts = _LINK.split(text)
    for number in range(1, len(parts), 2):
        address = parts[number]
        target = address if _WEB.match(address) else f"mailto:{address}" if "@" in address else ""
        parts[number] = _link(target, address) if target else escape(address)
    parts[::2] = map(escape, parts[::2])
    return "".join(parts)


def _link(target: str, text: str) -> str:
    return f'<a href="{escape(target)}">{escape(text)}</a>'


def _help(offers: tuple[config.Help, ...], demonstration: bool) -> str:
    """Return the section on help; "" if the operator names none."""
    items = [_offer(offer, number, demonstration) for number, offer in enumerate(offers)]
    if not items and demonstration:
        items = ["<li><mark>[help lines of the country, one below the other]</mark></li>"]
    if not items:
        return ""
    return (
        "<h2>Help, in confidence</h2>\n"
        "<p>Are you worried about your own thoughts or about what you look at? About someone else? Or did it "
        "happen to you? You can talk about it. These services help.</p>\n"
        f'<ul class="offers">\n{"".join(items)}</ul>\n'
    )


def _is_filled_in(offer: config.Help) -> bool:
    return all(config.MARKER not in text for text in (offer.text, offer.url, offer.phone))


def _offer(offer: config.Help, number: int, demonstration: bool) -> str:
    key = f"page.help[{number}]"
    if not _is_filled_in(offer):
        if not demonstration:
            raise PageNotFilledIn(key, f"still holds {config.MARKER}")
        return "<li><mark>[a help line: its name and its number or web address]</mark></li>\n"
    if offer.phone:
        if not _PHONE.match(offer.phone):
            raise PageAddressRefused(f"{key}.phone", "expected digits, spaces, + ( ) / . -")
        digits = re.sub(r"[^\d+]", "", offer.phone)
        return f"<li><span>{escape(offer.text)}</span>{_link(f'tel:{digits}', offer.phone)}</li>\n"
    if not _WEB.match(offer.url):
        raise PageAddressRefused(f"{key}.url", "expected http:// or https:// and no space, quote or bracket")
    return f"<li><span>{escape(offer.text)}</span>{_link(f'{FOLLOW}{number}', offer.url)}</li>\n"


def _headers(style: str, page: config.Page) -> tuple[tuple[str, str], ...]:
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Language", LANGUAGE),
        ("Cache-Control", "no-store"),
        (
            "Content-Security-Policy",
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
        ),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    # RFC 7725 s4: the link names who blocks, not who ordered it.
    blocker = next((found for text in (page.operator, page.contact) for found in _web_addresses(text)), None)
    if blocker:
        headers.append(("Link", f'<{blocker}>; rel="blocked-by"'))
    return tuple(headers)


def _web_addresses(text: str) -> list[str]:
    return [found for found in _LINK.findall(text) if _WEB.match(found)]
