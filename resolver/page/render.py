"""Renders the stop page to bytes, once, from the operator's settings: for each purpose, in each language.

Rules:
1. Visitors of one address who read one language get the same bytes: no script, no picture, nothing from another server.
2. Every setting is escaped; only http, https, mailto and tel addresses become links.
3. A link to help leads through a path of the page, so that it is counted without a script or a cookie, and the help
   service does not learn where the visitor came from; the visitor reads the real host.
4. A link to another language is a path of the page too: every path of a blocked host shows the page, and such a path
   in the language that it names. So the choice needs no cookie, no query and no host.
5. The page never invents a text that only the operator can give: a setting that still holds the marker stops the
   start; in a demonstration it is shown as a placeholder, and the page says so.
6. The page states only what is true of this system, and of the network what `page.flow_records` states.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from typing import Final
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from resolver.config import config
from resolver.config.page import CHILD_ABUSE, purpose_of, shown_at
from resolver.config.values import address_octets
from resolver.page.rendered import CHOOSE, FOLLOW, Rendered, Version, Versions
from resolver.page.wording import Texts, languages

MAX_BYTES: Final = 30_000
NOWHERE: Final = "about:blank"

# A mail address has at most 64 octets before its @ (RFC 5321 4.5.3.1.1): without the bound a long word takes seconds.
_LINK: Final = re.compile(r"(https?://[!-~]*[\w/]|[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+)", re.ASCII)
_WEB: Final = re.compile(r"https?://[!#-;=?-~]+\Z", re.ASCII)
_PHONE: Final = re.compile(r"\+?[\d ()/.-]{2,40}\Z", re.ASCII)
# Young people first: they call most often.
_ORDER: Final = {kind: at for at, kind in enumerate(("young", "worried", "report", "other"))}


class PageError(Exception):
    """No page can be rendered from these settings; `key` is the setting's path."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key


class PageNotFilledIn(PageError):
    """A text that only the operator can give still holds the marker."""


class PageAddressRefused(PageError):
    """An offer of help has an invalid web address or telephone number, or the page cannot be left to `page.leave`."""


class PageTooLarge(PageError):
    """The settings make the page larger than `MAX_BYTES`."""


class PageLanguageMissing(PageError):
    """The page has no texts in `page.language`."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to reach an offer of help: a button's label, where it leads, and the host or number that is read."""

    label: str
    href: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One offer of help as the page shows it, its texts as markup; only `missing` if it is a placeholder."""

    name: str = ""
    who: str = ""
    hours: str = ""
    languages: str = ""
    ways: tuple[Way, ...] = ()
    missing: bool = False


def render(page: config.Page, lists: tuple[config.List, ...] = (), *, demonstration: bool) -> Rendered:
    """Return the pages for these settings (RFC 7725); PageError if one cannot be rendered."""
    tag = page.language.lower()
    if tag not in languages():
        reason = f"the page has no texts in it: choose one of {', '.join(one.tag for one in languages().values())}"
        raise PageLanguageMissing("page.language", reason)
    shown = shown_at(page, lists)
    everyone = tuple(one for one in lists if one.answer == "page") or lists
    made: dict[tuple[config.List, ...], Versions] = {}
    for sharing in (everyone, *shown.values()):
        if sharing not in made:
            made[sharing] = _versions(page, sharing, demonstration)
    return Rendered(
        by_address={address_octets(str(address)): made[sharing] for address, sharing in shown.items()},
        elsewhere=made[everyone],
        language=tag,
        chosen={f"{CHOOSE}{one.tag}": key for key, one in languages().items()},
        help=dict(_followed(page.help)),
    )


@cache
def resource(name: str) -> str:
    """Return a file of this package as first read: a reload after an upgrade on the disk still gets the old one."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")


@cache
def _template() -> Template:
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.from_string(resource("page.html"))


def _versions(page: config.Page, lists: tuple[config.List, ...], demonstration: bool) -> Versions:
    return {key: _version(page, lists, texts, demonstration) for key, texts in languages().items()}


def _version(page: config.Page, lists: tuple[config.List, ...], texts: Texts, demonstration: bool) -> Version:
    """Return the page of these lists, which share an address, in one language."""
    style = resource("page.css")
    purpose = purpose_of(lists)
    operator = _Operator(page, texts, demonstration)
    filled = {
        "texts": texts,
        "reason": texts.purposes[purpose],
        "languages": languages().values(),
        "style": Markup(style),  # noqa: S704 - our own file
        "choose": CHOOSE,
        "leave": _leave(page),
        "demonstration": demonstration,
        "offers": operator.offers() if purpose == CHILD_ABUSE else [],
        "records": getattr(texts.records, page.flow_records) if page.flow_records else "",
        "operator": operator.said("operator"),
        "contact": _filled(texts.mistake.how, contact=operator.every("contact", "complaint", lists)),
        "appeal": _appeal(operator, lists),
        "decisions": operator.decisions(lists),
    }
    body = _template().render(filled).encode("utf-8")
    if len(body) > MAX_BYTES:
        raise PageTooLarge("page", f"the texts make a page of more than {MAX_BYTES} bytes ({texts.tag})")
    headers = _headers(style, page, texts.tag)
    packed = gzip.compress(body, mtime=0)
    return Version(body, packed, headers, {**headers, "Content-Encoding": "gzip"})


