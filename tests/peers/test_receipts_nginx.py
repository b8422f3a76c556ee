"""Receipts on their way over mutual TLS: nodes, nginx as deploy/receipts has it, `receive`, the compile host, and the
authority's desk of the same kind."""

import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import dns.message
import dns.rrset
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.authority import verify
from resolver.feed.transport import Access, NotFetched, Transport
from resolver.signed import statement
from tests.fakes.upstream import in_thread
from tests.journeys.processes import honest, list_of, operate, wait_for
from tests.journeys.running import HOST, PAGE_V4, ROOT, free_ports, stop
from tests.journeys.test_fleet import NODES, Fleet, public_of

Program = Callable[[str], str]
BLOCKED = f"{PAGE_V4} EDE 4"
COMPILE, AUTHORITY = "compile.test", "authority.test"


def upstream_of(query: dns.message.Message) -> dns.message.Message:
    """Knows every name; the hosts that we need are on loopback."""
    reply = honest(query)
    name = query.question[0].name
    if reply.answer and name.to_text() in (f"{COMPILE}.", f"{AUTHORITY}."):
        reply.answer = [dns.rrset.from_text(name, 60, "IN", "A", HOST)]
    return reply


@contextmanager
def receiving(folder: Path, receipts: Path, keys: Path, *more: str) -> Iterator[Path]:
    """A running `receive`; yields the path of its socket."""
    path = folder / "receive.sock"
    words = ["receive", "--folder", str(receipts), "--keys", str(keys), "--socket", str(path), *more]
    with open(folder / "receive.said", "wb") as said:
        process = subprocess.Popen([sys.executable, "-m", "resolver", *words], stdout=said, stderr=said, cwd=ROOT)
    try:
        wait_for(lambda: b"receiving from" in (folder / "receive.said").read_bytes(), "receive")
        # As SocketGroup= of the unit does for nginx's workers.
        path.chmod(0o666)
        yield path
    finally:
        assert stop(process) == 0


