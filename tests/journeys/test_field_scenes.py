"""Field cases that need a configuration, an order or a clock of their own, with both cores.

field/scenes.py has what each has to see, word for word; tests/FIELD.md is made of it.
"""

import re
import socket
import statistics
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest

from resolver.core import local_zones
from tests.fakes.octets import Asked, OctetsUpstream, in_thread
from tests.journeys.burst import burst
from tests.journeys.field.rows import AAAA, ADDRESS, A, Reply, rr
from tests.journeys.field.scenes import now
from tests.journeys.processes import CLIENT, Site, asked, came, exchange, query_for, wait_for
from tests.journeys.running import CORES, HOST, LAUNCHERS, ROOT, Service, stop

REAL = "198.51.100.7"
RIGHT = Reply(answer=[rr(A, ADDRESS)])
WAIT_S = 15.0
START_S = 90.0


@pytest.fixture(params=CORES)
def launcher(request: pytest.FixtureRequest) -> Sequence[str]:
    return LAUNCHERS[request.param]


@contextmanager
def served(
    folder: Path, launcher: Sequence[str], *upstreams: OctetsUpstream, more: str = "", **sections: dict[str, Any]
) -> Iterator[tuple[Site, Service]]:
    """A service with these upstreams; `more` is appended to its configuration."""
    site = Site(folder, [one.address for one in upstreams], sections)
    site.publish(["listed.test"])
    site.write()
    site.config.write_text(site.config.read_text() + more)
    service = site.launch(launcher, write=False)
    with ExitStack() as stack:
        stack.callback(_ended, service)
        service.until("/readyz", seconds=START_S)
        yield site, service


def _ended(service: Service) -> None:
    assert stop(service.process) == 0, service.said
    assert "Traceback" not in service.said
    assert "event loop" not in service.said


def right(asked: Asked) -> list[bytes]:
    """The right answer to every name."""
    return [RIGHT.to(asked)]


def fails(rcode: int, last: str = "") -> Callable[[Asked], list[bytes]]:
    """Answers names that end so rightly, all others with an rcode."""
    return lambda asked: [(RIGHT if last and asked.name.endswith(last) else Reply(rcode=rcode)).to(asked)]


def silent(asked: Asked) -> list[bytes]:
    """Nothing."""
    return []


def answered(port: int, names: Sequence[str], per_second: float = 200) -> int:
    """How many of these names are answered rightly."""
    return sum(one.said == REAL for one in burst(port, names, per_second=per_second, wait_s=5.0).each)


def series(service: Service, name: str) -> float:
    """The value of a live series, whatever its labels."""
    found = re.findall(rf"^blocklist_resolver_{name}(?:{{.*}})? (\S+)$", service.get("/metrics")[1].decode(), re.M)
    assert len(found) == 1, found
    return float(found[0])


def health(service: Service) -> str:
    """Whether it is up, and whether the log has that it was taken out."""
    out = "was taken out" if "taken out" in service.said else "never taken out"
    return f"up {series(service, 'upstream_up'):.0f}; {out}"


def test_an_upstream_that_answers_is_up(tmp_path: Path, launcher: Sequence[str]) -> None:
    with in_thread(fails(2, ".corp.test")) as upstream, served(tmp_path, launcher, upstream) as (site, service):
        assert answered(site.dns, [f"outside{n}.test" for n in range(60)], per_second=12) == 0
        got = answered(site.dns, [f"inside{n}.corp.test" for n in range(200)], per_second=400)
        assert f"{got} of 200 answered; {health(service)}" == now("2")


def test_an_upstream_that_refuses_is_up(tmp_path: Path, launcher: Sequence[str]) -> None:
    with in_thread(fails(5)) as upstream, served(tmp_path, launcher, upstream) as (site, service):
        assert answered(site.dns, [f"refused{n}.test" for n in range(60)], per_second=12) == 0
        upstream.says = right
        got = answered(site.dns, [f"right{n}.test" for n in range(20)])
        assert f"{got} of 20 answered; {health(service)}" == now("2c")


