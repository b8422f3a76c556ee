#!/usr/bin/env python3
"""Announces a service address by BGP while this host enforces every list and answers; withdraws it otherwise.

    announce.py --ask 203.0.113.53 --bird /run/bird/bird.ctl --protocol service4 [--session router1] ...
    announce.py --ask 203.0.113.53 --exabgp --route 203.0.113.53/32 ...      as a process of ExaBGP

Rules:
- A host enforces if `enforced.selftest.invalid` is answered NOERROR over UDP and TCP on each address.
- It is withdrawn at once, even as the last one, if it may answer a listed name unblocked (any other answer but
  SERVFAIL), or if it answers nothing: that is worse than no route.
- It is withdrawn for a soft reason only while another host stands: SERVFAIL (a list is missing, so no listed name is
  answered unblocked), no answer over TCP, an upstream that does not answer, a drain. The last one standing stays.
- It says that it does not stand before it asks the others: of two hosts with soft reasons, only one can leave. Of
  several that stay for want of another, the one with the first address stays alone.
- What is sure counts at once. Silence counts after three checks in a row, and nothing is changed meanwhile.
- It comes back after some good checks in a row, twice as many after each withdrawal of the last ten minutes; at once if
  no other host stands.
- It knows no query but its own, and writes only states. It needs Python's standard library alone.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import os
import secrets
import signal
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAME = "enforced.selftest.invalid"
EVERY_S = 0.3
TIMEOUT_S = 0.4
MISSES = 3
"""Checks without an answer until it counts: 0.3 + 3 x 0.4 s at most after the last good one."""
GOOD = 10
MOST_TIMES = 64
MEMORY_S = 600.0
LINGER_S = 1.0
"""How long this stays after the withdrawal at its end, so that routers have it before the service ends too."""
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
CODES = {1: "FORMERR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", 5: "REFUSED"}


# What is decided.


@dataclass(frozen=True)
class Finding:
    """What a check has found. hard, soft: why the host is not to be announced, "" if there is no such reason.

    sure: False while silence has not lasted; nothing is changed then.
    """

    hard: str = ""
    soft: str = ""
    sure: bool = True

    @property
    def good(self) -> bool:
        return self.sure and not self.hard and not self.soft


@dataclass(frozen=True)
class Others:
    """What the other hosts say. stands: one stands. holds: one stays for want of another. before: one whose address
    comes before this host's does."""

    stands: bool = False
    holds: bool = False
    before: bool = False


@dataclass
class Decision:
    """Whether the host is announced. stands: it is, for good reasons, and others may leave. holds: it has a soft reason
    to leave, and stays for want of another. why: in words.

    others: asked only where it matters. clock: monotonic, in seconds. least: good checks in a row that bring the host
    back after its first withdrawal.
    """

    others: Callable[[], Awaitable[Others]]
    clock: Callable[[], float] = time.monotonic
    least: int = GOOD
    announced: bool = False
    stands: bool = False
    holds: bool = False
    why: str = "it was not checked yet"
    _good: int = 0
    _withdrawn: list[float] = field(default_factory=list)

    @property
    def wanted(self) -> int:
        """Return how many good checks in a row bring the host back."""
        now = self.clock()
        self._withdrawn = [at for at in self._withdrawn if now - at < MEMORY_S]
        return self.least * min(1 << max(0, len(self._withdrawn) - 1), MOST_TIMES)

    async def take(self, found: Finding) -> None:
        """Follow a check."""
        if not found.good:
            self.stands, self._good = False, 0
        if not found.sure:
            self.holds = False
            return
        if found.hard:
            self._leave(found.hard)
        elif found.soft:
            await self._leave_to_others(found.soft)
        else:
            await self._come_back()

    def _leave(self, why: str) -> None:
        if self.announced:
            self._withdrawn.append(self.clock())
        self.announced, self.holds, self.why = False, False, why

    async def _leave_to_others(self, why: str) -> None:
        seen = await self.others()
        away = seen.stands or (seen.before if self.announced else seen.holds)
        self.announced = self.holds = not away
        self.why = why if away else f"{why}; no other host stands"

    async def _come_back(self) -> None:
        self._good += 1
        self.holds = False
        if self.announced or self._good >= self.wanted or not (await self.others()).stands:
            self.announced = self.stands = True
            self.why = "every list is enforced"
        else:
            self.why = f"good checks: {self._good} of {self.wanted}"


