"""The verb `edge`: runs the process that receives queries over TLS, HTTPS and QUIC, as `[edge]` says.

Rules:
- It is another program (edge.process, or edge.keep, which keeps several of them running), which takes the place of this
  one: no code of the command line and none of the service is in the process that reads what strangers send.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from resolver.cli.terminal import USAGE, add_config, complain
from resolver.edge.request import KEEP, MODULE, Addresses, EdgeRequest

if TYPE_CHECKING:
    from resolver.config.config import Config
    from resolver.config.values import Endpoint

HELP: Final = "receive queries over TLS, HTTPS and QUIC, as [edge] says; off unless it is configured"
MOST: Final = 1024
MOST_KEPT: Final = 64
"""As many as may connect to the service."""


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `edge`."""
    edge = verbs.add_parser("edge", help=HELP)
    add_config(edge)
    which = edge.add_mutually_exclusive_group()
    number = which.add_argument("--number", type=_up_to(MOST), default=1, metavar="N")
    number.help = "of this edge among several on a host, from 1"
    keep = which.add_argument("--keep", type=_up_to(MOST_KEPT), metavar="N")
    keep.help = "for a container: keep N edges running, and start each again that ends"
    edge.set_defaults(verb=_edge)


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from 1 to {most}")
        return int(text)

    return number


def request_of(config: "Config", number: int) -> EdgeRequest:
    """Return what the process is started with."""
    from resolver.config import for_core

    edge = config.edge
    return EdgeRequest(
        number=number,
        socket=edge.socket,
        state=config.state.directory,
        demonstration=all(one.demonstration for one in config.lists),
        name=edge.name,
        tls=_addresses(edge.tls),
        https=_addresses(edge.https),
        quic=_addresses(edge.quic),
        http3=_addresses(edge.http3),
        alternative=edge.alternative,
        path=edge.path,
        certificate=edge.certificate,
        key=edge.key,
        allow=for_core.ranges(config.listen.allow),
        exempt=for_core.ranges(config.limits.exempt),
        proxies=for_core.ranges(config.listen.proxy_from),
        connections=config.limits.connections,
        per_client=config.limits.connections_per_client,
    )


def _addresses(listen: "tuple[Endpoint, ...]") -> Addresses:
    return tuple((one.host, one.port) for one in listen)


def _edge(arguments: argparse.Namespace) -> int:
    from resolver.config import config

    loaded = config.parse(arguments.config.read_text(encoding="utf-8"), str(arguments.config))
    if not loaded.edge.offered:
        said = "edge.socket, and an address in edge.tls, https, quic or http3: required to receive encrypted queries"
        return complain(f"{arguments.config}: {said}", USAGE)
    handle = os.memfd_create("request")
    os.write(handle, msgspec.json.encode(request_of(loaded, arguments.number)) + b"\n")
    os.lseek(handle, 0, os.SEEK_SET)
    os.dup2(handle, 0)
    os.close(handle)
    kept = {name: os.environ[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if name in os.environ}
    replace_this(kept, (KEEP, str(arguments.keep)) if arguments.keep else (MODULE,))
    raise AssertionError("execve returns only by an error")


def replace_this(environment: dict[str, str], words: Sequence[str]) -> None:
    """Run a module of ours in place of this process."""
    os.execve(sys.executable, [sys.executable, "-I", "-m", *words], environment)  # noqa: S606 - our own module
