"""While upstreams lose, lie, hang, come and go: each query gets an answer or the right error in time.

Rules:
- In time is the configured limit and SLACK_S for a loaded machine. Listed names are blocked throughout, at once.
- What a lying upstream said is never sent and never kept: the same name, asked again of an honest one, is answered.
- After it all the process has no more open files than before, nothing in flight, and little more memory.
- RESOLVER_TORTURE makes the bursts so many times longer.
"""

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.fakes.stopwatch import Stopwatch
from tests.fakes.upstream import Upstream, Way, in_thread
from tests.journeys.burst import Burst, burst
from tests.journeys.processes import REAL, Site, asked, exchange, honest, query_for, series, wait_for
from tests.journeys.running import NO_UPSTREAM, PAGE_V4, Service

LIMIT_S, SLACK_S = 1.0, 0.7
IN_TIME_S = LIMIT_S + SLACK_S
TIMES = int(os.environ.get("RESOLVER_TORTURE", "1"))
BLOCKED = f"{PAGE_V4} EDE 4"
NO_ANSWER, NOBODY_UP = "SERVFAIL EDE 23", "SERVFAIL EDE 22"
GROWTH_BYTES = 24 * 2**20


@contextmanager
def served(folder: Path, *upstreams: str, **sections: dict[str, object]) -> Iterator[Service]:
    """A service with these upstreams; it says nothing of an error in its loop."""
    site = Site(folder, upstreams, {"upstream": {"timeout": "1s"}, "cache": {"size": "1MiB", "stale": "0"}, **sections})
    site.publish(["listed.test"])
    with site.started() as service:
        yield service
    assert "event loop" not in service.said
    assert "Traceback" not in service.said


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as one:
        yield one


def up(service: Service, upstream: Upstream) -> bool:
    return series(service, "upstream_up", upstream=upstream.address) == 1


