"""No listed name and no client address leaves: canaries are driven through every way in, then everything is searched.

Rules:
- Searched: what the service and the verbs write, every answer of the page and of the metrics' address, every file of
  state, TMPDIR, working directory and those changed in /tmp, /var/tmp and /dev/shm, open files without a name, the
  arguments and environment of every process seen, and the serving process's memory for names nobody has asked for.
- Not searched: the authority's own folder, which is the list; the answers of DNS and the output of `ask`, which repeat
  the question to whoever asked it.
- The service runs by a launcher that makes parts of it fail with an error whose text is the name or the client.
"""

import contextlib
import ctypes
import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pyrage
import pytest

from resolver.config.values import address_octets
from resolver.core import codes
from resolver.query import edge_frames
from tests import canaries
from tests.canaries import Canaries
from tests.fakes.authority import Authority
from tests.fakes.upstream import Upstream, Way, in_thread
from tests.journeys.processes import (
    RESOLVER,
    Site,
    asked,
    command_of,
    descendants,
    exchange,
    hang_up,
    honest,
    list_of,
    query_for,
    wait_for,
)
from tests.journeys.running import HOST, LIST_ID, PAGE_V4, ROOT, Service
from tests.unit.query.senders import together

LAUNCHER = ("-c", "from tests.test_privacy import serve_with_faults; serve_with_faults()")
TYPES = ("A", "AAAA", "HTTPS", "SVCB", "TXT", "MX", "ANY", "CNAME", "DNSKEY", "TYPE65280")
IN_JUDGEMENT, IN_FORWARD = 65281, 65282
PR_GET_DUMPABLE = 3
SHARED = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


def serve_with_faults() -> None:
    """Be the service, with parts that raise what they know; core dumps are allowed as far as it is up to us."""
    from resolver.cli import main
    from resolver.core import steps
    from resolver.page.show import Page
    from resolver.query.accept_connection import Connection
    from resolver.query.cache import Cache
    from resolver.query.forward import Forward
    from resolver.service import service

    dumpable = Path("dumpable")
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    walk, forward, take, show, run = steps.take, Forward.exchange, Connection._take, Page.respond, service.Service.run
    flush = Cache.flush

    def walk_or_fail(tables: Any, lane: Any, seat: Any, now_ms: int) -> int:
        outcome: int = walk(tables, lane, seat, now_ms)
        if seat.question.qtype == IN_JUDGEMENT:
            packet = bytes(seat.packet)
            raise ValueError(packet, bytes(seat.client), packet.decode("latin-1"))
        return outcome

    def forward_or_fail(self: Any, packet: bytes, question: Any, *rest: Any) -> Any:
        if question.qtype == IN_FORWARD:
            raise RuntimeError(packet)
        return forward(self, packet, question, *rest)

    async def flush_or_fail(self: Any, name: bytes, *, subtree: bool, pause: Any) -> int:
        forgotten = await flush(self, name, subtree=subtree, pause=pause)
        if subtree:
            raise ValueError(name, name.decode("latin-1"))
        return forgotten

    def take_or_fail(self: Any) -> None:
        if b"\xff\xff\xff\xff" in self._unread:
            raise KeyError(bytes(self._unread), self._client)
        take(self)

    async def show_or_fail(self: Any, request: Any) -> Any:
        if request.path.startswith("/fail"):
            raise OSError(5, "failed", request.path)
        return await show(self, request)

    async def run_and_tell(self: Any) -> int:
        dumpable.write_text(str(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)))  # noqa: ASYNC240 - once
        return await run(self)

    steps.take = walk_or_fail
    # One by one: queries that are taken together never meet a line of Python that could raise what it knows.
    # mypy: a function in place of a class.
    service.FramedAnswers = lambda answer, lane, most: together(answer.answer)  # type: ignore[assignment,misc]
    Forward.exchange = forward_or_fail  # type: ignore[method-assign]  # what this launcher is for
    Cache.flush = flush_or_fail  # type: ignore[method-assign]
    Connection._take = take_or_fail  # type: ignore[method-assign]
    Page.respond = show_or_fail  # type: ignore[method-assign]
    service.Service.run = run_and_tell  # type: ignore[method-assign]
    sys.exit(main.main(sys.argv[1:]))


