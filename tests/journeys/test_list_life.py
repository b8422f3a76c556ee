"""The life of lists as a machine of states: whatever comes, in whatever order, the rules of a list's way hold.

One machine walks a list that is compiled here, another a zone that is, a third a compile host with a node of its fleet.
Disk, clock, judgement, sockets and swap fail when told to, before or after any step on the disk, with an error or with
a crash. Persons decide, clients ask for any name, also while a list is on its way, and names are released with
`list release -`.

`HYPOTHESIS_PROFILE=deep` walks two hundred times as far.
"""

from pathlib import Path
from typing import Any

import hypothesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from resolver.control import requests
from resolver.core import image
from resolver.feed import audit, decide, decisions
from resolver.feed.actions import OF_A_LIST, Action
from resolver.feed.approve import Refused
from resolver.feed.enforced import InForce
from resolver.feed.fleet import Publisher
from resolver.feed.manifest import Manifest, ManifestBroken
from resolver.feed.manifest import read as read_manifest
from resolver.feed.processes import UpdateFailed
from resolver.feed.state import Record, State, is_taken_out
from resolver.feed.update_compile import CONFIRM_SECONDS
from resolver.signed import statement
from tests.fakes.enforcer import wire
from tests.journeys.life import LIMIT_S, PERSONS, UNIVERSE, Actor, World, changed, unusual

