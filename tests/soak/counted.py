"""`python -m tests.soak.counted run --config X`: tests.engine, which says at its end what its threads have forwarded.

Rules:
- What became of the queries to each upstream, summed over the threads, stands in RELAYED in the folder in which the
  service runs.
"""

import json
import runpy
from collections.abc import Iterable
from pathlib import Path

from resolver.engine import engine
from resolver.engine.relay import Relay

RELAYED = "relayed.json"
WORDS = ("asked", "answered", "handed", "strange", "trailing")


def relayed(relays: Iterable[Relay], servers: int) -> list[dict[str, int]]:
    """What became of the queries that threads sent to each of so many upstreams."""
    figures = [[one.figures(number)[: len(WORDS)] for one in relays] for number in range(servers)]
    return [dict(zip(WORDS, map(sum, zip(*of, strict=True)), strict=True)) for of in figures]


class Counted(engine.Engine):
    """An engine that writes what its threads have forwarded."""

    def close(self) -> None:
        """Write, then close."""
        Path(RELAYED).write_text(json.dumps(relayed(self.relays, 1)))
        super().close()


if __name__ == "__main__":
    engine.Engine = Counted
    runpy.run_module("tests.engine", run_name="__main__", alter_sys=True)
