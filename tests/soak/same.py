"""Asks the compiled engine and the Python reference the same questions: is every answer the same, octet for octet?

    python -m tests.soak.same [--seconds 60] [--seed 1] [--out FOLDER]

Two whole services have the same two lists, configuration and upstream (tests.soak.upstream, `mixed`): one runs the
compiled engine on two threads, the other answers UDP on the event loop. Each question is sent to both at once, with
others in flight; its place is free again when both have answered. The seed draws the same questions again, in
nearly the same order; a line of progress comes three times a minute.

Rules, and all that may differ between two answers to one question:
- TTLs by one second: each service counts whole seconds from the moment at which it got the answer itself.
- The order of addresses (core.rotate), where one service has kept the answer and the other just got it.
- The time in a server's cookie by one second, and then its hash; both have the same secret (RFC 9018 4).
- TTLs up to SHORT_TTL by more, with all other octets the same: one service got the answer again when the other had it
  still. The second in which a popular name is refreshed, or has ended, is each service's own.
- Where the answers differ otherwise, both are asked again, after a second: what one service kept to the end of its TTL
  and the other had to fetch is the same again then. It is counted apart, and only among answers that an upstream gave.
- A failure (SERVFAIL; EDE 22, 23) is kept for MAX_FAILURE_S at most, and only one service may have it: both are asked
  again after that. On a busy machine it may have heard of no upstream in time.
- Without an answer in PATIENCE_S it is "late", and counted apart if the answers are the same when both are asked again.
- Anything else is a fault: it is made as small as it still differs, and printed. The names are made up.
- A packet that must not be answered (tests.soak.questions) is answered by neither.
"""

import argparse
import json
import math
import select
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.rcode

from resolver.core.store import MAX_FAILURE_S
from tests.journeys.processes import Site, list_of
from tests.journeys.running import LAUNCHERS, Authority, Service, free_ports
from tests.soak import counted, upstream
from tests.soak.questions import ALLOWED, BALANCER, EXEMPT, PLACES, Question, Questions

PATIENCE_S = 40.0
AT_ONCE = 48
AGAIN_S = 1.1
SHORT_TTL = 300
MOST_FAULTS = 20
_PROGRESS_S = 20.0
_HEADER = 12
_OPT, _A, _AAAA = 41, 1, 28
_COOKIE, _COOKIE_OCTETS, _BEFORE_TIME = 10, 24, 12
_SECRET = "000102030405060708090a0b0c0d0e0f"
# Extended errors (RFC 8914) of what a list answers: forged, blocked, censored.
_BLOCKED = (4, 15, 16)
# No reachable authority, network error.
_FAILED = (22, 23)
_ADDRESSES = {_A: 4, _AAAA: 16}
_SECOND_LIST = ("!www.c.listed.example", "c.listed.example", "*.b.example", "=shop.test")


@dataclass(frozen=True)
class Read:
    """An answer without what may differ: its octets, their TTLs, its addresses in the order they stand in, and time and
    hash of its cookie."""

    octets: bytes
    ttls: tuple[int, ...] = ()
    addresses: tuple[bytes, ...] = ()
    cookie: bytes = b""


def read(answer: bytes) -> Read:
    """Take out of an answer what may differ; one that cannot be walked through stays whole."""
    octets, at = bytearray(answer), _HEADER
    ttls, addresses, cookie = [], [], b""
    try:
        questions, *counts = (int.from_bytes(answer[at : at + 2]) for at in (4, 6, 8, 10))
        for _ in range(questions):
            at = _after_name(answer, at) + 4
        for _ in range(sum(counts)):
            body = _after_name(answer, at)
            kind, size = int.from_bytes(answer[body : body + 2]), int.from_bytes(answer[body + 8 : body + 10])
            if kind != _OPT:
                ttls.append(int.from_bytes(answer[body + 4 : body + 8]))
                octets[body + 4 : body + 8] = bytes(4)
            elif (found := _cookie_at(answer, body + 10, body + 10 + size)) is not None:
                cookie = answer[found : found + _COOKIE_OCTETS - _BEFORE_TIME]
                octets[found : found + len(cookie)] = bytes(len(cookie))
            at = body + 10 + size
            if size == _ADDRESSES.get(kind):
                addresses.append(answer[body + 10 : at])
                octets[body + 10 : at] = bytes(size)
    except IndexError:
        return Read(answer)
    return Read(bytes(octets), tuple(ttls), tuple(addresses), cookie) if at == len(answer) else Read(answer)


