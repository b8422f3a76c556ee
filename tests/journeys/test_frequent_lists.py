"""A list with a new serial each minute: one hold is decided within its deadline, and the alarm comes before that."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from resolver.feed import approve, audit, decide, standing
from resolver.feed.approve import Refused, Signer
from resolver.feed.decide import Decided, SignedTerms
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer
from tests.fakes.primary import Primary, key_file
from tests.fakes.zoned import Zoned, blocks

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("in_this_process")]

DEADLINE_S = 1800
ALERT_S = 4 * 3600
"""BlocklistDeadlineNear goes off so long before a deadline."""
SMALL = 1000


@pytest.fixture(autouse=True)
def _signers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature is its signer's name and what was signed; it counts for these very bytes alone."""

    async def signer_of(signature: bytes, held: dict[int, bytes], approvers: Path) -> Signer:
        person, _, said = signature.partition(b":")
        for expiry, data in held.items():
            if data == said:
                return Signer(person.decode(), f"SHA256:{person.decode()}", expiry)
        raise Refused("the signature is not of the statement to sign now, or has expired")

    monkeypatch.setattr(approve, "signer_of", signer_of)


@dataclass
class Hour:
    """An hour of a resolver's clock: each minute the authority issues a serial, and the resolver polls."""

    resolver: Enforcer
    publish: Callable[[int, int, int], object]
    start: int
    minute: int = 0
    in_force_at: dict[int, int] = field(default_factory=dict)
    alarmed: list[int] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    deadlines: set[int] = field(default_factory=set)

    @property
    def now(self) -> int:
        return self.start + 60 * self.minute

    async def pass_minute(self, count: int) -> None:
        """Issue serial 1 in minute 1 and so on, poll, and look at what is shown."""
        self.minute += 1
        self.publish(count, self.minute, self.now)
        await self.resolver.list.poll()
        self.look()

    def look(self) -> None:
        found = self.resolver.feed.facts()[0]
        if found.due_by:
            self.deadlines.add(found.due_by)
            if found.due_by - self.now < ALERT_S:
                self.alarmed.append(self.minute)
            if found.due_by < self.now:
                self.missed.append(self.minute)
        for serial in range(1, found.serial + 1):
            self.in_force_at.setdefault(serial, self.minute)


@pytest.fixture
def hour(tmp_path: Path) -> Hour:
    start = int(time.time())
    authority = Authority(tmp_path / "authority")
    resolver = Enforcer(authority, tmp_path / "state", 'deadline = "30m"\n')

    def publish(count: int, serial: int, at: int) -> None:
        authority.publish(names(count), serial, issued=at)
        authority.serve_timestamp(expires_in=7 * 86400)

    hour = Hour(resolver, publish, start)
    resolver.now = lambda: hour.now
    resolver.feed.recover()
    return hour


async def stand(resolver: Enforcer, person: str, growth_to: int, until: int, said: bytes = b"") -> Decided:
    """One person's signature of the statement that is printed now, or of `said`."""
    now = resolver.now()
    state = standing.kept(resolver.list.state, now)
    about = standing.terms(state, growth_to=growth_to, refused_to=0, until=until, now=now)
    data = said or standing.statement("demo", about, approve.expiries(now)[0])
    signed = SignedTerms(
        growth_to=growth_to, refused_to=0, until=until, signature=person.encode() + b":" + data, uid=1000
    )
    return await decide.stand(resolver.list, signed, Path("/signers"), resolver.now)


async def test_sixty_serials_in_an_hour_with_one_hold_are_in_force_within_half_an_hour(hour: Hour) -> None:
    """Two persons need not sign within the same minute any more: they sign growth, and later serials come with it."""
    resolver, until = hour.resolver, hour.start + 2 * 3600
    for minute in range(1, 61):
        await hour.pass_minute(SMALL + minute if minute < 10 else 2 * SMALL + minute)
        if minute == 15:
            assert (await stand(resolver, "anna", 5000, until)).missing == 1
        if minute == 20:
            resolver.restarted()
        if minute == 27:
            done = await stand(resolver, "ben", 5000, until)
            assert (done.done, resolver.enforced) == (True, 27)
            hour.look()
    assert resolver.enforced == 60
    assert resolver.failures == {}
    late = {serial: at - serial for serial, at in hour.in_force_at.items() if at > serial}
    assert late == {serial: 27 - serial for serial in range(10, 27)}
    assert max(late.values()) * 60 < DEADLINE_S
    # One deadline stood all the time, that of serial 10; its alarm came with it, and it was never missed.
    assert hour.deadlines == {hour.start + 10 * 60 + DEADLINE_S}
    assert (hour.alarmed[0], hour.missed) == (10, [])
    entries, _ = audit.verify(resolver.folder / "audit.log")
    by = [entry.detail for entry in entries if entry.event is audit.Event.ACCEPTED_HELD]
    assert by == ["standing approval 1"]