# What is checked.


def query_of(name: str) -> bytes:
    """A query for A of the name, RD set."""
    labels = b"".join(bytes([len(one)]) + one.encode("ascii") for one in name.rstrip(".").split("."))
    return struct.pack("!HHHHHH", secrets.randbits(16), 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def code_of(reply: bytes, query: bytes) -> int | None:
    """The response code of a reply to the query; None if it is none."""
    if len(reply) < len(query) or reply[:2] != query[:2] or not reply[2] & 0x80:
        return None
    return reply[3] & 15 if reply[12 : len(query)].lower() == query[12:].lower() else None


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def over_udp(address: str, port: int, name: str) -> int | None:
    """The code that the address answers, None for silence."""
    loop, query = asyncio.get_running_loop(), query_of(name)
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as one, contextlib.suppress(OSError, TimeoutError):
        one.setblocking(False)
        # From the address itself: a host's own queries for its self-test need no place in the ACL.
        one.bind((address, 0))
        one.connect((address, port))
        async with asyncio.timeout(TIMEOUT_S):
            one.send(query)
            while True:
                code = code_of(await loop.sock_recv(one, 4096), query)
                if code is not None:
                    return code
    return None


async def over_tcp(address: str, port: int, name: str) -> int | None:
    """The code that the address answers, None for silence."""
    query, writer = query_of(name), None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address, port, local_addr=(address, 0))
            writer.write(len(query).to_bytes(2, "big") + query)
            size = int.from_bytes(await reader.readexactly(2), "big")
            return code_of(await reader.readexactly(size), query)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
    finally:
        if writer:
            writer.transport.abort()


@dataclass
class Check:
    """Asks this host. name: of a real query, "" for none. drain: a file that drains the host while it is there."""

    addresses: list[str]
    port: int
    name: str
    drain: Path
    _silent: dict[str, int] = field(default_factory=dict)

    async def look(self) -> Finding:
        """Ask on each address, over both transports, and for the real name."""
        asked = [(f"{over.__name__[5:].upper()} at {one}", over(one, self.port, NAME))
                 for one in self.addresses for over in (over_udp, over_tcp)]
        if self.name:
            asked.append(("query", over_udp(self.addresses[0], self.port, self.name)))
        said = dict(zip([label for label, _ in asked], await asyncio.gather(*(one for _, one in asked)), strict=True))
        real = said.pop("query", NOERROR)
        return self.finding(said, real)

    def finding(self, said: dict[str, int | None], real: int | None) -> Finding:
        """Return what the codes say: those of the self-test by transport and address, and that of the real query."""
        for label, code in said.items():
            if code not in (None, NOERROR, SERVFAIL):
                return Finding(hard=f"{label}: {CODES.get(code, code)} to the self-test: not every list is enforced")
        lasting = {label: self._lasts(label, code is None) for label, code in said.items()}
        for label, code in said.items():
            if label.startswith("UDP") and code is None:
                return Finding(hard=f"{label}: no answer", sure=lasting[label])
        for label, code in said.items():
            if code == SERVFAIL:
                return Finding(soft=f"{label}: SERVFAIL to the self-test: a list is missing")
        for label, code in said.items():
            if code is None:
                return Finding(soft=f"{label}: no answer", sure=lasting[label])
        if self._lasts("query", real not in (NOERROR, NXDOMAIN)):
            return Finding(soft="a real query is not answered")
        return Finding(soft="drained") if self.drain.exists() else Finding()

    def _lasts(self, label: str, silent: bool) -> bool:
        """Whether there was no answer now and the times before."""
        self._silent[label] = self._silent.get(label, 0) + 1 if silent else 0
        return self._silent[label] >= MISSES


# The other hosts.


def state_of(decision: Decision) -> str:
    """The line that other hosts, and persons, get."""
    if decision.stands or decision.holds:
        return f"{'stands' if decision.stands else 'holds'}: {decision.why}\n"
    return f"{'announced' if decision.announced else 'withdrawn'}: {decision.why}\n"


