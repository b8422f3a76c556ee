"""What is asked: which questions, over what, how fast.

Rules:
- A closed loop has load.OUTSTANDING queries in flight and is dnsperf's; its figure is CPU a query. Batches are full.
- A rate is asked by ask.c, one query at a time, each answer looked into: at a low rate a batch is one packet and every
  system call and wake-up is paid by one query; at half of a subject's own peak, latency says how it queues.
- The floor of a workload is the C echo's run of the same round that is nearest to it; a miss is also held against the
  C relay.
"""

from dataclasses import dataclass

LOW_RATE = 20_000


@dataclass(frozen=True)
class Workload:
    """`questions` is a kind of file; `over` udp, tcp or proxy; `rate` a second, 0 for a closed loop."""

    name: str
    questions: str
    over: str = "udp"
    rate: int = 0
    half_of: str = ""
    floor: str = "cached"

    @property
    def once(self) -> bool:
        """Whether a question may be asked but once: it is kept afterwards."""
        return self.questions in ("miss", "mixed")

    @property
    def warm(self) -> bool:
        """Whether the names that are kept must be kept before."""
        return self.questions in ("cached", "mixed")

    @property
    def by_ask(self) -> bool:
        """Whether ask.c asks, not dnsperf."""
        return bool(self.rate or self.half_of) or self.over == "proxy"


WORKLOADS = (
    Workload("blocked", "blocked", floor="blocked"),
    Workload("cached", "cached"),
    Workload("mixed", "mixed"),
    Workload("blocked, 20,000/s", "blocked", rate=LOW_RATE, floor="blocked, 20,000/s"),
    Workload("cached, 20,000/s", "cached", rate=LOW_RATE, floor="cached, 20,000/s"),
    Workload("blocked, half of peak", "blocked", half_of="blocked", floor="blocked, half of peak"),
    Workload("cached, half of peak", "cached", half_of="cached", floor="cached, half of peak"),
    Workload("blocked, PROXY v2", "blocked", over="proxy", floor="blocked"),
    Workload("cached, PROXY v2", "cached", over="proxy"),
    Workload("blocked, TCP", "blocked", over="tcp", floor="blocked"),
    Workload("cached, TCP", "cached", over="tcp"),
    # Last: it fills what is kept with names that nobody asks again.
    Workload("miss", "miss"),
)
