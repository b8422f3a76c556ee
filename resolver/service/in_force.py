"""Holds what is in force: the generation of images and reply tables, the ACL, and whether all lists are enforced.

Rules:
- Every change makes new Tables and replaces the old ones whole; a query sees the old or the new, never a mixture.
- Changes within `as_one` replace the tables once, at its end: what is on the way from one configuration to another,
  such as a list that is configured and not yet read, is in force for no query of any thread.
- A list without a usable image leaves the tables incomplete: unlisted names get SERVFAIL, unless the operator chose
  `without_list = "forward"`, or the list is new beside others. A lifted list is complete: it blocks nothing.
- A released name passes in every generation. While a name is released, no list answers NXDOMAIN, which would deny the
  names below too (RFC 8020).
- Local zones come after the lists: a list may block below a local zone, as the self-test does.
- The name of enforced_name is blocked only by tables to which no list is missing, while enforcement says so.
- Slots follow the lists' order in the configuration at the start; a list keeps its slot, and so its counters, as long
  as it is configured. A list that is added gets a slot that was never used, else the one that was given up first.
"""

import asyncio
import mmap
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from resolver.config import for_core
from resolver.config.config import Config
from resolver.config.lists import List
from resolver.config.values import address_octets
from resolver.core import admit, codes, image, policy, sketch, tally
from resolver.core.cookie import Cookies
from resolver.core.lane import Tables
from resolver.core.locks import Locks
from resolver.core.name import Name, unfold
from resolver.core.question import Question, parse
from resolver.core.reply import limit_of
from resolver.core.store import Store
from resolver.feed import in_use
from resolver.query.cache import Cache
from resolver.query.transport import Transport
from resolver.service import enforced_name, rehearsal
from resolver.service.selftest import own_address

