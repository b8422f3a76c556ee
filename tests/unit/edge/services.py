"""The service, as an edge sees it: a Unix socket that takes queries and answers them as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from resolver.query import edge_frames
from resolver.query.edge_frames import Query
from tests.unit.query.parts import until

CLIENT = bytes(10) + b"\xff\xff\xc0\x00\x02\x01"
ANSWER_TO: Callable[[Query], bytes] = lambda query: query.message[:2] + b"\x81\x80" + query.message[4:]  # noqa: E731 - a value that tests replace


class Service:
    """answers: makes the answer of a query, None if it waits for `give`. queries, reports: what came. sends_away: each
    connection is closed as soon as it is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: Callable[[Query], bytes | None] = ANSWER_TO
        self.max_age = 60
        self.queries: list[Query] = []
        self.reports: list[edge_frames.Report] = []
        self.connections = 0
        self.sends_away = False
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        with suppress(FileNotFoundError):
            self.path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """Go away, as a process that ends."""
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            self._writers.clear()
            await until(lambda: not self._tasks)
            self._server = None
        with suppress(FileNotFoundError):
            self.path.unlink()

    def drop(self) -> None:
        """Close the connections, as a process that hands over."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def give(self, query: Query, message: bytes | None = None) -> None:
        """Answer a query over the latest connection."""
        said = ANSWER_TO(query) if message is None else message
        self._writers[-1].write(edge_frames.answer(query.number, self.max_age, said))

    def say(self, octets: bytes) -> None:
        """Send anything over the latest connection."""
        self._writers[-1].write(octets)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        self.connections += 1
        if self.sends_away:
            writer.close()
        unread = bytearray()
        with suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(2**16):
                unread += data
                for kind, body in edge_frames.take(unread):
                    if kind == edge_frames.REPORT:
                        self.reports.append(edge_frames.as_report(body))
                        continue
                    query = edge_frames.as_query(body)
                    self.queries.append(query)
                    answer = self.answers(query)
                    if answer is not None:
                        writer.write(edge_frames.answer(query.number, self.max_age, answer))
        writer.close()
        self._tasks.discard(task)


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[Service]:
    """A service that has started."""
    one = Service(folder / "queries")
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