def test_nobody_answers_is_seen(tmp_path: Path, launcher: Sequence[str]) -> None:
    with in_thread(right) as upstream, served(tmp_path, launcher, upstream) as (site, service):
        assert asked(site.dns, "first.test") == REAL
        seen = []
        for says, ready in ((silent, False), (right, True)):
            upstream.says = says

            def changed(ready: bool = ready) -> bool:
                return (service.get("/readyz")[0] == 200) == ready

            wait_for(changed, f"readiness to be {ready}", WAIT_S)
            word = "ready" if ready else "not ready"
            seen.append(f"{word}, upstream_answering {series(service, 'upstream_answering'):.0f}")
        assert "; then ".join(seen) == now("2b")


def test_stale_at_once_where_nobody_is_up(tmp_path: Path, launcher: Sequence[str]) -> None:
    names = [f"kept{n}.test" for n in range(40)]
    short = Reply(answer=[rr(A, ADDRESS, ttl=1)])
    with in_thread(lambda query: [short.to(query)]) as upstream, served(tmp_path, launcher, upstream) as running:
        site, service = running
        assert answered(site.dns, names) == 40
        upstream.says = silent
        wait_for(lambda: series(service, "upstream_up") == 0, "it to be taken out", 30)
        threading.Event().wait(1.1)  # The TTL is over.
        each = burst(site.dns, names, per_second=40, wait_s=5.0).each
        stale = sum(one.said == f"{REAL} EDE 3" for one in each)
        middle = statistics.median(one.seconds for one in each)
        soon = "half of them within 0.9 s" if middle < 0.9 else f"half of them within {middle:.1f} s"
        assert f"{stale} of 40 stale; {soon}" == now("8")


def test_a_late_answer_is_kept(tmp_path: Path, launcher: Sequence[str]) -> None:
    with in_thread(right) as upstream, served(tmp_path, launcher, upstream) as (site, _):
        upstream.delay_s = lambda query: 2.5
        first = asked(site.dns, "late.test", seconds=8.0).partition(" ")[0]
        before = upstream.count("late.test")
        upstream.delay_s = lambda query: 30.0
        wait_for(lambda: asked(site.dns, "late.test", seconds=8.0) == REAL, "the late answer", 6)
        again = "not asked again" if upstream.count("late.test") == before else "asked again"
        assert f"{first}; asked again {REAL}; upstream {again}" == now("9")


def test_a_slow_server_is_not_flooded(tmp_path: Path, launcher: Sequence[str]) -> None:
    names = [f"slow{n}.test" for n in range(10)]
    with in_thread(right) as upstream, served(tmp_path, launcher, upstream) as (site, _):
        assert answered(site.dns, [f"quick{n}.test" for n in range(20)]) == 20
        upstream.delay_s = lambda query: 1.2
        assert answered(site.dns, names, per_second=20) == 10
        moments = {name: [one.at for one in upstream.asked if one.name == name] for name in names}
        most = max(sum(at - found[0] < 0.4 for at in found) for found in moments.values())
        words = "at most twice" if most <= 2 else f"{most} times"
        assert f"{words} for each of 10 names" == now("9b")


def says_address(last: int, known: str = "") -> Callable[[Asked], list[bytes]]:
    """A server whose addresses end so; what it does not know is NXDOMAIN."""

    def says(query: Asked) -> list[bytes]:
        if not query.name.endswith(known):
            return [Reply(rcode=3).to(query)]
        return [Reply(answer=[rr(A, bytes([198, 51, 100, last]))]).to(query)]

    return says


def test_inside_zones_have_servers_of_their_own(tmp_path: Path, launcher: Sequence[str]) -> None:
    with (
        in_thread(says_address(1)) as outside,
        in_thread(says_address(2, "corp.test")) as inside,
        in_thread(says_address(3, "deep.corp.test")) as longest,
    ):
        zones = {"corp.test": inside, "deep.corp.test": longest}
        more = "".join(
            f'[[upstream.zone]]\nname = "{name}"\nservers = ["{one.address}"]\n' for name, one in zones.items()
        )
        with served(tmp_path, launcher, outside, more=more) as (site, _):
            names = [f"host{n}.corp.test" for n in range(200)]
            got = sum(one.said == "198.51.100.2" for one in burst(site.dns, names, per_second=400, wait_s=5.0).each)
            longer = asked(site.dns, "www.deep.corp.test")
            exchange(site.dns, query_for("corp.test", "DS"))
            parent = "outside" if outside.count("corp.test", "DS") and not inside.count("corp.test", "DS") else "inside"
            other = asked(site.dns, "other.test")
            assert asked(site.dns, "x.listed.test").endswith("EDE 4")
            said = f"{got} of 200 inside names; longest {longer}; DS {parent}; outside {other}"
            assert said == now("14")
            assert not [one.name for one in outside.asked if one.name.endswith(".corp.test") and one.kind != "DS"]