async def test_a_hold_that_nobody_decides_alarms_before_its_deadline_and_is_missed_then(
    hour: Hour, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, each new serial moved the deadline on: the alarm of the law never came."""
    for minute in range(1, 61):
        await hour.pass_minute(SMALL if minute < 10 else 2 * SMALL + minute)
    assert hour.resolver.enforced == 9
    assert hour.deadlines == {hour.start + 10 * 60 + DEADLINE_S}
    assert (hour.alarmed[0], hour.missed[0]) == (10, 41)
    assert caplog.text.count("a newer list is not in force though its deadline is over") == 1


async def test_growth_beyond_what_was_approved_is_held_again_with_a_deadline_of_its_own(hour: Hour) -> None:
    until = hour.start + 2 * 3600
    await hour.pass_minute(SMALL)
    for person in ("anna", "ben"):
        await stand(hour.resolver, person, 3000, until)
    for count in (1700, 2400, 3000):
        await hour.pass_minute(count)
        assert hour.resolver.enforced == hour.minute
    await hour.pass_minute(4000)
    assert (hour.resolver.enforced, hour.resolver.list.state.held.reasons) == (4, ("growth",))
    assert hour.deadlines == {hour.start + 5 * 60 + DEADLINE_S}


async def test_signatures_of_a_standing_approval_serve_once(hour: Hour, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement names a number that is used up: neither its end nor its revocation lets it come back."""
    await hour.pass_minute(SMALL)
    until, kept = hour.start + 3600, []
    real = approve.signer_of

    async def recorded(signature: bytes, *rest: Any) -> Signer:
        kept.append(signature.partition(b":")[2])
        return await real(signature, *rest)

    monkeypatch.setattr(approve, "signer_of", recorded)
    for person in ("anna", "ben"):
        await stand(hour.resolver, person, 5000, until)
    hour.resolver.list.revoke_standing()
    await hour.pass_minute(2 * SMALL)
    assert hour.resolver.list.state.held is not None
    with pytest.raises(Refused, match="not of the statement"):
        await stand(hour.resolver, "anna", 5000, until, kept[0])
    with pytest.raises(Refused, match="not of the statement"):
        await stand(hour.resolver, "anna", 9000, until, kept[0])
    assert hour.resolver.enforced == 1


@pytest.fixture
def primary() -> Iterator[Primary]:
    with Primary(serial=1, records=blocks(*(f"name{n}.test" for n in range(4)))).serving() as serving:
        yield serving


async def test_a_zone_that_grows_each_minute_is_approved_beforehand_too(primary: Primary, tmp_path: Path) -> None:
    """A zone can announce no number of entries: before, what was held of it stayed held in each later serial."""
    resolver = Zoned(primary, tmp_path / "state", key_file(tmp_path), "expect_entries = [1, 10]")
    resolver.feed.recover()
    await resolver.list.poll()
    assert resolver.enforced == 1

    async def serial(number: int, count: int) -> None:
        resolver.later += 60
        primary.serial, primary.records = number, blocks(*(f"name{n}.test" for n in range(count)))
        await resolver.list.poll()

    await serial(2, 600)
    due = resolver.feed.facts()[0].due_by
    until = int(resolver.now()) + 3600
    await stand(resolver, "anna", 2000, until)
    await serial(3, 610)
    found = resolver.feed.facts()[0]
    assert (resolver.enforced, found.held_serial, found.due_by, found.due_serial) == (1, 3, due, 2)
    await stand(resolver, "ben", 2000, until)
    assert resolver.enforced == 3
    await serial(4, 1200)
    assert (resolver.enforced, resolver.feed.facts()[0].due_by) == (4, 0)
    await serial(5, 2001)
    assert (resolver.enforced, resolver.list.state.held.reasons) == (4, ("growth",))
