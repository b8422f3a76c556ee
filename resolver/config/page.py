"""Defines `[page]` of the configuration, and the purpose of the page that each address shows.

Rules:
- The address that a visitor reaches says the text: all lists with this address have one purpose, or the neutral text
  ("other") is shown. The text for child-abuse lists names abuse and offers help; it is never shown for another list,
  and its lists never show another text: an address that they share with others is refused.
- Kinds of help are ours, names and numbers are the operator's: a production page for a child-abuse list needs an offer
  for those who are worried or young, and what is said of the network's records.
- A text that only the operator can give holds the marker until it is given.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct, field

from resolver.config.lists import PURPOSES as PURPOSES
from resolver.config.lists import Fault, List, Purpose
from resolver.config.values import Address, Endpoint

MARKER: Final = "REPLACE-ME"
"""The placeholder in every text of the page that only the operator can write."""

CHILD_ABUSE: Final = "child-abuse"
NEUTRAL: Final = "other"

HelpKind = Literal["worried", "young", "report", "other"]
HELP_KINDS: Final[tuple[str, ...]] = get_args(HelpKind)
FOR_PERSONS: Final = ("worried", "young")
"""The kinds of help that a page for a child-abuse list cannot be without."""

FlowRecords = Literal["", "none", "exempted", "kept"]
TEXTS: Final = ("operator", "contact", "authority", "law")
"""The texts of `[page]` that every page needs."""

Part = Literal["contact", "justification", "organization", "language", "incident"]
Key = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,15}\Z")]

_EVERYWHERE: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - compared with, not bound


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class Help(_Section, frozen=True):
    """One offer of help on the page: its name, and a web address, a chat or a telephone number.

    kind: the label under which visits of the offer are counted. worried: help for people who worry about their own
    thoughts or about somebody; young: for young people; report: a hotline that takes reports; or other. chat: the web
    address of a chat. who, hours, languages: for whom it is, when it is open and in which languages, in the operator's
    words.
    """

    text: str
    url: str = ""
    phone: str = ""
    chat: str = ""
    who: str = ""
    hours: str = ""
    languages: str = ""
    kind: HelpKind = "other"

    @property
    def is_filled_in(self) -> bool:
        return all(MARKER not in getattr(self, key) for key in self.__struct_fields__)


class Page(_Section, frozen=True):
    """The warning page: the addresses in blocked answers, its listening addresses, and the operator's texts.

    language: of the operator's texts, and of the page for visitors whose browser asks for no language that it has.
    appeal: where a visitor can object to the decision itself. leave: the web address that the link for leaving the page
    leads to. flow_records: what the operator's network records about connections to `addresses`; "" is not stated.
    error_text: of the extended error in each blocked answer. structured_errors: whether clients that send the empty
    option `option_code` get a structured error and no page (config/structured_errors.py). incident: the constant that
    stands in it. structured_keys: the keys that replace its own.
    """

    addresses: tuple[Address, ...] = ()
    listen: tuple[Endpoint, ...] = (Endpoint("127.0.0.1", 8080),)
    operator: str = MARKER
    contact: str = MARKER
    authority: str = MARKER
    law: str = MARKER
    appeal: str = ""
    language: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{2,35}\Z")] = "en"
    leave: str = "about:blank"
    flow_records: FlowRecords = ""
    error_text: str = ""
    structured_errors: bool = False
    option_code: int = 0
    incident: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,40}\Z")] = ""
    structured_keys: dict[Part, Key] = field(default_factory=dict)
    help: tuple[Help, ...] = ()


def shown_at(page: Page, lists: Iterable[List]) -> dict[Address, tuple[List, ...]]:
    """Return each address that blocked answers give, with its lists in configured order."""
    found: dict[Address, tuple[List, ...]] = {}
    for one in lists:
        if one.answer == "page":
            for address in one.addresses or page.addresses:
                found[address] = (*found.get(address, ()), one)
    return found


def purpose_of(lists: Iterable[List]) -> Purpose:
    """Return the purpose whose text fits all of `lists`."""
    purposes: set[Purpose] = {one.purpose or NEUTRAL for one in lists}
    return purposes.pop() if len(purposes) == 1 else NEUTRAL


def faults_of_page(page: Page, lists: tuple[List, ...]) -> Iterator[Fault]:
    """Yield the faults of `[page]`, and of the lists' purposes."""
    for number, offer in enumerate(page.help):
        if not (offer.url or offer.phone or offer.chat):
            yield f"page.help[{number}]", "give a url, a phone or a chat"
    for address, sharing in shown_at(page, lists).items():
        if purpose_of(sharing) != CHILD_ABUSE and any(one.purpose == CHILD_ABUSE for one in sharing):
            number = next(at for at, one in enumerate(lists) if one in sharing and one.purpose != CHILD_ABUSE)
            yield (
                f"list[{number}].addresses",
                f"{address} is also the address of a child-abuse list, whose text is about abuse: give this list "
                "an address of its own, or the same purpose",
            )