def _cookie_at(answer: bytes, at: int, end: int) -> int | None:
    """Where the time of a server's cookie stands among these options; None if there is none."""
    while at + 4 <= end:
        code, size = int.from_bytes(answer[at : at + 2]), int.from_bytes(answer[at + 2 : at + 4])
        if (code, size) == (_COOKIE, _COOKIE_OCTETS):
            return at + 4 + _BEFORE_TIME
        at += 4 + size
    return None


def _cookies_fit(one: bytes, other: bytes) -> bool:
    """Whether two cookies are the same, or of two seconds."""
    return one == other or abs(int.from_bytes(one[:4]) - int.from_bytes(other[:4])) == 1


def _after_name(answer: bytes, at: int) -> int:
    while answer[at]:
        if answer[at] >= 0xC0:
            return at + 2
        at += answer[at] + 1
    return at + 1


def difference(one: bytes | None, other: bytes | None) -> str:
    """In what two answers differ: nothing (""), "TTL", "order", "fetched apart", or "octets"."""
    if one == other:
        return ""
    if one is None or other is None:
        return "octets"
    first, second = read(one), read(other)
    if first.octets != second.octets or sorted(first.addresses) != sorted(second.addresses):
        return "octets"
    if not _cookies_fit(first.cookie, second.cookie):
        return "octets"
    apart = [(mine, theirs) for mine, theirs in zip(first.ttls, second.ttls, strict=True) if abs(mine - theirs) > 1]
    if any(max(pair) > SHORT_TTL for pair in apart):
        return "octets"
    if apart:
        return "fetched apart"
    return "TTL" if first.addresses == second.addresses else "order"