def test_listed_order(tmp_path: Path, launcher: Sequence[str]) -> None:
    with ExitStack() as stack:
        first = ExitStack()
        one = first.enter_context(in_thread(right))
        stack.callback(first.close)
        other = stack.enter_context(in_thread(right))
        site, _ = stack.enter_context(served(tmp_path, launcher, one, other, upstream={"order": "listed"}))
        one.delay_s = lambda query: 0.02
        names = [f"order{n}.test" for n in range(40)]
        assert answered(site.dns, names) == 40
        shares = [sum(bool(server.count(name)) for name in names) for server in (one, other)]
        first.close()
        got = answered(site.dns, [f"reserve{n}.test" for n in range(20)], per_second=20)
        said = f"first {shares[0]}, second {shares[1]}; the first is gone: {got} of 20 answered"
        assert said == now("14b")


def five(query: Asked) -> list[bytes]:
    """Five addresses."""
    kind = AAAA if query.kind == "AAAA" else A
    head = bytes.fromhex("20010db8600d0000000000000000") + b"\0" if kind == AAAA else ADDRESS[:3]
    return [Reply(answer=[rr(kind, head + bytes([n])) for n in range(1, 6)]).to(query)]


def firsts(port: int, kind: str) -> str:
    """How many of the addresses come first for one of 20 ids; all have to come each time."""
    found: Counter[str] = Counter()
    for number in range(21):
        query = dns.message.make_query("five.test", kind, id=number + 1)
        reply = dns.message.from_wire(exchange(port, query.to_wire(), over="tcp" if number % 2 else "udp"))
        (rrset,) = reply.answer
        assert len(rrset) == 5
        if number:  # The first is fresh.
            found[str(rrset[0])] += 1
    return f"{len(found)}"


def test_kept_addresses_rotate(tmp_path: Path, launcher: Sequence[str]) -> None:
    with in_thread(five) as upstream:
        (tmp_path / "on").mkdir()
        (tmp_path / "off").mkdir()
        with served(tmp_path / "on", launcher, upstream) as (site, _):
            kinds = {firsts(site.dns, kind) for kind in ("A", "AAAA")}
        with served(tmp_path / "off", launcher, upstream, cache={"rotate": False}) as (site, _):
            fixed = firsts(site.dns, "A")
    said = f"A and AAAA: each of {' '.join(kinds)} is first for some; always all 5; rotate = false: {fixed} is first"
    assert said == now("15")


