"""`make run`: a demonstration of the service on loopback, with an authority, keys and a list of reserved names.

It makes a signed repository in a temporary folder, starts the service with it, asks as clients would, prints the
answers, and serves until it is stopped. Then the folder is removed.
"""

import argparse
import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from resolver import __version__
from resolver.authority import publish
from resolver.cli import demonstration_lists
from resolver.config.config import ConfigError, load
from resolver.config.values import Endpoint
from resolver.control import client
from resolver.dns_client import client as dns_client

LIST: Final = """\
# A demonstration list: reserved names only.
blocked.test
=only-this.test
shop.example
!open.shop.example
"""
EXCEPTIONS: Final = 1
PAGE: Final = "192.0.2.1"
CONFIG: Final = """\
[listen]
dns = ["127.0.0.1:{dns}"]
[upstream]
{servers}
[page]
addresses = ["192.0.2.1", "2001:db8::1"]
listen = ["127.0.0.1:{page}"]
operator = "Demonstration operator"
contact = "help@isp.example"
authority = "Demonstration authority"
law = "No law: this is a demonstration"
flow_records = "none"
[[page.help]]
kind = "young"
text = "Example line for young people"
phone = "+00 555 0100"
chat = "https://young.example/chat"
hours = "every day, 14:00 to 22:00"
languages = "English"
[[page.help]]
kind = "worried"
text = "Example line for the worried"
phone = "+00 555 0101"
url = "https://worried.example/"
[metrics]
listen = "127.0.0.1:{metrics}"
[count]
publish_every = "2s"
batch = 1
region = "DEMO"
[state]
directory = "{folder}/state"
[control]
socket = "{folder}/control"
group = ""
[[list]]
id = "demo"
purpose = "child-abuse"
demonstration = true
[list.source]
kind = "tuf"
url = "file://{folder}/authority"
root = "{folder}/root.json"
poll = "10s"
"""
START_S: Final = 20.0
HOST: Final = "127.0.0.1"
NO_UPSTREAM: Final = 'servers = ["127.0.0.1:9"]'


class Failed(Exception):
    """The demonstration cannot go on; the text says why."""


def main() -> int:
    """Run the demonstration; return 0, or 1 if it could not start."""
    parser = argparse.ArgumentParser(prog="python -m resolver.cli.demonstration", description=__doc__)
    parser.add_argument("--dns-port", type=int, default=5300)
    parser.add_argument("--page-port", type=int, default=8080)
    parser.add_argument("--metrics-port", type=int, default=9153)
    ports = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _refuse_taken(ports)
        with tempfile.TemporaryDirectory(prefix="blocklist-resolver-") as name:
            return _demonstrate(Path(name), ports)
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _refuse_taken(ports: argparse.Namespace) -> None:
    """Raise Failed if a port is in use: the service itself would wait until it is free."""
    for what, port in (("DNS", ports.dns_port), ("PAGE", ports.page_port), ("METRICS", ports.metrics_port)):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) if what == "DNS" else (socket.SOCK_STREAM,):
            with socket.socket(socket.AF_INET, kind) as one:
                if kind == socket.SOCK_STREAM:
                    # As the service does: connections that have just ended keep nobody off.
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind((HOST, port))
                except OSError as error:
                    raise Failed(
                        f"Port {port} of {HOST}: {error.strerror}. Choose another: make run PORT_{what}="
                    ) from None


def _demonstrate(folder: Path, ports: argparse.Namespace) -> int:
    """Serve from `folder` until interrupted; return 0, or 1 if the service could not start."""
    config = _prepare(folder, ports)
    log = folder / "service.log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            [sys.executable, "-m", "resolver", "run", "--config", str(config)], stderr=output, cwd=folder
        )
    try:
        _show(service, ports, config)
        return service.wait()
    except Failed as failed:
        print(f"{failed}\n{log.read_text(errors='replace')}", file=sys.stderr)
        return 1
    finally:
        # A second interrupt now would leave the folder and the service behind.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        service.terminate()
        service.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _prepare(folder: Path, ports: argparse.Namespace) -> Path:
    """Make keys, a signed list, its trust root and a configuration; return the path of the configuration."""
    authority = folder / "authority"
    publish.init(authority, threshold=1, keys=1, now=time.time())
    issue = publish.Issue(list_id="demo", data=LIST.encode(), serial=1, expect_exceptions=EXCEPTIONS)
    publish.publish(authority, issue, now=time.time())
    (folder / "root.json").write_bytes((authority / "root.json").read_bytes())
    config = folder / "resolver.toml"
    values = {"dns": ports.dns_port, "page": ports.page_port, "metrics": ports.metrics_port, "folder": folder}
    config.write_text(CONFIG.format(servers="", **values))
    try:
        load(config)
    except ConfigError:
        # No nameserver in resolv.conf: nothing unlisted can be answered, and blocking needs nobody.
        config.write_text(CONFIG.format(servers=NO_UPSTREAM, **values))
    return config


