"""Field cases that need a configuration, an order or a clock of their own, over each encrypted transport.

Rules:
- One service and one edge play them all: each scene has a zone with upstreams of its own, and its names are asked over
  one connection of each transport at once. It sees what its namesake in test_field_scenes.py sees, word for word.
- NOT_OVER names what is not played here, and why.
"""

import itertools
import re
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.message
import pytest

from resolver.core import local_zones
from tests.fakes.octets import Asked, OctetsUpstream, in_thread
from tests.fakes.stopwatch import Stopwatch
from tests.journeys import edges
from tests.journeys.burst import burst
from tests.journeys.edges import COLUMNS, DOQ, DOT, H1, H2, H3, Clients, Place
from tests.journeys.field.rows import ADDRESS, A, Reply, rr
from tests.journeys.field.scenes import SCENES, now
from tests.journeys.processes import CLIENT, Site, came, query_for, wait_for
from tests.journeys.running import HOST, PAGE_V4, ROOT, Service
from tests.journeys.test_field_scenes import REAL, WAYS, fails, five, lowers, right, says_address, silent

TIMEOUT_S: Final = 8.0
SLOW_S: Final = 5.0
LATE_S: Final = TIMEOUT_S + 0.5
MANY: Final = 90
"""Queries at once on one connection of streams: fewer than an edge allows."""
NOT_OVER: Final = {
    "1-peers": "its file in peers/ has Unbound ask over TLS too; no validator of Debian's asks over the others",
    "2b": "what /readyz and a metric say of the upstreams: no query of a client is in it",
    "14b": "`order` is for all upstreams; who is asked is decided behind every transport alike",
    "16": "check-config alone: nothing is asked",
}
"""Scenes that are played over UDP and TCP alone, and why."""
OF_ONE: Final = {
    "24": "closed by half is a stream of DoT; HTTP/1.1 answers in order, the others have a stream for each query",
    "15": "rotate = false; and over DoQ every id is 0, which has a test of its own",
    "3": "an edge alone is asked, and by `ask`, which has no HTTP/3",
    "21": "what is not announced is asked over UDP and TCP",
}
"""Parts of a scene that are not played over each transport, and why."""
RATE, BUDGET = 20, 5
"""Of queries a second, and of different listed names: for all but CLIENT."""
BLOCKED = [f"blocked{n}.test" for n in range(BUDGET + 1)]
PAGE, PROHIBITED = f"{PAGE_V4} EDE 4", "REFUSED EDE 18"
SHORT: Final = Reply(answer=[rr(A, ADDRESS, ttl=1)])


def main(query: Asked) -> list[bytes]:
    """The upstream of all other names."""
    if query.name == "five.test":
        return five(query)
    return says_address(1)(query) if query.name == "other.test" else right(query)


ZONES: Final[dict[str, list[Callable[[Asked], Sequence[bytes]]]]] = {
    "known.test": [fails(2, ".inside.known.test")],
    "refuses.test": [fails(5)],
    "stale.test": [lambda query: [SHORT.to(query)]],
    "corp.test": [says_address(2, "corp.test")],
    "deep.corp.test": [says_address(3, "deep.corp.test")],
    "two.test": [right, right],
    "next.test": [lambda query: [Reply(answer=[rr(A, ADDRESS[:3])]).to(query)], right],
    "letters.test": [lowers],
    "late.test": [right],
    "slow.test": [right],
}