def open_files(service: Service) -> int:
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def connections_to(port: int) -> int:
    """How many TCP connections to this port are open at the end that has opened them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[2].partition(":")[2], 16) == port and line[3] == "01" for line in lines)


def resident_bytes(service: Service) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{service.process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def names(word: str, count: int) -> list[str]:
    """Distinct names; each tenth is listed."""
    return [f"{word}-{n}.{'listed' if n % 10 == 9 else 'open'}.test" for n in range(count * TIMES)]


def ask_all(service: Service, word: str, count: int = 200, per_second: float = 200) -> Burst:
    """Ask for so many names, and hold what holds always: all answered in time, what is listed blocked at once."""
    came = burst(service.dns, names(word, count), per_second=per_second, wait_s=IN_TIME_S, pid=service.process.pid)
    for one in came.each:
        assert one.seconds < IN_TIME_S, f"{one.name}: {one.said} after {one.seconds:.2f} s"
        if ".listed." in one.name:
            assert one.said == BLOCKED
            assert one.seconds < SLACK_S
        else:
            assert one.said in (REAL, NO_ANSWER, NOBODY_UP), one.said
    return Burst(tuple(one for one in came.each if ".open." in one.name))


@contextmanager
def watched(service: Service, upstreams: int = 1) -> Iterator[None]:
    """Nothing is left of what the block does to the service but its sockets towards so many upstreams."""
    files = open_files(service)
    ask_all(service, "warm", 200, 400)
    memory = resident_bytes(service)
    yield
    wait_for(lambda: service.metric("queries_in_flight") == 0, "nothing to be in flight")
    grown = resident_bytes(service) - memory
    print(f"memory {memory / 2**20:.1f} MB, {grown / 2**20:+.1f} MB; files {files}, then {open_files(service)}")
    assert grown < GROWTH_BYTES
    # The event loop has 128 sockets towards each upstream, and so have all threads together.
    wait_for(lambda: open_files(service) <= files + 256 * upstreams + 16, "files to be closed", 5)


def test_a_third_of_all_datagrams_lost_is_hardly_felt(tmp_path: Path, upstream: Upstream) -> None:
    with served(tmp_path, upstream.address) as service, watched(service):
        upstream.loss = 0.3
        # Slowly: an upstream that a busy machine delays would lose more than was meant.
        came = ask_all(service, "loss", 600, 100)
        print(f"30 % lost each way: {came.share(REAL):.1%} answered, worst {came.worst():.2f} s")
        assert came.share(REAL) > 0.85
        assert up(service, upstream)


def test_who_answers_after_the_time_limit_is_out_and_comes_back(tmp_path: Path, upstream: Upstream) -> None:
    with served(tmp_path, upstream.address) as service, watched(service):
        upstream.delay_s = 2.0
        started = time.monotonic()
        came = ask_all(service, "slow", 200, 200)
        assert came.share(REAL) == 0
        wait_for(lambda: not up(service, upstream), "it to be taken out", 6)
        print(f"2 s late: out after {time.monotonic() - started:.1f} s")
        came = ask_all(service, "late", 100, 400)
        assert came.said()[NOBODY_UP] >= 90 - 32, "a few still try, the others are told at once"
        upstream.delay_s = 0.0
        started = time.monotonic()
        wait_for(lambda: up(service, upstream), "it to be back", 6)
        print(f"in time again: back after {time.monotonic() - started:.1f} s")
        assert ask_all(service, "back", 100).share(REAL) == 1


def test_one_that_hangs_of_three_is_taken_out_and_hardly_felt(tmp_path: Path) -> None:
    with (
        in_thread(honest) as bad,
        in_thread(honest) as good,
        in_thread(honest) as better,
        served(tmp_path, bad.address, good.address, better.address) as service,
        watched(service, 3),
    ):
        for one in (bad, good, better):
            one.delay_s = 0.05  # Else the fastest is enough for all, and nobody meets the one that hangs.
        bad.otherwise = (Way.SILENT,)
        started = time.monotonic()
        came = ask_all(service, "hang", 400, 400)
        print(f"one of three hangs: {came.share(REAL):.1%} answered, worst {came.worst():.2f} s")
        assert came.share(REAL) == 1
        assert came.worst() < LIMIT_S
        rounds = count()
        wait_for(
            lambda: not up(service, bad) or not ask_all(service, f"{next(rounds)}", 100, 400), "it to be taken out", 10
        )
        print(f"hanging: out after {time.monotonic() - started:.1f} s")
        before = bad.exchanges["udp"]
        assert ask_all(service, "out", 100).worst() < SLACK_S
        assert bad.exchanges["udp"] - before <= 4, "probes alone"
        bad.otherwise = (Way.HONEST,)
        started = time.monotonic()
        wait_for(lambda: up(service, bad), "it to be back", 10)
        print(f"answering again: back after {time.monotonic() - started:.1f} s")
        assert up(service, good)
        assert up(service, better)


def test_one_that_comes_and_goes_beside_one_that_stays(tmp_path: Path) -> None:
    with (
        in_thread(honest) as flaps,
        in_thread(honest) as stays,
        served(tmp_path, flaps.address, stays.address) as service,
        watched(service, 2),
    ):
        over = threading.Event()

        def flap() -> None:
            while not over.wait(0.3):
                flaps.otherwise = (Way.HONEST,) if flaps.otherwise[0] is Way.SILENT else (Way.SILENT,)

        flapper = threading.Thread(target=flap)
        flapper.start()
        try:
            came = ask_all(service, "flap", 600, 300)
        finally:
            over.set()
            flapper.join()
        print(f"flapping: {came.share(REAL):.1%} answered, worst {came.worst():.2f} s")
        assert came.share(REAL) == 1
        assert len(re.findall("is taken out", service.said)) <= 4


def test_all_gone_is_told_at_once_and_their_return_is_found(tmp_path: Path) -> None:
    with (
        in_thread(honest) as one,
        in_thread(honest) as other,
        served(tmp_path, one.address, other.address) as service,
        watched(service, 2),
    ):
        for upstream in (one, other):
            upstream.away()
        started = time.monotonic()
        came = ask_all(service, "gone", 300, 300)
        assert came.share(REAL) == 0
        # A busy machine may keep a few from their answer.
        took = sorted(one.seconds for one in came.each)
        assert took[len(took) * 9 // 10] < SLACK_S, "nobody waits for what is refused"
        wait_for(lambda: not up(service, one) and not up(service, other), "both to be taken out", 6)
        print(f"refusing: out after {time.monotonic() - started:.1f} s, worst {came.worst():.2f} s")
        assert ask_all(service, "still", 50).share(NOBODY_UP) == 1
        for upstream in (one, other):
            upstream.back()
        started = time.monotonic()
        wait_for(lambda: asked(service.dns, f"{time.monotonic_ns()}.test") == REAL, "an answer", 6)
        print(f"listening again: answers after {time.monotonic() - started:.1f} s")
        wait_for(lambda: up(service, one) or up(service, other), "one to be back", 6)


def inside_alone(query: dns.message.Message) -> dns.message.Message:
    """An upstream without an uplink: it knows what is below corp.test, and says SERVFAIL to all else."""
    if query.question[0].name.to_text().lower().endswith(".corp.test."):
        return honest(query)
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(dns.rcode.SERVFAIL)
    return reply


def test_the_only_upstream_is_asked_though_it_knows_the_inside_alone(tmp_path: Path) -> None:
    with (
        in_thread(inside_alone) as upstream,
        served(tmp_path, upstream.address, upstream={"timeout": "5s"}) as service,
    ):
        outside = burst(service.dns, [f"outside-{n}.test" for n in range(40)], per_second=400, wait_s=8)
        assert all(said.startswith("SERVFAIL") for said in outside.said()), "as the upstream says"
        wait_for(lambda: "answers SERVFAIL: it is asked" in service.said, "it to be found poor", 10)
        inside = burst(service.dns, [f"{n}.corp.test" for n in range(200 * TIMES)], per_second=2000, wait_s=8)
        print(f"inside names of an upstream that says SERVFAIL to all else: {inside.share(REAL):.1%} answered")
        assert inside.share(REAL) == 1
        assert asked(service.dns, "tcp.corp.test", over="tcp") == REAL
        assert up(service, upstream)
        assert service.metric("upstream_answering") == 1
        assert service.get("/readyz") == (200, b"ready\n")
        assert "is taken out" not in service.said


def test_an_outage_is_told_within_five_seconds_without_a_query(tmp_path: Path, upstream: Upstream) -> None:
    with served(tmp_path, upstream.address) as service:
        wait_for(lambda: service.get("/readyz") == (200, b"ready\n"), "readiness")
        assert up(service, upstream), "though nobody has asked"
        for way in ((Way.SILENT,), None):
            if way is None:
                upstream.away()
            else:
                upstream.otherwise = way
            watch = Stopwatch(service.process.pid)
            wait_for(lambda: service.get("/readyz") == (503, NO_UPSTREAM), "the outage to be told")
            print(f"outage told after {watch.seconds:.1f} s")
            assert watch.seconds < 5
            # A body of /metrics is kept for a second.
            wait_for(lambda: service.metric("upstream_answering") == 0, "the metric")
            assert not up(service, upstream)
            assert asked(service.dns, "x.listed.test") == BLOCKED
            if way is None:
                upstream.back()
            upstream.otherwise = (Way.HONEST,)
            wait_for(lambda: service.get("/readyz")[0] == 200, "its end to be told")
            assert up(service, upstream)


LIES = [
    (Way.WRONG_ID,) * 3,
    (Way.WRONG_QUESTION,) * 3,
    (Way.WRONG_PORT,),
    (Way.GARBAGE,),
    (Way.HALF,),
    (Way.MALFORMED,),
    (Way.POINTER_LOOP,),
    (Way.TRUNCATED,),
]


def test_lies_are_neither_sent_nor_kept(tmp_path: Path, upstream: Upstream) -> None:
    """Every exchange of a name is answered by one lie; over TCP, too, where the lie leads there."""
    with served(tmp_path, upstream.address) as service, watched(service):
        for number, lie in enumerate(LIES):
            upstream.otherwise = lie
            watch = Stopwatch(service.process.pid)
            if lie == (Way.TRUNCATED,):
                upstream.script.extend([(Way.TRUNCATED,), (Way.RESET,), (Way.TRUNCATED,), (Way.HALF,)])
            said = asked(service.dns, f"lie-{number}.test")
            assert said.startswith("SERVFAIL"), f"{lie}: {said}"
            assert watch.seconds < IN_TIME_S
            assert asked(service.dns, f"x{number}.listed.test") == BLOCKED
        upstream.otherwise = (Way.HONEST,)
        for number, lie in enumerate(LIES):
            wait_for(partial(is_real, service, f"lie-{number}.test"), f"the truth after {lie}", 40)
        assert up(service, upstream)


def is_real(service: Service, name: str) -> bool:
    """Whether the honest answer comes: a failure that is kept has to go first."""
    return asked(service.dns, name) == REAL


def test_64_kb_in_a_datagram_are_asked_for_again_by_tcp(tmp_path: Path, upstream: Upstream) -> None:
    # TCP has half of the time limit, and so large a reply is slow to make.
    with served(tmp_path, upstream.address, upstream={"timeout": "8s"}) as service, watched(service):
        upstream.otherwise = (Way.HUGE,)
        reply = exchange(service.dns, query_for("huge.test"))
        assert len(reply) <= 1232
        assert reply[2] & 2, "what does not fit is cut"
        assert upstream.exchanges["tcp"] == 1
        assert len(exchange(service.dns, query_for("huge.test"), over="tcp")) > 60_000


def test_a_forged_reply_before_the_honest_one_changes_nothing(tmp_path: Path, upstream: Upstream) -> None:
    with served(tmp_path, upstream.address) as service, watched(service):
        upstream.otherwise = (Way.WRONG_ID, Way.WRONG_QUESTION, Way.WRONG_PORT, Way.HONEST)
        assert ask_all(service, "forged", 200).share(REAL) == 1
        upstream.otherwise = (*(Way.GUESS,) * 12, Way.HONEST)
        # Each costs twelve datagrams and a question over TCP within half of the limit: few at once.
        assert ask_all(service, "guessed", 10).share(REAL) == 1
        assert upstream.exchanges["tcp"] > 0, "where somebody guesses, TCP is asked"


def test_what_an_answer_says_of_other_names_is_not_kept_for_them(tmp_path: Path) -> None:
    """What an answer says of names that nobody asked for is left out, and counts for no other question."""
    poison = "203.0.113.66"

    def answer(query: dns.message.Message) -> dns.message.Message:
        reply = honest(query)
        for section in (reply.answer, reply.authority, reply.additional):
            section.append(dns.rrset.from_text("victim.test.", 300, "IN", "A", poison))
        if query.question[0].name.to_text() == "victim.test.":
            return honest(query)
        if query.question[0].name.to_text().startswith("leads"):
            reply.answer.insert(0, dns.rrset.from_text(query.question[0].name, 300, "IN", "CNAME", "x.listed.test."))
        return reply

    with in_thread(answer) as upstream, served(tmp_path, upstream.address) as service:
        assert asked(service.dns, "first.test").startswith(REAL)
        assert asked(service.dns, "victim.test") == REAL
        assert asked(service.dns, "leads.test") == BLOCKED
        assert asked(service.dns, "x.listed.test") == BLOCKED


def test_tcp_that_hangs_ends_in_time_and_leaves_no_connection(tmp_path: Path, upstream: Upstream) -> None:
    with served(tmp_path, upstream.address) as service, watched(service):
        upstream.otherwise = (Way.TRUNCATED,)
        upstream.hold_streams = True
        came = ask_all(service, "hang", 100)
        assert came.said()[NO_ANSWER] + came.said()[NOBODY_UP] == 90
        wait_for(lambda: connections_to(upstream.port) == 0, "connections to be closed", 5)
        upstream.hold_streams = False
        wait_for(lambda: asked(service.dns, f"{time.monotonic_ns()}.test") == REAL, "an answer", 6)
        assert ask_all(service, "again", 100).share(REAL) == 1


def short_lived(query: dns.message.Message) -> dns.message.Message:
    """Honest for a second; what begins with `no` is not there."""
    if not query.question[0].name.to_text().startswith("no"):
        reply = honest(query)
        for rrset in reply.answer:
            rrset.ttl = 1
        return reply
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(dns.rcode.NXDOMAIN)
    soa = "ns.example. nobody.example. 1 3600 1200 604800 1"
    reply.authority.append(dns.rrset.from_text("test.", 1, "IN", "SOA", soa))
    return reply


def test_what_was_kept_is_served_past_its_time_and_marked(tmp_path: Path) -> None:
    with (
        in_thread(short_lived) as upstream,
        served(tmp_path, upstream.address, cache={"size": "1MiB", "stale": "1h"}) as service,
    ):
        kept = {way: [f"{way}-{n}.test" for n in range(20)] for way in ("servfail", "silent", "gone")}
        for way, known in kept.items():
            assert all(asked(service.dns, name) == REAL for name in known)
            assert asked(service.dns, f"no-{way}.test") == "NXDOMAIN"
        # The time of an answer is the wall's: there is no other way to let it pass.
        threading.Event().wait(2.1)
        upstream.otherwise = (Way.SERVFAIL,)
        stale(service, "servfail", kept["servfail"])
        upstream.otherwise = (Way.SILENT,)
        stale(service, "silent", kept["silent"])
        upstream.away()
        stale(service, "gone", kept["gone"])
        upstream.back()
        upstream.otherwise = (Way.HONEST,)
        wait_for(partial(is_real, service, kept["gone"][0]), "a fresh answer", 40)


def stale(service: Service, way: str, known: list[str]) -> None:
    """What upstream does not answer in this way is served and marked; what is listed or not kept is as ever."""
    negative, new = f"no-{way}.test", f"new-{way}.test"
    asked_for = [*known, negative, "x.listed.test", new]
    came = burst(service.dns, asked_for, per_second=100, wait_s=IN_TIME_S, pid=service.process.pid)
    said = {one.name: one.said for one in came.each}
    print(f"stale, {way}: worst {came.worst():.2f} s")
    assert {said[name] for name in known} == {f"{REAL} EDE 3"}
    assert said[negative] == "NXDOMAIN EDE 19"
    assert said["x.listed.test"] == BLOCKED
    assert said[new].startswith("SERVFAIL")
    assert came.worst() < IN_TIME_S
    reply = dns.message.from_wire(exchange(service.dns, query_for(known[0])))
    assert 0 < reply.answer[0].ttl <= 30