RELEASE_S = (3600, 86400)
ASKED = st.sets(st.sampled_from(UNIVERSE), min_size=len(UNIVERSE) // 2)


class Life(RuleBasedStateMachine):
    """One list, one resolver, its persons, and an authority that errs."""

    kind = "names"

    @initialize(expire=st.sampled_from(["keep", "lift"]))
    def begin(self, expire: str) -> None:
        self.world = World(self.kind, expire)
        self.host = self.world.actor("host")
        self.actors = [self.host]
        self.world.run(self.host, self.host.one.poll)
        assert self.host.resolver.enforced == 1

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    # What an authority does.

    @rule(
        serial=st.sampled_from(["next", "next", "next", "same", "older"]),
        change=st.sampled_from(["none", "small", "small", "small", "huge", "announced", "tiny", "protected"]),
        issued=st.sampled_from(["now", "now", "now", "same", "older", "ahead"]),
        draw=st.randoms(use_true_random=False),
        ends=st.booleans(),
    )
    def publish(self, serial: str, change: str, issued: str, draw: Any, ends: bool) -> None:
        self.world.publish(serial, change, issued, draw, ends=ends)

    @rule(draw=st.randoms(use_true_random=False), change=st.sampled_from(["small", "small", "huge"]))
    def publish_as_ever(self, draw: Any, change: str) -> None:
        self.world.publish_as_ever(change, draw)

    @rule()
    def withdraw(self) -> None:
        if self.kind == "names":
            self.world.withdraw()

    @rule(draw=st.randoms(use_true_random=False))
    def replay(self, draw: Any) -> None:
        """An old file comes again, signed as it was."""
        if self.world.old:
            self.world.published = draw.choice(self.world.old)

    @rule()
    def rotate(self) -> None:
        self.world.rotate()

    # What befalls a host.

    @rule(left=st.integers(0, 30), how=st.sampled_from(["error before", "error after", "crash before", "crash after"]))
    def arm(self, left: int, how: str) -> None:
        """Have the next step that writes fail at one of its steps on the disk."""
        self.world.disk.armed = left, how

    @rule(seconds=st.sampled_from([1, 60, 1000, LIMIT_S, 90_000]))
    def later(self, seconds: int) -> None:
        self.world.clock += seconds

    @rule(seconds=st.sampled_from([1, 100, 5000]), back=st.integers(0, 3))
    def clock_set_back(self, seconds: int, back: int) -> None:
        self.world.clock += seconds if back else -seconds

    @rule(which=st.integers(0, 1))
    def start_again(self, which: int) -> None:
        actor, armed = self.actor(which), self.world.disk.armed
        before, found, agreed = actor.one.enforced, actor.one.state, not actor.is_apart()
        self.world.restart(actor)
        self.world.disk.armed = armed
        now = actor.one.enforced
        if isinstance(before, InForce) and agreed and actor.one.state == found and isinstance(now, InForce):
            assert (now.number, now.identity, now.approved) == (before.number, before.identity, before.approved)

    # What a resolver does.

    def actor(self, which: int) -> Actor:
        return self.actors[which % len(self.actors)]

    @rule(
        which=st.integers(0, 1),
        fault=st.sampled_from(["", "", "", "", "selftest", "swap", "wrong", "silent"]),
        during=st.sampled_from(["", "", "compile", "test"]),
    )
    def poll(self, which: int, fault: str, during: str) -> None:
        self.poll_one(self.actor(which), fault, during)

    def poll_one(self, actor: Actor, fault: str, during: str) -> None:
        resolver, before, was = actor.resolver, actor.one.state, actor.one.enforced
        listed, failed = resolver.listed(), dict(resolver.failures)
        self.world.during = during, actor
        resolver.judged_wrong, resolver.fail_swaps = fault == "selftest", int(fault == "swap")
        resolver.wrong, resolver.silent = int(fault == "wrong"), int(fault == "silent")
        with self.world.crowded(actor):
            self.world.run(actor, resolver.list.poll, heals=not fault)
        resolver.judged_wrong, resolver.fail_swaps, resolver.wrong, resolver.silent = False, 0, 0, 0
        after = actor.one.state
        if not actor.is_node and after.in_force is not None and changed(before.in_force, after.in_force):
            grown = self.is_approved_growth(actor, before, after.in_force)
            assert grown or not unusual(before.in_force, after.in_force), "what had to be held came in force"
        if isinstance(was, InForce) and before.in_force is not None and not before.in_force.withdrawn:
            ends = actor.one.hard_limit_at(after.in_force or before.in_force)
            lifts = actor.one.list.expire == "lift" and self.world.clock >= ends
            withdrawn = actor.is_node and after.in_force is not None and after.in_force.withdrawn
            taken_back = actor.is_node and fault == "swap" and before.in_force.identity in after.quarantined
            twice = fault in ("swap", "selftest", "wrong") and self.world.disk.struck
            excused = lifts or withdrawn or taken_back or twice
            assert excused or resolver.view is not None, "the last good list stays"
            assert not listed or excused or resolver.listed() or resolver.entries()
        if actor.clean and after.gone_back_to is None and after.quarantined == before.quarantined:
            actor.hold_what_stayed(listed)
        if not fault and actor.clean and resolver.failures == failed:
            self.a_good_poll(actor)

    def is_approved_growth(self, actor: Actor, before: State, came: Record) -> bool:
        """Whether a standing approval of before lets a list in that has grown."""
        one, record = before.standing, before.in_force
        return (
            one is not None
            and record is not None
            and self.world.clock < one.terms.until
            and came.targets_keys == one.terms.keys
            and record.entries < came.entries <= one.terms.growth_to
        )

    def a_good_poll(self, actor: Actor) -> None:
        """Hold what a poll must have brought that met no fault and counted none."""
        record = actor.one.state.in_force
        if self.kind == "zone" and record is not None and actor.one.state.held is None:
            confirmed = max(record.issued, record.confirmed)
            if record.identity == (self.world.published.custom.serial, self.world.published.digest):
                assert self.world.clock - confirmed < min(CONFIRM_SECONDS, LIMIT_S / 4), "a zone that is there ends"

    @rule(which=st.integers(0, 1))
    def tick(self, which: int) -> None:
        actor = self.actor(which)
        self.world.run(actor, actor.one.prove)
        actor.one.look_at_clocks()
        self.world.run(actor, actor.resolver.releases.look)
        if actor.clean:
            assert all(self.world.clock < one.until for one in actor.resolver.releases), "a release outlives its end"

    @rule(which=st.integers(0, 1), asked=ASKED)
    def crowd(self, which: int, asked: set[str]) -> None:
        """Clients ask for some names, until they ask for others or the process is another."""
        self.actor(which).crowd(asked)

    @rule(asked=ASKED, draw=st.randoms(use_true_random=False))
    def a_list_comes_for_what_is_in_use(self, asked: set[str], draw: Any) -> None:
        """Clients ask, then an honest list names some of it."""
        self.host.crowd(asked)
        self.world.publish_as_ever("small", draw)
        self.poll_one(self.host, "", "")

    # What persons do.

    @rule(which=st.integers(0, 1), persons=st.permutations(PERSONS), what=st.integers(0, 3), many=st.integers(1, 2))
    def sign(self, which: int, persons: list[str], what: int, many: int) -> None:
        """One or two persons sign for one of the things that wait."""
        actor, waits = self.actor(which), []
        for action in OF_A_LIST:
            try:
                decisions.subject(actor.one.state, action)
            except Refused:
                continue
            waits.append(action)
        for person in persons[:many] if waits else ():
            self.sign_one(actor, waits[what % len(waits)], person)
            actor.hold_all(self.world.roots)

    def sign_one(self, actor: Actor, action: Action, person: str) -> None:
        before = actor.one.state
        try:
            about = decisions.subject(before, action)
        except Refused:
            return
        signed = decide.Signed(action=action, serial=about.serial, signature=person.encode(), uid=1)

        async def step() -> Any:
            try:
                return await decide.decide(actor.one, signed, Path("/signers"), self.world.now)
            except (Refused, UpdateFailed) as no:
                return no

        actor.signed.setdefault((action, *about), set()).add(person)
        found = self.world.run(actor, step)
        after = actor.one.state
        persons = actor.signed[(action, *about)]
        came = after.in_force is not None and changed(before.in_force, after.in_force)
        if action is Action.APPROVE and came:
            assert len(persons) >= 2
            assert after.in_force.identity == about or (before.in_force, actor.clean) != (None, True)
        if action is Action.APPROVE_SET_ASIDE and after.in_force is not None and after.in_force.approved:
            assert len(persons) >= 2
        if action is Action.REVOKE and actor.clean and not isinstance(found, Exception):
            assert after.standing is None
        if action is Action.ROLLBACK and came and not isinstance(found, Exception):
            assert after.in_force.identity == before.previous.identity

    @rule(
        persons=st.permutations(PERSONS),
        many=st.integers(1, 2),
        growth_to=st.sampled_from([5, 10, 30]),
        for_s=st.sampled_from([100, 5000]),
    )
    def stand(self, persons: list[str], many: int, growth_to: int, for_s: int) -> None:
        """One or two persons approve growth beforehand."""
        actor = self.host
        until = int(self.world.clock) // 1000 * 1000 + 1000 + for_s
        for person in persons[:many]:
            before, number = actor.one.state, actor.one.state.standings
            signed = decide.SignedTerms(
                growth_to=growth_to, refused_to=0, until=until, signature=person.encode(), uid=1
            )

            async def step(signed: decide.SignedTerms = signed) -> Any:
                try:
                    return await decide.stand(actor.one, signed, Path("/signers"), self.world.now)
                except (Refused, UpdateFailed) as no:
                    return no

            self.world.run(actor, step)
            after = actor.one.state
            if after.in_force is not None and changed(before.in_force, after.in_force):
                assert after.standings == number + 1 or actor.parted
                assert before.held is None or after.in_force.entries <= growth_to or actor.parted
            actor.hold_all(self.world.roots)

    @rule(which=st.integers(0, 1), draw=st.randoms(use_true_random=False), for_s=st.sampled_from(RELEASE_S))
    def release(self, which: int, draw: Any, for_s: int) -> None:
        """A person has a name released: of what is blocked, now and then of what is not."""
        actor = self.actor(which)
        judged = actor.resolver.judged()
        name = draw.choice(sorted(judged) if judged and draw.random() < 0.8 else UNIVERSE)
        number = actor.resolver.releases.written.last + 1
        if name in actor.resolver.listed():
            actor.pardons.setdefault(number, []).append(name)
        request = requests.Release(name=wire(name).hex(), reason="a school", for_s=for_s)
        found = self.world.run(actor, lambda: actor.resolver.verbs[requests.Release](request, 1))
        if found is None:
            return
        if name in actor.resolver.listed():
            assert found.outcome == "done"
            assert name not in actor.resolver.judged()
        else:
            assert found.outcome == "refused"

    @rule(which=st.integers(0, 1), what=st.integers(0, 2))
    def end_release(self, which: int, what: int) -> None:
        actor = self.actor(which)
        numbers = [one.number for one in actor.resolver.releases]
        if not numbers:
            return
        number = numbers[what % len(numbers)]
        request = requests.EndRelease(number=number)
        if self.world.run(actor, lambda: actor.resolver.verbs[requests.EndRelease](request, 1)) is not None:
            del actor.pardons[number]

    # What must hold, whatever has come.

    @invariant()
    def all_holds(self) -> None:
        for actor in self.actors if hasattr(self, "actors") else ():
            actor.hold_all(self.world.roots)

    @invariant()
    def the_log_holds(self) -> None:
        for actor in self.actors if hasattr(self, "actors") else ():
            audit.verify(actor.resolver.folder / "audit.log")


class ZoneLife(Life):
    """A list that is a zone, whose source carries no dates and sends differences to a copy that is kept."""

    kind = "zone"

    @invariant()
    def what_is_handed_over_is_the_copy_of_the_newest_list(self) -> None:
        if hasattr(self, "host") and self.host.sound:
            assert all(self.world.copies)


class FleetLife(Life):
    """A compile host and a node that pulls its images; both have clients, persons, a disk, and names to release."""

    @initialize(expire=st.sampled_from(["keep", "lift"]))
    def begin(self, expire: str) -> None:
        super().begin(expire)
        self.key = Ed25519PrivateKey.generate()
        self.folder, root = self.world.folder / "fleet", self.world.folder / "fleet.pub"
        root.write_bytes(statement.pem_of(statement.public_of(self.key)))
        # What the compile host has had in force, and what its newest statements say; None while that is not known.
        self.served: set[tuple[int, str]] = set()
        self.released: frozenset[str] | None = frozenset()
        self.publisher = self.publishing()
        self.publish_images()
        self.node = self.world.actor("node", image_of=self.folder, root=root)
        self.actors.append(self.node)
        self.poll_one(self.node, "", "")
        assert self.node.resolver.enforced == 1

    def publishing(self) -> Publisher:
        resolver = self.host.resolver
        self.publisher_of = resolver.releases
        return Publisher(
            self.folder,
            self.key,
            resolver.feed,
            resolver.releases,
            digest_key=resolver.keys.digest_id,
            beat=300.0,
            now=self.world.now,
        )

    @rule()
    def publish_images(self) -> None:
        self.serve_one()

    def serve_one(self) -> None:
        if self.publisher_of is not self.host.resolver.releases:
            self.publisher = self.publishing()
        record = self.host.one.state.in_force
        if record is not None:
            self.served.add(record.identity)
        self.world.run(self.host, self.publisher.publish)
        now = {self.host.pardons.get(one.number, [""])[-1] for one in self.host.resolver.releases}
        self.released = frozenset(now) if self.host.clean else None

    @rule(asked=ASKED, fault=st.sampled_from(["", "", "", "selftest", "swap", "wrong", "silent"]))
    def the_fleet_goes_on(self, asked: set[str], fault: str) -> None:
        """The usual way: the host polls and publishes, the node pulls; its clients ask."""
        self.node.crowd(asked)
        self.poll_one(self.host, "", "")
        self.serve_one()
        self.poll_one(self.node, fault, "")

    def a_good_poll(self, actor: Actor) -> None:
        super().a_good_poll(actor)
        if actor is not self.node or self.released is None:
            return
        said = self.manifest()
        if said is None:
            return
        record = actor.one.state.in_force
        assert record is not None
        if is_taken_out(actor.one.state, said.digest):
            return
        assert (record.serial, record.digest) == (said.custom.serial, said.digest)
        assert record.approved == (said.made.approved or record.approved_here)
        listed, judged = actor.resolver.listed(), actor.resolver.judged()
        assert listed - judged <= self.released | actor.pardoned, "a release that has ended goes on at a node"
        assert not self.released & judged, "a name that the compile host has released is blocked at a node"

    def manifest(self) -> Manifest | None:
        """What the compile host says now."""
        try:
            return read_manifest((self.folder / "demo.json").read_bytes(), statement.public_of(self.key), Manifest)
        except (OSError, ManifestBroken):
            return None

    @invariant()
    def a_node_enforces_only_what_its_compile_host_has_had_in_force(self) -> None:
        if hasattr(self, "node"):
            self.node.may_follow |= self.host.pardoned
            record = self.node.one.state.in_force
            assert record is None or record.identity in self.served
            if isinstance(self.node.one.enforced, InForce):
                assert image.header(self.node.resolver.view).serial in {serial for serial, _ in self.served}


deep = hypothesis.settings().max_examples > 1000


def settings(examples: int, steps: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=80 * examples if deep else examples,
        stateful_step_count=60 if deep else steps,
        deadline=None,
        # `make test` walks the same ways each time: it fails only if something has changed; `deep` seeks new ones.
        derandomize=not deep,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


TestLife = Life.TestCase
TestLife.settings = settings(25, 25)
TestZoneLife = ZoneLife.TestCase
TestZoneLife.settings = settings(15, 25)
TestFleetLife = FleetLife.TestCase
TestFleetLife.settings = settings(25, 30)
