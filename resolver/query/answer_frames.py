"""Answers the queries of a TCP connection that come together by one batch of the steps (core.frames)."""

from resolver.core import codes
from resolver.core.frames import Frames, read, take
from resolver.core.lane import Lane
from resolver.query.answer import Answer
from resolver.query.transport import Taken, Transport, framed

_FINAL = (codes.OUTCOME_REPLY, codes.OUTCOME_SILENT)


class FramedAnswers:
    """Answers what `Answer` would, many queries at a time. lane: the loop's own; it has a seat for each of `most`."""

    def __init__(self, answer: Answer, lane: Lane, most: int) -> None:
        self._answer = answer
        self._lane = lane
        self._frames = Frames(most)

    def __call__(self, octets: bytes, client: bytes, most: int) -> Taken:
        """Take up to `most` queries at the head of a stream's octets."""
        frames, lane, over = self._frames, self._lane, Transport.TCP
        read(frames, lane, octets, client, over.least, over.most, over.keepalive_ds, most)
        take(self._answer.tables, lane, frames, self._answer.now_ms())
        answers, waiting = frames.answers(), []
        left = [lane.seat(number) for number in range(frames.count)] if frames.left else ()
        for seat in left:
            if seat.outcome in _FINAL and not seat.refresh:
                continue
            reply = self._answer.resume(bytes(seat.packet), client, over, seat.outcome, seat.found)
            if isinstance(reply, bytes):
                answers += framed(reply)
            elif reply is not None:
                waiting.append(reply)
        return Taken(frames.end, frames.count, answers, waiting, bool(frames.broken))
