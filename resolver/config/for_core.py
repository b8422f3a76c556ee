"""The configuration in the terms of core: who may ask, what a list answers, which lists judge whom.

Rules:
- The slot of a list is its place in the configuration: its counters and the scopes of clients go by it.
- While a name is released no list answers NXDOMAIN, which would deny the names below it too (RFC 8020).
- Whatever embeds core makes its Access and its Generation here. Nothing here has a loop, a socket or a clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from resolver.config.config import Config
from resolver.config.lists import List
from resolver.config.values import Prefix, address_octets
from resolver.core import codes
from resolver.core.admit import Access
from resolver.core.policy import Generation, Member
from resolver.core.reply import Replies

_ANSWERS: Final = {"page": codes.ANSWER_PAGE, "nodata": codes.ANSWER_NODATA, "nxdomain": codes.ANSWER_NXDOMAIN}


@dataclass(frozen=True, slots=True)
class Image:
    """A list's image in force, and what of it counts.

    view: the image as core.image.view returned it. approved: lines set aside block too. suspended: new entries do not.
    """

    view: memoryview
    approved: bool = False
    suspended: bool = False


def ranges(prefixes: Iterable[Prefix]) -> bytes:
    """Return sorted, disjoint pairs of first and last address, 16 octets each, as core.admit takes them.

    IPv4 is mapped first (RFC 4291 2.5.5.2), so both families are merged together: `::/0` holds the mapped block, and a
    binary search over nested pairs would find the inner one for every address above it.
    """
    pairs = sorted(
        (address_octets(str(one.network_address)), address_octets(str(one.broadcast_address))) for one in prefixes
    )
    merged: list[tuple[bytes, bytes]] = []
    for first, last in pairs:
        if merged and int.from_bytes(first) <= int.from_bytes(merged[-1][1]) + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return b"".join(first + last for first, last in merged)


def access(config: Config, buckets: Any, key: bytes) -> Access:
    """Return who may ask, how often, and which lists judge whom.

    buckets: memory for the limits, zeroed at first, a multiple of WAYS * BUCKET_OCTETS of core.admit; key: 16 octets.
    """
    nothing = (b"",) * (codes.MAX_LISTS - len(config.lists))
    return Access(
        ranges(config.listen.allow),
        ranges(config.limits.exempt),
        (*(ranges(one.clients) for one in config.lists), *nothing),
        (*(ranges(one.exempt) for one in config.lists), *nothing),
        rate=config.limits.queries_per_second,
        memory=buckets,
        key=key,
        proxies=ranges(config.listen.proxy_from),
    )


def replies(one: List, config: Config, *, deny: bool = True) -> Replies:
    """Return the records of a list's blocked answers; without `deny` it answers NODATA instead of NXDOMAIN."""
    addresses = one.addresses or config.page.addresses
    return Replies(
        _ANSWERS["nodata" if one.answer == "nxdomain" and not deny else one.answer],
        statute=one.basis == "statute",
        v4=[address.packed for address in addresses if address.version == 4],
        v6=[address.packed for address in addresses if address.version == 6],
    )


def member(one: List, config: Config, image: Image, *, slot: int, deny: bool = True) -> Member:
    """Return a list as part of a generation."""
    return Member(
        image.view,
        replies(one, config, deny=deny),
        slot=slot,
        approved=image.approved,
        suspended=image.suspended,
    )


def generation(
    number: int, key: bytes, config: Config, images: Mapping[str, Image], released: Iterable[memoryview] = ()
) -> Generation:
    """Return the lists in force, in configured order, and what was released from all of them.

    number: of this generation, higher than of any before. key: of the digests, 16 octets. images: by list id; a list
    without one judges nothing. released: views of images of exceptions.
    """
    released = tuple(released)
    members = [
        member(one, config, images[one.id], slot=slot, deny=not released)
        for slot, one in enumerate(config.lists)
        if one.id in images
    ]
    members += [Member(view, None, slot=-1, release=True) for view in released]
    return Generation(number, key, members)