class _Operator:
    """What the operator says, for one page in one language."""

    def __init__(self, page: config.Page, texts: Texts, demonstration: bool) -> None:
        self.texts = texts
        self._page = page
        self._demonstration = demonstration

    def said(self, key: str, text: str = "") -> Markup:
        """Return a text of `[page]`, or the list's own `text` in its place, as markup."""
        own = text or getattr(self._page, key)
        if config.MARKER not in own:
            return self._in_its_language(_linked(own))
        if not self._demonstration:
            raise PageNotFilledIn(f"page.{key}", f"still holds {config.MARKER}: visitors must see who you are")
        return Markup("<mark>[{}]</mark>").format(getattr(self.texts.missing, key))

    def every(self, key: str, of_list: str, lists: tuple[config.List, ...]) -> Markup:
        """Return what the lists say, each text once; a list that says nothing takes the text of `[page]`."""
        everywhere = getattr(self._page, key)
        texts = dict.fromkeys(getattr(one, of_list) or everywhere for one in lists) or {everywhere: None}
        return Markup(" · ").join(self.said(key, text) for text in texts if text)

    def decisions(self, lists: tuple[config.List, ...]) -> list[dict[str, Markup]]:
        """Return authority and law of each list, each pair once."""
        pairs = dict.fromkeys((one.authority, one.legal_reference) for one in lists) or {("", ""): None}
        return [{"authority": self.said("authority", who), "law": self.said("law", law)} for who, law in pairs]

    def offers(self) -> list[Offer]:
        """Return the offers of help, those for young people first; a demonstration without any gets a placeholder."""
        numbered = sorted(enumerate(self._page.help), key=lambda one: _ORDER[one[1].kind])
        found = [self._offer(number, offer) for number, offer in numbered]
        return found or ([Offer(missing=True)] if self._demonstration else [])

    def _offer(self, number: int, offer: config.Help) -> Offer:
        key, texts = f"page.help[{number}]", self.texts.help
        if not offer.is_filled_in:
            if not self._demonstration:
                raise PageNotFilledIn(key, f"still holds {config.MARKER}")
            return Offer(missing=True)
        ways = []
        if offer.chat:
            ways.append(Way(texts.chat, f"{FOLLOW}{number}/chat", _host(f"{key}.chat", offer.chat)))
        if offer.phone:
            ways.append(Way(texts.call, f"tel:{_digits(f'{key}.phone', offer.phone)}", offer.phone))
        if offer.url:
            ways.append(Way(texts.website, f"{FOLLOW}{number}", _host(f"{key}.url", offer.url)))
        kind: str = getattr(texts, offer.kind)
        return Offer(
            name=self._in_its_language(escape(offer.text)),
            who=self._in_its_language(escape(offer.who)) if offer.who else Markup(escape(kind)),  # noqa: S704 - escaped
            hours=self._of_offer(texts.hours, "hours", offer.hours),
            languages=self._of_offer(texts.languages, "languages", offer.languages),
            ways=tuple(ways),
        )

    def _of_offer(self, text: str, name: str, said: str) -> Markup:
        return _filled(text, **{name: self._in_its_language(escape(said))}) if said else Markup()

    def _in_its_language(self, markup: str) -> Markup:
        """Return the operator's words, already escaped, marked with their language if the page's is another."""
        tag = self._page.language
        language = f' lang="{tag}"' if tag.lower() != self.texts.tag.lower() else ""
        return Markup(f"<bdi{language}>{markup}</bdi>")  # noqa: S704 - the tag is letters and hyphens


def _appeal(operator: _Operator, lists: tuple[config.List, ...]) -> Markup:
    said = operator.every("appeal", "appeal", lists)
    return _filled(operator.texts.mistake.appeal, appeal=said) if said else Markup()


def _filled(text: str, **said: Markup) -> Markup:
    """Return a text of ours with its placeholders filled in."""
    return Markup(escape(text)).format(**said)  # noqa: S704 - escaped, and `format` escapes what is no markup


def _linked(text: str) -> str:
    """Return the text escaped, its web and mail addresses as links."""
    parts = _LINK.split(text)
    for number in range(1, len(parts), 2):
        address = parts[number]
        target = address if _WEB.match(address) else f"mailto:{address}" if "@" in address else ""
        parts[number] = f'<a href="{escape(target)}">{escape(address)}</a>' if target else escape(address)
    parts[::2] = map(escape, parts[::2])
    return "".join(parts)


def _leave(page: config.Page) -> str:
    if page.leave != NOWHERE:
        _host("page.leave", page.leave)
    return page.leave


def _host(key: str, url: str) -> str:
    try:
        host = urlsplit(url).hostname if _WEB.match(url) else None
    except ValueError:
        host = None
    if not host:
        raise PageAddressRefused(key, "expected http:// or https:// and no space, quote or bracket")
    return host


def _digits(key: str, phone: str) -> str:
    if not _PHONE.match(phone):
        raise PageAddressRefused(key, "expected digits, spaces, + ( ) / . -")
    return re.sub(r"[^\d+]", "", phone)


def _followed(offers: Iterable[config.Help]) -> Iterator[tuple[str, tuple[config.HelpKind, str]]]:
    for number, offer in enumerate(offers):
        if offer.is_filled_in:
            for path, url in ((f"{FOLLOW}{number}", offer.url), (f"{FOLLOW}{number}/chat", offer.chat)):
                if url:
                    yield path, (offer.kind, url)


def _headers(style: str, page: config.Page, tag: str) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Language": tag,
        "Vary": "Accept-Language, Accept-Encoding",
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    # RFC 7725 s4: the link names who blocks, not who ordered it.
    blocker = next((found for text in (page.operator, page.contact) for found in _web_addresses(text)), None)
    if blocker:
        headers["Link"] = f'<{blocker}>; rel="blocked-by"'
    return headers


def _web_addresses(text: str) -> list[str]:
    return [found for found in _LINK.findall(text) if _WEB.match(found)]
