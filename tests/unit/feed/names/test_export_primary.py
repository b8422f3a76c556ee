"""The primary: who gets a zone, signed, over which transport; and who gets nothing."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.zone
import pytest
import trustme

from resolver.feed.names import export_primary
from resolver.feed.names.export_zone import Zone, page_of, wire_of
from tests.fakes.primary import KEY, OTHER
from tests.journeys.running import HOST, free_ports

NAME = "rpz.example."
OWNER = wire_of("bad.test")[:-1]


def zone_of(*addresses: str, serial: int = 1000) -> Zone:
    made = Zone(wire_of(NAME))
    made.publish({OWNER: page_of(addresses or ("192.0.2.1",))}, serial)
    return made


def primary_of(zone: Zone, *, secondaries: tuple[str, ...] = ("127.0.0.1/32",), notify: Any = ()) -> Any:
    return export_primary.Primary({"rpz.example": export_primary.Served(zone, [KEY], secondaries, notify)})


def query_of(kind: str, key: dns.tsig.Key | None = KEY, name: str = NAME, serial: int | None = None) -> Any:
    query: Any = dns.message.make_query(name, kind)
    query.flags = 0
    if serial is not None:
        query.authority.append(dns.rrset.from_text(name, 0, "IN", "SOA", f". . {serial} 1 1 1 1"))
    if key is not None:
        query.use_tsig(key)
    return query


def read(answers: list[bytes], query: Any) -> list[Any]:
    """The answers after their signatures were verified."""
    found, context = [], None
    multi = len(answers) > 1 or query.question[0].rdtype in (251, 252)
    for wire in answers:
        one: Any = dns.message.from_wire(
            wire, keyring=KEY, request_mac=query.mac, xfr=True, tsig_ctx=context, multi=multi, one_rr_per_rrset=True
        )
        context = one.tsig_ctx
        found.append(one)
    return found


def asked(primary: Any, query: Any, host: str = HOST, *, stream: bool = True) -> list[bytes]:
    return list(primary.answers(query.to_wire(), host, stream=stream))


def test_a_listed_secondary_with_its_key_gets_the_zone_signed() -> None:
    primary, query = primary_of(zone_of()), query_of("AXFR")
    query_wire = query.to_wire()
    (one,) = read(list(primary.answers(query_wire, HOST, stream=True)), query)
    kinds = [dns.rdatatype.to_text(each.rdtype) for each in one.answer]
    assert kinds == ["SOA", "NS", "A", "SOA"]
    assert one.had_tsig


def test_many_messages_are_one_signed_stream() -> None:
    zone = Zone(wire_of(NAME))
    zone.publish({wire_of(f"n{number}.test")[:-1]: page_of(("192.0.2.1",)) for number in range(3000)}, 1000)
    primary, query = primary_of(zone), query_of("AXFR")
    wire = query.to_wire()
    found = read(list(primary.answers(wire, HOST, stream=True)), query)
    assert len(found) > 3
    assert sum(len(one.answer) for one in found) == 3003
    assert all(one.had_tsig for one in found)


def test_a_difference_a_current_copy_and_a_lost_one() -> None:
    zone = zone_of()
    zone.publish({OWNER: page_of(("192.0.2.1",)), wire_of("n.test")[:-1]: page_of(("192.0.2.1",))}, 1001)
    primary = primary_of(zone)
    found = {}
    for serial in (1000, 1001, 5):
        query = query_of("IXFR", serial=serial)
        wire = query.to_wire()
        answers = list(primary.answers(wire, HOST, stream=serial != 1001))
        kinds = [each.rdtype for one in read_any(answers, query) for each in one.answer]
        found[serial] = " ".join(map(dns.rdatatype.to_text, kinds))
    assert found == {1000: "SOA SOA SOA A SOA", 1001: "SOA", 5: "SOA NS A A SOA"}


def read_any(answers: list[bytes], query: Any) -> list[Any]:
    """Single answers are signed as such, transfers as a stream: the first message's signature is the same."""
    return [
        dns.message.from_wire(one, keyring=KEY, request_mac=query.mac, xfr=True, one_rr_per_rrset=True)
        for one in answers
    ]


