"""One DNS client: what it sends and what it takes for a reply."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.config.values import Endpoint
from resolver.dns_client.client import AskError, Reply, ask, build_query, understand
from tests.fakes.upstream import HOST, Way, in_thread, records
from tests.parity.cases import of
from tests.unit.query.parts import SOA, Message, reply_of

TABLE = records({("open.test", "A"): ["198.51.100.7", "198.51.100.8"], ("open.test", "TXT"): ['"a b"']})


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_a_question_and_what_came(over: str) -> None:
    with in_thread(TABLE) as upstream:
        server = Endpoint(HOST, upstream.port)
        reply = ask("Open.test", "a", server, over, 5)
        assert reply.rcode == "NOERROR"
        assert sorted(reply.answers) == ["Open.test. 300 A 198.51.100.7", "Open.test. 300 A 198.51.100.8"]
        assert reply.flags == ("rd", "ra")
        assert reply.authorities == reply.additionals == reply.errors == ()
        assert 0 < reply.seconds < 5
        gone = ask("gone.test", "TYPE65", server, over, 5)
        assert gone.rcode == "NXDOMAIN"
        assert len(gone.authorities) == 1
        assert upstream.exchanges == {over: 2}


def test_a_query_says_what_it_was_told_to() -> None:
    plain = dns.message.from_wire(build_query("open.test", "AAAA"))
    assert plain.question[0].rdtype == dns.rdatatype.AAAA
    assert (plain.flags, plain.edns, plain.payload, plain.ednsflags) == (dns.flags.RD, 0, 1232, 0)
    other = dns.message.from_wire(build_query("open.test.", "TYPE65280", rd=False, cd=True, do=True))
    assert other.question[0].rdtype == 65280
    assert other.flags == dns.flags.CD
    assert other.ednsflags == dns.flags.DO
    assert dns.message.from_wire(build_query(".", "NS", edns=False)).edns == -1
    assert len({build_query("open.test", "A")[:2] for _ in range(50)}) > 40


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x" * 64 + ".test", "A"),
        ("x." * 200 + "test", "A"),
        ("bücher.test", "A"),
        ("open.test", "NOSUCH"),
        ("open.test", "TYPE65536"),
        ("open.test", "TYPE"),
        ("open.test", ""),
        ("a..test", "A"),
        (".test", "A"),
    ],
)
def test_what_cannot_be_asked_for_is_said_without_the_name(name: str, kind: str) -> None:
    with pytest.raises(AskError) as failure:
        build_query(name, kind)
    assert "test" not in str(failure.value)
    assert "x" * 10 not in str(failure.value)


@contextmanager
def answering(how: Callable[[bytes], list[bytes]]) -> Iterator[Endpoint]:
    """A UDP server of one query: it sends what `how` makes of it."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        one.settimeout(5)

        def serve() -> None:
            data, peer = one.recvfrom(4096)
            for reply in how(data):
                one.sendto(reply, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint(*one.getsockname())
        thread.join()


def honest(data: bytes) -> bytes:
    return reply_of(dns.message.from_wire(data), ["open.test. 300 A 198.51.100.7"]).to_wire()


FORGED: dict[str, Callable[[bytes], bytes]] = {
    "another id": lambda data: bytes([data[0] ^ 1]) + honest(data)[1:],
    "a query": lambda data: data,
    "another question": lambda data: honest(data).replace(b"\4open", b"\4shut", 1),
    "cut": lambda data: honest(data)[:-1],
    "a header without an error": lambda data: data[:2] + b"\x80" + bytes(9),
    "nothing": lambda data: b"",
    "a pointer to itself": lambda data: data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:27] + b"\xc0\x1b" + bytes(10),
}


def test_octets_after_the_end_of_a_reply_are_left_out() -> None:
    with answering(lambda data: [honest(data) + b"\0"]) as server:
        assert ask("open.test", "A", server, "udp", 5).answers == ("open.test. 300 A 198.51.100.7",)


@pytest.mark.parametrize("way", FORGED)
def test_what_does_not_answer_the_query_is_no_reply(way: str) -> None:
    with answering(lambda data: [FORGED[way](data)]) as server, pytest.raises(AskError) as failure:
        ask("open.test", "A", server, "udp", 5)
    assert "open.test" not in str(failure.value)