def _show(service: subprocess.Popen[bytes], ports: argparse.Namespace, config: Path) -> None:
    started = time.monotonic()
    _wait_until_ready(service, ports.metrics_port)
    server = Endpoint("127.0.0.1", ports.dns_port)
    print(f"blocklist-resolver {__version__}: demonstration on loopback, ready in {time.monotonic() - started:.1f} s\n")
    print(f"  {'question':<44}{'answer':<37}ok")
    good, control = True, client.settings(config)
    lists = demonstration_lists.rows(config.parent, control, LIST.encode(), EXCEPTIONS, time.time())
    for question, came, right in chain(outcomes(server, ports), lists):
        print(f"  {question:<44}{came:<37}{'yes' if right else 'NO'}", flush=True)
        good = good and right
    print(f"\n{'All answers are right.' if good else 'Some answers are WRONG: please report it.'}\n")
    print(
        f"Try:  dig @127.0.0.1 -p {ports.dns_port} blocked.test\n"
        f"      kdig @127.0.0.1 -p {ports.dns_port} +tcp www.blocked.test AAAA\n"
        f"      .venv/bin/blocklist-resolver ask blocked.test --server 127.0.0.1:{ports.dns_port}\n"
        f"      .venv/bin/blocklist-resolver status --config {config}\n"
        f"      .venv/bin/blocklist-resolver list held demo --config {config}\n"
        f"      http://127.0.0.1:{ports.page_port}/   http://127.0.0.1:{ports.metrics_port}/metrics\n\n"
        "Serving; stop it with Ctrl-C.",
        flush=True,
    )


def _wait_until_ready(service: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the list is in force. The service is another process: only its port shows that.

    The demonstration also runs on a host without a network; no upstream answers then.
    """
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if service.poll() is not None:
            raise Failed("The service did not start:")
        status, said = fetched(f"http://127.0.0.1:{port}/readyz")
        if status == 200 or "no upstream answers" in said:
            return
        time.sleep(0.05)
    raise Failed(f"The service was not ready within {START_S:g} s:")


def fetched(url: str) -> tuple[int, str]:
    """Return status and text of a URL; status 0 if there is no response."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""


def outcomes(server: Endpoint, ports: argparse.Namespace) -> Iterator[tuple[str, str, bool]]:
    """Ask as a visitor's device would; yield the question, the answer, and whether it is right."""
    blocked = (
        ("blocked.test", "A", "udp", PAGE),
        ("www.blocked.test", "AAAA", "udp", "2001:db8::1"),
        ("blocked.test", "HTTPS", "udp", ""),
        ("blocked.test", "A", "tcp", PAGE),
        ("only-this.test", "A", "udp", PAGE),
    )
    for name, qtype, over, address in blocked:
        yield f"blocked: {name} {qtype} over {over}", *_blocked(name, qtype, over, address, server)
    yield _allowed("allowed: example.com A", "example.com", server)
    yield _allowed("allowed by exception: open.shop.example A", "open.shop.example", server)
    status, text = fetched(f"http://127.0.0.1:{ports.page_port}/")
    yield "the page", f"HTTP {status}, {len(text)} characters", status == 451 and "<h1" in text
    yield counted(ports.metrics_port)


def _blocked(name: str, qtype: str, over: str, address: str, server: Endpoint) -> tuple[str, bool]:
    try:
        reply = dns_client.ask(name, qtype, server, over, 5.0)
    except dns_client.AskError as error:
        return str(error), False
    came = reply.answers[0].split()[-1] if reply.answers else "no such data (NODATA)"
    right = came == address if address else not reply.answers and bool(reply.authorities)
    return came, right and reply.rcode == "NOERROR" and bool(reply.errors)


def _allowed(question: str, name: str, server: Endpoint) -> tuple[str, str, bool]:
    try:
        reply = dns_client.ask(name, "A", server, "udp", 10.0)
    except dns_client.AskError as error:
        return question, str(error), False
    if reply.rcode == "SERVFAIL":
        return question, "no upstream can be reached from here", True
    return question, f"{reply.rcode} from upstream", PAGE not in "".join(reply.answers)


def counted(port: int) -> tuple[str, str, bool]:
    """Wait for the counter of blocked queries, which shows nothing before the beat."""
    wanted = 'blocklist_resolver_blocked_queries_total{list="demo"} 5.0'
    until = time.monotonic() + 6.0
    found: list[str] = []
    while time.monotonic() < until:
        lines = fetched(f"http://127.0.0.1:{port}/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith("blocklist_resolver_blocked_queries_total{")]
        if wanted in found:
            break
        time.sleep(0.2)
    return "the counter of blocked queries", found[0].split()[-1] if found else "missing", wanted in found


if __name__ == "__main__":
    sys.exit(main())
