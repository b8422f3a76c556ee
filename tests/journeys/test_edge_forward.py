"""What queries of an edge get where upstreams have to be asked: as by the event loop's exchanges, and nothing is lost.

The test speaks an edge's frames; upstreams and questions are those of test_engine_forward.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resolver.core import codes
from resolver.query import edge_frames
from resolver.query.edge_frames import Answer
from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, Site, came, honest, query_for, wait_for
from tests.journeys.test_edge_frames import ADDRESS, Edge
from tests.journeys.test_engine_forward import BLOCKED, coming_and_going, of_the_question, questions

OVER = (codes.DOT, codes.DOH, codes.DOQ)
TOGETHER = 10
IN_FLIGHT = 200
FLAPPING = 3000


def site_of(folder: Path, address: str, **more: dict[str, object]) -> Site:
    """A site whose service takes edges of this account."""
    site = Site(folder, [address], {"limits": {"exempt": ["127.0.0.0/8"]}, **more})
    files = {"certificate": "/none", "key": "/none"}
    site.set("edge", socket=str(folder / "queries"), user="", name="dns.isp.example", **files, tls=["127.0.0.1:853"])
    site.publish(["listed.test"])
    return site


@contextmanager
def edge_of(folder: Path) -> Iterator[Edge]:
    """An edge of the service in this folder."""
    edge = Edge(folder / "queries")
    try:
        yield edge
    finally:
        edge.socket.close()


def test_both_ways_give_the_same_frames(tmp_path: Path) -> None:
    said: dict[str, dict[int, Answer]] = {}
    packets = questions()
    with in_thread(of_the_question) as upstream:
        for engine in ("python", "compiled"):
            folder = tmp_path / engine
            folder.mkdir()
            site = site_of(folder, upstream.address, listen={"engine": engine})
            with site.started() as service, edge_of(folder) as edge:
                wait_for(lambda service=service: service.metric("upstream_answering") == 1, "a look at the upstream")
                said[engine] = {}
                # A few at a time: what a busy upstream does not answer in time depends on more than the question.
                for first in range(0, len(packets), TOGETHER):
                    few = range(first, min(len(packets), first + TOGETHER))
                    edge.send(*(edge_frames.query(at, OVER[at % len(OVER)], ADDRESS, packets[at]) for at in few))
                    said[engine].update(edge.answers(len(few)))
    rcodes = Counter(one.message[3] & 15 for one in said["compiled"].values())
    assert len(rcodes) == 4, rcodes
    ttls = {one.max_age for one in said["compiled"].values()}
    assert len(ttls) > 2, ttls
    differ = [number for number in range(len(packets)) if said["python"][number] != said["compiled"][number]]
    assert differ == []


def test_of_many_queries_to_an_upstream_that_comes_and_goes_none_is_lost(tmp_path: Path) -> None:
    with in_thread(honest) as upstream:
        site = site_of(tmp_path, upstream.address, upstream={"timeout": "1s"})
        with site.started() as service, edge_of(tmp_path) as edge:
            said = Counter[tuple[str, bool]]()
            with coming_and_going(upstream):
                for first in range(0, FLAPPING, IN_FLIGHT):
                    numbers = range(first, first + IN_FLIGHT)
                    names = [f"n-{number}.{'listed' if number % 10 == 9 else 'open'}.test" for number in numbers]
                    frames = zip(numbers, names, strict=True)
                    edge.send(*(edge_frames.query(at, OVER[at % 3], ADDRESS, query_for(name)) for at, name in frames))
                    said.update((came(one.message), at % 10 == 9) for at, one in edge.answers(IN_FLIGHT).items())
            assert said.total() == FLAPPING
            assert {what for what, listed in said if listed} == {BLOCKED}
            others = {what for what, listed in said if not listed}
            assert REAL in others
            assert all(what == REAL or what.startswith("SERVFAIL EDE 2") for what in others), others
            wait_for(lambda: service.metric("queries_in_flight") == 0, "nothing to be in flight")
            assert "Traceback" not in service.said


def test_what_is_in_flight_at_a_stop_and_for_an_edge_that_is_gone(tmp_path: Path) -> None:
    with in_thread(honest) as upstream:
        site = site_of(tmp_path, upstream.address)
        with site.started() as service, edge_of(tmp_path) as gone, edge_of(tmp_path) as edge:
            wait_for(lambda: service.metric("upstream_answering") == 1, "a look at the upstream")
            upstream.away()
            for one, label in ((gone, "gone"), (edge, "open")):
                names = (f"n-{number}.{label}.test" for number in range(50))
                one.send(*(edge_frames.query(at, codes.DOT, ADDRESS, query_for(name)) for at, name in enumerate(names)))
            asked = 'queries_total{transport="dot"}'
            wait_for(lambda: service.metric(asked) == 100, "queries to be in flight")
            gone.socket.close()
            upstream.back()
            service.process.terminate()
            answers = edge.answers(50)
            assert {came(one.message) for one in answers.values()} <= {REAL, "SERVFAIL EDE 22", "SERVFAIL EDE 23"}
            assert edge.ends()
            assert service.process.wait(30) == 0
