"""Translates the configuration into the structs of core: ACL and limits, local zones, the lists' answers and scopes.

Rules:
- A list's slot indexes its counters and the scopes of clients. It is given by the caller, or it is the list's place in
  the configuration.
- While any name is released, no list answers NXDOMAIN, which would also deny the names below it (RFC 8020).
- Every program that embeds core makes its Access, Zones and Generation here. This module uses no event loop, socket or
  clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from resolver.config.config import Config
from resolver.config.designated import designation
from resolver.config.lists import List
from resolver.config.structured_errors import texts_of
from resolver.config.values import Prefix, address_octets
from resolver.core import codes
from resolver.core.admit import Access
from resolver.core.local_zones import Zones
from resolver.core.locks import Locks
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


REHEARSAL: Final = ""
"""Stands for the name of the rehearsal where lists are given by their ids; no list has this one."""


def judging(config: Config) -> dict[str, List]:
    """Return what judges, by its id: the lists in configured order, then the rehearsal, as the list that it is like."""
    found = {one.id: one for one in config.lists}
    return found if config.rehearsed is None else {**found, REHEARSAL: config.rehearsed}


def slots_of(config: Config) -> dict[str, int]:
    """Return the slot of each list of a configuration that no other one was in force before."""
    return {list_id: slot for slot, list_id in enumerate(judging(config))}


def access(
    config: Config, buckets: Any, key: bytes, slots: Mapping[str, int] | None = None, locks: Locks | None = None
) -> Access:
    """Return the ACL, the limits and the scopes of the lists.

    buckets: memory for the limits, initially zero, its size a multiple of WAYS * BUCKET_OCTETS of core.admit. key: 16
    octets. slots: of each list, by its id. locks: of the buckets, where others use them too.
    """
    at = slots_of(config) if slots is None else slots
    by_slot = {at[list_id]: one for list_id, one in judging(config).items()}
    lists = [by_slot.get(slot) for slot in range(codes.MAX_LISTS)]
    return Access(
        ranges(config.listen.allow),
        ranges(config.limits.exempt),
        tuple(b"" if one is None else ranges(one.clients) for one in lists),
        tuple(b"" if one is None else ranges(one.exempt) for one in lists),
        rate=config.limits.queries_per_second,
        memory=buckets,
        key=key,
        proxies=ranges(config.listen.proxy_from),
        budget=config.limits.distinct_blocked,
        locks=locks,
    )


def zones(config: Config) -> Zones:
    """Return the local zones, without those that are forwarded, and with what is announced and designated."""
    return Zones(config.upstream.forwarded, config.bypass.announce, designation(config.edge))


def replies(one: List, config: Config, *, deny: bool = True) -> Replies:
    """Return the records of a list's blocked answers; without `deny`, NODATA replaces NXDOMAIN."""
    addresses = one.addresses or config.page.addresses
    return Replies(
        _ANSWERS["nodata" if one.answer == "nxdomain" and not deny else one.answer],
        statute=one.basis == "statute",
        text=config.page.error_text.encode(),
        signal=config.page.option_code if config.page.structured_errors else 0,
        structured=texts_of(one, config.page),
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


def page_member(config: Config, view: memoryview, *, slot: int) -> Member:
    """Return a member that is no list's, and answers with the page's addresses."""
    page = config.page.addresses
    v4, v6 = ([one.packed for one in page if one.version == version] for version in (4, 6))
    return Member(view, Replies(codes.ANSWER_PAGE, statute=True, v4=v4, v6=v6), slot=slot)


def generation(
    number: int,
    key: bytes,
    config: Config,
    images: Mapping[str, Image],
    released: Iterable[memoryview] = (),
    slots: Mapping[str, int] | None = None,
    *,
    more: Iterable[Member] = (),
) -> Generation:
    """Return a generation of the lists in force, in configured order, and of the names released from all of them.

    number: greater than that of every earlier generation. key: of the digests, 16 octets. images: by list id; a list
    without an image is not in force. released: views of images of released names. slots: of each list, by its id.
    more: members after the lists.
    """
    released = tuple(released)
    at = slots_of(config) if slots is None else slots
    members = [
        member(one, config, images[list_id], slot=at[list_id], deny=not released)
        for list_id, one in judging(config).items()
        if list_id in images
    ]
    members += [*more, *(Member(view, None, slot=-1, release=True) for view in released)]
    return Generation(number, key, members)
