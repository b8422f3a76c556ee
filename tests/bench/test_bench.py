"""The bench's own arithmetic: ratios and spread, what dnsperf and ask.c have told, whether an answer is right."""

import asyncio
import base64
import io
import json
import os
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import dns.message
import dns.rcode
import dns.rrset
import pytest
import trustme

from tests.bench import (
    check,
    encrypted,
    instructions,
    lanes,
    load,
    names,
    packet,
    page,
    picture,
    report,
    siege,
    siege_attack,
    subjects,
)
from tests.bench.ratios import Spread, in_turn, paired, shown, spread
from tests.bench.subjects import FLOOR
from tests.bench.workloads import WORKLOADS
from tests.journeys.running import HOST, PAGE_V4

LISTED, UNLISTED = "name.aa1.test", f"host.{names.ALLOWED}"

DNSPERF = """
Statistics:

  Queries sent:         1010
  Queries completed:    1000 (99.01%)
  Queries lost:         10 (0.99%)

  Response codes:       NOERROR 990 (99.00%), SERVFAIL 10 (1.00%)
  Average packet size:  request 36, response 52
  Run time (s):         0.500000
  Queries per second:   2000.000000
"""


def run(us: float, **more: float) -> load.Run:
    return load.Run(**{"us": us, "per_second": 1000.0, "lost": 0.0, "wrong": 0.0} | more)


def reply_to(query: bytes, address: str, rcode: int = 0) -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(query))
    if address:
        reply.answer.append(dns.rrset.from_text(reply.question[0].name, 60, "IN", "A", address))
    reply.set_rcode(dns.rcode.Rcode(rcode))
    return reply.to_wire()


def test_a_spread_has_the_median_and_both_ends() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert str(Spread(2.0, 1.0, 12.34)) == "2.00 (1.00-12.3)"
    assert [shown(one) for one in (0.5, 42.0, 1234.5)] == ["0.50", "42.0", "1,234"]


def test_ratios_are_taken_within_a_round() -> None:
    """A machine twice as slow in one round does not move them; a round that one side has not is left out."""
    assert paired({0: 2.0, 1: 4.0, 2: 9.0}, {0: 1.0, 1: 2.0}) == Spread(2.0, 2.0, 2.0)
    assert paired({0: 2.0}, {1: 1.0}) is None


