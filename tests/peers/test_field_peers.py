"""The rows of the table of field cases beside Unbound, BIND and dnsmasq, asked the same in the same run.

Each has the scripted upstream for itself, and names of its own. Where two of the three answer a name that nobody
listed, we do; where two of them agree on the records of the type asked for, ours are the same.

Rules:
- An answer is NXDOMAIN, or NOERROR with records, that dnspython can read to its end, each of the question's class. What
  cannot be read is none.
- A row's first question is asked over UDP, and again over TCP where the answer was truncated.
- Rows whose upstream is silent, refuses or lies about its size come last: they change what resolvers think of it.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.fakes.octets import in_thread
from tests.journeys.field import asking, table
from tests.journeys.field.rows import UDP, Ask
from tests.journeys.running import serve
from tests.peers import forwarders
from tests.peers.conftest import rendered

OURS = "ours"
SUBJECTS = {one: one[:4] for one in (OURS, *forwarders.NAMES)}
"""Each with a tag of one length: where a reply has to have a size, all have the same."""
LATE = ("6", "11", "22")
ROWS = sorted((row for row in table.ROWS if row.unlisted), key=lambda row: row.case.startswith(LATE))


@dataclass(frozen=True)
class Seen:
    """What one of them gave: a word for the table, whether it is an answer, its records of the type asked for."""

    word: str
    answers: bool = False
    data: frozenset[str] = frozenset()


def seen(query: bytes, port: int) -> Seen:
    """Ask, and judge what comes."""
    try:
        wire = asking.answer_to(port, query, UDP)
        reply = dns.message.from_wire(wire)
    except OSError as error:
        return Seen(f"nothing ({type(error).__name__})")
    except dns.exception.DNSException:
        return Seen("cannot be read")
    if any(one.rdclass != reply.question[0].rdclass for one in reply.answer):
        return Seen("another class")
    rcode = reply.rcode()
    kind = reply.question[0].rdtype
    data = frozenset(str(item).lower() for one in reply.answer if one.rdtype == kind for item in one)
    word = dns.rcode.to_text(rcode)
    if rcode == dns.rcode.NOERROR:
        count = sum(len(one) for one in reply.answer)
        word = f"{len(data)} {dns.rdatatype.to_text(kind)}" if data else f"{count} others" if count else "NODATA"
    answers = rcode == dns.rcode.NXDOMAIN or (rcode == dns.rcode.NOERROR and bool(reply.answer))
    return Seen(word, answers, data)


@pytest.fixture(scope="module")
def ports(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of us and of the three, each with an upstream of its own."""
    folder: Path = tmp_path_factory.mktemp("beside")
    with ExitStack() as stack:
        found = {}
        for kind in forwarders.NAMES:
            upstream = stack.enter_context(in_thread(asking.Script([SUBJECTS[kind]])))
            one = forwarders.forwarder(kind, folder / kind, upstream.port, path=program(kind))
            found[kind] = stack.enter_context(one).port
        upstream = stack.enter_context(in_thread(asking.Script([OURS])))
        (folder / OURS).mkdir()
        entries = asking.entries([OURS])
        service = serve(folder / OURS, upstreams=[upstream.address], entries=entries, seconds=90)
        found[OURS] = stack.enter_context(service).dns
        yield found


def fault(found: dict[str, Seen]) -> str:
    """What we do worse than two of the three; empty where nothing."""
    ours, peers = found[OURS], [found[kind] for kind in forwarders.NAMES]
    if sum(one.answers for one in peers) >= 2 and not ours.answers:
        return "two of three answer, we do not"
    for one, other in itertools.combinations(peers, 2):
        if one.answers and one.data == other.data and ours.data and ours.data != one.data:
            return f"two of three say {sorted(one.data)[:5]}, we {sorted(ours.data)[:5]}"
    return ""


@pytest.mark.timeout(600)
def test_where_two_of_three_answer_we_do(ports: dict[str, int], figures: dict[str, str]) -> None:
    cells: dict[tuple[str, str], str] = {}
    faults = []
    with ThreadPoolExecutor(len(SUBJECTS)) as pool:
        for row in ROWS:
            ask = row.asks[0]
            queries = {one: asking.query_for(row.name_of(ask, tag), ask) for one, tag in SUBJECTS.items()}
            waiting = {one: pool.submit(seen, queries[one], ports[one]) for one in SUBJECTS}
            found = {one: future.result() for one, future in waiting.items()}
            title = f"{row.case} {row.comes[:60]}"
            cells.update({(title, one): result.word for one, result in found.items()})
            if why := fault(found):
                faults.append(f"{title}: {why}")
    figures["field cases beside Unbound, BIND and dnsmasq"] = rendered(cells)
    assert not faults, "\n".join([*faults, rendered(cells)])


def test_each_of_them_gives_what_the_upstream_says(ports: dict[str, int]) -> None:
    """Else it would be no comparison."""
    for kind, port in ports.items():
        query = asking.query_for("plain.test", Ask(says=""))
        assert seen(query, port) == Seen("1 A", True, frozenset({"198.51.100.7"})), kind


def test_what_we_do_worse_is_a_fault() -> None:
    right, other, nothing = Seen("1 A", True, frozenset("a")), Seen("1 A", True, frozenset("b")), Seen("SERVFAIL")
    peers = {"unbound": right, "named": right, "dnsmasq": nothing}
    assert not fault({OURS: right, **peers})
    assert fault({OURS: nothing, **peers}) == "two of three answer, we do not"
    assert fault({OURS: other, **peers}) == "two of three say ['a'], we ['b']"
    assert not fault({OURS: nothing, **peers, "named": nothing})
