"""What one client may do to the others and to the lists: attacks on a whole service, over UDP and TCP, on both cores.

Rules:
- A client is an address of 127.0.0.0/8; nobody is exempt unless a test says so.
- A forged datagram is one from the victim's address that the victim did not send: on loopback any socket may bind it.
- Bars are counts, never times: a busy machine only makes a flood smaller.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from resolver.core.local_zones import CANARIES
from tests.fakes.primary import ZONE, key_file
from tests.fakes.upstream import in_thread
from tests.journeys.processes import (
    REAL,
    RESOLVER,
    Site,
    asked,
    came,
    exchange,
    header_of,
    honest,
    list_of,
    operate,
    query_for,
    wait_for,
)
from tests.journeys.running import CORES, HOST, LAUNCHERS, PAGE_V4, PAGE_V6, Service

EACH = pytest.mark.parametrize("core", [LAUNCHERS[one] for one in CORES], ids=CORES)
LISTED = "canary-7f3a.test"
VICTIM, STRANGER, PRIMARY = "127.0.0.2", "127.0.0.77", "127.0.0.99"
FORGED_A_SECOND = 3000


@contextlib.contextmanager
def serving(
    folder: Path, core: Sequence[str], *, entries: Sequence[str] = (LISTED,), **sections: dict[str, object]
) -> Iterator[tuple[Site, Service]]:
    """A service with an honest upstream; `sections` change its configuration."""
    with in_thread(honest) as upstream:
        site = Site(folder, upstreams=[upstream.address], sections={name: dict(of) for name, of in sections.items()})
        site.set("limits", exempt=[])
        site.publish(entries)
        with site.started(core) as service:
            yield site, service


@contextlib.contextmanager
def flood(port: int, source: str, a_second: int) -> Iterator[None]:
    """Datagrams from an address, until the block ends."""
    packet, over = query_for("flood.test"), threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((source, 0))
            one.connect((HOST, port))
            one.setblocking(False)
            while not over.wait(0.01):
                for _ in range(a_second // 100):
                    with contextlib.suppress(OSError):
                        one.send(packet)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


def dropped(service: Service, reason: str) -> float:
    """The packets and connections dropped for this reason."""
    lines = [one for one in service.get("/metrics")[1].splitlines() if f'"{reason}"'.encode() in one]
    return service.metric("packets_dropped_total", b"\n".join(lines)) or 0


def is_closed_at_accept(port: int, source: str) -> bool:
    """Whether a TCP connection from this address ends though nothing was sent."""
    with socket.socket() as one:
        one.settimeout(10)
        one.bind((source, 0))
        with contextlib.suppress(ConnectionError):
            one.connect((HOST, port))
            return one.recv(1) == b""
        return True


@EACH
def test_forged_datagrams_take_no_answer_over_tcp_from_whom_they_name(tmp_path: Path, core: Sequence[str]) -> None:
    with (
        serving(tmp_path, core, limits={"queries_per_second": 200}) as (site, service),
        flood(site.dns, VICTIM, FORGED_A_SECOND),
    ):
        wait_for(lambda: dropped(service, "rate_limit") > 100, "a flood above the limit")
        said = [asked(site.dns, f"name-{number}.test", over="tcp", source=VICTIM) for number in range(20)]
        assert said == [REAL] * 20
        assert asked(site.dns, LISTED, over="tcp", source=VICTIM) == f"{PAGE_V4} EDE 4"


@EACH
def test_past_the_limit_a_datagram_slips_and_a_stream_is_refused_never_silent(
    tmp_path: Path, core: Sequence[str]
) -> None:
    with serving(tmp_path, core, limits={"queries_per_second": 3}) as (site, _):
        packets = [query_for(f"name-{number}.test") for number in range(40)]
        with socket.create_connection((HOST, site.dns), timeout=10, source_address=(VICTIM, 0)) as one:
            one.sendall(b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets))
            stream = one.makefile("rb")
            replies = [dns.message.from_wire(stream.read(int.from_bytes(stream.read(2), "big"))) for _ in packets]
        rcodes = [reply.rcode() for reply in replies]
        assert set(rcodes) == {dns.rcode.NOERROR, dns.rcode.REFUSED}
        assert rcodes.count(dns.rcode.REFUSED) >= 20
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(10)
            one.bind((VICTIM, 0))
            one.connect((HOST, site.dns))
            for packet in packets:
                one.send(packet)
            replies = [dns.message.from_wire(one.recv(4096)) for _ in range(10)]
        assert any(reply.flags & dns.flags.TC for reply in replies)


@EACH
def test_a_stranger_is_refused_at_accept_and_over_udp_in_words(tmp_path: Path, core: Sequence[str]) -> None:
    allow = ["127.0.0.1/32", f"{VICTIM}/32"]
    with serving(tmp_path, core, listen={"allow": allow}) as (site, service):
        for name in (LISTED, "open.test"):
            assert asked(site.dns, name, source=STRANGER) == "REFUSED", "no larger than the query"
            assert is_closed_at_accept(site.dns, STRANGER)
        assert asked(site.dns, LISTED, over="tcp", source=VICTIM) == f"{PAGE_V4} EDE 4"
        assert dropped(service, "not_allowed") == 2
        assert service.metric("selftest_success") == 1


def test_a_list_is_proved_on_its_own_sockets_though_the_acl_leaves_them_out(tmp_path: Path) -> None:
    with serving(tmp_path, RESOLVER, listen={"allow": [f"{VICTIM}/32"]}) as (_, service):
        assert service.metric("selftest_success") == 1


@EACH
def test_a_primary_outside_the_acl_may_notify_over_tcp(tmp_path: Path, core: Sequence[str]) -> None:
    site = Site(tmp_path, sections={"listen": {"allow": [f"{VICTIM}/32"]}})
    source = {"kind": "zone", "url": f"dns://{PRIMARY}:9/{ZONE}", "root": str(key_file(tmp_path)), "poll": "8h"}
    site.lists = [list_of(site.authority.folder, source=source)]
    notice = dns.message.make_query(ZONE, "SOA", flags=dns.flags.AA)
    notice.set_opcode(dns.opcode.NOTIFY)
    with site.started(core, until="/healthz"):
        for over in ("udp", "tcp"):
            reply = dns.message.from_wire(exchange(site.dns, notice.to_wire(), over=over, source=PRIMARY))
            assert (reply.opcode(), reply.rcode()) == (dns.opcode.NOTIFY, dns.rcode.NOERROR)
        assert is_closed_at_accept(site.dns, STRANGER)


EVERYBODY = ["0.0.0.0/0", "::/0"]
BALANCER = "127.0.0.50"


@EACH
def test_clients_of_both_families_are_judged_by_a_list_for_everybody(tmp_path: Path, core: Sequence[str]) -> None:
    """Named by a load balancer: clients on loopback lie below the mapped addresses, where nothing ever went wrong."""
    site = Site(tmp_path, sections={"listen": {"allow": EVERYBODY, "proxy_from": [f"{BALANCER}/32"]}})
    site.lists = [list_of(site.authority.folder, clients=EVERYBODY)]
    site.publish([LISTED])
    with in_thread(honest) as upstream:
        site.change("upstream", servers=[upstream.address])
        with site.started(core):
            for client, over in ((one, over) for one in ("192.0.2.7", "2001:db8::8", "::1") for over in ("udp", "tcp")):
                how = {"over": over, "source": BALANCER, "header": header_of(client)}
                assert asked(site.dns, LISTED, **how) == f"{PAGE_V4} EDE 4", client
                assert asked(site.dns, f"below.{LISTED}", "AAAA", **how).startswith(PAGE_V6), client
                assert asked(site.dns, f"open-{over}.test", **how) == REAL, client


@EACH
def test_no_class_and_no_flag_tells_what_is_listed_without_being_counted(tmp_path: Path, core: Sequence[str]) -> None:
    with serving(tmp_path, core) as (site, service):
        for over in ("udp", "tcp"):
            for flags, rdclass in ((0, "IN"), (0x100, "CH"), (0x100, "HS"), (0x100, "ANY"), (0, "CH")):
                said = set()
                for name, kind in ((name, kind) for name in (LISTED, "open.test") for kind in ("A", "TXT", "ANY")):
                    query = dns.message.make_query(name, kind, rdclass, use_edns=0, id=7, flags=flags)
                    said.add(came(exchange(site.dns, query.to_wire(), over=over)))
                assert len(said) == 1, (flags, rdclass)
                assert said.pop().startswith("REFUSED")
        assert service.metric("blocked_queries_total") == 0


@EACH
def test_beyond_its_budget_a_client_learns_no_answer_of_a_list_and_unlisted_names_go_on(
    tmp_path: Path, core: Sequence[str]
) -> None:
    names = [f"canary-{number}.test" for number in range(12)]
    other = "127.0.0.3"
    with serving(tmp_path, core, entries=names, limits={"distinct_blocked": 5}) as (site, service):
        said = [asked(site.dns, name, over=over) for name in names for over in ("udp", "tcp")]
        assert said == [f"{PAGE_V4} EDE 4"] * 10 + ["REFUSED EDE 18"] * 14
        assert asked(site.dns, names[0], "TXT") == "NODATA EDE 4", "known to be asked, so it costs nothing more"
        assert asked(site.dns, names[9], "TXT") == "REFUSED EDE 18"
        assert asked(site.dns, f"below.{names[9]}", source=other) == f"{PAGE_V4} EDE 4"
        assert [asked(site.dns, f"open-{number}.test") for number in range(20)] == [REAL] * 20
        service.until("/metrics", lambda body: service.metric("lookups_refused_total", body) == 15)
        assert service.metric("blocked_queries_total") == 27


def test_who_is_exempt_has_no_budget(tmp_path: Path) -> None:
    names = [f"canary-{number}.test" for number in range(9)]
    limits = {"distinct_blocked": 1, "exempt": [f"{VICTIM}/32"]}
    with serving(tmp_path, RESOLVER, entries=names, limits=limits) as (site, _):
        assert {asked(site.dns, name) for name in names} == {f"{PAGE_V4} EDE 4"}


@EACH
def test_256_networks_of_one_household_make_no_more_attempts_than_a_few(tmp_path: Path, core: Sequence[str]) -> None:
    names = [f"canary-{number}.test" for number in range(20)]
    networks = 16 if core == LAUNCHERS["plain"] else 256
    site = Site(tmp_path, sections={"listen": {"allow": EVERYBODY, "proxy_from": [f"{BALANCER}/32"]}})
    site.set("limits", queries_per_second=1_000_000, distinct_blocked=0, exempt=[])
    site.publish(names)
    with site.started(core) as service, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        one.bind((BALANCER, 0))
        one.connect((HOST, site.dns))
        for network in range(networks):
            for name in names:
                one.send(header_of(f"2001:db8:0:{network:x}::1") + query_for(name))
                one.recv(4096)
        asked_for = 20 * networks
        service.until("/metrics", lambda body: service.metric("blocked_queries_total", body) == asked_for)
        found = {name: service.metric(name) for name in ("blocked_attempts_total", "attempts_capped_total")}
        assert found == {"blocked_attempts_total": 60, "attempts_capped_total": asked_for - 60}


@EACH
def test_a_browser_is_told_to_stay_where_the_operator_says_so(tmp_path: Path, core: Sequence[str]) -> None:
    names = [name for of in CANARIES.values() for name in of]
    with serving(tmp_path, core) as (site, _):
        assert {asked(site.dns, name) for name in names} == {REAL}
        assert asked(site.dns, "printer.local") == asked(site.dns, "x.service.arpa") == "NXDOMAIN"
        assert asked(site.dns, "ipv4only.arpa") == REAL
        site.change("bypass", announce=["firefox", "private-relay"])
        site.change("upstream", forward_zones=["local"])
        assert operate(site, "reload").returncode == 0
        for over in ("udp", "tcp"):
            assert {asked(site.dns, name, over=over) for name in names} == {"NXDOMAIN"}
            assert asked(site.dns, f"x{names[0]}", over=over) == REAL
            assert asked(site.dns, "printer.local", over=over) == REAL
