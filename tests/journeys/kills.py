"""A service killed again and again while it counts: what its total lost, what it counted twice.

    python -m tests.journeys.kills [--kills 100]

Somebody asks for a listed name without pause; after a number of answers that is drawn the service gets SIGKILL, and is
started anew on what is left. Every number is exact: the batch is one, the beat a second.

Rules, held at each start after a kill:
- The total is never below what was shown before, and never above what was asked.
- All that had been answered before the beat shown last is in it: at most that beat's successor is lost.
"""

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, asked, honest, wait_for
from tests.journeys.running import PAGE_V4, Service, stop

LISTED = "blocked.test"
SERIES = "blocked_queries_total"
SEED = 17
MOST_ANSWERS = 400
PAUSE_S = 0.002
TRIES = 20


@dataclass
class Toll:
    """What happened in all: answers, what each kill lost of them, and how long before it the last beat was shown."""

    answers: int = 0
    lost: list[int] = field(default_factory=list)
    since_beat_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        total, most = sum(self.lost), max(self.lost)
        return (
            f"{len(self.lost)} kills, {self.answers} blocked answers: {total} lost ({total / self.answers:.1%}), "
            f"at most {most} by one kill, {max(self.since_beat_s):.2f} s after the last beat at the most; "
            "no total fell, nothing was counted twice"
        )


@contextmanager
def asking(port: int) -> Iterator[list[float]]:
    """Ask for the listed name without pause; of each answer the unix time is kept."""
    answered: list[float] = []
    stopped = threading.Event()

    def ask() -> None:
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                assert asked(port, LISTED, seconds=0.2) == f"{PAGE_V4} EDE 4"
                answered.append(time.time())
            stopped.wait(PAUSE_S)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answered
    finally:
        stopped.set()
        thread.join()


def total(service: Service) -> int:
    return int(service.metric(SERIES) or 0)


def started(site: Site) -> Service:
    """The service, ready; anew where somebody's connection has taken one of its ports meanwhile."""
    for left in reversed(range(TRIES)):
        service = site.launch()
        try:
            service.until("/readyz")
            break
        except AssertionError:
            if left == 0 or service.process.poll() != 2 or not service.said.endswith("Address already in use\n"):
                raise
    return service


def kill(service: Service, enough: int) -> tuple[list[float], int, float, float]:
    """Kill it after so many answers: when they came, the total shown last, when its beat and when the kill was."""
    with asking(service.dns) as answered:
        wait_for(lambda: len(answered) >= enough, "answers")
        body = service.get("/metrics")[1]
        service.process.send_signal(signal.SIGKILL)
        killed = time.time()
        service.process.wait()
    beat = service.metric("publish_timestamp_seconds", body) or 0.0
    return answered, int(service.metric(SERIES, body) or 0), beat, killed


def toll(site: Site, kills: int, draw: random.Random) -> Toll:
    """Kill it so often; AssertionError where a rule does not hold."""
    found, base = Toll(), 0
    service = started(site)
    for _ in range(kills):
        answered, shown, beat, killed = kill(service, draw.randrange(20, MOST_ANSWERS))
        service = started(site)
        before, base = base, total(service)
        assert base >= shown, "a total fell"
        # One query may have been counted whose answer the kill took away.
        assert base <= before + len(answered) + 1, "something was counted twice"
        assert base >= before + sum(at < beat for at in answered), "more than a beat was lost"
        found.answers += len(answered)
        found.lost.append(max(0, before + len(answered) - base))
        found.since_beat_s.append(killed - beat if beat else 0.0)
    assert stop(service.process) == 0
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, and say what it cost."""
    parser = argparse.ArgumentParser(prog="python -m tests.journeys.kills", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=100)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, in_thread(honest) as upstream:
        site = Site(Path(folder), [upstream.address])
        site.publish([LISTED])
        print(toll(site, arguments.kills, random.Random(SEED)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
