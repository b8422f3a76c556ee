"""A bundle with more than two pages have room for: many lists with long names, long persons, long reasons."""

from msgspec.structs import replace

from resolver.evidence import counts
from resolver.evidence.bundle import Bundle, Chain, Issue, ListEvidence, Signature


def crowded(one: Bundle) -> Bundle:
    """The same month with twelve lists to which everything has happened, by persons with the longest names."""
    lists = tuple(_list(one.lists[0], f"{number:02}-{'a-list-of-the-longest-name-':x<29}") for number in range(12))
    receipts = tuple(replace(each, list=lists[at % 12].list) for at, each in enumerate(one.receipts * 4))
    earlier = Issue(number=17, month="2025-03", sha256="e" * 64)
    replaced = Issue(number=16, month="2025-04", sha256="d" * 64)
    chain = Chain(
        number=18, before=earlier, previous_month=earlier, replaces=replaced, why="the subscribers were not right " * 6
    )
    return replace(
        one,
        chain=chain,
        region="A region whose name is as long as a region's name is ever going to be",
        lists=lists,
        receipts=receipts,
        totals=counts.together(each.sums for each in lists),
    )


def _list(one: ListEvidence, name: str) -> ListEvidence:
    person = "a.person.with.a.rather.long.name@department.of.the.authority.example"
    course = replace(one.course, deadlines=(), failed=())
    signed = tuple(replace(each, principal=person) for each in course.decisions)
    holds = tuple(
        replace(
            each, reasons=("growth", "refused", "set_aside", "first_list"), signatures=_twice(each.signatures, person)
        )
        for each in course.holds
    )
    releases = tuple(replace(each, principal=person) for each in course.releases)
    return replace(
        one,
        list=name[:32],
        legal_reference="An act on the blocking of addresses, section 4, paragraph 2, as amended",
        not_comparable=("the definition changed", "the list's size moved by 20 % or more", f"also {name}"),
        gaps=one.gaps * 20,
        course=replace(course, decisions=signed * 3, holds=holds * 3, releases=releases, spans=course.spans * 4),
    )


def _twice(signatures: tuple[Signature, ...], person: str) -> tuple[Signature, ...]:
    return tuple(replace(each, principal=f"{at}.{person}") for at, each in enumerate(signatures))