def test_a_page_without_ipv6_is_said(tmp_path: Path) -> None:
    site = Site(tmp_path, [f"{HOST}:9"])
    site.set("listen", allow=["192.0.2.0/24", "2001:db8::/32"])
    site.change("page", addresses=["192.0.2.1"])
    command = [sys.executable, "-m", "resolver", "check-config", str(site.config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    said = "says IPv6" if "IPv6" in done.stdout + done.stderr else "says nothing"
    assert f"exit {done.returncode}; {said}" == now("16"), done


def lowers(query: Asked) -> list[bytes]:
    """The question in lower case over UDP."""
    wire = RIGHT.to(query)
    end = 12 + len(query.question)
    return [wire[:12] + wire[12 : end - 4].lower() + wire[end - 4 :] if query.over == "udp" else wire]


def test_an_upstream_that_lowers_letters(tmp_path: Path, launcher: Sequence[str]) -> None:
    options = {"case_randomization": True}
    with in_thread(lowers) as upstream, served(tmp_path, launcher, upstream, upstream=options) as (site, _):
        said = asked(site.dns, "abcdefghijklmnopqrstuvwxyz.test")
        last = upstream.asked[-1].over.upper()
        assert f"{said}, by {last}" == now("19")


def test_bypass_is_announced(tmp_path: Path, launcher: Sequence[str]) -> None:
    names = [name for kind in local_zones.CANARIES.values() for name in kind]
    said = []
    with in_thread(right) as upstream:
        for word, announce in (("announced", list(local_zones.CANARIES)), ("else", [])):
            (tmp_path / word).mkdir()
            with served(tmp_path / word, launcher, upstream, bypass={"announce": announce}) as (site, _):
                found = {asked(site.dns, name, over=over) for name in names for over in ("udp", "tcp")}
            assert len(found) == 1, found
            often = sum(upstream.count(name) for name in names)
            said.append(f"{word}: {found.pop()}, upstream asked {often} times")
    assert "; ".join(said) == now("21")


WAYS: dict[str, Callable[[Asked], list[bytes]]] = {
    "silent": silent,
    "refuses": fails(5),
    "fails": fails(2),
    "cut short": lambda query: [RIGHT.to(query)[:-2]],
}


def test_one_of_two_fails(tmp_path: Path, launcher: Sequence[str]) -> None:
    with ExitStack() as stack:
        bad = ExitStack()
        one = bad.enter_context(in_thread(right))
        stack.callback(bad.close)
        other = stack.enter_context(in_thread(right))
        site, _ = stack.enter_context(served(tmp_path, launcher, one, other))
        other.delay_s = lambda query: 0.01
        found = []
        for word, says in WAYS.items():
            one.says = says
            found.append(answered(site.dns, [f"{word[:3]}{n}.test" for n in range(8)], per_second=20))
        bad.close()
        found.append(answered(site.dns, [f"gone{n}.test" for n in range(8)], per_second=20))
        assert f"{min(found)} of 8 answered in each of {len(found)}" == now("23")


def test_a_pipeline_half_closed(tmp_path: Path, launcher: Sequence[str]) -> None:
    options = {"timeout": "12s"}
    with in_thread(right) as upstream, served(tmp_path, launcher, upstream, upstream=options) as (site, _):
        assert answered(site.dns, [f"quick{n}.test" for n in range(20)]) == 20
        upstream.delay_s = lambda query: 5.0 if query.name.startswith("slow") else 0.0
        messages = [query_for(f"{'slow' if n % 3 == 0 else 'fast'}{n}.test") for n in range(300)]
        replies = []
        with socket.socket() as one:
            one.settimeout(20)
            one.bind((CLIENT, 0))
            one.connect((HOST, site.dns))
            one.sendall(b"".join(len(each).to_bytes(2, "big") + each for each in messages))
            one.shutdown(socket.SHUT_WR)
            with one.makefile("rb") as stream:
                while size := int.from_bytes(stream.read(2), "big"):
                    replies.append(stream.read(size))
        order = [dns.message.from_wire(each).question[0].name.to_text() for each in replies]
        assert {came(each) for each in replies} == {REAL}
        fast = next((n for n, name in enumerate(order) if name.startswith("slow")), len(order))
        assert f"{len(set(order))} answers; {fast} fast ones first" == now("24")


def test_what_cannot_be_read_is_asked_of_the_next(tmp_path: Path, launcher: Sequence[str]) -> None:
    broken = Reply(answer=[rr(A, ADDRESS[:3])])
    with (
        in_thread(lambda query: [broken.to(query)]) as bad,
        in_thread(right) as good,
        served(tmp_path, launcher, bad, good) as (site, _),
    ):
        good.delay_s = lambda query: 0.01
        got = answered(site.dns, [f"unreadable{n}.test" for n in range(20)], per_second=40)
        assert bad.asked
        assert f"{got} of 20 from the other" == now("F3-next")


def test_local_can_be_forwarded(tmp_path: Path, launcher: Sequence[str]) -> None:
    options = {"forward_zones": ["local"]}
    with in_thread(right) as upstream, served(tmp_path, launcher, upstream, upstream=options) as (site, _):
        said = asked(site.dns, "dc1.corp.local")
        other = asked(site.dns, "x.alt").partition(" ")[0]
        assert f"local {said}; alt {other}" == now("13k")


def test_link_local_addresses(tmp_path: Path, launcher: Sequence[str]) -> None:
    """In a network of its own: link_local.py plays it there."""
    space = ["unshare", "--net"]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be made (root is needed)")
    command = [*space, sys.executable, "-m", "tests.journeys.field.link_local", str(tmp_path), *launcher]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == now("3")