class Watch:
    """What every process below this one shows of itself, and what the metrics' address says, looked at all the time."""

    def __init__(self) -> None:
        self.commands: set[bytes] = set()
        self.environments: set[bytes] = set()
        self.core_limits: set[bytes] = set()
        self.metrics: set[bytes] = set()
        self.service: Service | None = None
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(look,)) for look in (self._processes, self._shown)]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, look: Any) -> None:
        while not self._stop.wait(0.01):  # no process of Python ends so soon
            look()

    def _processes(self) -> None:
        for pid in descendants(os.getpid()):
            self.commands.add(command_of(pid))
            with contextlib.suppress(OSError):
                self.environments.add(Path(f"/proc/{pid}/environ").read_bytes())
                if b"resolver.feed" in command_of(pid):
                    limits = Path(f"/proc/{pid}/limits").read_bytes().splitlines()
                    self.core_limits |= {line for line in limits if line.startswith(b"Max core file size")}

    def _shown(self) -> None:
        if self.service is not None:
            with contextlib.suppress(OSError):
                self.metrics.add(self.service.get("/metrics")[1])
        self._stop.wait(0.2)

    @property
    def seen(self) -> bytes:
        return b"\n".join([*self.commands, *self.environments, *self.metrics])


class World:
    """The canaries by what happens to them, an authority that signs anything, and a site with both."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.listed = [canaries.name(), f"{canaries.label()}.{canaries.name('example')}", canaries.name("example.com")]
        self.international = [canaries.unicode_name(), f"bü{canaries.name()}"]
        self.behind = canaries.name()  # a target of what upstream says of an unlisted name
        self.silent = [canaries.name(), canaries.unicode_name(), f"=only{canaries.name()}"]  # listed, never asked for
        self.sealed = [canaries.name(), canaries.unicode_name()]  # of a list that comes encrypted, never asked for
        self.refused = [canaries.name() for _ in range(8)] + [canaries.unicode_name() for _ in range(2)]
        self.lists = [canaries.name() for _ in range(4)]
        self.unlisted = [canaries.name(), canaries.name("example")]
        self.typed = [canaries.name(), canaries.unicode_name()]
        self.clients = [canaries.address(77) for _ in range(4)]
        self.limited = canaries.address(78)
        self.strangers = [canaries.address(79) for _ in range(2)]
        silent = [*self.silent, *self.sealed, *self.refused, *self.lists]
        self.silent_canaries = Canaries(one.removeprefix("=") for one in silent)
        names = [*self.listed, *self.international, self.behind, *self.silent, *self.refused, *self.lists]
        names += [*self.unlisted, *self.typed, *self.sealed]
        self.all = Canaries((one.removeprefix("=") for one in names), [*self.clients, self.limited, *self.strangers])
        self.upstream = upstream
        self.authority = Authority(folder / "authority-of-the-canaries")
        self.site = Site(
            folder,
            [upstream.address],
            {
                "listen": {"allow": ["127.0.0.0/16", "127.77.0.0/16", "127.78.0.0/16"]},
                "upstream": {"timeout": "1s"},
                "limits": {"exempt": ["127.0.0.0/16", "127.77.0.0/16"], "queries_per_second": 2},
                "edge": {"socket": str(folder / "queries"), "user": ""},
            },
        )
        one = list_of(self.authority.folder)
        one["source"] |= {"url": self.authority.url, "root": str(self.authority.pinned)}
        one["guard"] |= {"growth": 0.2}
        self.site.lists = [one, self.sealed_list(folder)]
        self.serial = 0

    def sealed_list(self, folder: Path) -> dict[str, Any]:
        """A second list, encrypted to this resolver with age; not even its authority's folder holds a name."""
        authority, key = Authority(folder / "authority-of-the-sealed"), pyrage.x25519.Identity.generate()
        identity = folder / "identity.txt"
        identity.touch(mode=0o600)
        identity.write_text(str(key))
        authority.publish_encrypted("\n".join(self.sealed).encode(), 1, str(key.to_public()), list_id="sealed")
        one = list_of(authority.folder, "sealed")
        one["source"] |= {"root": str(authority.pinned), "identity": str(identity)}
        return one

    def publish(self, data: bytes) -> None:
        self.serial += 1
        self.authority.publish(data, self.serial)

    def first_list(self) -> bytes:
        """Good lines, and lines of every kind that is refused."""
        a, b, c, d, e, f, g, h, i, j = self.refused
        bad = [f"http://{a}/path", f"{b}..test", f"-{c}-", f"{d}.com", f"{e} {f}", f"*.{g}", f"{'x' * 64}.{h}"]
        bad += [f"xn--{i}", f"\u0301{j}", f"{a}\x00", f"https://{b}:443", f"{c}/../", f"={d}=", f"!{e}!", f"{f}\u200d"]
        good = [*self.listed, *self.international, self.behind, *self.silent, *(f"n{n}.test" for n in range(9))]
        return "\n".join([*good, *bad, ""]).encode()


