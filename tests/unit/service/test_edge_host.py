"""The edges' socket within the service: it comes as configured, is tried again, and stops nothing else."""

import asyncio
import logging
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from resolver.config.config import Edge
from resolver.query import edge_frames
from resolver.query.accept_datagram import Datagrams
from resolver.query.accept_edge import FRAMES_A_SHARE
from resolver.query.edge_frames import Report
from resolver.service import edge_host
from resolver.service.edge_host import EdgeFacts, EdgeHost, seats_for_edges
from tests.unit.query.parts import House, says, tables, until

OWN = pwd.getpwuid(os.geteuid())


def host_of(config: Edge) -> EdgeHost:
    house = House(says(), tables(1, (("listed.test",),)), seats=2)
    return EdgeHost(config, house.answer, house.lane, 2, Datagrams(house.answer.answer, lambda _: None))


def test_without_a_socket_there_is_nothing() -> None:
    host = host_of(Edge())
    host.open()
    assert (host.facts(), host.missing(), host.edges.reachable) == (None, (), False)
    assert (seats_for_edges(Edge()), seats_for_edges(Edge(socket="/run/x"))) == (0, FRAMES_A_SHARE)


@pytest.mark.asyncio
@pytest.mark.parametrize("user", ["", OWN.pw_name])
async def test_it_takes_edges_of_the_account_that_is_configured(tmp_path: Path, user: str) -> None:
    host = host_of(Edge(socket=str(tmp_path / "queries"), user=user))
    host.open()
    assert (host.edges.user, host.missing(), host.facts()) == (os.geteuid(), (), EdgeFacts(0, 0))
    _, writer = await asyncio.open_unix_connection(tmp_path / "queries")
    writer.write(edge_frames.report(Report(1, 1_900_000_000)))
    await until(lambda: host.facts() == EdgeFacts(1, 1_900_000_000))
    writer.close()
    host.edges.close()
    await host.edges.drained()
    await until(lambda: host.facts() == EdgeFacts(0, 0))


@pytest.mark.asyncio
async def test_what_is_wrong_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(edge_host, "AGAIN_S", 0.01)
    folder = tmp_path / "later"
    host = host_of(Edge(socket=str(folder / "queries"), user=""))
    host.open()
    (said,) = host.missing()
    assert said.startswith("edge.socket: cannot be made (No such file or directory)")
    state = SimpleNamespace(leaving=True)
    task = asyncio.create_task(host.run(lambda: state.leaving))
    folder.mkdir()
    for _ in range(5):
        await asyncio.sleep(0.01)  # nothing says that nothing happens
    assert not host.edges.reachable, "a process that is leaving makes no socket"
    state.leaving = False
    await until(lambda: host.edges.reachable)
    assert host.missing() == ()
    (folder / "queries").unlink()
    await until(lambda: host.edges.reachable)
    task.cancel()
    host.edges.close()
    logged = [one.getMessage() for one in caplog.records if "edge.socket" in one.getMessage()]
    assert [one.startswith("edge.socket: now listening") for one in logged] == [False, True]


@pytest.mark.asyncio
async def test_an_account_that_is_missing_is_said_and_a_reload_may_name_another(tmp_path: Path) -> None:
    config = Edge(socket=str(tmp_path / "queries"), user="no-such-account")
    host = host_of(config)
    host.open()
    assert host.missing() == ("edge.user: this host has no account no-such-account: make it, or name another",)
    assert (host.edges.reachable, host.edges.user) == (False, edge_host.NOBODY)
    host.configure(replace(config, user=OWN.pw_name))
    assert (host.missing(), host.edges.reachable, host.edges.user) == ((), True, os.geteuid())
    host.configure(replace(config, user=OWN.pw_name, name="dns.isp.example"))
    assert host.edges.reachable
    host.edges.close()
