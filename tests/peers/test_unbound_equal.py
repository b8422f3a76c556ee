"""A real Unbound behind, and questions about what is not listed: our answer is Unbound's own.

Each question goes to us first and then to Unbound itself. 10,000 questions; 100,000 with HYPOTHESIS_PROFILE=deep.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import dns.exception
import pytest

from tests.journeys import running
from tests.journeys.running import Service
from tests.parity.cases import is_deep
from tests.peers import equal_client, equal_judge, equal_zones, servers
from tests.peers.equal_client import Answer
from tests.peers.equal_zones import Question
from tests.peers.servers import Server

COUNT = 100_000 if is_deep else 10_000
A_TURN = 2_000
SEED = 8914
MAY_DIFFER = 7
"""Octets of an answer that are not compared: in OPT the payload on offer, the version and the flags but DO."""
OPTIONS = ("ede: yes", "max-udp-size: 1232", "outgoing-num-tcp: 100", "num-queries-per-thread: 2048")


@dataclass
class Outcome:
    """What the comparison found: how many were equal, how many differed for which reason, and what is a fault."""

    asked: int = 0
    equal: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    rcodes: Counter[str] = field(default_factory=Counter)
    truncated: int = 0

    def take(self, question: Question, ours: Answer, theirs: Answer, seconds: float) -> None:
        """Compare one pair, so many seconds after the first question."""
        self.asked += 1
        self.truncated += bool(ours.whole)
        if not ours.octets or not theirs.octets:
            self.faults.append(f"no answer from {'Unbound' if ours.octets else 'us'}: {question}")
            return
        pair = equal_judge.pair(question, ours, theirs, seconds)
        self.rcodes[pair.ours.rcode] += 1
        if not pair.differences:
            self.equal += 1
        elif why := equal_judge.reason(pair):
            self.explained[why] += 1
        else:
            said = [f"{one.octets.hex()} {one.whole.hex()}" for one in (ours, theirs)]
            self.faults.append(f"{', '.join(pair.differences)}: {question} ours {said[0]} Unbound's {said[1]}")

    def __str__(self) -> str:
        said = f"asked {self.asked:,}, over TCP too {self.truncated:,}"
        said = f"{said}: equal {self.equal:,}, not explained {len(self.faults):,}"
        rcodes = ", ".join(f"{rcode} {count:,}" for rcode, count in self.rcodes.most_common())
        return "\n".join([said, rcodes, *(f"{count:>7,}  {why}" for why, count in self.explained.most_common())])


@pytest.fixture(scope="module")
def zones() -> equal_zones.Zones:
    return equal_zones.make(time.time())


@pytest.fixture(scope="module")
def nsd(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, zones: equal_zones.Zones
) -> Iterator[Server]:
    with servers.nsd(tmp_path_factory.mktemp("servers") / "nsd", zones.files, path=program("nsd")) as server:
        yield server


@contextmanager
def resolver(path: str, folder: Path, nsd: Server, zones: equal_zones.Zones) -> Iterator[Server]:
    """An Unbound that knows nothing yet."""
    with servers.unbound(folder, nsd, zones.stubs, anchors=zones.anchors, more=OPTIONS, path=path) as server:
        yield server


@pytest.fixture(scope="module")
def unbound(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, nsd: Server, zones: equal_zones.Zones
) -> Iterator[Server]:
    with resolver(program("unbound"), tmp_path_factory.mktemp("behind") / "unbound", nsd, zones) as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, unbound: Server) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running.serve(folder, upstreams=[unbound.address], entries=["listed.test", "listed.example"]) as one:
        yield one


def test_why_validation_failed_is_told_as_unbound_tells_it(
    service: Service, program: Callable[[str], str], tmp_path: Path, nsd: Server, zones: equal_zones.Zones
) -> None:
    """Asked beside a second Unbound that knows as little: from its cache Unbound says less than when it validates."""
    found: Counter[tuple[int, str]] = Counter()
    with resolver(program("unbound"), tmp_path / "beside", nsd, zones) as other:
        for name in (f"{label}.{zone}" for label in ("mail", "ns", "nothing") for zone in equal_zones.BROKEN):
            question = equal_zones.made(name, "A")
            (ours,), (theirs,) = (equal_client.ask(port, [question.octets]) for port in (service.dns, other.port))
            pair = equal_judge.pair(question, ours, theirs, 0)
            assert not pair.differences, f"{question}: {ours.octets.hex()} {theirs.octets.hex()}"
            assert pair.ours.rcode == "SERVFAIL"
            found.update(pair.ours.errors)
    assert len(found) >= 2, found


def test_a_difference_is_seen(unbound: Server) -> None:
    """Any other octet in what Unbound says, but for its id and the TTLs, is a difference or no answer at all."""
    for name in ("host1.test", "host1.expired.test", "nothing.example"):
        question = equal_zones.made(name, "A", dnssec_ok=True)
        (answer,) = equal_client.ask(unbound.port, [question.octets])
        unseen = 0
        for at in range(2, len(answer.octets)):
            octets = bytearray(answer.octets)
            octets[at] ^= 0x5A
            try:
                pair = equal_judge.pair(question, Answer(bytes(octets), b"", answer.at), answer, 0)
            except dns.exception.DNSException:
                continue
            unseen += not pair.differences or bool(equal_judge.reason(pair))
        assert unseen <= MAY_DIFFER, name


@pytest.mark.timeout(600)
def test_our_answers_are_unbounds(service: Service, unbound: Server, figures: dict[str, str]) -> None:
    outcome = Outcome()
    left = iter(equal_zones.questions(COUNT, SEED))
    started = time.monotonic()
    while turn := list(islice(left, A_TURN)):
        octets = [one.octets for one in turn]
        ours = equal_client.ask(service.dns, octets)
        theirs = equal_client.ask(unbound.port, octets)
        for question, our, their in zip(turn, ours, theirs, strict=True):
            outcome.take(question, our, their, time.monotonic() - started)
    figures["our answers beside Unbound's"] = f"{outcome}\nin {time.monotonic() - started:.0f} s"
    assert not outcome.faults, "\n".join([str(outcome), *outcome.faults[:20]])
    assert outcome.asked == COUNT
    assert outcome.equal > 0.96 * COUNT