def test_over_udp_there_is_a_serial_and_no_zone() -> None:
    primary = primary_of(zone_of())
    for kind, rcode, count in (("SOA", 0, 1), ("IXFR", 0, 1), ("AXFR", 5, 0)):
        query = query_of(kind, serial=5 if kind == "IXFR" else None)
        wire = query.to_wire()
        (one,) = read_any(list(primary.answers(wire, HOST, stream=False)), query)
        assert (one.rcode(), len(one.answer)) == (rcode, count), kind


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (("AXFR", None), dns.rcode.REFUSED),
        (("AXFR", OTHER), dns.rcode.NOTAUTH),
        (("AXFR", dns.tsig.Key("unknown.example.", KEY.secret, "hmac-sha256")), dns.rcode.NOTAUTH),
        (("A", KEY, f"bad.test.{NAME}"), dns.rcode.NOTAUTH),
        (("A",), dns.rcode.REFUSED),
        (("AXFR", KEY, "other.example."), dns.rcode.NOTAUTH),
    ],
    ids=["unsigned", "wrong secret", "unknown key", "a name", "another type", "another zone"],
)
def test_nothing_else_is_answered(query: Any, rcode: int) -> None:
    primary = primary_of(zone_of())
    (said,) = asked(primary, query_of(*query))
    assert (said[3] & 15, said[6:12], primary.refused) == (rcode, bytes(6), 1)
    assert query_of(*query).to_wire()[12:].startswith(said[12:])


def test_an_address_that_is_not_the_zones_is_refused_though_it_has_the_key() -> None:
    primary = primary_of(zone_of(), secondaries=("192.0.2.20/32",))
    (said,) = asked(primary, query_of("AXFR"))
    assert said[3] & 15 == dns.rcode.REFUSED
    assert export_primary.Served(zone_of(), [KEY], ("192.0.2.0/24",), ()).allows("::ffff:192.0.2.7")


def test_octets_that_are_no_query_get_an_error_or_nothing() -> None:
    primary = primary_of(zone_of())
    for packet in (b"", b"\0" * 11, b"\x12\x34" + b"\xff" * 60, query_of("SOA").to_wire()[:-9]):
        assert all(one[3] & 15 and len(one) <= len(packet) for one in primary.answers(packet, HOST, stream=False))
    reply = bytearray(query_of("SOA").to_wire())
    reply[2] |= 0x80
    assert list(primary.answers(bytes(reply), HOST, stream=False)) == []


def test_a_flood_of_whole_transfers_is_refused_and_differences_are_not() -> None:
    zone = zone_of()
    zone.publish({OWNER: page_of(("192.0.2.1",)), wire_of("n.test")[:-1]: page_of(("192.0.2.1",))}, 1001)
    primary = primary_of(zone)
    rcodes = [asked(primary, query_of("AXFR"))[0][3] & 15 for _ in range(export_primary.MOST_WHOLE + 3)]
    assert rcodes == [0] * export_primary.MOST_WHOLE + [dns.rcode.REFUSED] * 3
    assert asked(primary, query_of("IXFR", serial=1000))[0][3] & 15 == 0
    assert asked(primary, query_of("SOA"))[0][3] & 15 == 0


def test_one_that_follows_gets_the_whole_zone_if_it_is_smaller_also_beyond_that_bound() -> None:
    zone = Zone(wire_of(NAME))
    zone.publish({wire_of(f"n{number}.test")[:-1]: page_of(("192.0.2.1",)) for number in range(9)}, 1000)
    zone.publish({}, 1001)
    primary = primary_of(zone)
    for _ in range(export_primary.MOST_WHOLE + 1):
        query = query_of("IXFR", serial=1000)
        wire = query.to_wire()
        (one,) = read_any(list(primary.answers(wire, HOST, stream=True)), query)
        assert [dns.rdatatype.to_text(each.rdtype) for each in one.answer] == ["SOA", "NS", "SOA"]


def test_a_zone_that_has_no_list_yet_fails_and_is_not_empty() -> None:
    primary = primary_of(Zone(wire_of(NAME)))
    assert asked(primary, query_of("AXFR"))[0][3] & 15 == dns.rcode.SERVFAIL


def test_it_is_known_who_is_behind() -> None:
    served = export_primary.Served(zone_of(), [KEY], ("127.0.0.1/32",), ((HOST, 53), ("192.0.2.20", 53)))
    primary = export_primary.Primary({"rpz.example": served})
    assert served.behind() == 2
    asked(primary, query_of("AXFR"))
    assert served.behind() == 1


async def _serving(work: Any, primary: Any, tls: ssl.SSLContext | None = None) -> Any:
    plain, over_tls = ((HOST, port) for port in free_ports(2))
    primary.listen([plain], [over_tls] if tls else [], tls)
    try:
        return await asyncio.to_thread(work, plain[1], over_tls[1])
    finally:
        await primary.close()


