"""The service's side of plugins: what is in force is published, and what they block is counted as our own."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from resolver.config.config import Plugin
from resolver.core import codes
from resolver.plugin import folder as plugin_folder
from resolver.plugin.blocks import Block, packed
from resolver.service.plugin_host import PluginHost
from tests.unit.plugin.parts import KEY, tables

CLIENT = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])


def block(
    slot: int = 0, bits: int = codes.BLOCK_SELF, qtype: int = 1, low: int = 1, client: bytes = CLIENT, lost: int = 0
) -> bytes:
    return packed(Block(slot, bits, qtype, low, 2, client, lost))


ONE = block()


def counted(host: PluginHost, slot: int = 0) -> tuple[int, int]:
    """Blocked queries and attempts."""
    numbers = codes.BLOCKED_QUERIES, codes.ATTEMPTS
    blocked, attempts = (host.counters[codes.list_counter(slot, number)] for number in numbers)
    return blocked, attempts


def test_a_block_is_counted_by_the_definition() -> None:
    host = PluginHost(Plugin(folder="/nowhere"), KEY, lambda: 100.0)
    host.count(ONE)
    assert counted(host) == (0, 0), "nothing is in force"
    host.use(tables((["bad.test"],)))
    for _ in range(3):
        host.count(ONE)
    host.count(block(qtype=28))
    assert counted(host) == (4, 1), "one attempt a minute for a client and an entry"
    host.count(block(low=9))
    host.count(block(client=CLIENT[:-1] + b"\x08", qtype=16))
    assert counted(host) == (6, 2)
    host.count(block(lost=5))
    assert counted(host) == (12, 2), "what was not sent was blocked all the same"


def test_what_is_no_lists_counts_nothing() -> None:
    host = PluginHost(Plugin(folder="/nowhere"), KEY, lambda: 100.0)
    host.use(tables((["bad.test"],)))
    selftest = block(bits=codes.BLOCK_SELF | codes.SELFTEST, lost=9)
    for datagram in (b"", b"x" * 48, block(slot=7), selftest):
        host.count(datagram)
    assert not any(host.counters)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - the thread that writes gives no other sign
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_each_swap_is_published_and_blocks_are_received(tmp_path: Path) -> None:
    host = PluginHost(Plugin(folder=str(tmp_path)), KEY, lambda: 100.0)
    work = asyncio.create_task(host.run())

    def is_published(number: int) -> bool:
        return (tmp_path / "policy").exists() and plugin_folder.read(tmp_path, KEY, {}).number == number

    for number in (1, 2):
        host.use(tables((["bad.test"],), number))
        await until(lambda number=number: is_published(number))
    path = tmp_path / plugin_folder.BLOCKS
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        for _ in range(5):
            one.sendto(60 * ONE, os.fspath(path))
    await until(lambda: counted(host) == (300, 1))
    for _ in range(2):
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        (tmp_path / "policy").unlink(missing_ok=True)
        work = asyncio.create_task(host.run())
        await until((tmp_path / "policy").exists)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


@pytest.mark.asyncio
async def test_a_folder_that_is_not_there_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("resolver.service.plugin_host.AGAIN_S", 0.01)
    host = PluginHost(Plugin(folder=str(tmp_path / "later")), KEY, lambda: 100.0)
    host.use(tables((["bad.test"],)))
    work = asyncio.create_task(host.run())
    await until(lambda: "cannot be written" in caplog.text)
    (tmp_path / "later").mkdir()
    await until((tmp_path / "later" / "policy").exists)
    assert caplog.text.count("cannot be written") == 1
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


@pytest.mark.asyncio
async def test_without_a_folder_nothing_is_done() -> None:
    host = PluginHost(Plugin(), KEY)
    host.use(tables((["bad.test"],)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(host.run(), 0.05)
    assert host.places == ()
