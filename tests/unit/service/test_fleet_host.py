"""A compile host within the service: one beat for all lists, publishing and collecting together."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config.config import Fleet
from resolver.feed import fleet, poll
from resolver.feed.places import Places
from resolver.service import fleet_host
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
    folder = Fleet(publish=str(host.published), receipts=str(receipts), nodes=str(nodes), host="compile")
    config = replace(host.config, fleet=folder)
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
    assert made.reports("demo", record) is None, "nothing is collected yet"
    made.collect()
    found = made.reports("demo", record)
    assert found is not None
    assert (found.since, found.nodes, found.missing) == ({"one": 5}, 1, ())
    assert made.reports("demo", replace(record, serial=8)) is None
    (tmp_path / "nodes/two.pub").write_text("no key")
    made.collect()
    found = made.reports("demo", record)
    assert found is not None
    assert found.missing == ("two",)
    alone = FleetHost(replace(host.config, fleet=Fleet(publish="/x")), host.keys, host.feed, host.releases, host.now)
    assert alone.reports("demo", record) is None


def test_what_was_read_is_saved_and_a_disk_that_is_full_stops_nothing(tmp_path: Path) -> None:
    host, made = reported(tmp_path)
    record = host.list.state.in_force
    assert record is not None
    made.collect()
    saved = Places(host.config.state.directory).collected
    assert saved.is_file()
    saved.unlink()
    saved.mkdir()  # no file can be renamed to this
    (tmp_path / "nodes/two.pub").write_text("no key")
    made.collect()
    found = made.reports("demo", record)
    assert found is not None
    assert found.missing == ("two",)
    saved.rmdir()
    made.collect()
    assert saved.is_file(), "it is tried again"


async def _run(running: FleetHost, collected: asyncio.Event) -> None:
    task = asyncio.ensure_future(running.run())
    running.wake()
    async with asyncio.timeout(120):
        await collected.wait()
    task.cancel()


def test_it_runs_beside_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, made = reported(tmp_path)
    collected = asyncio.Event()
    monkeypatch.setattr(host.feed.outbox, "wake", collected.set)
    asyncio.run(_run(made, collected))
    assert host.said()["custom"]["serial"] == 7
    assert len(list((host.folder / "receipts").glob("fleet-demo-7-*.json"))) == 1


def test_publishing_waits_for_no_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, made = reported(tmp_path)
    holds, real = threading.Event(), fleet.Publisher.publish
    monkeypatch.setattr(made, "collect", holds.wait)

    async def run() -> None:
        published, loop = asyncio.Semaphore(0), asyncio.get_running_loop()

        def publish(one: fleet.Publisher) -> None:
            real(one)
            loop.call_soon_threadsafe(published.release)

        monkeypatch.setattr(fleet.Publisher, "publish", publish)
        task = asyncio.ensure_future(made.run())
        async with asyncio.timeout(120):
            await published.acquire()
            made.wake()
            await published.acquire()
        task.cancel()

    asyncio.run(run())
    assert not holds.is_set(), "it published twice, and the stop did not wait either"
    holds.set()


def test_an_error_of_the_folder_is_said_once_and_collecting_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host, made = reported(tmp_path)
    monkeypatch.setattr(fleet_host, "COLLECT_EVERY_S", 0.01)
    real, left = made.collect, [OSError(5, "Input/output error"), OSError(5, "Input/output error")]

    def collect() -> bool:
        if left:
            raise left.pop()
        return real()

    monkeypatch.setattr(made, "collect", collect)
    collected = asyncio.Event()
    monkeypatch.setattr(host.feed.outbox, "wake", collected.set)
    asyncio.run(_run(made, collected))
    assert caplog.text.count("receipts cannot be collected (None: Input/output error)") == 1


def test_a_folder_without_an_answer_is_said_to_be_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host, made = reported(tmp_path)
    monkeypatch.setattr(fleet_host, "COLLECT_WITHIN_S", 0.01)
    real, holds = made.collect, threading.Event()

    def collect() -> bool:
        holds.wait()
        return real()

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            holds.set()

    monkeypatch.setattr(made, "collect", collect)
    collected = asyncio.Event()
    monkeypatch.setattr(host.feed.outbox, "wake", collected.set)
    logger, said = logging.getLogger("resolver.service"), Said()
    logger.addHandler(said)
    asyncio.run(_run(made, collected))
    logger.removeHandler(said)
    assert caplog.text.count("gives no answer") == 1