@dataclass
class Lab:
    """A service, its upstreams by the zone that each is for, and clients of the edge before it.

    ends: what ends an upstream. late: what comes over each transport for a name whose upstream takes LATE_S.
    """

    site: Site
    service: Service
    place: Place
    clients: Clients
    main: OctetsUpstream
    zones: dict[str, list[OctetsUpstream]]
    ends: dict[str, ExitStack]
    late: dict[str, Future[str]]

    def asked(self, column: str, name: str, kind: str = "A") -> str:
        return came(self.clients.ask(column, query_for(name, kind)))

    def each(self, names: Sequence[str]) -> list[tuple[str, float]]:
        """What comes for these names and after how many seconds: asked over all transports at once, in turn."""
        watch = Stopwatch(self.service.process.pid)

        def some(number: int) -> list[tuple[str, float]]:
            found = []
            for name in names[number :: len(COLUMNS)]:
                since = watch.seconds
                said = self.asked(COLUMNS[number], name)
                found.append((said, watch.seconds - since))
            return found

        with ThreadPoolExecutor(len(COLUMNS)) as threads:
            return [one for found in threads.map(some, range(len(COLUMNS))) for one in found]

    def answered(self, names: Sequence[str], address: str = REAL) -> int:
        return sum(said == address for said, _ in self.each(names))

    def health(self, upstream: OctetsUpstream) -> str:
        body = self.service.get("/metrics")[1].decode()
        (up,) = re.findall(rf'upstream_up{{upstream="{re.escape(upstream.address)}"}} (\S+)', body)
        out = f"upstream {upstream.address} does not answer and is taken out" in self.service.said
        return f"up {float(up):.0f}; {'was' if out else 'never'} taken out"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("scenes")
    place, text = edges.configured(folder)
    with ExitStack() as stack:
        ends: dict[str, ExitStack] = {}

        def started(says: Callable[[Asked], Sequence[bytes]]) -> OctetsUpstream:
            end = ExitStack()
            one = end.enter_context(in_thread(says))
            ends[one.address] = end
            stack.callback(end.close)
            return one

        zones = {name: [started(says) for says in ways] for name, ways in ZONES.items()}
        rest = started(main)
        site = Site(folder, [rest.address])
        tables = [{"name": name, "servers": [one.address for one in servers]} for name, servers in zones.items()]
        more = {"timeout": f"{TIMEOUT_S:.0f}s", "case_randomization": True, "forward_zones": ["local"]}
        site.change("upstream", zone=tables, **more)
        site.set("bypass", announce=list(local_zones.CANARIES))
        site.set("listen", allow=["127.0.0.0/9"])
        site.set("limits", queries_per_second=RATE, distinct_blocked=BUDGET, exempt=[f"{CLIENT}/32"])
        site.set("edge", **tomllib.loads(text)["edge"])
        site.publish(["listed.test", "x.corp.test", *BLOCKED])
        service = stack.enter_context(site.started())
        stack.enter_context(edges.started(place, site.config))
        zones["late.test"][0].delay_s = lambda query: LATE_S
        waiting = stack.enter_context(edges.clients(place, CLIENT))
        threads = stack.enter_context(ThreadPoolExecutor(len(COLUMNS)))
        late = {
            column: threads.submit(lambda column=column: came(waiting.ask(column, query_for(f"{column}.late.test"))))  # type: ignore[misc]  # a default is no argument
            for column in COLUMNS
        }
        clients = stack.enter_context(edges.clients(place, CLIENT))
        yield Lab(site, service, place, clients, rest, zones, ends, late)
        assert "event loop" not in service.said
        assert "Traceback" not in service.said + edges.said(place)


def test_an_upstream_that_answers_is_up(lab: Lab) -> None:
    assert lab.answered([f"outside{n}.known.test" for n in range(60)]) == 0
    got = lab.answered([f"host{n}.inside.known.test" for n in range(200)])
    assert f"{got} of 200 answered; {lab.health(lab.zones['known.test'][0])}" == now("2")


def test_an_upstream_that_refuses_is_up(lab: Lab) -> None:
    (upstream,) = lab.zones["refuses.test"]
    assert lab.answered([f"refused{n}.refuses.test" for n in range(60)]) == 0
    upstream.says = right
    got = lab.answered([f"right{n}.refuses.test" for n in range(20)])
    assert f"{got} of 20 answered; {lab.health(upstream)}" == now("2c")


