"""The rendered page as data, and its octets for the process that shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from resolver.config.page import HelpKind

FOLLOW: Final = "/blocklist-resolver-help/"
"""Path prefix of a link to help; the number of the offer follows it, and "/chat" if it is its chat."""

CHOOSE: Final = "/blocklist-resolver-language/"
"""Path prefix of a link to another language; its tag follows."""


@dataclass(frozen=True, slots=True)
class Version:
    """The page of one purpose in one language: its body, the same by gzip, and the headers of each."""

    body: bytes
    packed: bytes
    headers: Mapping[str, str]
    packed_headers: Mapping[str, str]


Versions = Mapping[str, Version]
"""A page by the tag of its language in lower case."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """All pages of a service.

    by_address: by the address that the visitor reached, in 16 octets; elsewhere: for all other addresses. language: the
    tag for visitors without a choice. chosen: each path that names a language, to its tag. help: each path that leads
    to help, to its kind and web address.
    """

    by_address: Mapping[bytes, Versions]
    elsewhere: Versions
    language: str
    chosen: Mapping[str, str]
    help: Mapping[str, tuple[HelpKind, str]]


class _Packed(msgspec.Struct, frozen=True):
    """Rendered with each page once: addresses that share one have its number, 0 is `elsewhere`."""

    pages: list[Versions]
    by_address: dict[bytes, int]
    language: str
    chosen: Mapping[str, str]
    help: Mapping[str, tuple[HelpKind, str]]


def packed(one: Rendered) -> bytes:
    """Return the octets of all pages."""
    pages = [one.elsewhere]
    numbers = {id(one.elsewhere): 0}
    by_address = {}
    for address, versions in one.by_address.items():
        if id(versions) not in numbers:
            numbers[id(versions)] = len(pages)
            pages.append(versions)
        by_address[address] = numbers[id(versions)]
    return msgspec.msgpack.encode(_Packed(pages, by_address, one.language, one.chosen, one.help))


def unpacked(octets: bytes) -> Rendered:
    """Return the pages of octets that `packed` made."""
    one = msgspec.msgpack.decode(octets, type=_Packed)
    by_address = {address: one.pages[number] for address, number in one.by_address.items()}
    return Rendered(by_address, one.pages[0], one.language, one.chosen, one.help)
