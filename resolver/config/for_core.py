"""Translates the configuration into the structs of core: the ACL and limits, the lists' answers, and their scopes.

Rules:
- A list's slot is its place in the configuration; its counters and the scopes of clients are indexed by it.
- While any name is released, no list answers NXDOMAIN, which would also deny the names below it (RFC 8020).
- Every program that embeds core makes its Access and Generation here. This module uses no event loop, socket or clock.
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
    """A list's image in force.

    view: the image as core.image.view returned it. approved: lines set aside block too.
    """

    view: memoryview
    approved: bool = False


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
    """Return the ACL, the limits and the scopes of the lists.

    buckets: memory for the limits, initially zero, its size a multiple of WAYS * BUCKET_OCTETS of core.admit. key: 16
    octets.
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
    """Return the records of a list's blocked answers; without `deny`, NODATA replaces NXDOMAIN."""
    addresses = one.addresses or config.page.addresses
    return Replies(
        _ANSWERS["nodata" if one.answer == "nxdomain" and not deny else one.answer],
        statute=one.basis == "statute",
        v4=[address.packed for address in addresses if address.version == 4],
        v6=[address.packed for address in addresses if address.version == 6],
    )


def member(one: List, config: Config, image: Image, *, slot: int, deny: bool = True) -> Member:
    """Return a list as a member of a generation."""
    return Member(
        image.view,
        replies(one, config, deny=deny),
        slot=slot,
        approved=image.approved,
    )


def generation(
    number: int, key: bytes, config: Config, images: Mapping[str, Image], released: Iterable[memoryview] = ()
) -> Generation:
    """Return a generation of the lists in force, in configured order, and of the names released from all of them.

    number: greater than that of every earlier generation. key: of the digests, 16 octets. images: by list id; a list
    without an image is not in force. released: views of images of released names.
    """
    released = tuple(released)
    members = [
        member(one, config, images[one.id], slot=slot, deny=not released)
        for slot, one in enumerate(config.lists)
        if one.id in images
    ]
    members += [Member(view, None, slot=-1, release=True) for view in released]
    return Generation(number, key, members)