def test_stale_at_once_where_nobody_is_up(lab: Lab) -> None:
    (upstream,) = lab.zones["stale.test"]
    names = [f"kept{n}.stale.test" for n in range(40)]
    assert lab.answered(names) == 40
    upstream.says = silent
    burst(lab.site.dns, [f"gone{n}.stale.test" for n in range(60)], per_second=200, wait_s=0)
    wait_for(lambda: lab.health(upstream) == "up 0; was taken out", "it to be taken out", 40)
    threading.Event().wait(1.1)  # The TTL is over.
    found = lab.each(names)
    stale = sum(said == f"{REAL} EDE 3" for said, _ in found)
    middle = statistics.median(seconds for _, seconds in found)
    soon = "half of them within 0.9 s" if middle < 0.9 else f"half of them within {middle:.1f} s"
    assert f"{stale} of 40 stale; {soon}" == now("8")


def test_a_slow_server_is_not_flooded(lab: Lab) -> None:
    (upstream,) = lab.zones["slow.test"]
    names = [f"slow{n}.slow.test" for n in range(10)]
    assert lab.answered([f"quick{n}.slow.test" for n in range(20)]) == 20
    upstream.delay_s = lambda query: 1.2
    assert lab.answered(names) == 10
    moments = {name: [one.at for one in upstream.asked if one.name == name] for name in names}
    most = max(sum(at - found[0] < 0.4 for at in found) for found in moments.values())
    words = "at most twice" if most <= 2 else f"{most} times"
    assert f"{words} for each of 10 names" == now("9b")


def test_local_can_be_forwarded(lab: Lab) -> None:
    for column in COLUMNS:
        other = lab.asked(column, f"{column}.alt").partition(" ")[0]
        assert f"local {lab.asked(column, f'{column}.corp.local')}; alt {other}" == now("13k"), column


def test_inside_zones_have_servers_of_their_own(lab: Lab) -> None:
    (inside,), (longest,) = lab.zones["corp.test"], lab.zones["deep.corp.test"]
    got = lab.answered([f"host{n}.corp.test" for n in range(200)], "198.51.100.2")
    for column in COLUMNS:
        longer = lab.asked(column, f"{column}.deep.corp.test")
        lab.asked(column, "corp.test", "DS")
        parent = "outside" if lab.main.count("corp.test", "DS") and not inside.count("corp.test", "DS") else "inside"
        outside = lab.asked(column, "other.test")
        said = f"{got} of 200 inside names; longest {longer}; DS {parent}; outside {outside}"
        assert said == now("14"), column
        assert lab.asked(column, "y.x.corp.test").endswith("EDE 4"), column
    assert longest.asked
    assert not [one.name for one in lab.main.asked if one.name.endswith(".corp.test")]


def firsts(column: str, kind: str, lab: Lab, *, ids: bool) -> int:
    """How many of the addresses come first in 20 answers; without ids, which DoQ and DoH have not, in 20 seconds."""
    found: set[str] = set()
    for number in range(21):
        query = dns.message.make_query("five.test", kind, id=number + 1 if ids else 0)
        (rrset,) = dns.message.from_wire(lab.clients.ask(column, query.to_wire())).answer
        assert len(rrset) == 5
        if number:  # The first may be fresh.
            found.add(str(rrset[0]))
        if len(found) == 5:
            break
        if not ids:
            threading.Event().wait(1.0)  # Time is what tells them apart.
    return len(found)


@pytest.mark.parametrize("column", [column for column in COLUMNS if column != DOQ])
def test_kept_addresses_rotate(column: str, lab: Lab) -> None:
    each = {firsts(column, kind, lab, ids=True) for kind in ("A", "AAAA")}
    said = f"A and AAAA: each of {' '.join(map(str, each))} is first for some; always all 5"
    assert said == now("15").partition("; rotate")[0]


def test_kept_addresses_rotate_where_every_id_is_0(lab: Lab) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda column: firsts(column, "A", lab, ids=False), (H2, H1, DOQ, H3))
        assert list(found) == [5, 5, 5, 5]