async def word_of(host: str, port: int) -> str:
    """The first word of the announcer there, "" without an answer."""
    writer = None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            return (await reader.readline()).partition(b":")[0].decode(errors="replace")
    except (OSError, TimeoutError, ValueError):
        return ""
    finally:
        if writer:
            writer.transport.abort()


async def seen(own: Sequence[tuple[str, int]], others: Sequence[tuple[str, int]]) -> Others:
    """Return what the others say. own: the places of this host; the first one is compared with theirs."""
    said = await asyncio.gather(*(word_of(*one) for one in others))
    holding = [rank(one) for one, word in zip(others, said, strict=True) if word == "holds"]
    before = bool(holding) and min(holding) < rank(own[0])
    return Others(stands="stands" in said, holds=bool(holding), before=before)


def rank(place: tuple[str, int]) -> tuple[int, bytes, int]:
    """The order of addresses, and of ports at one address."""
    address = ipaddress.ip_address(place[0])
    return address.version, address.packed, place[1]


def endpoint(text: str) -> tuple[str, int]:
    """HOST:PORT or [HOST]:PORT; ValueError for anything else."""
    host, _, port = text.rpartition(":")
    return str(ipaddress.ip_address(host.strip("[]"))), int(port)


# Who announces.


class Bird:
    """BIRD by its control socket: the static protocols of the address, which its file has disabled, are enabled."""

    def __init__(self, path: str, protocols: list[str], sessions: list[str]) -> None:
        self._path = path
        self._protocols = protocols
        self._sessions = sessions

    async def set(self, announced: bool) -> bool:
        """Announce, or withdraw; return whether BIRD does so, on a session that is up if any is named."""
        word = "enable" if announced else "disable"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    await self._line(reader)
                    done = [await self._ask(reader, writer, f'{word} "{one}"') for one in self._protocols]
                    up = [await self._ask(reader, writer, f'show protocols "{one}"') for one in self._sessions]
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, EOFError):
            return False
        well = all(one[-1].startswith("0") for one in done)
        return well and (not up or any("Established" in line for one in up for line in one))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str) -> list[str]:
        """The lines of a reply: after its code the last one has a space, the others a hyphen."""
        writer.write(f"{command}\n".encode())
        lines = [await self._line(reader)]
        while not (lines[-1][:4].isdigit() and lines[-1][4:5] == " "):
            lines.append(await self._line(reader))
        return lines

    async def _line(self, reader: asyncio.StreamReader) -> str:
        line = await reader.readline()
        if not line:
            raise EOFError
        return line.decode(errors="replace").rstrip("\n")


class ExaBgp:
    """ExaBGP, whose process this is: routes are written to it, and it says which sessions are up."""

    def __init__(self, routes: list[str]) -> None:
        self._routes = routes
        self._up: set[str] = set()
        self._said: bool | None = None
        self.ended = asyncio.Event()

    async def read(self) -> None:
        """Follow what ExaBGP writes until it ends."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            words = line.decode(errors="replace").split()
            if words[:1] == ["neighbor"] and len(words) > 2:
                (self._up.add if words[2] == "up" else self._up.discard)(words[1])
        self.ended.set()

    async def set(self, announced: bool) -> bool:
        """Announce, or withdraw; return whether a session is up that gets it."""
        if announced != self._said:
            self._said = announced
            word = "announce" if announced else "withdraw"
            lines = "".join(f"{word} route {route} next-hop self\n" for route in self._routes)
            # If ExaBGP has ended, its sessions have ended too, and nobody reads this.
            with contextlib.suppress(OSError):
                os.write(sys.stdout.fileno(), lines.encode())
        return bool(self._up)


# The whole.


def notify(text: str) -> None:
    """Send systemd a message, if it listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, contextlib.suppress(OSError):
            one.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)


def say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