def faults_of_page_in_production(page: Page, lists: tuple[List, ...]) -> Iterator[Fault]:
    """Yield what keeps a page from being shown to real visitors."""
    if not page.listen:
        return
    for name in TEXTS:
        if MARKER in getattr(page, name):
            yield f"page.{name}", f"still holds {MARKER}: the page must name you before visitors see it"
    for number, offer in enumerate(page.help):
        if not offer.is_filled_in:
            yield f"page.help[{number}]", f"still holds {MARKER}: a visitor in need must reach somebody"
    for number, one in enumerate(lists):
        for name in ("authority", "legal_reference", "complaint", "appeal"):
            if MARKER in getattr(one, name):
                yield f"list[{number}].{name}", f"still holds {MARKER}: the page shows it to visitors"
    stated = any(one.purpose and one.answer == "page" for one in lists)
    if stated and not page.flow_records:
        yield (
            "page.flow_records",
            'required: what your network records about visits of the page, "none", "exempted" or "kept"; the page says '
            "so to visitors",
        )
    worst = any(one.purpose == CHILD_ABUSE and one.answer == "page" for one in lists)
    if worst and not any(offer.kind in FOR_PERSONS for offer in page.help):
        yield (
            "page.help",
            'required with a child-abuse list: at least one offer of the kind "worried" or "young"; deploy/page.md '
            "says how to find and ask them",
        )


def warnings_of_page(page: Page, lists: tuple[List, ...]) -> Iterator[str]:
    """Yield a line for each setting of the page that is accepted but probably a mistake."""
    if not page.listen or all(one.demonstration for one in lists):
        return
    for number, one in enumerate(lists):
        if one.answer == "page" and not one.purpose:
            yield (
                f"list[{number}].purpose is not set: visitors read a neutral text; the other texts name the reason, "
                'and that of "child-abuse" offers help'
            )
    shown = shown_at(page, lists)
    if not page.flow_records and shown:
        yield "page.flow_records is not set: the page does not say what your network records about a visit"
    worst = any(one.purpose == CHILD_ABUSE for one in lists)
    if page.help and not worst:
        yield 'page.help is shown on the page of "child-abuse" lists only, and no list has this purpose'
    if len({purpose_of(sharing) for sharing in shown.values()}) > 1:
        yield from _not_listened_on(page, shown)


def _not_listened_on(page: Page, shown: dict[Address, tuple[List, ...]]) -> Iterator[str]:
    """Yield a line for each address whose visitors the page may not recognise by the address that they reached."""
    listening = {one.host.partition("%")[0] for one in page.listen}
    for address, sharing in shown.items():
        if not listening & {str(address), _EVERYWHERE[address.version]}:
            yield (
                f"page.listen does not name {address}, the address of list {sharing[0].id}: unless the connections of "
                "its visitors still have this address when they arrive, they read the neutral text, because other "
                "lists have other purposes"
            )