class Clients:
    """The sockets from which the services are asked, the same of each."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.sent: dict[tuple[int, bytes], Question] = {}
        self.came: dict[Question, list[bytes | None]] = {}
        self.stray = 0
        self._sockets = [[_socket(host, port) for host, _ in PLACES] for port in ports]
        self._where = {one.fileno(): (which, place, one) for which, sockets in enumerate(self._sockets)
                       for place, one in enumerate(sockets)}  # fmt: skip
        self._poll = select.poll()
        for number in self._where:
            self._poll.register(number, select.POLLIN)
        self._since: dict[Question, float] = {}

    def close(self) -> None:
        for _, _, one in self._where.values():
            one.close()

    @property
    def in_flight(self) -> Collection[Question]:
        """The questions that not all services have answered."""
        return self.came.keys()

    def send(self, question: Question) -> None:
        """Ask both."""
        for sockets in self._sockets:
            sockets[question.place].send(question.header + question.packet)
        if not question.silent:
            self.sent[question.place, question.packet[:2]] = question
            self.came[question] = [None] * len(self._sockets)
            self._since[question] = time.monotonic()

    def take(self, wait_ms: int = 100) -> list[tuple[Question, list[bytes | None]]]:
        """Return the questions that both have answered by now, or that have waited too long, with their answers."""
        done = []
        for number, _ in self._poll.poll(wait_ms):
            which, place, one = self._where[number]
            answer = one.recv(65535)
            question = self.sent.get((place, answer[:2]))
            if question is None or self.came[question][which] is not None:
                self.stray += 1
                continue
            self.came[question][which] = answer
            if None not in self.came[question]:
                done.append(question)
        late = time.monotonic() - PATIENCE_S
        for question, since in self._since.items():
            if since > late:
                break  # In the order in which they were asked.
            if question not in done:
                done.append(question)
        found = []
        for question in done:
            found.append((question, self.came.pop(question)))
            del self._since[question], self.sent[question.place, question.packet[:2]]
        return found

    def alone(self, question: Question) -> list[bytes | None]:
        """The answers to a question while no other is in flight."""
        question = replace(question, silent=False)
        self.send(question)
        while question in self.came:
            for _, answers in self.take():
                return answers
        raise AssertionError("unreachable")


def _socket(host: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    one.bind((host, 0))
    one.connect(("::1" if ":" in host else "127.0.0.1", port))
    return one


@dataclass
class Outcome:
    """What was asked, what came, and in what the answers differed."""

    seed: int
    asked: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    stray: int = 0
    blocked: int = 0
    faults: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    seconds: float = 0.0
    threads: dict[str, float] = field(default_factory=dict)
    relayed: dict[str, int] = field(default_factory=dict)

    def take(self, one: Question, answer: bytes | None, word: str) -> None:
        """Count a question and its answer."""
        self.asked += 1
        self.kinds[one.kind] += 1
        self.said["silence" if answer is None else _rcode(answer)] += 1
        self.blocked += _is_blocked(answer)
        self.differences[word or ("silence" if answer is None else "none")] += 1

    def shown(self) -> dict[str, Any]:
        """All of it, for a report."""
        return {
            "seed": self.seed, "seconds": round(self.seconds, 1), "asked": self.asked, "blocked": self.blocked,
            "differences": dict(self.differences.most_common()), "answers nobody asked for": self.stray,
            "answers": dict(self.said.most_common()), "questions": dict(sorted(self.kinds.items())),
            "processor seconds of the engine's threads": self.threads, "forwarded by them": self.relayed,
            "kept by one alone": self.kept[:MOST_FAULTS],
            "faults": self.faults,
        }  # fmt: skip


def _rcode(answer: bytes) -> str:
    return str(dns.rcode.to_text(dns.rcode.Rcode(answer[3] & 15))) if len(answer) >= _HEADER else "short"


def _is_blocked(answer: bytes | None) -> bool:
    return answer is not None and any(b"\0\x0f\0\2\0" + bytes([code]) in answer for code in _BLOCKED)


def _is_failed(answer: bytes | None) -> bool:
    if answer is None:
        return False
    return _rcode(answer) == "SERVFAIL" or any(b"\0\x0f\0\2\0" + bytes([code]) in answer for code in _FAILED)


class Comparison:
    """Both services, and what was found of them."""

    def __init__(self, ports: Sequence[int], seed: int) -> None:
        self.clients = Clients(ports)
        self.outcome = Outcome(seed)
        self._disputed: list[tuple[Question, list[bytes | None]]] = []

    def run(self, seconds: float, most: int, progress: Callable[[Outcome], None]) -> None:
        """Ask until so many seconds have passed, so many questions were asked, or too many faults were found."""
        began = shown = time.monotonic()
        questions = Questions(self.outcome.seed)
        while self.outcome.seconds < seconds and self.outcome.asked < most and len(self.outcome.faults) < MOST_FAULTS:
            while len(self.clients.in_flight) < AT_ONCE and not self._disputed:
                question = questions.next(self.clients.in_flight)
                self.clients.send(question)
                if question.silent:
                    self.outcome.take(question, None, "")
            self._judge()
            now = time.monotonic()
            self.outcome.seconds = now - began
            if now - shown > _PROGRESS_S:
                shown = now
                progress(self.outcome)
        while self.clients.in_flight or self._disputed:
            self._judge()
        self.outcome.stray = self.clients.stray

    def _judge(self) -> None:
        """Take the answers that are there, and settle what is disputed once nothing else is in flight."""
        for question, answers in self.clients.take():
            word = difference(*answers)
            if word == "octets":
                self._disputed.append((question, answers))
            else:
                self.outcome.take(question, answers[0], word)
        if not self.clients.in_flight:
            for question, answers in self._disputed:
                self.outcome.take(question, answers[0], self._again(question, answers))
            self._disputed = []

    def _again(self, question: Question, answers: list[bytes | None]) -> str:
        """Ask both again: they differ still, or one had kept what the other had not."""
        may_pass = None in answers or any(map(_is_failed, answers)) or not any(map(_is_blocked, answers))
        if may_pass and not self._stands(question):
            self.outcome.kept.append("\n".join([shown(question), *map(_text, answers)]))
            return "late" if None in answers else "kept by one alone"
        least = smallest(question, self._stands)
        said = self.clients.alone(least)
        if not difference(*said):
            least, said = question, answers
        first = [f"as it was first: {shown(question)}", *map(_text, answers)] if least != question else []
        self.outcome.faults.append("\n".join([shown(least), *map(_text, said), *first]))
        return "fault"

    def _stands(self, question: Question) -> bool:
        """Whether the answers differ once both services have just been asked."""
        said = self.clients.alone(question)
        for _ in range(2):
            # What differs for a moment is gone after it: a failure that one alone has kept, or the second of a TTL.
            time.sleep(MAX_FAILURE_S + 1 if difference(*said) and any(map(_is_failed, said)) else AGAIN_S)
            said = self.clients.alone(question)
        return difference(*said) == "octets"


def smallest(question: Question, stands: Callable[[Question], bool]) -> Question:
    """A question as small as it can be made so that `stands` still holds."""
    packet = question.packet
    if not stands(question):
        return question
    plain = replace(question, header=b"", place=0)
    question = plain if stands(plain) else question
    for cut in _cuts(packet):
        smaller = replace(question, packet=cut(question.packet))
        if smaller.packet != question.packet and stands(smaller):
            question = smaller
    return question


def _cuts(packet: bytes) -> Iterator[Callable[[bytes], bytes]]:
    """Ways to make a packet smaller or plainer, one after the other."""
    yield lambda one: one[:2] + b"\x01" + one[3:]
    yield lambda one: one[:3] + b"\0" + one[4:]
    yield lambda one: one[:12] + one[12:].lower()
    yield lambda one: one[:10] + b"\0\0" + one[12 : _after_name(one, 12) + 4] if len(one) > _HEADER else one
    for _ in range(len(packet) // 8):
        yield lambda one: one[:-1]
    for _ in range(8):
        yield lambda one: one[:12] + one[13 + one[12] :] if len(one) > _HEADER and one[12] < 64 else one


def shown(question: Question) -> str:
    """A question for a report."""
    host, _ = PLACES[question.place]
    return f"{question.kind}, from {host}, header {question.header.hex() or '-'}, packet {question.packet.hex()}"


def _text(answer: bytes | None) -> str:
    if answer is None:
        return "  silence"
    try:
        words = dns.message.from_wire(answer, ignore_trailing=True).to_text().replace("\n", " | ")
    except dns.exception.DNSException:
        words = "cannot be read"
    return f"  {answer.hex()}\n    {words}"


def site(folder: Path, authorities: Sequence[Authority], port: int) -> Site:
    """One of the services: the same lists, upstream and settings; ports and state of its own."""
    folder.mkdir()
    one = Site(folder, [f"127.0.0.1:{port}"])
    one.lists = [
        list_of(authorities[0].folder, exempt=["192.0.2.192/26"]),
        list_of(authorities[1].folder, "second", answer="nxdomain", clients=["192.0.2.0/24", "127.0.0.2/32"]),
    ]
    one.set("listen", dns=[f"127.0.0.1:{one.dns}", f"[::1]:{one.dns}"], allow=list(ALLOWED), proxy_from=[BALANCER])
    one.change("listen", dns=[f"127.0.0.1:{one.dns}", f"[::1]:{one.dns}"])
    one.set("limits", exempt=list(EXEMPT), queries_per_second=1_000_000, distinct_blocked=1_000_000)
    one.set("cache", size="256MiB")
    one.change("upstream", timeout="10s")
    one.set("bypass", announce=["firefox"])
    secrets = folder / "secrets"
    secrets.write_text(f"{_SECRET}\n")
    secrets.chmod(0o600)
    one.set("cookies", secrets=str(secrets))
    return one


def processor_seconds(service: Service) -> dict[str, float]:
    """What each thread of the engine has used."""
    found = {}
    for task in Path(f"/proc/{service.process.pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if name.startswith("udp-"):
            found[name] = round(int((task / "schedstat").read_text().split()[0]) / 1e9, 2)
    return dict(sorted(found.items()))


@contextmanager
def both(folder: Path) -> Iterator[tuple[Service, Service]]:
    """The engine and the reference, with everything around them."""
    authorities = [Authority(folder / "first"), Authority(folder / "other", list_id="second")]
    authorities[0].publish(upstream.LISTED)
    authorities[1].publish(_SECOND_LIST)
    (port,) = free_ports(1)
    with ExitStack() as stack:
        stack.enter_context(upstream.running(port, "mixed"))
        found = [
            stack.enter_context(site(folder / core, authorities, port).started(launcher))
            for core, launcher in (("engine", ("-m", counted.__name__)), ("loop", LAUNCHERS["loop"]))
        ]
        for service, name in zip(found, ("compiled", "python"), strict=True):
            assert f'engine="{name}"' in service.get("/metrics")[1].decode()
        yield found[0], found[1]


def compared(
    folder: Path,
    seed: int,
    *,
    seconds: float = math.inf,
    most: int = sys.maxsize,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Ask both for so long, or so many questions; return the result."""
    with both(folder) as (engine, loop):
        one = Comparison([engine.dns, loop.dns], seed)
        try:
            one.run(seconds, most, progress)
        finally:
            one.clients.close()
        one.outcome.threads = processor_seconds(engine)
    (one.outcome.relayed,) = json.loads((folder / "engine" / "work" / counted.RELAYED).read_text())
    return one.outcome


def main() -> int:
    """Run, print, and write the report; the exit status is 1 where anything is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    told: list[str] = []

    def progress(outcome: Outcome) -> None:
        print(f"{outcome.seconds:.0f} s: {outcome.asked:,} asked, {dict(outcome.differences)}", flush=True)
        for one in outcome.faults[len(told) :]:
            told.append(one)
            print(one, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        outcome = compared(Path(folder), arguments.seed, seconds=arguments.seconds, progress=progress)
    report = json.dumps(outcome.shown(), indent=1)
    print(report)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "same.json").write_text(report + "\n")
    return int(bool(outcome.faults or outcome.stray))


if __name__ == "__main__":
    raise SystemExit(main())
