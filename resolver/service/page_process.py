"""The process that shows the page: it has no list, no key and no DNS, and what strangers send ends here.

    python -I -m resolver.service.page_process CHANNEL COUNTS PARENT

Rules:
- It enters the sandbox of the feed's processes before it reads a request: no dump, no log, bounded memory, ended with
  the service. Every octet of a visitor stays in it.
- It runs with the lowest priority (SCHED_IDLE), so that a crowd of visitors takes only what DNS leaves: whatever else
  wants to run takes its processor at once. It needs no pace of its own.
- Over CHANNEL, a pair of sockets, the service gives it pages and listening sockets, as files; it gives nothing back.
- COUNTS is a file in memory that both have mapped: numbers are added here and read there. They outlive this process.
"""

import asyncio
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

import msgspec

from resolver.core import admit, codes
from resolver.feed import sandbox
from resolver.page.rendered import unpacked
from resolver.page.show import COUNTS, Page
from resolver.process.loop import collect_garbage_rarely
from resolver.quiet_http.bounds import PAGE_BOUNDS
from resolver.quiet_http.server import QuietServer, serve_octets

MEMORY_BYTES: Final = 2**29
GRACE_S: Final = 1.0
COUNTS_OCTETS: Final = 8 * COUNTS
MOST_FILES: Final = 250
"""Files in a message; the kernel takes 253."""
_SPARE_FILES: Final = 64
_SAID_OCTETS: Final = 64
_NICE: Final = 19
POLICY: Final = os.SCHED_IDLE

Said = Literal[b"pages", b"listen", b"stop"]
"""A message: pages (with a file that holds State), listen (with sockets), stop."""


class State(msgspec.Struct, frozen=True):
    """What is shown, and to whom without bounds.

    pages: as page.rendered packs them. spared: the prefixes that are exempt, as ranges for core.admit. own: this
    host's own addresses, 16 octets each.
    """

    pages: bytes
    spared: bytes
    own: tuple[bytes, ...]


def exemption(state: State) -> Callable[[bytes], bool]:
    """Return the function that says whether a client (16 octets) is spared the bounds of its prefix."""
    nobody, memory = (b"",) * codes.MAX_LISTS, bytearray(admit.WAYS * admit.BUCKET_OCTETS)
    access = admit.Access(b"", state.spared, nobody, nobody, rate=0, memory=memory, key=bytes(16))
    own = frozenset(state.own)
    return lambda client: client in own or bool(admit.exempts(access, client))


class Shown:
    """The page in this process, and the messages about it. counts: COUNTS numbers that the service reads."""

    def __init__(self, channel: socket.socket, counts: memoryview) -> None:
        self.ended = asyncio.Event()
        self._channel = channel
        self._counts = counts
        self._page: Page | None = None
        self._server: QuietServer | None = None
        self._spares: Callable[[bytes], bool] = bool
        channel.setblocking(False)
        asyncio.get_running_loop().add_reader(channel.fileno(), self._receive)

    async def close(self) -> None:
        """Take no more visitors; let pending responses reach theirs."""
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        if self._server is not None:
            await self._server.stop(GRACE_S)

    def _receive(self) -> None:
        try:
            said, files, _, _ = socket.recv_fds(self._channel, _SAID_OCTETS, MOST_FILES)
        except BlockingIOError:
            return
        except OSError:
            said, files = b"", []
        if said == b"pages":
            with open(files[0], "rb") as file:
                self._show(msgspec.msgpack.decode(file.read(), type=State))
        elif said == b"listen" and self._server is not None:
            for one in files:
                self._server.add(socket.socket(fileno=one))
        else:  # It is to stop, or the service has gone.
            self.ended.set()

    def _show(self, state: State) -> None:
        self._spares = exemption(state)
        rendered = unpacked(state.pages)
        if self._page is None:
            self._page = Page(rendered, self._counts)
            self._server = serve_octets(self._page.respond, (), PAGE_BOUNDS, self._exempt)
            collect_garbage_rarely()  # A visit leaves no cycle behind.
        else:
            self._page.show(rendered)

    def _exempt(self, client: bytes) -> bool:
        return self._spares(client)


def give_way() -> None:
    """Run only when nothing else of this host wants to."""
    with suppress(OSError):
        os.sched_setscheduler(0, POLICY, os.sched_param(0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)


async def _serve(channel: int, memory: mmap.mmap) -> None:
    with socket.socket(fileno=channel) as one:
        shown = Shown(one, memoryview(memory).cast("Q"))
        await shown.ended.wait()
        await shown.close()


def main(words: Sequence[str]) -> int:
    """Carry out the command line of this process."""
    # A terminal's Ctrl-C and hang-up go to all processes: the service says when this one stops.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel, counts, parent = map(int, words)

    def work() -> None:
        sandbox.confine(parent, MEMORY_BYTES, channel, counts)
        memory = mmap.mmap(counts, COUNTS_OCTETS)
        os.close(counts)
        most = PAGE_BOUNDS.connections + MOST_FILES + _SPARE_FILES
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, hard), min(most, hard)))
        give_way()
        asyncio.run(_serve(channel, memory))

    return sandbox.run(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
