"""Many queries at a steady rate over one socket: what came for each, and after how long (as a Stopwatch says it)."""

import select
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fakes.stopwatch import Stopwatch
from tests.journeys.processes import CLIENT, came, query_for
from tests.journeys.running import HOST

NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Came:
    """What came for one name (as `processes.came` says it), and the seconds that it took."""

    name: str
    said: str
    seconds: float


@dataclass(frozen=True)
class Burst:
    """What came of a burst, in the order of the questions."""

    each: tuple[Came, ...]

    def said(self) -> Counter[str]:
        """How often each thing was said."""
        return Counter(one.said for one in self.each)

    def share(self, said: str) -> float:
        """The share of questions to which this came."""
        return self.said()[said] / len(self.each)

    def worst(self) -> float:
        """The longest that an answer took in seconds."""
        return max(one.seconds for one in self.each)


def burst(port: int, names: Sequence[str], *, per_second: float, wait_s: float, pid: int = 0) -> Burst:
    """Ask for each name once, at most 65,536 of them; wait so long for the last replies.

    pid: the service, if what it waits for a processor is not to count.
    """
    sent: dict[int, float] = {}
    found: dict[int, tuple[bytes, float]] = {}
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((CLIENT, 0))
        one.connect((HOST, port))
        one.setblocking(False)
        watch = Stopwatch(*([pid] if pid else []))
        end = len(names) / per_second + wait_s
        while len(found) < len(names) and watch.seconds < end:
            now = watch.seconds
            while len(sent) < min(len(names), now * per_second + 1):
                number = len(sent)
                one.send(number.to_bytes(2, "big") + query_for(names[number])[2:])
                sent[number] = watch.seconds
            if select.select([one], [], [], 1 / per_second)[0]:
                reply = one.recv(65535)
                number = int.from_bytes(reply[:2], "big")
                assert number not in found, "one answer at most"
                found[number] = reply, max(0.0, watch.seconds - sent[number])
    return Burst(tuple(_came(name, found.get(number)) for number, name in enumerate(names)))


def _came(name: str, found: tuple[bytes, float] | None) -> Came:
    return Came(name, came(found[0]), found[1]) if found else Came(name, NOTHING, float("inf"))