def test_a_canary_is_found_in_whatever_form(tmp_path: Path) -> None:
    """What the search below can find; were it blind, it would find nothing either."""
    name, greek, client = canaries.name(), canaries.unicode_name(), canaries.address(77)
    known = Canaries([name, greek], [client])
    plant = tmp_path / "state" / "lists"
    plant.mkdir(parents=True)
    plain = dns.name.from_text(greek, idna_codec=dns.name.IDNA_2008_Practical)
    forms: list[bytes] = [
        f"WARNING list demo: {canaries.mixed(name)} refused".encode(),
        dns.name.from_text(name).to_wire(),
        canaries.base64.b64encode(b"12" + dns.name.from_text(name).to_wire() + b"1"),
        canaries.base64.b64encode(f"3:{name}".encode()),
        greek.encode(),
        plain.to_text().encode(),
        canaries.json.dumps({"name": greek}).encode(),
        canaries.hashlib.sha256(name.encode()).hexdigest().encode(),
        name.encode("utf-16"),
        b"from " + client.encode() + b" port 7",
        b"\0" * 10 + b"\xff\xff" + socket.inet_aton(client),
    ]
    for number, form in enumerate(forms):
        path = plant / f"{number}.image"
        path.write_bytes(b"\0\1" + form + b"\n")
        assert list(known.found_below([tmp_path])) == [str(path)], form
        path.unlink()
    (plant / name).touch()
    assert known.found_below([tmp_path])
    assert not Canaries([canaries.name()], [canaries.address(77)]).found_below([tmp_path])


def test_a_canary_is_found_at_every_offset() -> None:
    """The search looks at words of eight octets: a form may begin anywhere, and end with the octets."""
    name, greek, client = canaries.name(), canaries.unicode_name(), canaries.address(77)
    known = Canaries([name, greek], [client])
    needles = [*canaries.needles_of_name(name), *canaries.needles_of_name(greek), *canaries.needles_of_address(client)]
    assert len({needle.what for needle in needles}) > 15
    for needle in needles:
        for before in range(17):
            for after in (b"", b"\n", b"x" * 9):
                found = known.found_in(b"." * before + needle.octets + after)
                assert any(one.endswith(f": {needle.what}") for one in found), (needle, before, after)
    for text in (name, greek):
        for before in range(9):
            assert known.spelt_in(b"." * before + text.encode())
    assert known.found_in(b"." * 1000 + bytes(range(256)) * 9 + canaries.name().encode()) == []