BUCKETS = 65536
HOUR_S = 3600
SKETCH_OCTETS = 2**23
TALLY_OCTETS = tally.TABLES * 2**21


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a list in force that blocks a name. low, high: its digest. slots: how many slots the image has."""

    list_id: str
    low: int
    high: int
    slot: int
    slots: int


class InForce:
    """Holds the lists' images and the tables made of them. swap: called with all new Tables. asked: the sketch of what
    clients ask; attempts, cache: what all tables count and keep in."""

    def __init__(self, config: Config, digest_key: bytes, bucket_key: bytes, swap: Callable[[Tables], None]) -> None:
        self.config = config
        self._digest_key = digest_key
        self._bucket_key = bucket_key
        self._swap = swap
        self._slots = for_core.slots_of(config)
        self._free = [slot for slot in range(codes.MAX_LISTS) if slot not in self._slots.values()]
        self._images: dict[str, for_core.Image] = rehearsal.images(config, digest_key)
        self._silent: set[str] = set()
        self._stands = False
        self._enforced_name = enforced_name.made(digest_key)
        self._released: tuple[memoryview, ...] = ()
        self._buckets = mmap.mmap(-1, BUCKETS * admit.BUCKET_OCTETS)
        self._locks = Locks(admit.SHARDS)
        memory = mmap.mmap(-1, SKETCH_OCTETS)
        memory.madvise(mmap.MADV_DONTDUMP)
        self.asked = sketch.Sketch(memory, secrets.token_bytes(16))
        counting = mmap.mmap(-1, TALLY_OCTETS)
        counting.madvise(mmap.MADV_DONTDUMP)
        self.attempts = tally.Tally(counting, secrets.token_bytes(16))
        # The key of the day lives longer than that of the hour, and is another one.
        self.turn_day()
        answers = mmap.mmap(-1, config.cache.size)
        self.cache = Cache(Store(answers, secrets.token_bytes(16), int(config.cache.stale)))
        self._number = 0
        self._waits = False
        # Returns whether unlisted names are forwarded while the list with this id is not in force; set by enforcement.
        self.forwards_without: Callable[[str], bool] = self._chosen
        # `configure` does not replace it: only a restart changes the sockets.
        self._own = frozenset(address_octets(own_address(one.host)) for one in config.listen.dns)
        self._access = for_core.access(config, self._buckets, bucket_key, locks=self._locks)
        self._zones = for_core.zones(config)
        self._cookies = Cookies()
        self.tables = self._build()

    def turn_day(self) -> None:
        """Forget which prefixes were counted on the day that ends; what they are digested with is replaced."""
        tally.turn_day(self.attempts, secrets.token_bytes(16))

    def slot(self, list_id: str) -> int:
        """Return the list's slot in the table of counters."""
        return self._slots[list_id]

    def named(self, slot: int) -> str:
        """Return the id of the list in a slot."""
        found = next((list_id for list_id, at in self._slots.items() if at == slot), "no list")
        return "the rehearsal" if found == for_core.REHEARSAL else found

    def rehearsal_slot(self) -> int | None:
        """Return the slot that counts the rehearsal; None without one."""
        return self._slots.get(for_core.REHEARSAL)

    def put_in_force(self, list_id: str, view: memoryview, *, approved: bool = False) -> None:
        """Enforce this image of a list from the next query on. approved: with the lines set aside."""
        if list_id not in self._slots:
            return  # removed from the configuration while it was polled or decided about
        self._images = {**self._images, list_id: for_core.Image(view, approved)}
        self._silent = self._silent - {list_id}
        self._replace()

    def lift(self, list_id: str) -> None:
        """Lift the list: it blocks nothing, and the tables stay complete."""
        if list_id not in self._slots:
            return
        self._images = {key: one for key, one in self._images.items() if key != list_id}
        self._silent = self._silent | {list_id}
        self._replace()

    def take_out(self, list_id: str) -> None:
        """Remove the list: the tables are incomplete without it."""
        self._images = {key: one for key, one in self._images.items() if key != list_id}
        self._silent = self._silent - {list_id}
        self._replace()

    def release(self, views: Iterable[memoryview]) -> None:
        """Enforce these images of released names against all lists, in place of the previous ones."""
        self._released = tuple(views)
        self._replace()

    def listed(self, wire: bytes) -> tuple[Listed, ...]:
        """Return which lists block a name in wire format, in configured order, even if it is released."""
        name, verdict, found = Name(), policy.Verdict(), []
        if unfold(wire, 0, len(wire), name) != len(wire):
            return ()
        for one in self.config.lists:
            if one.id in self._images:
                alone = {one.id: self._images[one.id]}
                generation = for_core.generation(0, self._digest_key, self.config, alone)
                said = policy.decide(generation, name, codes.ALL_LISTS, verdict)
                if said == codes.BLOCK and not verdict.bits & codes.SELFTEST:
                    view = self._images[one.id].view
                    slot = image.slot_of(view, verdict.low, verdict.high)
                    found.append(Listed(one.id, verdict.low, verdict.high, slot, image.header(view).slots))
        return tuple(found)

    def configure(self, config: Config) -> tuple[int, ...]:
        """Apply a new configuration: lists, addresses, answers, clients, limits. Return the slots of lists that are
        new in it: what they counted before is another list's.
        """
        ids = for_core.judging(config)
        kept = {list_id: self._slots[list_id] for list_id in ids if list_id in self._slots}
        free = [*self._free, *(slot for list_id, slot in self._slots.items() if list_id not in kept)]
        added = {list_id: free.pop(0) for list_id in ids if list_id not in kept}
        self._slots, self._free = {**kept, **added}, free
        self._images = {list_id: one for list_id, one in self._images.items() if list_id in kept}
        self._images |= rehearsal.images(config, self._digest_key)
        self._silent = self._silent & kept.keys()
        self._access = for_core.access(config, self._buckets, self._bucket_key, self._slots, self._locks)
        self._zones = for_core.zones(config)
        self.config = config
        self._replace()
        return tuple(added.values())

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Put all changes of the block in force at once at its end, or none of them if it fails."""
        before = self.config, self._slots, self._free, self._images, self._silent, self._access, self._zones
        self._waits = True
        try:
            yield
            tables = self._build()
        except BaseException:
            self.config, self._slots, self._free, self._images, self._silent, self._access, self._zones = before
            raise
        finally:
            self._waits = False
        self._use(tables)

    def stand(self, stands: bool) -> None:
        """Block the name of enforced_name from now on, or no more; it is never blocked while a list is missing."""
        if stands != self._stands:
            self._stands = stands
            self._replace()

    def widely_asked(self, share: float) -> set[in_use.Digest]:
        """Return the digests of names that more than this share of the clients have asked lately."""
        found: set[in_use.Digest] = sketch.popular(self.asked, share, in_use.FLOOR)
        return found

    def enforced(self) -> bool:
        """Return whether every configured list is in force or lifted."""
        return all(map(self._is_there, self.config.lists))

    def _is_there(self, one: List) -> bool:
        return one.id in self._images or one.id in self._silent

    def _chosen(self, list_id: str) -> bool:
        return any(one.id == list_id and one.without_list == "forward" for one in self.config.lists)

    def use_cookies(self, cookies: Cookies) -> None:
        """Answer with these cookies from the next query on; until then there are none."""
        self._cookies = cookies
        self._replace()

    async def turn_every_hour(self) -> None:
        """Let the tally forget, each hour, what it was keyed with."""
        while True:
            await asyncio.sleep(HOUR_S)
            tally.turn(self.attempts, secrets.token_bytes(16))

    def renew(self) -> None:
        """Make the tables again: a state may say something else about a list that is not in force."""
        self._replace()

    def copied(self) -> Tables:
        """Return the tables in force with a copy of the buckets: a query judged by them changes no limit."""
        copied: Tables = self.tables.replaced(access=self._access_of(bytearray(self._buckets)))
        return copied

    def _access_of(self, buckets: bytearray) -> admit.Access:
        return for_core.access(self.config, buckets, self._bucket_key, self._slots)

    def answer_of(self, list_id: str, view: memoryview) -> Callable[[bytes, Transport], bytes]:
        """Return the function from (query, transport) to the list's answer by this image alone, b"" if it has none.

        The function reads the configuration when it is called.
        """
        verdict, question, out = policy.Verdict(), Question(), memoryview(bytearray(4096))

        def answer(packet: bytes, transport: Transport) -> bytes:
            one = next(one for one in self.config.lists if one.id == list_id)
            deny = not self._released
            member = for_core.member(one, self.config, for_core.Image(view), slot=0, deny=deny)
            generation = policy.Generation(0, self._digest_key, (member,))
            if parse(packet, len(packet), question) != codes.WELL_FORMED:
                return b""
            if policy.decide(generation, question.name, 1, verdict) != codes.BLOCK:
                return b""
            limit = limit_of(question, transport.least, transport.most)
            length = policy.answer(generation, verdict, out, packet, question, limit)
            return bytes(out[:length])

        return answer

    def trusts(self, host: str) -> bool:
        """Return whether queries from this address must have a PROXY header."""
        return bool(admit.trusts(self.tables.access, address_octets(host)))

    def allows(self, client: bytes) -> bool:
        """Return whether a client (16 octets) is in the ACL, or is this host itself."""
        return client in self._own or bool(admit.allows(self.tables.access, client))

    def spares(self, client: bytes) -> bool:
        """Return whether a client (16 octets) is never limited: exempt, or this host itself."""
        return client in self._own or bool(admit.exempts(self.tables.access, client))

    def spared(self) -> tuple[bytes, tuple[bytes, ...]]:
        """Return whom `spares` spares: the ranges of exempt clients (config.for_core), and this host's addresses."""
        return for_core.ranges(self.config.limits.exempt), tuple(self._own)

    def judge_of(self, view: memoryview) -> Callable[[bytes, int], int]:
        """Return the function from (wire-format name, qtype) to the verdict of one image; safe in another thread."""
        member = policy.Member(view, None, slot=0)
        generation = policy.Generation(0, self._digest_key, (member,))
        name, verdict = Name(), policy.Verdict()

        def judge(wire: bytes, qtype: int) -> int:
            """Judge a name. The verdict does not depend on the type; a test asks for each all the same."""
            del qtype
            if not unfold(wire, 0, len(wire), name):
                return codes.ASK
            said: int = policy.decide(generation, name, 1, verdict)
            return said

        return judge

    def _replace(self) -> None:
        if not self._waits:
            self._use(self._build())

    def _use(self, tables: Tables) -> None:
        self.tables = tables
        self._swap(tables)

    def _more(self) -> tuple[policy.Member, ...]:
        if not self._stands or not self.enforced() or not self.config.lists:
            return ()
        # A slot of no list judges every client. If lists have them all, it is the first one's: its clients and answer.
        slot = self._free[-1] if self._free else self._slots[self.config.lists[0].id]
        return (for_core.page_member(self.config, self._enforced_name, slot=slot),)

    def _build(self) -> Tables:
        self._number += 1
        self.cache.memory.stale_s = int(self.config.cache.stale)
        generation = for_core.generation(
            self._number, self._digest_key, self.config, self._images, self._released, self._slots, more=self._more()
        )
        complete = all(self._is_there(one) or self.forwards_without(one.id) for one in self.config.lists)
        return Tables(
            generation,
            self._access,
            complete,
            self._zones,
            self._own,
            store=self.cache.memory,
            shares=self.cache.shares,
            tally=self.attempts,
            asked=self.asked,
            rotate=self.config.cache.rotate,
            cookies=self._cookies,
        )