def test_an_error_that_comes_without_the_question_is_a_reply() -> None:
    with answering(lambda data: [data[:2] + b"\x80\x81" + bytes(8)]) as server:
        reply = ask("open.test", "A", server, "udp", 5)
    assert reply.rcode == "FORMERR"
    assert reply.answers == ()


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_no_reply_is_said_with_the_server_and_no_name(over: str) -> None:
    with in_thread(TABLE) as upstream:
        upstream.otherwise = (Way.SILENT,)
        with pytest.raises(AskError, match=f"no answer from {HOST}:{upstream.port} within 0.2 s"):
            ask("open.test", "A", Endpoint(HOST, upstream.port), over, 0.2)
        closed = Endpoint(HOST, upstream.port)
    with pytest.raises(AskError, match="refused") as failure:
        ask("open.test", "A", closed, over, 5)
    assert "open.test" not in str(failure.value)


def test_a_stream_cut_short_is_no_reply() -> None:
    with in_thread(TABLE) as upstream:
        upstream.otherwise = (Way.HALF,)
        with pytest.raises(AskError, match="ConnectionAborted"):
            ask("open.test", "A", Endpoint(HOST, upstream.port), "tcp", 5)


def understood(made: Callable[[Message], Message]) -> Reply:
    """What is told of such a reply."""
    sent = build_query("open.test", "A")
    return understand(made(dns.message.from_wire(sent)).to_wire(), sent, 0.0015)


def full(asked: Message) -> Message:
    made = reply_of(
        asked,
        ["open.test. 60 A 192.0.2.1"],
        [f"test. 60 SOA {SOA}"],
        ["ns.test. 60 A 198.51.100.8"],
    )
    made.use_edns(0, options=[dns.edns.EDEOption(4), dns.edns.EDEOption(4000), dns.edns.GenericOption(10, b"12345678")])
    made.flags |= dns.flags.AD
    return made


def test_a_reply_in_words() -> None:
    reply = understood(full)
    assert (reply.rcode, reply.flags) == ("NOERROR", ("rd", "ra", "ad"))
    assert reply.errors == ((4, "Forged Answer"), (4000, "see RFC 8914"))
    assert reply.additionals == ("ns.test. 60 A 198.51.100.8",)


def test_an_rcode_of_edns_is_told_whole() -> None:
    def bad_version(asked: Message) -> Message:
        made = reply_of(asked)
        made.use_edns(0)
        made.set_rcode(dns.rcode.BADVERS)
        return made

    assert understood(bad_version).rcode in ("BADVERS", "BADSIG", "16")


@of(0.1)
@given(octets=st.binary(max_size=80), head=st.booleans(), more=st.binary(max_size=60))
def test_any_octets_are_a_reply_or_a_reason(octets: bytes, head: bool, more: bytes) -> None:
    sent = build_query("open.test", "A", edns=False)
    data = sent[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + sent[12:] + b"\xc0\x0c" + more if head else octets
    try:
        reply = understand(data, sent, 0.0)
    except AskError:
        return
    assert reply.octets == data
    assert reply.rcode


@pytest.mark.parametrize(
    ("kind", "rdata"),
    [
        (29, b"\0\0\0\1" + bytes(12)),  # LOC: a number that dnslib finds out of range only when it shows it
        (35, bytes(4) + b"\1\xff\0\0\0"),  # NAPTR: flags that are no UTF-8
        (65, b"\0\1\1\xff\0"),  # HTTPS: a target that is no ASCII
    ],
)
def test_what_cannot_be_shown_is_said_so(kind: int, rdata: bytes) -> None:
    sent = build_query("open.test", "A", edns=False)
    record = b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(rdata).to_bytes(2, "big") + rdata
    with pytest.raises(AskError, match="cannot be shown as text"):
        understand(sent[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + sent[12:] + record, sent, 0.0)


RDATA = st.tuples(st.integers(0, 300), st.binary(max_size=40))


@of(0.1)
@given(records=st.lists(RDATA, min_size=1, max_size=3))
def test_any_records_that_parse_are_told_or_refused(records: list[tuple[int, bytes]]) -> None:
    sent = build_query("open.test", "A", edns=False)
    body = b"".join(
        b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data
        for kind, data in records
    )
    data = sent[:2] + b"\x81\x80\0\1\0" + bytes([len(records)]) + b"\0\0\0\0" + sent[12:] + body
    try:
        reply = understand(data, sent, 0.0)
    except AskError:
        return
    assert len(reply.answers) == len(records)
