"""A service and its edge, real processes, for fuzzers: `Target` is attacked, and `check` says whether it is well.

Well is:
- The processes that were started run, and have said nothing of an error of ours, of a name, or of a client.
- A client that behaves gets the page's address for a listed name and the upstream's for another one, over UDP and over
  each encrypted transport; and so it does by a second edge, whose service is a liar (`Liar`) that has stopped lying.
- Each process has as many file descriptors as before, but for SPARE_FILES and the service's sockets to its upstream,
  once its connections have ended. Its memory is below MOST_KIB, and grows by GROWN_KIB at most after WARM_ROUNDS.
"""

import os
import re
import selectors
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import dns.exception
import dns.message

from resolver.query import edge_frames
from resolver.query.edge_frames import MAX_AGE_NONE, MOST_OCTETS
from resolver.query.forward_datagram import SOCKETS
from tests.fakes.upstream import in_thread
from tests.journeys import edges, running
from tests.journeys.edges import COLUMNS, NAME, Clients, Place
from tests.journeys.processes import REAL, asked, came, honest, query_for, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, free_ports
from tests.unit.edge.quic_lab import AUTHORITY

LISTED: Final = "listed.test"
BLOCKED: Final = f"{PAGE_V4} EDE 4"
CANARY: Final = "fuzzedcanary"
"""A label of every name that is asked in an attack."""
CLIENT: Final = "127.199.88.77"
"""The address that attacks come from."""

WARM_ROUNDS: Final = 40
GROWN_KIB: Final = 60_000
MOST_KIB: Final = 600_000
SPARE_FILES: Final = 12
"""The connections of the clients that behave come and go, two sockets for each, and the service fetches its list."""
UPSTREAM_FILES: Final = 3 * SOCKETS
"""So many to its upstream have the event loop, the threads, and what is retired but waited for."""
PATIENCE_S: Final = 60.0
_SEND_S: Final = 1.0
_HANDSHAKE_S: Final = 10.0
_FAULTS: Final = re.compile(
    "Traceback|in the event loop|in a connection|was not taken|internal error|never retrieved|Exception|Error"
)
_LIMITS: Final = '[limits]\nexempt = ["127.0.0.0/8"]\n'


class Wire:
    """A TLS connection whose octets pass through our hands. tampers: how often a flight of them is changed.

    over: nothing can be sent any more. An error of the other side is none of ours.
    """

    def __init__(self, place: Place, key: str, alpn: str, chance: Random, tampers: float = 0.0) -> None:
        self.over = False
        self.heard = bytearray()
        self._chance = chance
        self._tampers = tampers
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context(place, alpn).wrap_bio(self._in, self._out, server_hostname=NAME)
        self._socket = socket.create_connection((HOST, place.ports[key]), PATIENCE_S, source_address=(CLIENT, 0))
        self._handshake()

    def _handshake(self) -> None:
        # To a flight that was changed there may be no answer: the other side waits for its rest.
        self._socket.settimeout(0.1 if self._tampers else _HANDSHAKE_S)
        while not self.over:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._push()
                self._pull()
            except (OSError, ValueError):
                self.over = True
        self._push()

    def send(self, *plain: bytes) -> None:
        """Send octets, each piece in records of its own."""
        if self.over:
            return
        try:
            for piece in plain:
                if piece:
                    self._tls.write(piece)
        except OSError:
            self.over = True
            return
        self._push()

    def send_raw(self, octets: bytes) -> None:
        """Send octets that no TLS has made."""
        self._socket.settimeout(_SEND_S)
        try:
            self._socket.sendall(octets)
        except OSError:
            self.over = True

    def hear(self, seconds: float = 0.0) -> bytes:
        """Take what has come, and wait for its first octet so long; return what it says."""
        self._socket.settimeout(seconds)
        self._pull(ends=False)
        before = len(self.heard)
        with suppress(OSError):
            while piece := self._tls.read(2**14):
                self.heard += piece
        return bytes(self.heard[before:])

    def close(self) -> None:
        """End the connection, with a reset or without."""
        if self._chance.random() < 0.3:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif self._chance.random() < 0.5:
            with suppress(OSError, ValueError):
                self._tls.unwrap()
            self._push()
        self._socket.close()

    def _push(self) -> None:
        if not self._out.pending:
            return
        octets = self._out.read()
        if self._chance.random() < self._tampers:
            octets = changed(self._chance, octets)
        self.send_raw(octets)

    def _pull(self, *, ends: bool = True) -> None:
        try:
            octets = self._socket.recv(2**16)
        except OSError:
            self.over = self.over or ends
            return
        if octets:
            self._in.write(octets)
        else:
            self.over = True


_contexts: dict[tuple[Path, str], ssl.SSLContext] = {}


def _context(place: Place, alpn: str) -> ssl.SSLContext:
    found = _contexts.get((place.ca, alpn))
    if found is None:
        found = _contexts[place.ca, alpn] = edges.trusting(place, alpn)
    return found


