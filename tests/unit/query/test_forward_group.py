"""Which servers a name goes to, and which of them is asked."""

import asyncio
import gc

import pytest

from resolver.query.forward import Overloaded, Unanswered
from resolver.query.forward_health import LEAST
from tests.fakes.upstream import Upstream, Way, records, serve
from tests.unit.query.forwarding import TABLE, asking, at, exchange, parsed
from tests.unit.query.parts import query, until

pytestmark = pytest.mark.loops

CORP = records({(name, "A"): ["198.51.100.9"] for name in ("corp.test", "www.corp.test", "a.lab.corp.test")})


def asked(upstream: Upstream) -> list[str]:
    """The questions that it got, as text."""
    return [f"{one.question[0].name} {one.question[0].rdtype.name}" for one in upstream.queries]


@pytest.mark.asyncio
async def test_the_longest_zone_wins_and_ds_is_asked_of_the_parent() -> None:
    async with (
        serve(TABLE) as rest,
        serve(CORP) as corp,
        serve(CORP) as lab,
        asking(at(rest), zones={"corp.test": [at(corp)], "lab.corp.test": [at(lab)]}) as one,
    ):
        for name, kind in (
            ("open.test", "A"),
            ("xcorp.test", "A"),
            ("corp.test", "A"),
            ("WWW.Corp.Test", "A"),
            ("corp.test", "DS"),
            ("www.corp.test", "DS"),
            ("a.lab.corp.test", "A"),
            ("lab.corp.test", "DS"),
        ):
            await exchange(one, query(name, kind))
        assert asked(rest) == ["open.test. A", "xcorp.test. A", "corp.test. DS"]
        assert [text.lower() for text in asked(corp)] == [
            "corp.test. a",
            "www.corp.test. a",
            "www.corp.test. ds",
            "lab.corp.test. ds",
        ]
        assert asked(lab) == ["a.lab.corp.test. A"]
        assert [one.group_of(parsed(query(name).to_wire())).zone for name in ("open.test", "x.corp.test")] == [
            "",
            "corp.test",
        ]


@pytest.mark.asyncio
async def test_a_group_that_is_out_takes_nothing_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolver.query.forward_group.LAST_HOPES", 2)
    async with (
        serve(TABLE) as rest,
        serve(CORP) as corp,
        asking(at(rest), timeout_s=0.3, zones={"corp.test": [at(corp)]}) as one,
    ):
        corp.otherwise = (Way.SILENT,)
        inside = one.servers[1]
        waiting = [asyncio.ensure_future(exchange(one, query("corp.test"))) for _ in range(LEAST)]
        assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {Unanswered}
        await until(lambda: not inside.up, 20)
        assert (inside.zones, one.servers[0].zones) == (("corp.test",), ("",))
        hopes = [asyncio.ensure_future(exchange(one, query("corp.test"))) for _ in range(4)]
        for _ in range(20):
            assert (await exchange(one, query("open.test"))).answer
        ends = await asyncio.gather(*hopes, return_exceptions=True)
        assert {type(end) for end in ends} == {Unanswered}
        assert not any(isinstance(end, Overloaded) for end in ends)
        gc.collect()


@pytest.mark.asyncio
async def test_a_server_of_two_groups_has_one_health() -> None:
    async with (
        serve(TABLE) as both,
        serve(TABLE) as other,
        asking(at(both), at(other), zones={"corp.test": [at(both)]}) as one,
    ):
        assert [str(server.endpoint) for server in one.servers] == [both.address, other.address]
        assert one.servers[0].zones == ("", "corp.test")
        one.servers[0].up = 0
        one.choose()
        assert [group.any_up() for group in one.groups] == [True, False]
        assert one.is_up_for(parsed(query("open.test").to_wire()))
        assert not one.is_up_for(parsed(query("www.corp.test").to_wire()))


@pytest.mark.asyncio
async def test_listed_servers_are_asked_in_their_order() -> None:
    async with (
        serve(TABLE) as first,
        serve(TABLE) as second,
        serve(TABLE) as third,
        asking(at(first), at(second), at(third), timeout_s=1, listed=True) as one,
    ):
        one.servers[0].smoothed_s, one.servers[1].smoothed_s = 0.9, 0.1
        first.hold()
        waiting = [asyncio.ensure_future(exchange(one, query("open.test"))) for _ in range(5)]
        await until(lambda: first.exchanges["udp"] >= 5)
        first.release()
        await asyncio.gather(*waiting)
        assert third.exchanges["udp"] == 0
        second.queries.clear()
        one.servers[0].up = 0
        one.choose()
        for _ in range(5):
            await exchange(one, query("open.test"))
        assert len(second.queries) == 5
        second.otherwise = (Way.REFUSED,)
        assert (await exchange(one, query("open.test"))).answer
        assert third.exchanges["udp"] == 1, "the next, when one fails"