def upstream_says(query: dns.message.Message) -> dns.message.Message:
    """Real-looking addresses; an unlisted name with `chain` in front leads to the listed one in its second label."""
    reply = honest(query)
    owner = query.question[0].name
    if owner.labels[0] == b"chain":
        target = dns.name.Name(owner.labels[1:])
        reply.answer = [dns.rrset.from_text(owner, 300, "IN", "CNAME", target.to_text())]
    return reply


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with in_thread(upstream_says) as upstream:
        yield World(tmp_path, upstream)


@pytest.mark.timeout(300)
def test_nothing_of_a_name_or_a_client_leaves(world: World) -> None:
    site, since = world.site, time.time() - 1
    with Watch() as watch:
        world.publish(world.first_list())
        service = site.launch(LAUNCHER)
        try:
            service.until("/readyz")
            watch.service = service
            ask_everything(world)
            ask_by_an_edge(world)
            answers = visit_everything(world)
            break_the_upstream(world)
            harm_the_feed(world, service)
            answers += use_the_verbs(world)
            answers += use_the_control_socket(world, service)
            break_the_configuration(world, service)
            wait_for(lambda: len(watch.metrics) > 1, "the metrics to be looked at")
            found = open_files(world.all, service.process.pid)
            memory = in_memory(world.silent_canaries, service.process.pid)
            limits = Path(f"/proc/{service.process.pid}/limits").read_text()
            status = aborted(service)
        finally:
            service.process.kill()

    for module in (b"resolver.feed.fetch.tuf", b"resolver.feed.names.compile"):
        assert any(module in command for command in watch.commands), f"{module!r} was never seen"
    assert found == {}
    assert memory == []
    assert world.all.found_in(watch.seen) == []
    assert world.all.found_in(b"\n".join(answers)) == []
    searched = ("state", "tmp", "work", "authority-of-the-sealed")
    assert world.all.found_below(site.folder / name for name in searched) == {}
    assert world.all.found_in(service.said.encode()) == []
    # Other tests write thousands of files next to this one's; the service was never told of them.
    others = {parent for parent in site.folder.parents if "pytest" in parent.name}
    assert world.all.found_below(SHARED, since, but=others) == {}

    assert status == signal.SIGABRT
    assert "Max core file size        0                    0 " in limits
    assert [line.split()[4:6] for line in watch.core_limits if line.split()[4:6] == [b"0", b"0"]]
    assert (site.folder / "work" / "dumpable").read_text() == "0"
    assert not [path for path in (site.folder / "work").iterdir() if "core" in path.name]
    assert "failed (" in service.said or "in the event loop: KeyError" in service.said, service.said
    assert "Traceback" not in service.said


def ask_everything(world: World) -> None:
    """Listed and unlisted names in every type, over both transports, well-formed or not."""
    port, clients = world.site.dns, world.clients
    plain = [dns.name.from_text(one, idna_codec=dns.name.IDNA_2008_Practical).to_text() for one in world.international]
    for number, name in enumerate([*world.listed, *plain, f"www.{world.listed[0]}", *world.unlisted]):
        for over in ("udp", "tcp"):
            for qtype in TYPES:
                client = clients[number % len(clients)]
                said = asked(port, canaries.mixed(name), qtype, over=over, source=client)
                assert name in world.unlisted or said in (f"{PAGE_V4} EDE 4", "2001:db8::1 EDE 4", "NODATA EDE 4"), said
        for qtype in (IN_JUDGEMENT, IN_FORWARD):
            said = asked(port, name, f"TYPE{qtype}", over="tcp", source=clients[0])
            assert said == "SERVFAIL EDE 0" or qtype == IN_FORWARD, said
        malform(port, query_for(name), clients[1])
    assert asked(port, f"chain.{world.behind}", source=clients[2]) == f"{PAGE_V4} EDE 4"
    for stranger in world.strangers:
        assert asked(port, world.listed[0], source=stranger) == "REFUSED"
    for _ in range(12):
        with contextlib.suppress(OSError):
            asked(port, world.listed[0], source=world.limited, seconds=0.05)