def test_an_upstream_that_lowers_letters(lab: Lab) -> None:
    (upstream,) = lab.zones["letters.test"]
    for column in COLUMNS:
        said = lab.asked(column, f"abcdefghijklmnopqrstuvwxyz-{column}.letters.test")
        assert f"{said}, by {upstream.asked[-1].over.upper()}" == now("19"), column


def test_bypass_is_announced(lab: Lab) -> None:
    names = [name for kind in local_zones.CANARIES.values() for name in kind]
    (said,) = {lab.asked(column, name) for column in COLUMNS for name in names}
    often = sum(lab.main.count(name) for name in names)
    assert f"announced: {said}, upstream asked {often} times" == now("21").partition("; ")[0]


def test_one_of_two_fails(lab: Lab) -> None:
    one, other = lab.zones["two.test"]
    other.delay_s = lambda query: 0.01
    found = []
    for word, says in [*WAYS.items(), ("gone", None)]:
        if says is None:
            lab.ends[one.address].close()
        else:
            one.says = says
        found.append(lab.answered([f"{word[:3]}{n}.two.test" for n in range(8 * len(COLUMNS))]) / len(COLUMNS))
    assert f"{min(found):g} of 8 answered in each of {len(found)}" == now("23")


def half_closed(lab: Lab, messages: Sequence[bytes]) -> list[bytes]:
    """Send all over one connection of DoT, end our half of it, and return what comes until the other half ends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = edges.trusting(lab.place, "dot").wrap_bio(incoming, outgoing, server_hostname=edges.NAME)
    found = bytearray()
    with socket.create_connection((HOST, lab.place.ports["tls"]), timeout=60, source_address=(CLIENT, 0)) as below:

        def more() -> bool:
            below.sendall(outgoing.read())
            data = below.recv(2**16)
            incoming.write(data) if data else incoming.write_eof()
            return bool(data)

        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                assert more()
        client.write(b"".join(len(one).to_bytes(2, "big") + one for one in messages))
        try:
            client.unwrap()
        except ssl.SSLWantReadError:
            below.sendall(outgoing.read())  # with our close_notify
        while True:
            try:
                data = client.read(2**16)
            except ssl.SSLWantReadError:
                more()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                break
            if not data:
                break
            found += data
    replies = []
    while found:
        size = 2 + int.from_bytes(found[:2], "big")
        replies.append(bytes(found[2:size]))
        del found[:size]
    return replies


SHARES: Final = {DOT: 300, H2: MANY, DOQ: MANY, H3: MANY}


def slow_ones(prefix: str, count: int) -> list[str]:
    """So many names, of which every third takes SLOW_S."""
    return [f"{'slow' if n % 3 == 0 else 'fast'}{n}-{prefix}.slow.test" for n in range(count)]


def by_name(query: Asked) -> float:
    return SLOW_S if query.name.startswith("slow") else 0.0


def fast_first(names: Sequence[str]) -> int:
    """How many came before the first slow one."""
    return next((n for n, name in enumerate(names) if name.startswith("slow")), len(names))


def test_a_pipeline_half_closed(lab: Lab) -> None:
    (upstream,) = lab.zones["slow.test"]
    upstream.delay_s = lambda query: 0.0
    # The fast ones are kept, so that on a busy machine too they are there before the slow ones.
    fast = [name for prefix, count in SHARES.items() for name in slow_ones(prefix, count) if name.startswith("fast")]
    assert lab.answered(fast) == len(fast)
    upstream.delay_s = by_name
    with ThreadPoolExecutor(4) as threads:
        piped = threads.submit(half_closed, lab, [query_for(name) for name in slow_ones(DOT, SHARES[DOT])])
        # An id of 0 as RFC 8484 4.1 and RFC 9250 4.2.1 want it: streams tell the answers apart.
        streams = {
            column: threads.submit(
                lab.clients.ask_all, column, [bytes(2) + query_for(name)[2:] for name in slow_ones(column, MANY)]
            )
            for column in (H2, DOQ, H3)
        }
        replies = piped.result()
        assert {came(one) for one in replies} == {REAL}
        order = [dns.message.from_wire(one).question[0].name.to_text() for one in replies]
        assert f"{len(set(order))} answers; {fast_first(order)} fast ones first" == now("24")
        for column, found in streams.items():
            names = slow_ones(column, MANY)
            came_for = [(names[place], one) for place, one in found.result()]
            assert [dns.message.from_wire(one).question[0].name.to_text() for _, one in came_for] == [
                f"{name}." for name, _ in came_for
            ], column
            assert {(one[:2], came(one)) for _, one in came_for} == {(bytes(2), REAL)}, column
            assert fast_first([name for name, _ in came_for]) == 2 * MANY // 3, column


def test_what_cannot_be_read_is_asked_of_the_next(lab: Lab) -> None:
    bad, good = lab.zones["next.test"]
    good.delay_s = lambda query: 0.01
    got = lab.answered([f"unreadable{n}.next.test" for n in range(20)])
    assert bad.asked
    assert f"{got} of 20 from the other" == now("F3-next")


def test_a_late_answer_is_kept(lab: Lab) -> None:
    """Nearly the last one: the time that it takes has gone by."""
    (upstream,) = lab.zones["late.test"]
    first = {column: said.result().partition(" ")[0] for column, said in lab.late.items()}
    before = len(upstream.asked)
    upstream.delay_s = lambda query: 30.0
    for column in COLUMNS:
        name = f"{column}.late.test"
        wait_for(lambda column=column, name=name: lab.asked(column, name) == REAL, "the late answer", 30)  # type: ignore[misc]  # a default is no argument
        again = "not asked again" if len(upstream.asked) == before else "asked again"
        assert f"{first[column]}; asked again {REAL}; upstream {again}" == now("9"), column


def test_link_local_addresses(tmp_path: Path) -> None:
    """In a network of its own: link_local.py plays it there."""
    space = ["unshare", "--net"]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be made (root is needed)")
    command = [*space, sys.executable, "-m", "tests.journeys.field.link_local", str(tmp_path), "edge"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == now("3").rpartition("; ")[2], done.stdout


def test_every_scene_is_played_or_named() -> None:
    played = {scene.case for scene in SCENES if scene.test in globals()}
    assert played | set(NOT_OVER) == {scene.case for scene in SCENES}
    assert not played & set(NOT_OVER)
    assert set(OF_ONE) < played


def test_a_client_has_one_budget_of_listed_names_over_all_transports(lab: Lab) -> None:
    with edges.clients(lab.place, "127.77.0.1") as clients:
        asked = zip(itertools.cycle(COLUMNS), [*BLOCKED, BLOCKED[0]], strict=False)
        said = [came(clients.ask(column, query_for(name))) for column, name in asked]
        assert said == [*BUDGET * [PAGE], PROHIBITED, PAGE]
        for column in COLUMNS:
            assert came(clients.ask(column, query_for(BLOCKED[-1]))) == PROHIBITED, column
        assert came(clients.ask(DOT, query_for("unlisted.test"))) == REAL


@pytest.mark.parametrize("column", [H2, DOQ, H3])
def test_past_the_limit_a_client_is_refused_and_never_left_waiting(column: str, lab: Lab) -> None:
    with edges.clients(lab.place, f"127.77.1.{COLUMNS.index(column) + 1}") as clients:
        found = Counter(came(one) for _, one in clients.ask_all(column, MANY * [query_for("listed.test")]))
    assert set(found) == {PAGE, PROHIBITED}
    assert found.total() == MANY


@pytest.mark.parametrize("column", [DOT, H2, H1])
def test_a_stranger_has_no_connection(column: str, lab: Lab) -> None:
    """Over QUIC a stranger gets no octet: unit/edge/test_quic_listen.py."""
    with edges.clients(lab.place, "127.200.0.1") as clients, pytest.raises((ConnectionError, ssl.SSLError)):
        clients.ask(column, query_for("listed.test"))