@contextmanager
def nginx(program: Program, folder: Path, published: Path, taking: Path, name: str, ca: trustme.CA) -> Iterator[str]:
    """The web server with the shipped configuration, its names and files put in; yields its URL."""
    (port,) = free_ports(1)
    ca.cert_pem.write_to_path(str(folder / "hosts-ca.pem"))
    ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    text = (ROOT / "deploy/receipts/nginx.conf").read_text()
    for before, now in {
        "listen 8443": f"listen {HOST}:{port}",
        "compile.isp.example": name,
        "/etc/nginx/blocklist/hosts-ca.pem": str(folder / "hosts-ca.pem"),
        "/etc/nginx/blocklist/server.pem": str(folder / "server.pem"),
        "/etc/nginx/blocklist/server.key": str(folder / "server.pem"),
        "/srv/blocklist-fleet/": f"{published}/",
        "/run/blocklist-receipts.sock": str(taking),
    }.items():
        assert before in text
        text = text.replace(before, now)
    (folder / "blocklist.conf").write_text(text)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy"))
    unused = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("fastcgi", "uwsgi", "scgi"))
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{\n{temporary}{unused}include {folder}/blocklist.conf;\n}}\n"
    )
    process = subprocess.Popen([program("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        wait_for(lambda: (folder / "nginx.pid").exists() and (folder / "nginx.pid").read_text().strip(), "nginx")
        yield f"https://{name}:{port}"
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    """The CA of the hosts, in ca.pem, and their certificate in client.pem."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ca.issue_cert("node.isp.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    return ca


def keys(folder: Path) -> dict[str, str]:
    client = str(folder / "client.pem")
    return {"ca": str(folder / "ca.pem"), "certificate": client, "key": client}


@pytest.mark.timeout(900)
def test_three_nodes_report_to_their_compile_host_and_that_to_the_authority(
    program: Program, ca: trustme.CA, tmp_path: Path
) -> None:
    with in_thread(upstream_of) as upstream, ExitStack() as stack:
        fleet = Fleet(tmp_path, upstream, poll="5s")
        desk, pinned, known = (tmp_path / name for name in ("desk", "desk-receipts", "desk-keys"))
        for folder in (desk, pinned, known, tmp_path / "web"):
            folder.mkdir()
        at_authority = stack.enter_context(receiving(desk, pinned, known))
        authority = stack.enter_context(nginx(program, desk, desk, at_authority, AUTHORITY, ca))
        here = stack.enter_context(receiving(tmp_path / "web", fleet.receipts, fleet.pinned, "--keep", "20"))
        web = stack.enter_context(nginx(program, tmp_path / "web", fleet.published, here, COMPILE, ca))
        fleet.host.lists = [list_of(fleet.host.authority.folder)]
        fleet.host.lists[0]["source"] |= {"poll": "2s", "receipt": f"{authority}/receipts", **keys(tmp_path)}
        for node in fleet.nodes:
            node.lists[0]["source"] |= {"url": f"{web}/fleet", "receipt": f"{web}/receipts", **keys(tmp_path)}
        fleet.host.write()
        # The authority knows the compile host's key, and the fleet those of its nodes.
        (known / "compile.isp.example.pub").write_bytes(public_of(fleet.host))
        text = b"bad.test\n"
        fleet.host.publish(["bad.test"])
        began = time.monotonic()
        fleet.start(stack)
        wait_for(lambda: fleet.all_say("bad.test", BLOCKED), "the list on every node")
        whole = "serial 1 is reported in force by 3 of 3 hosts"
        wait_for(lambda: whole in operate(fleet.host, "status").stdout, whole)
        print(f"three nodes reported after {time.monotonic() - began:.1f} s")
        assert whole in operate(fleet.host, "list", "status").stdout
        names = {path.name for path in fleet.receipts.iterdir()}
        assert all(any(re.fullmatch(rf"{node}-demo-1-\d+\.json", name) for name in names) for node in NODES)

        def at_the_desk() -> list[Path]:
            return sorted(pinned.glob("*.json"))

        wait_for(lambda: len(at_the_desk()) == 2, "the host's receipt and the fleet's at the authority")
        key = statement.pinned_of(public_of(fleet.host))
        kinds = [statement.verified(path.read_bytes(), key)["kind"] for path in at_the_desk()]
        assert sorted(kinds) == ["fleet receipt", "receipt"]
        (own,) = pinned.glob("compile.isp.example-demo-1-*.json")
        proved = verify.verified(fleet.host.authority.folder, text, {"own": own.read_bytes()}, [key])
        assert "list demo, serial 1" in proved[0]

        stranger(web, ca, tmp_path)
        # A node that is taken out: its key goes, and it is missing no longer.
        (fleet.pinned / "three.pub").unlink()
        fewer = "serial 1 is reported in force by 2 of 2 hosts"
        wait_for(lambda: fewer in operate(fleet.host, "status").stdout, fewer)
        for folder in (desk, tmp_path / "web"):
            assert (folder / "error.log").read_text() == ""
            assert HOST not in (folder / "receive.said").read_text()


def stranger(web: str, ca: trustme.CA, folder: Path) -> None:
    """Without a certificate of the fleet's CA nothing is taken or given; with one only what a known key has signed."""
    with in_thread(upstream_of) as upstream:
        resolvers = (upstream.address,)
        trustme.CA().issue_cert("node.isp.test").private_key_and_cert_chain_pem.write_to_path(str(folder / "other.pem"))
        for certificate in ("", str(folder / "other.pem")):
            access = Access(ca=str(folder / "ca.pem"), certificate=certificate, key=certificate, resolvers=resolvers)
            with pytest.raises(NotFetched):
                Transport(access, 10).post(f"{web}/receipts", b"{}")
            with pytest.raises(NotFetched):
                Transport(access, 10).read(f"{web}/fleet/demo.json", 2**20)
        access = Access(**keys(folder), resolvers=resolvers)
        forged = statement.sign({"kind": "receipt", "host": "one"}, statement_key())
        for data, status in ((forged, 403), (b"{}", 400), (b"x" * (2**20 + 1), 413)):
            with pytest.raises(NotFetched) as refused:
                Transport(access, 10).post(f"{web}/receipts", data)
            assert refused.value.status == status
        for path, status in (("receipts/../etc/passwd", 404), ("receipts", 403), ("", 404)):
            with pytest.raises(NotFetched) as refused:
                Transport(access, 10).read(f"{web}/{path}", 2**20)
            assert refused.value.status == status
    assert 429 in statuses_of_a_burst(web, folder)


def statuses_of_a_burst(web: str, folder: Path) -> set[int]:
    """What one host gets that posts as fast as it can, over one connection."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "client.pem")
    parts = urlsplit(web)
    found = set()
    request = f"POST /receipts HTTP/1.1\r\nHost: {parts.hostname}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    with (
        socket.create_connection((HOST, parts.port or 443)) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as stream,
        stream.makefile("rb") as replies,
    ):
        stream.sendall(request * 300)
        while line := replies.readline():
            found.add(int(line.split()[1]))
            length = 0
            while field := replies.readline().strip():
                if field.lower().startswith(b"content-length:"):
                    length = int(field.split()[1])
            replies.read(length)
            if 429 in found:
                break
    return found


def statement_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()
