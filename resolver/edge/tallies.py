"""What an edge counts of itself, and its report to the service. No count is of a name or a client."""

from collections import Counter
from typing import Final

from resolver.core.codes import TRANSPORTS
from resolver.query import edge_frames

_PLACES: Final = {number: label for number, label in enumerate(TRANSPORTS)}


class Tallies:
    """The counts of one edge since it began. expires: the end of the certificate in force (unix seconds), None if
    there is none."""

    def __init__(self, number: int) -> None:
        self.handshakes = 0
        self.expires: int | None = None
        self._number = number
        self._connections: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def refuse(self, reason: str) -> None:
        """Count a connection or request that was refused; reason: of edge_frames.REFUSALS."""
        self._refused[reason] += 1

    def failed(self) -> None:
        """Count a query that the edge answered itself, because the service did not."""
        self.refuse("service")

    def opened(self, transport: int) -> None:
        """Count a connection; transport: index in core.codes.TRANSPORTS."""
        self._connections[_PLACES[transport]] += 1

    def closed(self, transport: int) -> None:
        """Count the end of a connection."""
        self._connections[_PLACES[transport]] -= 1

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self._connections.total()

    def frame(self) -> bytes:
        """Return the report."""
        return edge_frames.report(
            edge_frames.Report(
                number=self._number,
                expires=self.expires,
                connections=self._connections,
                handshakes=self.handshakes,
                refused=self._refused,
            )
        )