async def run(arguments: argparse.Namespace, speaker: Bird | ExaBgp) -> int:
    """Check and announce until a signal; then withdraw."""
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)

    decision = Decision(lambda: seen(arguments.listen, arguments.other), least=arguments.good)
    check = Check(arguments.ask, arguments.port, arguments.query, Path(arguments.drain))

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(state_of(decision).encode())
            await writer.drain()
        writer.close()

    servers = [await asyncio.start_server(tell, *one) for one in arguments.listen]
    following = asyncio.ensure_future(speaker.read()) if isinstance(speaker, ExaBgp) else None
    await speaker.set(False)
    notify("READY=1")
    shown = ""
    while not ending.is_set() and not (isinstance(speaker, ExaBgp) and speaker.ended.is_set()):
        began = loop.time()
        await decision.take(await check.look())
        if not await speaker.set(decision.announced) and decision.announced:
            # It is announced to nobody: others must not rely on it.
            decision.stands, decision.holds, decision.why = False, False, "no BGP session has it"
        state = state_of(decision)
        # While the good checks are counted, the state is the same.
        kind = state.partition(" of ")[0].rstrip("0123456789")
        if kind != shown:
            say(state)
            shown = kind
        notify(f"WATCHDOG=1\nSTATUS={state.strip()}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), max(0.0, began + EVERY_S - loop.time()))
    decision.announced = decision.stands = decision.holds = False
    decision.why = "this ends"
    spoken = await speaker.set(False)
    say(state_of(decision))
    await asyncio.sleep(LINGER_S)
    for server in servers:
        server.close()
    if following:
        following.cancel()
    return int(not spoken and isinstance(speaker, Bird))


def parsed(words: list[str]) -> argparse.Namespace:
    """The command line; status 2 if it cannot be followed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--ask", action="append", default=[], metavar="ADDRESS", help="a service address of this host")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--query", default="", metavar="NAME", help="a name that is never listed and always answered")
    parser.add_argument("--listen", action="append", default=[], type=endpoint, metavar="ADDRESS:PORT",
                        help="where the other hosts ask whether this one stands")
    parser.add_argument("--other", action="append", default=[], type=endpoint, metavar="ADDRESS:PORT",
                        help="where another host says that")
    parser.add_argument("--drain", default="/run/blocklist-announce/drain", metavar="FILE",
                        help="this host is drained while the file is there")
    parser.add_argument("--good", type=int, default=GOOD, metavar="N",
                        help=f"good checks in a row that bring the host back, default {GOOD}: {GOOD * EVERY_S:g} s")
    parser.add_argument("--bird", metavar="SOCKET", help="BIRD's control socket")
    parser.add_argument("--protocol", action="append", default=[], metavar="NAME",
                        help="with --bird: a static protocol that has the address, disabled in the file")
    parser.add_argument("--session", action="append", default=[], metavar="NAME",
                        help="with --bird: a BGP protocol; one of them has to be established for this host to stand")
    parser.add_argument("--exabgp", action="store_true", help="this is a process of ExaBGP")
    parser.add_argument("--route", action="append", default=[], metavar="PREFIX", help="with --exabgp")
    parser.add_argument("--withdraw", action="store_true", help="with --bird: withdraw, and end")
    found = parser.parse_args(words)
    if bool(found.bird) == found.exabgp:
        parser.error("either --bird SOCKET or --exabgp")
    if not (found.protocol if found.bird else found.route):
        parser.error("--bird needs --protocol, --exabgp needs --route")
    if not found.withdraw and not found.ask:
        parser.error("--ask names what is checked")
    if found.other and not found.listen:
        parser.error("--other needs --listen: the others ask too")
    if found.withdraw and not found.bird:
        parser.error("--withdraw goes with --bird")
    for one in found.ask:
        try:
            ipaddress.ip_address(one)
        except ValueError:
            parser.error("--ask: an address, without a port")
    return found


def main(words: list[str]) -> int:
    """Run one command line; return its exit status: 0, or 1 if the address could not be withdrawn."""
    arguments = parsed(words)

    async def begin() -> int:
        if arguments.exabgp:
            return await run(arguments, ExaBgp(arguments.route))
        bird = Bird(arguments.bird, arguments.protocol, [] if arguments.withdraw else arguments.session)
        return int(not await bird.set(False)) if arguments.withdraw else await run(arguments, bird)

    return asyncio.run(begin())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