def test_each_round_begins_with_another_subject() -> None:
    assert [in_turn("abc", number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert sorted(in_turn("abc", 2)) == ["a", "b", "c"]
    assert in_turn("", 1) == []


def test_what_dnsperf_has_told_is_read() -> None:
    found = load.read_dnsperf(DNSPERF, spent=0.005)
    assert (found.us, found.per_second) == (5.0, 2000.0)
    assert found.lost == pytest.approx(10 / 1010)
    assert found.wrong == pytest.approx(0.01)


def test_no_answer_at_all_is_not_taken_for_right() -> None:
    none = DNSPERF.replace("completed:    1000", "completed:    0").replace(
        "NOERROR 990 (99.00%), SERVFAIL 10 (1.00%)", ""
    )
    assert load.read_dnsperf(none, spent=1.0).wrong == 1.0


def test_an_answer_is_right_only_with_the_address_of_its_name() -> None:
    for name, right, other in ((LISTED, PAGE_V4, names.ALLOWED_V4), (UNLISTED, names.ALLOWED_V4, PAGE_V4)):
        query = b"\x12\x34" + names.query(name, edns=True)[2:]
        assert check.is_right(reply_to(query, right), query, name)
        for wrong in (
            reply_to(query, other),
            reply_to(query, ""),
            reply_to(query, right, rcode=2),
            query,
            b"\x12\x34",
            b"",
        ):
            assert not check.is_right(wrong, query, name), (name, wrong)
        stranger = b"\x12\x35" + names.query(name, edns=True)[2:]
        assert not check.is_right(reply_to(stranger, right), query, name)


def test_questions_are_mixed_as_said(tmp_path: Path) -> None:
    names.write_mixed(tmp_path / "mixed", [LISTED], 100_000, 0)
    asked = list(names.read(tmp_path / "mixed"))
    kept = sum(name.startswith("host") for name in asked)
    assert 1 <= asked.count(LISTED) < 50
    assert 0.84 < kept / len(asked) < 0.86
    assert len({name for name in asked if name.startswith("x")}) == len(asked) - kept - asked.count(LISTED)


def test_too_long_a_list_is_several() -> None:
    listed = names.listed(1000)
    octets = sum(map(len, listed)) + len(listed)
    assert subjects.parts(listed) == [listed]
    for found in (subjects.parts(listed, most_entries=300), subjects.parts(listed, most_octets=octets // 3)):
        assert len(found) == 4
        assert [name for part in found for name in part] == listed


STRACE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 60.00    0.001000           1      2000        12 recvfrom
 40.00    0.000500           1        64           sendmmsg
------ ----------- ----------- --------- --------- ------------------
100.00    0.001500           1      2064        12 total
"""


ANNOTATED = """--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
20,480 (100.0%)  PROGRAM TOTALS

--------------------------------------------------------------------------------
Ir               file:function
--------------------------------------------------------------------------------
12,288 (60.00%)  resolver/core/siphash.c:__pyx_f_8resolver_4core_7siphash_siphash128 [resolver/core/siphash.so]
 4,097 (20.00%)  resolver/engine/relay.c:__pyx_f_8resolver_6engine_5relay_5Relay__matched [resolver/engine/relay.so]
    95 ( 0.46%)  ???:__memcpy_avx_unaligned_erms [/usr/lib/libc.so.6]
"""


def test_what_strace_and_callgrind_have_told_is_read() -> None:
    assert packet.read_strace(STRACE) == {"recvfrom": 2000, "sendmmsg": 64}
    counted = instructions.read_annotated(ANNOTATED)
    assert counted.instructions == 20_480
    assert {instructions.short(name): count for name, count in counted.by_function.items()} == {
        "core siphash_siphash128": 12_288,
        "engine relay_5Relay__matched": 4_097,
        "__memcpy_avx_unaligned_erms": 95,
    }


def test_listed_names_are_never_below_what_is_allowed() -> None:
    assert not [name for name in names.listed(2000) if name.endswith(names.ALLOWED)]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Answers every query with the page's address, but each tenth with another; the header is not its own."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        one.settimeout(0.1)
        done = threading.Event()

        def answer() -> None:
            number = 0
            while not done.is_set():
                try:
                    query, client = one.recvfrom(4096)
                except TimeoutError:
                    continue
                number += 1
                query = query.removeprefix(load.PROXY_V2)
                one.sendto(reply_to(query, PAGE_V4 if number % 10 else names.ALLOWED_V4), client)

        thread = threading.Thread(target=answer)
        thread.start()
        yield one
        done.set()
        thread.join()


@pytest.mark.parametrize("header", [b"", load.PROXY_V2])
def test_ask_looks_into_every_answer(server: socket.socket, tmp_path: Path, header: bytes) -> None:
    assert shutil.which("cc"), "a C compiler is needed to install us, too"
    names.write_blocked(tmp_path / "blocked", [LISTED], 100)
    names.write_wire(tmp_path / "wire", tmp_path / "blocked", PAGE_V4, header, edns=False, checked=True)
    program = subjects.compiled(tmp_path, "ask")
    found = load.ask([str(program)], server.getsockname()[1], [], tmp_path / "wire", 30, rate=0, header=len(header))
    assert (found.lost, found.wrong, found.us) == (0.0, 0.1, 0.0)
    assert found.p50
    assert found.p99
    assert 0 < found.p50 <= found.p99


def test_a_sample_finds_wrong_answers(server: socket.socket) -> None:
    for over in ("udp", "proxy"):
        assert check.wrong(server.getsockname()[1], [LISTED], over, edns=True, seed=1) == check.SAMPLE // 10, over


def test_the_floor_in_c_echoes(tmp_path: Path) -> None:
    program = subjects.compiled(tmp_path, "floor")
    with subjects.in_c(FLOOR, [str(program)], ("blocked",)) as floor, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(names.query(LISTED, edns=False), (HOST, floor.port))
        assert client.recv(4096)[2] & 0x80
        assert load.cpu_seconds(floor.pids[0]) > 0


def found_of(**runs: dict[str, list[load.Run]]) -> report.Found:
    found = report.Found(settings={"rounds": 2}, ours=["this service"])
    for workload, by_subject in runs.items():
        for name, each in by_subject.items():
            for number, one in enumerate(each):
                found.add(workload, name, number, one, 0)
    return found


def test_the_table_has_the_ratios_and_the_files_are_written(tmp_path: Path) -> None:
    found = found_of(blocked={FLOOR: [run(2), run(4)], "this service": [run(3), run(6)], "a peer": [run(6), run(12)]})
    found.left_out.append("another peer: not installed")
    told = report.table(found)
    assert "1.50 (1.50-1.50)" in told  # The service in units of the floor, in both rounds.
    assert "0.50 (0.50-0.50)" in told  # And of the peer.
    assert "left out: another peer: not installed" in told
    report.write(found, tmp_path)
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["ratios"]["blocked"]["a peer"]["service"] == [0.5, 0.5, 0.5]
    assert (tmp_path / "bench.svg").read_text().count("<rect") == 3


def test_odd_runs_are_told() -> None:
    found = found_of(blocked={"a peer": [run(2), run(2, lost=0.5, wrong=0.1, late=0.2)]})
    found.wrong_in_sample["blocked"]["a peer"] = 3
    (told,) = report.beware(found)
    assert told == "blocked, a peer: 50.00% lost, 10.00% wrong, 20.0% asked late, 3 wrong in the samples"
    assert found.us("blocked", "a peer") == {0: 2}  # A round that lost half is no cost.


def test_a_picture_is_one_of_xml() -> None:
    drawn = picture.drawn("title", "us", {"a & b": {"one": Spread(2, 1, 100)}}, {"one": "ours"})
    assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_every_workload_is_held_against_one_that_the_floor_does() -> None:
    by_name = {one.name: one for one in WORKLOADS}
    assert len(by_name) == len(WORKLOADS)
    for one in WORKLOADS:
        assert by_name[one.floor].over == "udp", one.name
        assert by_name[one.floor].questions in ("blocked", "cached"), one.name
        order = [*by_name]
        assert not one.half_of or order.index(one.half_of) < order.index(one.name)


WRK = """Running 2s test @ http://127.0.0.1:8080/
  150 requests in 1.50s, 600.00KB read
  Non-2xx or 3xx responses: 150
{"visits": 150, "wrong": 2, "failed": 1, "seconds": 1.500000}
"""


def flooded_by(p99: float, *, late: float = 0.0) -> page.Found:
    """Two rounds: a visit to the page costs ten times what it costs nginx, and p99 is 100 us without a flood."""
    flood = {page.OURS: [200.0, 400.0], page.NGINX: [500.0, 500.0]}
    found = page.Found(rate=1000, flood=flood, resident=[100_000_000, 100_500_000])
    for way in page.WAYS:
        for number, slower in ((1, 1.0), (2, 3.0)):
            for name, us in ((page.OURS, 400.0), (page.NGINX, 40.0)):
                found.us.setdefault((way, name), {})[number] = us * slower
                found.per_second.setdefault((way, name), {})[number] = 300.0
            for name in (page.QUIET, page.NGINX, page.IDLE):
                found.dns[name][number] = run(1.0, p50=50.0, p99=100.0 * slower)
            found.dns[page.OURS][number] = run(1.0, p50=50.0, p99=p99 * slower, late=late)
    return found


def test_what_wrk_has_told_is_read() -> None:
    found = page.read_wrk(WRK)
    assert found == page.Visits(150, 2, 1, 1.5)
    assert found.per_second == 100


def test_visits_that_were_not_right_or_did_not_come_are_named() -> None:
    found = page.Found()
    for count, wrong, failed in ((9, 0, 0), (9, 1, 0), (9, 0, 1), (0, 0, 0)):
        found.check("flood", page.Visits(count, wrong, failed, 1.0))
    assert found.amiss == [
        "flood: 9 visits, 1 wrong, 0 failed",
        "flood: 9 visits, 0 wrong, 1 failed",
        "flood: 0 visits, 0 wrong, 0 failed",
    ]


def test_a_flood_is_held_against_the_quiet_run_of_its_round() -> None:
    good = flooded_by(109.0)
    said = "\n".join(page.rows(good))
    assert "connections kept: the page / nginx: 10.0 (10.0-10.0)" in said
    assert "beside the page / beside nothing: p50 1.00 (1.00-1.00), p99 1.09 (1.09-1.09)" in said
    assert "beside nginx / beside nothing: p50 1.00 (1.00-1.00), p99 1.00 (1.00-1.00)" in said
    assert page.missed(good) == []
    (slow,) = page.missed(flooded_by(120.0))
    assert slow.startswith("p99 of DNS is 1.20 of that without a flood (nginx: 1.00)")


def test_what_a_flood_must_not_do_is_named() -> None:
    found = flooded_by(100.0, late=0.02)
    found.said, found.resident[-1] = 12, 102_000_000
    found.amiss += ["DNS: 0.100% wrong, 0.000% lost"] * 2
    assert [one.split()[0] for one in page.missed(found)] == ["DNS:", "the", "memory", "more"]


def test_lanes_answer_every_query_alone_beside_another_and_apart(probe: ModuleType) -> None:
    found = lanes.measured(probe, 1, 0.01)
    assert found.alone.median > 0
    for gain in (found.sharing, found.apart):
        assert gain.rate.median > 0
        assert gain.cpu.median > 0


def test_questions_for_https_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "asked").write_text(f"{LISTED} A\n{UNLISTED} AAAA\n")
    encrypted.write_uris(tmp_path / "uris", tmp_path / "asked")
    lines = (tmp_path / "uris").read_text().splitlines()
    found = [dns.message.from_wire(base64.urlsafe_b64decode(f"{line.partition('=')[2]}==")) for line in lines]
    assert [str(one.question[0]) for one in found] == [f"{LISTED}. IN A", f"{UNLISTED}. IN AAAA"]
    assert all(line.startswith("/dns-query?dns=") and not line.endswith("=") for line in lines)


def test_a_query_over_dot_beyond_the_bar_is_said() -> None:
    found = encrypted.Found()
    for name, us in ((encrypted.OURS, 16.0), (encrypted.DNSDIST, 10.0)):
        for what in encrypted.OVER_DOT:
            found.us[what, name] = {1: us}
    assert encrypted.missed(found) == [f"{what}: 1.60 x dnsdist; the bar is 1.50" for what in encrypted.OVER_DOT]


@pytest.mark.asyncio
async def test_idle_connections_stand_before_the_attack_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that the server ends meanwhile is made again."""
    monkeypatch.setattr(siege_attack, "IDLE_CONNECTIONS", 20)
    monkeypatch.setattr(sys, "stdin", io.StringIO("begin\n"))
    begun: list[asyncio.BaseTransport] = []

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            begun.append(transport)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(HOST).configure_cert(context)
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Silent, HOST, 0, ssl=one) for one in (None, context)]
    target = siege_attack.Target(HOST, *(one.sockets[0].getsockname()[1] for one in servers), 0, 0.5)
    attack = asyncio.create_task(siege_attack.idle(target))
    while not target.until:  # noqa: ASYNC110 - the attack tells a file, not this loop
        await asyncio.sleep(0.01)  # between two looks
    assert json.loads(capsys.readouterr().out) == {"prepared": 20}
    assert len(begun) == 20
    begun[0].close()
    await attack
    assert (target.count, len(begun)) == (20, 21)
    for one in (*begun, *servers):
        one.close()


def test_an_attack_begins_when_it_is_told_and_says_its_count() -> None:
    code = "import sys; print('{\"prepared\": 3}', flush=True); sys.stdin.readline(); print('{\"count\": 7}')"
    with siege.attacking([sys.executable, "-c", code], os.sched_getaffinity(0)) as said:
        assert said == {}
    assert said == {"count": 7}
    with pytest.raises(AssertionError, match="before it began"), siege.attacking([sys.executable, "-c", ""], {0}):
        raise AssertionError("an attack that says nothing")


def test_connections_that_did_not_stand_and_a_slow_p99_are_named() -> None:
    slow, quiet = run(1.0, p50=1.0, p99=120.0), run(1.0, p50=1.0, p99=100.0)
    name = "idle connections"
    found = siege.Found(dns={siege.QUIET: {1: quiet}, siege.IDLE: {1: quiet}, name: {1: slow}}, resident=[100, 100])
    found.attacked[name], found.dot_ms[name], found.held[name] = [10_000, 9_999], [4.0, None], 320_000_000
    assert siege.missed(found) == [
        f"p99 beside {name}: 1.20 ({siege.IDLE}: 1.00); the bar is 1.10",
        f"{name}: 9,999 stood, not 10,000",
    ]
    (line,) = [one for one in siege.rows(found) if "9,999" in one]
    assert line.endswith("9,999 times and more; the edge has 320.0 MB; DoT meanwhile, ms: 4.00, none")
