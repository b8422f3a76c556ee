"""The process that asks encrypted upstreams: it has no list, no key and no client, and what servers send ends here.

    python -I -m resolver.courier.process CHANNEL PARENT

Rules:
- It enters the sandbox of the feed's processes before it reads a message: no dump, no log, bounded memory, ended with
  the service. All of TLS and HTTP stays in it.
- Over CHANNEL, a pair of sockets, the service names the servers once, and then the queries (query.courier_frames). It
  ends with the channel.
- One server's errors end its own connections and queries alone.
- While the service does not take what it is sent, nothing is read from any server.
"""

import asyncio
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

from resolver.config.values import MOST_ENCRYPTED
from resolver.courier.upstream import CONNECTIONS, Upstream
from resolver.feed import sandbox
from resolver.process.loop import collect_garbage_rarely, loop_factory
from resolver.query import courier_frames
from resolver.query.courier_frames import Frames, Malformed, Reason

MEMORY_BYTES: Final = 2**29
_SPARE_FILES: Final = 64


class Channel(asyncio.Protocol):
    """The service's end in this process. ended: set when the channel closes."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.servers: tuple[Upstream, ...] = ()
        self._frames = Frames()
        self._of: dict[int, Upstream] = {}
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to write (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take what the service asks (asyncio.Protocol)."""
        try:
            for kind, body in self._frames.taken(data):
                self._take(kind, body)
        except (Malformed, LookupError):
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the service has gone, or wants that (asyncio.Protocol)."""
        self._close()

    def pause_writing(self) -> None:
        """Read nothing more from servers (asyncio.Protocol)."""
        for server in self.servers:
            for connection in server.connections:
                connection.pause()

    def resume_writing(self) -> None:
        """Read on (asyncio.Protocol)."""
        for server in self.servers:
            for connection in server.connections:
                connection.go_on()

    def answer(self, number: int, message: bytes) -> None:
        """Hand an answer to the service."""
        self._say(number, courier_frames.answer(number, message))

    def fail(self, number: int, reason: Reason, detail: int) -> None:
        """Say why there is no answer."""
        self._say(number, courier_frames.failed(number, reason, detail))

    def notice(self, place: int, reason: Reason, detail: int) -> None:
        """Say why a connection to this server has ended."""
        self._write(courier_frames.notice(place, reason, detail))

    def _take(self, kind: int, body: memoryview) -> None:
        if kind == courier_frames.ASK:
            number, place, query = courier_frames.asked_in(body)
            self._of[number] = self.servers[place]
            self._of[number].ask(number, query)
        elif kind == courier_frames.FORGET:
            server = self._of.pop(courier_frames.number_in(body), None)
            if server is not None:
                server.forget(courier_frames.number_in(body))
        elif kind == courier_frames.ALIVE:
            self._write(courier_frames.frame(courier_frames.ALIVE))
        elif kind == courier_frames.SERVERS:
            settings = courier_frames.settings_in(body)
            self.servers = tuple(
                Upstream(one, self.answer, self.fail, partial(self.notice, place))
                for place, one in enumerate(settings)
            )
            collect_garbage_rarely()
        else:
            raise Malformed

    def _say(self, number: int, said: bytes) -> None:
        self._of.pop(number, None)
        self._write(said)

    def _write(self, said: bytes) -> None:
        """Send this with all else that is said in this turn of the loop."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(said)

    def _flush(self) -> None:
        said, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(b"".join(said))

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self.ended.set()


async def _serve(channel: int) -> None:
    loop, one = asyncio.get_running_loop(), Channel()
    await loop.create_connection(lambda: one, sock=socket.socket(fileno=channel))
    await one.ended.wait()
    for server in one.servers:
        server.close()


def main(words: Sequence[str]) -> int:
    """Carry out the command line of this process."""
    # A terminal's Ctrl-C and hang-up go to all processes: the service says when this one stops.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel, parent = map(int, words)

    def work() -> None:
        sandbox.confine(parent, MEMORY_BYTES, channel)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = min(hard, MOST_ENCRYPTED * CONNECTIONS + _SPARE_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(channel))

    return sandbox.run(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
