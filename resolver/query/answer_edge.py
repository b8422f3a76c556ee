"""Answers the queries of an edge that come together by one batch of the steps (core.edge_batch)."""

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from resolver.core import codes
from resolver.core.edge_batch import EdgeBatch, framed, read, take
from resolver.core.lane import Lane
from resolver.query.answer import Answer
from resolver.query.answer_relayed import PROPERTIES, RelayedAnswers
from resolver.query.transport import Reply, Transport

_FINAL: Final = (codes.OUTCOME_REPLY, codes.OUTCOME_SILENT)
_TRANSPORTS: Final = tuple(Transport)


class EdgeTaken(NamedTuple):
    """What came of the queries at the head of an edge's octets.

    used: the octets of so many `queries` that were taken. octets: the frames of the answers that are there. waiting:
    those of others. broken: what follows is no frame. relayed: of so many the frame is given to `RelayedAnswers.came`.
    """

    used: int
    queries: int
    octets: bytes
    waiting: list[Awaitable[Reply]]
    broken: bool
    relayed: int = 0


class EdgeTaking(Protocol):
    """Takes up to `most` queries at the head of an edge's octets."""

    @property
    def relayed(self) -> RelayedAnswers | None:
        """Return what asks upstreams for whole batches, if anything does."""

    def __call__(self, octets: bytes, most: int, connection: int) -> EdgeTaken:
        """Return what came of them; connection: its number."""


class EdgeAnswers:
    """Answers what `Answer` would, many queries at a time. lane: the loop's own; it has a seat for each of `most`."""

    def __init__(self, answer: Answer, lane: Lane, most: int, relayed: RelayedAnswers | None = None) -> None:
        self.relayed = relayed
        self._answer = answer
        self._lane = lane
        self._batch = EdgeBatch(most)

    def __call__(self, octets: bytes, most: int, connection: int) -> EdgeTaken:
        batch, lane = self._batch, self._lane
        read(batch, lane, octets, PROPERTIES, most)
        take(self._answer.tables, lane, batch, self._answer.now_ms())
        joined: bytes = batch.answers()
        at_once, waiting = [joined], []
        left: Sequence[int] = range(batch.count) if batch.left else ()
        relayed = 0
        if left and self.relayed is not None:
            left = self.relayed.take(batch, connection)
            relayed = batch.left - len(left)
        # Before the first goes on: what it does may take the lane's room.
        for number, seat in [(batch.numbers[one], lane.seat(one)) for one in left]:
            is_final = seat.outcome in _FINAL
            if is_final and not seat.refresh:
                continue
            reply = self._answer.resume(
                bytes(seat.packet),
                bytes(seat.client),
                _TRANSPORTS[seat.transport],
                seat.outcome,
                seat.found,
                written=partial(framed, number=number),
            )
            if is_final:
                # It has its frame, and is only fetched again.
                continue
            if isinstance(reply, bytes):
                at_once.append(reply)
            elif reply is not None:
                waiting.append(reply)
        return EdgeTaken(batch.end, batch.count, b"".join(at_once), waiting, bool(batch.broken), relayed)
