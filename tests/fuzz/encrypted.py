"""`python -m tests.fuzz.encrypted --seconds 3600 --seed 1` attacks a service and its edge over all that is encrypted.

Rules:
- The processes are real (tests.fuzz.served). Rounds of each kind are played in turn: frames of HTTP/2, requests of
  HTTP/1.1, framing of DoT, TLS that is changed, DoQ, HTTP/3, frames of an edge to the service, and a service that lies.
- A round is made of its kind and seed. After each the target is well (`Target.check`); a finding ends the run and names
  kind and seed, and `--play KIND SEED` plays it again. It is then added to KEPT, which tests/journeys/test_fuzz.py
  plays.
- `--kinds` chooses some. A line of progress comes each minute.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

from resolver.edge.http3 import HTTP3
from resolver.edge.quic import DOQ
from resolver.edge.quic_conversation import Spoken
from tests.fuzz import dot, edge_socket, http, quic
from tests.fuzz.served import Target, standing

Round = Callable[[Target, Random], None]
PROGRESS_S: Final = 60.0


@dataclass(frozen=True)
class At:
    """Where a server of QUIC is."""

    port: int


def over_quic(key: str, spoken: Spoken) -> Round:
    """Return rounds of tests.fuzz.quic against the edge."""

    def play(target: Target, chance: Random) -> None:
        asyncio.run(quic.one_round(At(target.place.ports[key]), spoken, str(chance.random())))

    return play


KINDS: Final[Mapping[str, Round]] = {
    "http2": http.http2,
    "http1": http.http1,
    "dot": dot.dot,
    "tls": dot.tls,
    "queries": edge_socket.queries,
    "lies": edge_socket.lies,
    "doq": over_quic("quic", DOQ),
    "http3": over_quic("http3", HTTP3),
}

KEPT: Final[Mapping[str, tuple[str, ...]]] = {kind: ("1-1", "1-2") for kind in KINDS}
"""Seeds that reach every kind of step, and those of findings."""


def play(target: Target, kind: str, seed: str) -> None:
    """Play a round, and see that the target is well."""
    KINDS[kind](target, Random(f"{kind} {seed}"))
    target.check()


def rounds(kinds: Sequence[str], seed: str, seconds: float) -> Iterator[tuple[str, str]]:
    """Yield kind and seed of each round, in turn, for so long."""
    until = time.monotonic() + seconds
    for turn in count(1):
        for kind in kinds:
            if time.monotonic() >= until:
                return
            yield kind, f"{seed}-{turn}"


def shown(target: Target, played: Mapping[str, int], seconds: float) -> str:
    """Return the line that says how far a run is."""
    kib = ", ".join(f"{what} {now // 1024} MB" for what, now in target.memory().items())
    return f"{seconds:.0f} s: {dict(played)}; {kib}; load {os.getloadavg()[0]:.1f}"


def main() -> int:
    """Play what is typed; return 1 at a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.encrypted")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default=str(os.getpid()))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--play", nargs=2, action="append", metavar=("KIND", "SEED"))
    typed = parser.parse_args()
    chosen = typed.play or rounds(typed.kinds, typed.seed, typed.seconds)
    played, began = Counter[str](), time.monotonic()
    told = began
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, standing(Path(name)) as target:
        print(f"UDP at port {target.service.dns}; {shown(target, played, 0)}", flush=True)
        for kind, seed in chosen:
            try:
                play(target, kind, seed)
            except BaseException:
                print(f"a finding: --play {kind} {seed}, after {dict(played)}", flush=True)
                raise
            played[kind] += 1
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                print(shown(target, played, told - began), flush=True)
        target.ends_well()
        warm = ", ".join(f"{what} {kib // 1024} MB" for what, kib in target.kib.items())
        print(f"no finding; {shown(target, played, time.monotonic() - began)}; when warm: {warm}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
