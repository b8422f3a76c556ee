"""A compile host within the service: one beat for all lists, publishing and collecting together."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config.config import Fleet
from resolver.feed import poll
from resolver.service.fleet_host import FleetHost
from resolver.signed import statement
from tests.fakes.authority import Authority, names
from tests.fakes.fleet import CompileHost, pair


def reported(tmp_path: Path) -> tuple[CompileHost, FleetHost]:
    """A host with a list in force and one node, which has reported it."""
    authority = Authority(tmp_path / "authority")
    authority.publish(names(10), 7)
    host, node = pair(tmp_path, authority)
    folders = [tmp_path / name for name in ("receipts", "nodes")]
    for one in folders:
        one.mkdir()
    receipts, nodes = folders
    key = poll.host_key_of(node.config, make=True)
    (nodes / "one.pub").write_bytes(statement.pem_of(statement.public_of(key)))
    fleet = Fleet(publish=str(host.published), receipts=str(receipts), nodes=str(nodes), host="compile")
    config = replace(host.config, fleet=fleet)
    made = FleetHost(config, host.keys, host.feed, host.releases, host.now)
    asyncio.run(host.list.poll())
    record = host.list.state.in_force
    assert record is not None
    said = {
        "kind": "receipt",
        "host": "one",
        "list": "demo",
        "serial": 7,
        "digest": record.digest,
        "in_force_since": 5,
    }
    (receipts / "a.json").write_bytes(statement.sign(said, key))
    return host, made


def test_it_publishes_and_collects(tmp_path: Path) -> None:
    host, made = reported(tmp_path)
    made.publish()
    assert host.published.joinpath("demo.json").exists()
    (path,) = (host.folder / "receipts").glob("fleet-demo-7-*.json")
    assert statement.claimed(path.read_bytes())[0]["hosts"] == 1
    assert made.collect() is False, "once"


def test_who_has_reported_is_told_where_receipts_are_collected(tmp_path: Path) -> None:
    host, made = reported(tmp_path)
    record = host.list.state.in_force
    assert record is not None
    found = made.reports("demo", record)
    assert found is not None
    assert (found.since, found.nodes, found.missing) == ({"one": 5}, 1, ())
    made.collect()
    (tmp_path / "nodes/two.pub").write_text("no key")
    found = made.reports("demo", record)
    assert found is not None
    assert found.missing == ("two",)
    alone = FleetHost(replace(host.config, fleet=Fleet(publish="/x")), host.keys, host.feed, host.releases, host.now)
    assert alone.reports("demo", record) is None


async def _run(running: FleetHost, collected: asyncio.Event) -> None:
    task = asyncio.ensure_future(running.run())
    running.wake()
    async with asyncio.timeout(20):
        await collected.wait()
    task.cancel()


def test_it_runs_beside_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, made = reported(tmp_path)
    collected = asyncio.Event()
    monkeypatch.setattr(host.feed.outbox, "wake", collected.set)
    asyncio.run(_run(made, collected))
    assert host.said()["custom"]["serial"] == 7
    assert len(list((host.folder / "receipts").glob("fleet-demo-7-*.json"))) == 1
