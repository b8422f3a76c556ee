"""Addresses of a host: the upstreams say them, nobody else."""

import socket
from collections.abc import Callable

import dns.message
import dns.rrset
import pytest

from resolver.feed import lookup
from resolver.feed.details import Code
from tests.fakes.upstream import Way, in_thread, records

HOST = "authority.example"
TABLE = {(HOST, "A"): ["192.0.2.7", "192.0.2.8"], (HOST, "AAAA"): ["2001:db8::7"]}


@pytest.fixture(autouse=True)
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the system is asked."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the system's resolver was asked")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        monkeypatch.setattr(socket, name, asked)


def ticking(step: float) -> Callable[[], float]:
    ticks = iter(range(10_000))
    return lambda: next(ticks) * step


def test_addresses_of_both_families() -> None:
    with in_thread(records(TABLE)) as upstream:
        found = lookup.addresses(HOST, (upstream.address,), 9.0)
    assert sorted(found) == ["192.0.2.7", "192.0.2.8", "2001:db8::7"]
    assert [query.question[0].name.to_text() for query in upstream.queries] == [HOST + "."] * 2


def test_an_address_is_taken_as_it_is() -> None:
    assert lookup.addresses("192.0.2.7", (), 9.0) == ("192.0.2.7",)
    assert lookup.addresses("2001:db8::7", ("127.0.0.1:1",), 9.0) == ("2001:db8::7",)


def test_an_alias_is_followed_to_its_end_and_no_further() -> None:
    answer = records({(HOST, "A"): ["192.0.2.7"]})

    def aliased(query: dns.message.Message) -> dns.message.Message:
        reply = answer(query)
        if reply.answer:
            alias = "authority.example. 60 IN CNAME www.example.\nwww.example. 60 IN A 192.0.2.9\n"
            reply.answer.clear()
            for line in [*alias.splitlines(), "other.example. 60 IN A 192.0.2.66"]:
                owner, ttl, kind, record, data = line.split()
                reply.answer.append(dns.rrset.from_text(owner, int(ttl), kind, record, data))
        return reply

    with in_thread(aliased) as upstream:
        assert lookup.addresses(HOST, (upstream.address,), 9.0) == ("192.0.2.9",)


@pytest.mark.parametrize("way", [Way.SERVFAIL, Way.REFUSED, Way.GARBAGE, Way.WRONG_ID, Way.WRONG_QUESTION])
def test_the_next_upstream_is_asked(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "TRY_SECONDS", 0.2)
    with in_thread(records(TABLE)) as bad, in_thread(records(TABLE)) as good:
        bad.otherwise = (way,)
        found = lookup.addresses(HOST, ("127.0.0.1:1", bad.address, good.address), 9.0)
    assert "192.0.2.7" in found
    assert bad.queries


def test_a_truncated_answer_comes_by_tcp() -> None:
    with in_thread(records(TABLE)) as upstream:
        upstream.otherwise = (Way.TRUNCATED,)
        assert len(lookup.addresses(HOST, (upstream.address,), 9.0)) == 3


def test_nobody_knows_it() -> None:
    with in_thread(records({})) as upstream:
        assert lookup.addresses(HOST, (upstream.address,), 9.0) == ()
    assert lookup.addresses("a..b", ("127.0.0.1:1",), 9.0) == ()


def test_the_time_ends_it() -> None:
    with in_thread(records(TABLE)) as upstream:
        assert lookup.addresses(HOST, (upstream.address,), 9.0, clock=ticking(10.0)) == ()
    assert not upstream.queries


def test_without_upstreams_the_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))] * 2
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert lookup.addresses(HOST, (), 9.0) == ("192.0.2.7",)


def test_the_zone_is_the_path_of_the_url() -> None:
    assert str(lookup.zone_of("tls://ns.example:853/RPZ.Example.")) == "rpz.example."
    assert lookup.zone_of("dns://192.0.2.1/a..b") is None


def test_of_several_upstreams_the_one_that_says_most_is_reported() -> None:
    with in_thread(records({})) as knows, in_thread(records({})) as fails:
        fails.otherwise = (Way.SERVFAIL,)
        with pytest.raises(lookup.NoAddress) as error:
            lookup.resolved(HOST, (fails.address, "127.0.0.1:1", knows.address), 9.0)
    assert error.value.detail.code is Code.NO_SUCH_HOST
    assert lookup.addresses(HOST, ("127.0.0.1:1",), 9.0) == ()
