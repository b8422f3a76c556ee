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

from tests.fakes.primary import ZONE, key_file
from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, RESOLVER, Site, asked, exchange, honest, list_of, query_for, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service

CORES = pytest.mark.parametrize("core", [RESOLVER, ("-m", "tests.plain")], ids=["compiled", "plain"])
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


@CORES
def test_forged_datagrams_take_no_answer_over_tcp_from_whom_they_name(tmp_path: Path, core: Sequence[str]) -> None:
    with (
        serving(tmp_path, core, limits={"queries_per_second": 200}) as (site, service),
        flood(site.dns, VICTIM, FORGED_A_SECOND),
    ):
        wait_for(lambda: dropped(service, "rate_limit") > 100, "a flood above the limit")
        said = [asked(site.dns, f"name-{number}.test", over="tcp", source=VICTIM) for number in range(20)]
        assert said == [REAL] * 20
        assert asked(site.dns, LISTED, over="tcp", source=VICTIM) == f"{PAGE_V4} EDE 4"


@CORES
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


@CORES
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


@CORES
def test_a_primary_outside_the_acl_may_notify_over_tcp(tmp_path: Path, core: Sequence[str]) -> None:
    site = Site(tmp_path, sections={"listen": {"allow": [f"{VICTIM}/32"]}})
    source = {"kind": "zone", "url": f"dns://{PRIMARY}:9/{ZONE}", "root": str(key_file(tmp_path)), "poll": "1d"}
    site.lists = [list_of(site.authority.folder, source=source)]
    notice = dns.message.make_query(ZONE, "SOA", flags=dns.flags.AA)
    notice.set_opcode(dns.opcode.NOTIFY)
    with site.started(core, until="/healthz"):
        for over in ("udp", "tcp"):
            reply = dns.message.from_wire(exchange(site.dns, notice.to_wire(), over=over, source=PRIMARY))
            assert (reply.opcode(), reply.rcode()) == (dns.opcode.NOTIFY, dns.rcode.NOERROR)
        assert is_closed_at_accept(site.dns, STRANGER)