def test_a_stranger_is_closed_before_he_says_anything() -> None:
    def work(port: int, _: int) -> tuple[bytes, bool]:
        with socket.create_connection((HOST, port), timeout=20) as one:
            closed = one.recv(1)
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.settimeout(0.3)  # Nothing comes: how long is waited for that is the test's choice.
            one.sendto(query_of("SOA").to_wire(), (HOST, port))
            try:
                return closed, bool(one.recv(512))
            except TimeoutError:
                return closed, False

    primary = primary_of(zone_of(), secondaries=("192.0.2.20/32",))
    assert asyncio.run(_serving(work, primary)) == (b"", False)
    assert primary.refused == 2


def test_a_secondary_follows_over_tcp_and_over_tls_with_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    own, theirs = authority.issue_cert(HOST), authority.issue_cert("secondary.example")
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    paths = [str(tmp_path / f"{name}.pem") for name in ("chain", "key", "ca")]

    def context(*, known: bool) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=paths[2])
        made.set_alpn_protocols(["dot"])
        if known:
            theirs.configure_cert(made)
        return made

    def work(port: int, over_tls: int) -> list[Any]:
        found: list[Any] = []
        zone = dns.zone.Zone(NAME)
        dns.query.inbound_xfr(HOST, zone, dns.xfr.make_query(zone, keyring=KEY)[0], port=port, lifetime=20)
        found.append(len(zone.nodes))
        for known in (True, False):
            query = query_of("AXFR")
            try:
                reply = dns.query.tls(
                    query,
                    HOST,
                    20,
                    over_tls,
                    ssl_context=context(known=known),
                    server_hostname=HOST,
                    one_rr_per_rrset=True,
                )
                found.append(len(reply.answer))
            except (OSError, EOFError) as error:
                found.append(isinstance(error, ssl.SSLError | OSError | EOFError))
        return found

    primary = primary_of(zone_of())
    assert asyncio.run(_serving(work, primary, export_primary.context_of(*paths))) == [2, 4, True]


def test_connections_of_one_address_are_bounded() -> None:
    def work(port: int, _: int) -> int:
        more = export_primary.MOST_OF_AN_ADDRESS + 3
        opened = [socket.create_connection((HOST, port), timeout=20) for _ in range(more)]
        closed = 0
        for one in opened[export_primary.MOST_OF_AN_ADDRESS :]:
            closed += one.recv(1) == b""
        for one in opened:
            one.close()
        return closed

    assert asyncio.run(_serving(work, primary_of(zone_of()))) == 3


def test_a_notify_is_signed_and_said_again_until_it_is_confirmed() -> None:
    async def work() -> int:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as secondary:
            secondary.bind((HOST, 0))
            secondary.setblocking(False)
            primary = primary_of(zone_of(), notify=(secondary.getsockname(),))
            primary.notify("rpz.example")
            seen: set[bytes] = set()
            for _ in range(2):
                packet, address = await loop.sock_recvfrom(secondary, 4096)
                seen.add(packet[:2])
                message: Any = dns.message.from_wire(packet, keyring=KEY)
            assert (message.had_tsig, message.opcode(), message.answer[0][0].serial) == (True, 4, 1000)
            await loop.sock_sendto(secondary, packet[:2] + b"\xa4\x00" + packet[4:12], address)
            await asyncio.wait_for(primary.confirmed(), 20)
            return len(seen)

    assert asyncio.run(work()) == 2


@pytest.mark.parametrize("rcode", [5, 9])
def test_a_notify_is_signed_with_the_key_of_that_secondary(rcode: int) -> None:
    """Before it has asked its key is not known, and it refuses another's; then its own comes first."""
    other = dns.tsig.Key("other.", "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Q=", "hmac-sha256")
    keyring = {KEY.name: KEY, other.name: other}

    async def work() -> list[str]:
        loop, seen = asyncio.get_running_loop(), list[str]()
        with socket.socket(type=socket.SOCK_DGRAM) as secondary:
            secondary.bind((HOST, 0))
            secondary.setblocking(False)
            here = (secondary.getsockname(),)
            served = export_primary.Served(zone_of(), [KEY, other], (f"{HOST}/32",), here)
            primary = export_primary.Primary({"rpz.example": served})
            for _ in range(2):
                primary.notify("rpz.example")
                taken = False
                while not taken:
                    packet, address = await loop.sock_recvfrom(secondary, 4096)
                    message: Any = dns.message.from_wire(packet, keyring=keyring)
                    seen.append(str(message.keyname))
                    taken = message.keyname == other.name
                    said = b"\xa4" + bytes([0 if taken else rcode])
                    await loop.sock_sendto(secondary, packet[:2] + said + packet[4:12], address)
                await asyncio.wait_for(primary.confirmed(), 20)
                query = query_of("SOA", other)
                assert asked(primary, query, stream=False)
        return seen

    assert asyncio.run(work()) == [str(KEY.name), "other.", "other."]