def changed(chance: Random, octets: bytes) -> bytes:
    """Return octets with something cut, doubled, put in or flipped."""
    made = bytearray(octets)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(5):
            case 0:
                del made[at : at + chance.randint(1, 20)]
            case 1:
                made[at:at] = chance.randbytes(chance.randint(1, 20))
            case 2 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 3:
                made[at:at] = made[: chance.randrange(len(made) + 1)][:200]
            case 4 if at < len(made):
                made[at] = chance.choice((0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF))
    return bytes(made)


def message(chance: Random) -> bytes:
    """Return a DNS query, good or changed, or octets that are none."""
    name = f"{CANARY}{chance.randrange(50)}." + chance.choice((LISTED, "free.example"))
    query = query_for(name, chance.choice(("A", "AAAA", "HTTPS", "TXT", "SOA", "ANY")))
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.choice((12, 13, 40, 512, 4000)))
        case 1 | 2:
            return changed(chance, query)
        case 3:
            return query + chance.randbytes(chance.choice((1, 11, 3000)))
        case _:
            return query


class Liar:
    """The service of an edge, in a thread: it answers each query with REAL, or lies while `lies` is a source of chance.

    faults: what the edge has sent that no edge sends.
    """

    def __init__(self, path: str) -> None:
        self.lies: Random | None = None
        self.faults: list[str] = []
        self._unread: dict[socket.socket, bytearray] = {}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen()
        self._wakes, self._woken = socket.socketpair()
        self._looks = selectors.DefaultSelector()
        for one in (self._listening, self._woken):
            self._looks.register(one, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and all connections."""
        self._wakes.send(b"\0")
        self._thread.join()
        for one in (*self._unread, self._listening, self._wakes, self._woken):
            one.close()
        self._looks.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._looks.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one is self._woken:
                    return
                if one is self._listening:
                    made, _ = one.accept()
                    made.settimeout(_SEND_S)
                    self._unread[made] = bytearray()
                    self._looks.register(made, selectors.EVENT_READ)
                else:
                    self._take(one)

    def _take(self, one: socket.socket) -> None:
        try:
            data = one.recv(2**18)
            unread = self._unread[one]
            unread += data
            for kind, body in edge_frames.take(unread):
                if kind == edge_frames.REPORT:
                    edge_frames.as_report(body)
                else:
                    self._answer(one, edge_frames.as_query(body))
        except OSError:
            data = b""
        except edge_frames.Malformed as error:
            self.faults.append(str(error))
            data = b""
        if not data and one in self._unread:
            self._end(one)

    def _answer(self, one: socket.socket, query: edge_frames.Query) -> None:
        chance, whole = self.lies, edge_frames.answer(query.number, 60, _honest(query.message))
        if chance is None:
            one.sendall(whole)
            return
        for _ in range(chance.choice((0, 0, 1, 3))):
            one.sendall(lie(chance, query))
        if chance.random() < 0.1:
            one.sendall(whole[: chance.randrange(len(whole))])
            raise OSError  # the connection ends in the midst of an answer
        one.sendall(chance.choice((whole, edge_frames.answer(query.number, number(chance), answer(chance, query)))))

    def _end(self, one: socket.socket) -> None:
        self._looks.unregister(one)
        del self._unread[one]
        one.close()


def _honest(query: bytes) -> bytes:
    """Return the answer to a query; b"" if it is none."""
    try:
        return honest(dns.message.from_wire(query)).to_wire()
    except (dns.exception.DNSException, ValueError, NotImplementedError):
        return b""


def number(chance: Random) -> int:
    """Return a number of 32 bits, at an edge or not."""
    return chance.choice((0, 1, 60, 2**16, 2**31 - 1, 2**31, MAX_AGE_NONE - 1, MAX_AGE_NONE, chance.randrange(2**32)))


def answer(chance: Random, query: edge_frames.Query) -> bytes:
    """Return what a liar answers: nothing, octets with the id of the query, or a changed answer."""
    match chance.randrange(4):
        case 0:
            return b""
        case 1:
            return query.message[:2] + chance.randbytes(chance.choice((10, 11, 500, 16_384, 65_533)))
        case 2:
            return query.message
        case _:
            octets = changed(chance, _honest(query.message) or query.message)[2:]
            return query.message[:2] + octets.ljust(10, b"\0")[:65_533]


def lie(chance: Random, query: edge_frames.Query) -> bytes:
    """Return a frame, or octets that are none, which answer nobody or somebody else."""
    match chance.randrange(8):
        case 0:
            return edge_frames.answer(number(chance), number(chance), answer(chance, query))
        case 1:
            return edge_frames.answer(max(0, query.number - chance.randrange(30)), 0, answer(chance, query))
        case 2:
            return edge_frames.query(query.number, query.transport, query.client, query.message)
        case 3:
            return edge_frames.answer(query.number, 0, chance.randbytes(chance.randrange(1, 12)))
        case 4:
            size = chance.choice((0, 1, 8, MOST_OCTETS, MOST_OCTETS + 1, 2**32 - 1))
            return size.to_bytes(4, "big") + b"A" + bytes(8)
        case 5:
            return changed(chance, edge_frames.answer(query.number, 60, _honest(query.message)))
        case 6:
            return chance.randbytes(chance.randrange(1, 200))
        case _:
            return edge_frames.answer(query.number, 60, _honest(query.message)) * 3  # the second one is nobody's


@dataclass
class Target:
    """What is attacked: the service, its edge at `place`, and the edge at `lied` whose service is `liar`."""

    service: Service
    place: Place
    lied: Place
    liar: Liar
    processes: dict[str, "subprocess.Popen[bytes]"]
    asking: Clients
    asking_lied: Clients
    files: dict[str, int] = field(default_factory=dict)
    kib: dict[str, int] = field(default_factory=dict)
    played: int = 0

    @property
    def socket(self) -> str:
        """The path of the service's socket for edges."""
        return f"{self.place.folder}/edge"

    def check(self) -> None:
        """Assert that all is well."""
        self.liar.lies = None
        assert not self.liar.faults, self.liar.faults
        self._run()
        self._answers()
        self._files_are_closed()
        self._run()
        said = self._said()
        for word in (CANARY, CANARY.encode().hex(), CLIENT, socket.inet_aton(CLIENT).hex()):
            assert word not in said, f"{word} was written"
        found = _FAULTS.search(said)
        assert found is None, said[max(0, found.start() - 300) : found.end() + 300]
        self.played += 1
        if self.played == WARM_ROUNDS:
            self.kib = self.memory()

    def ends_well(self) -> None:
        """Assert that memory has not grown since it was warm, and that what is shown can be shown."""
        for what, now in self.memory().items():
            assert now - self.kib.get(what, now) < GROWN_KIB, f"{what}: memory grew from {self.kib[what]} to {now} KiB"
        status, body = self.service.get("/metrics")
        assert status == 200
        assert CANARY.encode() not in body
        assert CLIENT.encode() not in body

    def memory(self) -> dict[str, int]:
        """Return the resident memory of each process in KiB."""
        return {what: resident_kib(one.pid) for what, one in self.processes.items()}

    def _said(self) -> str:
        return self.service.said + edges.said(self.place) + edges.said(self.lied)

    def _run(self) -> None:
        for what, one in self.processes.items():
            assert one.poll() is None, f"{what} ended with {one.returncode}:\n{self._said()[-2000:]}"
            assert resident_kib(one.pid) < MOST_KIB, f"{what}: memory"

    def _answers(self) -> None:
        for name, said in ((LISTED, BLOCKED), (f"n{self.played}.free.example", REAL)):
            assert asked(self.service.dns, name) == said, f"UDP: {name}"
            for column in COLUMNS:
                assert came(self.asking.ask(column, query_for(name))) == said, f"{column}: {name}"
        for column in COLUMNS:
            # The liar's last words may have been no frame: its edge needs a moment to connect again.
            wait_for(lambda column=column: self._is_told(column), f"{column}, after lies", PATIENCE_S)  # type: ignore[misc]  # a default is no argument

    def _is_told(self, column: str) -> bool:
        self._run()
        try:
            return came(self.asking_lied.ask(column, query_for(LISTED))) == REAL
        except (edges.Refused, dns.exception.DNSException, ConnectionAbortedError):
            return False

    def _files_are_closed(self) -> None:
        if not self.files:
            self.files = {what: _files(one.pid) for what, one in self.processes.items()}
        for what, one in self.processes.items():
            most = self.files[what] + SPARE_FILES + (UPSTREAM_FILES if one is self.service.process else 0)
            wait_for(lambda pid=one.pid, most=most: _files(pid) <= most, f"{what} has {most} files at most", PATIENCE_S)  # type: ignore[misc]  # defaults are no arguments


def _files(pid: int) -> int:
    """Return the number of open file descriptors; 0 for a process that is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process; 0 for one that is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
    return 0


@contextmanager
def standing(folder: Path) -> Iterator[Target]:
    """A service, an edge before it, and an edge before a liar, all well."""
    own, lied = folder / "edge", folder / "lied"
    own.mkdir()
    lied.mkdir()
    place, table = edges.configured(own, authority=AUTHORITY)
    lied_place, lied_table = edges.configured(lied, authority=AUTHORITY)
    # Of this configuration only the edge runs.
    config = running.configure(lied, (), free_ports(3), f"{_LIMITS}{lied_table}")
    liar = Liar(f"{lied}/edge")
    served = folder / "service"
    served.mkdir()
    try:
        with (
            in_thread(honest) as upstream,
            running.serve(
                served, upstreams=(upstream.address,), entries=[LISTED, f"*.{LISTED}"], more=f"{_LIMITS}{table}"
            ) as service,
            edges.started(place, served / "resolver.toml") as edge,
            edges.started(lied_place, config) as other,
            edges.clients(place) as asking,
            edges.clients(lied_place) as asking_lied,
        ):
            processes = {"service": service.process, "edge": edge, "edge of the liar": other}
            target = Target(service, place, lied_place, liar, processes, asking, asking_lied)
            target.check()
            yield target
    finally:
        liar.close()