def ask_by_an_edge(world: World) -> None:
    """The same names from the same clients over encrypted transports, and frames that are none, with both in them."""
    names = [*world.listed, *world.unlisted]
    whole = [
        edge_frames.query(number, over, address_octets(client), query_for(name, "A"))
        for over in codes.ENCRYPTED
        for number, (name, client) in enumerate(zip(names, itertools.cycle(world.clients), strict=False))
    ]
    with edge(world) as one:
        one.sendall(b"".join(whole))
        unread, found = bytearray(), 0
        while found < len(whole):
            unread += one.recv(2**16)
            found += len(edge_frames.take(unread))
    text = f"{world.listed[0]} {world.clients[0]}".encode()
    said = {"number": 1, "expires": None, "connections": {}, "handshakes": 0, "refused": {text.decode(): 1}}
    for body in (b"R" + json.dumps(said).encode(), b"Q" + text, b"X" + text, whole[0][4:9] + b"\0" + text):
        with edge(world) as one:
            one.sendall(len(body).to_bytes(4, "big") + body)
            assert one.recv(1) == b""


@contextlib.contextmanager
def edge(world: World) -> Iterator[socket.socket]:
    """A connection as an edge has it."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(20)
        one.connect(str(world.site.folder / "queries"))
        yield one


def malform(port: int, query: bytes, client: str) -> None:
    """Send what is nearly a query, by datagram and by stream."""
    bad = [query[:size] for size in range(0, len(query), 5)]
    bad += [query + b"\xff" * 9, query[:2] + b"\x81\x80" + query[4:], query[:2] + b"\x29\0" + query[4:]]
    bad += [query[:5] + b"\2" + query[6:], query[:12] + b"\xc0\x0c" + query[12:], query[:-11] + b"\xff" * 11]
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((client, 0))
        for packet in bad:
            one.sendto(packet, (HOST, port))
    for packet in (*bad, query + b"\xff\xff\xff\xff"):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.settimeout(1)
            one.bind((client, 0))
            one.connect((HOST, port))
            one.sendall(len(packet).to_bytes(2, "big") + packet)
            one.shutdown(socket.SHUT_WR)
            one.recv(4096)


def visit_everything(world: World) -> list[bytes]:
    """The page and the metrics' address as a browser with a past would ask them; returns what they answer."""
    name, client = world.listed[0], world.clients[3]
    fields = f"Host: {name}\r\nReferer: http://{name}/{client}\r\nCookie: seen={name}\r\n"
    fields += f"X-Forwarded-For: {client}\r\nAccept-Language: {name}, nl;q=0.{client}\r\nConnection: close\r\n"
    lines = [f"GET /{name}?q={name} HTTP/1.1", f"GET http://{name}/ HTTP/1.1", f"POST /{name} HTTP/1.1"]
    lines += [f"CONNECT {name}:443 HTTP/1.1", f"GET /fail/{name} HTTP/1.1", f"GET /{name} HTTP/9.{name}", f"{name}"]
    lines += [f"GET {path}{name} HTTP/1.1" for path in ("/blocklist-resolver-language/", "/blocklist-resolver-help/")]
    lines += [f"GET /metrics/{name} HTTP/1.1", f"GET /metrics?{name} HTTP/1.1", f"{name} /metrics HTTP/1.1"]
    requests = [f"{line}\r\n{fields}\r\n".encode() for line in lines]
    requests.append(f"GET / HTTP/1.1\r\nHost: {name}\r\n{name}\r\n\r\n".encode())
    requests.append(f"GET /{name * 900} HTTP/1.1\r\n\r\n".encode())
    requests += [f"GET /metrics HTTP/1.1\r\n{fields}Accept: {name};version={name}\r\n\r\n".encode()]
    requests += [b"\x16\x03\x01\x02\0\x01\0" + query_for(name)]
    answers = [_visited(port, request, client) for port in world.site.ports[1:] for request in requests]
    assert sum(b"HTTP/1.1" in answer for answer in answers) > len(requests)
    return answers


