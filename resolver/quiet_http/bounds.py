"""The limits of a quiet server: every bound of the page and of the metrics."""

from dataclasses import dataclass
from typing import Final

REST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of a server.

    connections: open at the same time; per_client: of these, from one prefix. head_s: seconds for a request's head;
    age_s: seconds from then until the connection is reset; linger_s: seconds that a client has to close it after it
    received the response. burst, per_second: requests of a prefix that are served at once, and how many a second after
    that. client_first: whether the client closes first instead of us. rest: how many times as long as its work the loop
    rests after it.
    """

    connections: int
    per_client: int = 4
    head_s: float = 10
    age_s: float = 20
    linger_s: float = 1
    burst: int = 100
    per_second: int = 20
    client_first: bool = False
    rest: float = REST


PAGE_BOUNDS: Final = Bounds(connections=512, client_first=True, rest=0)
METRICS_BOUNDS: Final = Bounds(connections=64, age_s=60, per_second=50)
