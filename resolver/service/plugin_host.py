"""Serves plugins in other resolvers within the service: publishes what is in force, and counts what they block.

Rules:
- What is published is made of the tables in force alone: each swap wakes the writer, and what is published last is what
  is in force last.
- Writing takes a thread's time, never the loop's. A folder that cannot be written is logged, and tried again.
- A block that a plugin reports is counted by core.tally, in the same tables as our own; the budget of different entries
  is not the plugins', and refuses nothing there.
- Only lists count: a slot without one is no list's, and what names it is left.
"""

import asyncio
import errno
import logging
import os
import socket
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from resolver.config.config import Plugin
from resolver.core import codes, tally
from resolver.core.admit import BUCKET_OCTETS, WAYS, Access
from resolver.core.lane import Tables
from resolver.core.policy import Verdict
from resolver.core.scratch import Scratch
from resolver.plugin import blocks
from resolver.plugin import folder as plugin_folder
from resolver.query.transport import Transport
from resolver.service.selftest import Place

AGAIN_S: Final = 10.0
A_TURN: Final = 256
"""Datagrams that are taken before the loop does something else."""
SOCKET_MODE: Final = 0o660
RECEIVE_OCTETS: Final = 2**22

_LARGEST: Final = blocks.MOST * blocks.OCTETS + 1
_NOBODY: Final = (b"",) * codes.MAX_LISTS

_log: Final = logging.getLogger("resolver.service")


class PluginHost:
    """The folder of the plugins, if there is one.

    counters: a table of core.codes, of what they have blocked. places: the resolvers that a proof asks. clock: seconds,
    monotonic.
    """

    def __init__(self, config: Plugin, digest_key: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self.counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        self.places = tuple(Place(one, Transport.UDP, foreign=True) for one in config.resolvers)
        self._is_wanted = bool(config.folder)
        self._folder = Path(config.folder)
        self._writer = plugin_folder.Writer(self._folder, digest_key)
        self._clock = clock
        self._tables: Tables | None = None
        self._changed = asyncio.Event()
        self._socket: socket.socket | None = None
        self._verdict = Verdict()
        self._scratch = Scratch()
        # Of an Access only the budget is read: a plugin refuses nobody for it.
        self._access = Access(b"", b"", _NOBODY, _NOBODY, rate=0, memory=bytearray(WAYS * BUCKET_OCTETS), key=bytes(16))

    def use(self, tables: Tables) -> None:
        """Publish these tables soon. Called by the loop's thread."""
        self._tables = tables
        if self._is_wanted:
            self._changed.set()

    async def run(self) -> None:
        """Publish and count until cancelled."""
        loop = asyncio.get_running_loop()
        failed = False
        if self._is_wanted and self._tables is not None:
            self._changed.set()
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                try:
                    if self._socket is None:
                        self._socket = self._listen()
                        loop.add_reader(self._socket, self.receive)
                    await asyncio.to_thread(self.publish)
                except OSError as error:
                    if not failed:
                        said = "%s: what plugins read cannot be written (%s): they go on with what they have"
                        _log.error(said, self._folder, error.strerror)
                    failed = True
                    self._changed.set()
                    await asyncio.sleep(AGAIN_S)
                else:
                    failed = False
        finally:
            if self._socket is not None:
                loop.remove_reader(self._socket)
                self._socket.close()
                self._socket = None

    def publish(self) -> None:
        """Write the tables that are in force now; OSError if the folder cannot be written."""
        if self._tables is not None:
            self._writer.write(self._tables)

    def _listen(self) -> socket.socket:
        """Return a new socket in place of the one before: that of a process which this one follows."""
        path = self._folder / plugin_folder.BLOCKS
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_OCTETS)
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.unlink(missing_ok=True)
            one.bind(os.fspath(part))
            part.chmod(SOCKET_MODE)
            part.replace(path)
        except OSError as error:
            one.close()
            raise OSError(error.errno or errno.EIO, os.strerror(error.errno or errno.EIO)) from None
        return one

    def receive(self) -> None:
        """Count what has come."""
        for _ in range(A_TURN):
            data = b""
            with suppress(OSError):
                data = self._socket.recv(_LARGEST) if self._socket is not None else b""
            if not data:
                return
            self.count(data)

    def count(self, datagram: bytes) -> None:
        """Count the blocks of one datagram, in the lists that are in force; leave what is no such datagram."""
        tables = self._tables
        if tables is not None:
            slots = {each.slot for each in tables.generation.members}
            for one in blocks.unpacked(datagram):
                if one.slot in slots:
                    self._count(one, tables)

    def _count(self, one: blocks.Block, tables: Tables) -> None:
        verdict = self._verdict
        verdict.slot, verdict.bits, verdict.low, verdict.high = one.slot, one.bits, one.low, one.high
        now_s = int(self._clock())
        tally.count(tables.tally, self._access, self.counters, verdict, one.qtype, one.client, now_s, self._scratch)
        if not one.bits & codes.SELFTEST:
            self.counters[codes.list_counter(one.slot, codes.BLOCKED_QUERIES)] += one.lost