def _visited(port: int, request: bytes, client: str) -> bytes:
    answer = b""
    with socket.socket() as one, contextlib.suppress(OSError):
        one.settimeout(0.5)
        one.bind((client, 0))
        one.connect((HOST, port))
        one.sendall(request)
        while chunk := one.recv(65536):
            answer += chunk
    return answer


def break_the_upstream(world: World) -> None:
    """Every way in which an upstream can fail, each with an unlisted and a listed name in the reply."""
    for number, way in enumerate(Way):
        world.upstream.otherwise = (way,)
        for name in (f"w{number}.{world.unlisted[0]}", f"chain.w{number}.{world.behind}"):
            with contextlib.suppress(TimeoutError):
                exchange(world.site.dns, query_for(name), source=world.clients[0], seconds=3)
    world.upstream.otherwise = (Way.HONEST,)


def harm_the_feed(world: World, service: Service) -> None:
    """Lists that are refused whole, held, or tampered with on their way."""

    def polled(series: str) -> None:
        hang_up(service)
        service.until("/metrics", lambda body: f"blocklist_resolver_{series} 1.0\n".encode() in body)

    failed = f'feed_failures_total{{list="{LIST_ID}",reason="%s"}}'
    not_utf8, empty, tampered, held = (one.encode() for one in world.lists)
    world.publish(not_utf8 + b"\n\xff\xfe" + not_utf8 + b"\n")
    polled(failed % "not_utf8")
    world.publish(b"http://" + empty + b"/\n# " + empty + b"\n")
    polled(failed % "empty")
    world.publish(world.first_list() + held + b"\n" + b"".join(b"h%d.test\n" % number for number in range(900)))
    polled(f'list_held{{list="{LIST_ID}"}}')
    # Two names: the digest of a list, which metadata and state hold, would be a hash of one name alone.
    world.publish(tampered + b"\n" + held + b"\n")
    world.authority.tamper("targets/")
    polled(failed % "tampered")


def use_the_verbs(world: World) -> list[bytes]:
    """The commands of an operator, names typed to stdin; returns what they may not repeat a name in."""
    config, names = str(world.site.config), "\n".join([*world.typed, *world.listed, *world.international, "\ud800"])
    said = [verb(["list", "check", "-", "--config", config], names), verb(["list", "status", "--config", config], "")]
    assert said[0].stdout.count(b"listed by demo serial 1") == len(world.listed) + len(world.international)
    said.append(verb(["list", "check", "-", "--config", config], world.typed[0] * 99))
    server = f"{HOST}:{world.site.dns}"
    asking = [verb(["ask", "-", kind, "--server", server], world.typed[0]) for kind in ("A", "TYPE70000", "NONSENSE")]
    asking.append(verb(["ask", "-", "--server", server], world.typed[1]))
    asking.append(verb(["ask", "-", "--server", f"{HOST}:9", "--over", "tcp"], world.typed[0]))
    return [*(one.stdout + one.stderr for one in said), *(one.stderr for one in asking)]


def verb(words: list[str], typed: str) -> subprocess.CompletedProcess[bytes]:
    """Run one command line."""
    return subprocess.run(
        [sys.executable, *RESOLVER, *words],
        input=typed.encode("utf-8", "surrogatepass"),
        capture_output=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )


