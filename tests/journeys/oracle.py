"""How many names of a list one client prefix can confirm in a day by trying a dictionary.

`python -m tests.journeys.oracle` prints the figures.

Rules:
- The steps are those of a query, the clock is ours: an hour of a day is one turn of the tables, and a prefix asks so
  many names in it as `queries_per_second` allows, or its whole dictionary.
- The dictionary has every name of the list, and as many others: the best that an attacker can have.
- He never asks again for a name that he has confirmed. Three kinds of attacker: one takes only the list's own answer
  for a proof, one takes any answer that an unlisted name does not get, one asks without being counted (RD=0, class CH).
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import dns.flags
import dns.message
import dns.rcode

from resolver.core import codes, tally
from tests.unit.query import parts

HOURS: Final = 24
A_SECOND: Final = 200
"""Of `limits.queries_per_second`, its default."""

DEFAULT_BUDGET: Final = 50
ATTACKERS: Final = ("the list's answer", "any other answer than usual", "RD=0 and class CH")


@dataclass(frozen=True)
class Learnt:
    """A day of one attacker: names confirmed, names asked, attempts counted, blocked queries refused."""

    attacker: str
    budget: int
    names: int
    asked: int
    attempts: int
    refused: int


def day(attacker: str, budget: int, listed: int) -> Learnt:
    """Play a day against a list of so many names."""
    return asyncio.run(_day(attacker, budget, listed))


async def _day(attacker: str, budget: int, listed: int) -> Learnt:
    names = [f"listed-{number}.test" for number in range(listed)]
    others = [f"open-{number}.test" for number in range(listed)]
    in_force = parts.tables(1, (names,), budget=budget)
    house = parts.House(parts.says(["open.test. 300 A 198.51.100.7"]), in_force, tally_octets=2**21)
    wanted, confirmed, asked = [*names, *others], set[str](), 0
    for hour in range(HOURS):
        tally.turn(house.tally, bytes([hour]) * 16)
        house.now += 3600
        for name in wanted[: 3600 * A_SECOND]:
            asked += 1
            if await _is_confirmed(house, attacker, name):
                confirmed.add(name)
        wanted = [name for name in names if name not in confirmed]
    assert confirmed <= set(names)
    counters = [house.counters[codes.list_counter(0, one)] for one in (codes.ATTEMPTS, codes.REFUSED_BEYOND_BUDGET)]
    return Learnt(attacker, budget, len(confirmed), asked, *counters)


async def _is_confirmed(house: parts.House, attacker: str, name: str) -> bool:
    if attacker == ATTACKERS[2]:
        said = set()
        for one in (name, "unlisted.test"):
            for flags, rdclass in (("", "IN"), ("RD", "CH")):
                query = dns.message.make_query(one, "TXT", rdclass)
                query.flags = dns.flags.from_text(flags)
                reply = await house.ask(query)
                said.add((rdclass, reply.rcode(), len(reply.authority)))
        return len(said) > 2
    reply = await house.ask(parts.query(name))
    if attacker == ATTACKERS[0]:
        return parts.PAGE_V4 in parts.addresses(reply)
    return reply.rcode() == dns.rcode.REFUSED or parts.PAGE_V4 in parts.addresses(reply)


def main() -> None:
    """Print the figures of a list of 3,000 names, before (no budget) and after."""
    print(f"One prefix asks at most {A_SECOND * 86400:,} names a day. Of a list of 3,000 names, all in its dictionary:")
    for attacker in ATTACKERS:
        for budget in (0, DEFAULT_BUDGET):
            one = day(attacker, budget, 3000)
            print(f"distinct_blocked = {budget}, proof: {attacker}: {one.names:,} names by {one.asked:,} questions,")
            print(f"    {one.attempts:,} attempts counted, {one.refused:,} queries refused")


if __name__ == "__main__":
    main()