def use_the_control_socket(world: World, service: Service) -> list[bytes]:
    """What an operator, and a peer gone mad, send over it; returns what may not repeat a name or a client."""
    config, client = str(world.site.config), world.clients[0]
    said = [
        verb(["cache", "flush", "-", *subtree, "--config", config], name)
        for name in (*world.listed, *world.international, *world.typed, f"chain.{world.behind}", "\ud800")
        for subtree in ((), ("--subtree",))
    ]
    said += [verb(["status", *words, "--config", config], "") for words in ((), ("--json",))]
    said.append(verb(["reload", "--config", config], ""))
    names = [*world.listed, world.typed[0], world.behind]
    mad: list[object] = [{"verb": name, "as": client, "packet": query_for(name).hex()} for name in names]
    mad += [{"verb": verb, "name": name, "as": client, "packet": name} for name in names for verb in ("flush", "ask")]
    mad += [{"verb": "ask", "as": name, "packet": query_for(name).hex()} for name in names]
    mad += [{"verb": "flush", "name": {name: client}} for name in names] + [names, [client], {client: names}]
    octets = [json.dumps(one).encode() + b"\n" for one in mad]
    octets += [f"{names[0]} {client}\n".encode(), f'{{"verb": "{names[1]}'.encode(), names[2].encode() * 999]
    answers = [_controlled(world.site.folder / "control", one) for one in octets]
    assert sum(answer.startswith(b'{"outcome":"failed"') for answer in answers) >= len(mad) - len(names)
    assert "internal error in a request: ValueError" in service.said, "a flush that fails was never seen"
    assert service.said.count("flush by uid") >= len(world.listed)
    return [*answers, *(one.stdout + one.stderr for one in said)]


def _controlled(path: Path, request: bytes) -> bytes:
    answer = b""
    with socket.socket(socket.AF_UNIX) as one, contextlib.suppress(OSError):
        one.settimeout(2)
        one.connect(str(path))
        one.sendall(request)
        one.shutdown(socket.SHUT_WR)
        while chunk := one.recv(65536):
            answer += chunk
    return answer


def break_the_configuration(world: World, service: Service) -> None:
    """SIGHUP with a file that holds a name or a client where none belongs."""
    site, name, client = world.site, world.typed[0], world.clients[0]
    good = site.config.read_text()
    broken = [good.replace('"demo"', f'"{one}"', 1) for one in (name, client)]
    broken += [f'[listen]\n{key} = ["{one}"]\n[[list]]\n' for key in ("dns", "allow") for one in (name, f"{client}/8")]
    broken += [good + f'exempt = ["{name}"]\n', good + f"[{name}\n", good + f'x = "{name}\n', good + f"= {client}\n"]
    broken += [good.replace('"8h"', f'"{name}"'), good.replace('"file://', f'"ftp://{name}'), f'list = "{name}"\n']
    broken += [good.replace("[state]", f'[state]\nwithout_list = "{name}"')]
    for number, text in enumerate(broken, 1):
        assert text != good
        site.config.write_text(text)
        hang_up(service)
        wait_for(lambda wanted=number: service.said.count("reload refused") == wanted, f"reload {number} to be refused")
    site.config.write_text(good)


def open_files(known: Canaries, pid: int) -> dict[str, list[str]]:
    """The canaries in files that a process holds open, those without a name among them."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if link.is_file() and (canaries := known.found_in(link.read_bytes())):
            found[str(link.readlink())] = canaries
    return found


def in_memory(known: Canaries, pid: int) -> list[str]:
    """The canaries in all that a process has in memory; where the kernel lets nobody look, nothing."""
    found, looked = [], False
    with contextlib.suppress(PermissionError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if line.split()[1][1] != "w":
                continue
            start, end = (int(one, 16) for one in line.split()[0].split("-"))
            with contextlib.suppress(OSError, OverflowError):
                memory.seek(start)
                octets = memory.read(end - start)
                found += known.spelt_in(octets)
                looked |= b"blocked_queries_total" in octets
        assert looked, "what is in memory for sure was not found"
    return found


def aborted(service: Service) -> int:
    """Have the service call abort(), as far as the kernel can tell; returns the signal it ended by."""
    service.process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(service.process.pid, 0)
    assert not os.WCOREDUMP(status)
    return os.WTERMSIG(status)
