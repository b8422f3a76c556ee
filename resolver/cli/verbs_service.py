"""The verbs that ask a server or the running service: ask, status, reload, hand-over, cache flush.

Rules:
- `ask` asks the first address of `listen.dns` that is on this host and answers, unless --server names another. Over
  TLS, HTTPS and QUIC it asks the addresses of `[edge]`, and verifies the name that stands there, or --tls-name.
- `ask` exits with 1 if it gets no answer, or one that answers nothing: any response code but NOERROR and NXDOMAIN.
"""

import argparse
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.cli.terminal import (
    DEFAULT_CONFIG,
    DONE,
    FAILED,
    Refusal,
    UsageError,
    add_config,
    called,
    coloured,
    complain,
    name_of,
)
from resolver.config.values import many
from resolver.control import requests

if TYPE_CHECKING:
    from resolver.cli.typed import Typed
    from resolver.config.values import Endpoint
    from resolver.dns_client.client import Reply
    from resolver.dns_client.encrypted import Verified

DEFAULT_SERVER: Final = "127.0.0.1:5300"
ASK_TIMEOUT_S: Final = 5.0
STATUS_TIMEOUT_S: Final = 10.0
"""A status takes no time of its own: a service that needs longer hangs, and the operator must learn that soon."""

ENDS_S: Final = 40.0
"""How long an old process may take to end after a hand-over, and a new one to take the control socket."""
LOOK_S: Final = 0.1

_EDGE: Final = {"tls": "tls", "https": "https", "quic": "quic"}
"""How a query is secured, and the key of [edge] with the addresses."""

_NAME: Final = "-: from the terminal without echo, or from stdin"


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add the verbs."""
    ask = verbs.add_parser("ask", help="one query, and its answer as text")
    ask.add_argument("name", metavar="NAME|-", help=_NAME)
    ask.add_argument("type", metavar="TYPE", nargs="?", default="A", help="default: A")
    ask.add_argument("--server", metavar="ADDR:PORT", help="default: the first of listen.dns, or [edge], that answers")
    ask.add_argument("--over", choices=("udp", "tcp", *_EDGE), help="default: udp; the last three are verified")
    ask.add_argument("--tls-name", metavar="NAME", help="the name in the certificate; default: edge.name, or ADDR")
    ask.add_argument("--ca", type=Path, metavar="FILE", help="its authority; default: those of this host")
    ask.add_argument("--path", metavar="PATH", help="of HTTPS; default: edge.path")
    ask.add_argument("--as", dest="client", metavar="ADDR", help=requests.Ask.help)
    ask.add_argument("--json", action="store_true")
    ask.set_defaults(verb=_ask)
    status = verbs.add_parser("status", help=requests.Status.help)
    status.add_argument("--json", action="store_true")
    status.set_defaults(verb=_status)
    reload = verbs.add_parser("reload", help=requests.Reload.help)
    reload.set_defaults(verb=_reload)
    hand_over = verbs.add_parser("hand-over", help=requests.HandOver.help)
    hand_over.set_defaults(verb=_hand_over)
    cache = verbs.add_parser("cache", help="the cache of answers").add_subparsers(metavar="STEP", required=True)
    flush = cache.add_parser("flush", help=requests.Flush.help)
    flush.add_argument("name", metavar="NAME|-", help=_NAME)
    flush.add_argument("--subtree", action="store_true", help="and for every name below it; . is everything")
    flush.set_defaults(verb=_flush)
    for parser in (ask, status, reload, hand_over, flush):
        add_config(parser)


def _ask(arguments: argparse.Namespace) -> int:
    if arguments.client is not None:
        return _ask_as(arguments)
    from resolver.cli import screen_answer
    from resolver.dns_client import client as dns_client

    over = arguments.over or "udp"
    how = _verified(arguments, over)
    servers, name = _servers(arguments, over), _typed(arguments)
    _show_reading(arguments, name)
    try:
        answer = _first_answer(servers, name.name or ".", arguments.type, over, how)
    except dns_client.NotAQuestion as error:
        raise UsageError(str(error)) from None
    except dns_client.AskError as error:
        return complain(str(error), FAILED)
    print(screen_answer.as_json(answer) if arguments.json else screen_answer.screen(answer))
    return _status_of(answer)


def _verified(arguments: argparse.Namespace, over: str) -> "Verified | None":
    """Return how the server is verified; None over UDP and TCP."""
    from resolver.control import client
    from resolver.dns_client.encrypted import Verified

    options = ("tls_name", "ca", "path")
    if over not in _EDGE:
        if any(getattr(arguments, one) is not None for one in options):
            raise UsageError("--tls-name, --ca and --path belong to --over tls, https or quic")
        return None
    if arguments.ca is not None and not arguments.ca.is_file():
        raise UsageError("--ca: no such file")
    here = not arguments.server and arguments.config.exists()
    edge = client.section(arguments.config, "edge") if here else {}
    name = arguments.tls_name or str(edge.get("name", ""))
    return Verified(name=name, ca=arguments.ca, path=arguments.path or str(edge.get("path", "/dns-query")))


def _servers(arguments: argparse.Namespace, over: str) -> "list[Endpoint]":
    """Return the servers to ask, in order: --server, or the addresses of this configuration that are on this host."""
    from resolver.config import values
    from resolver.control import client

    if arguments.server:
        try:
            return [values.endpoint(arguments.server)]
        except ValueError as error:
            raise UsageError(f"--server: {error}") from None
    if over in _EDGE:
        if arguments.config == DEFAULT_CONFIG and not arguments.config.exists():
            raise UsageError(f"--server ADDR:PORT names a server that is asked over {over}")
        key, said = f"edge.{_EDGE[over]}", client.section(arguments.config, "edge").get(_EDGE[over], [])
    elif arguments.config == DEFAULT_CONFIG and not arguments.config.exists():
        return [values.endpoint(DEFAULT_SERVER)]
    else:
        key, said = "listen.dns", client.section(arguments.config, "listen").get("dns", [DEFAULT_SERVER])
    found = []
    for one in said if isinstance(said, list) else []:
        with suppress(ValueError, TypeError):
            found.append(values.endpoint(one))
    here = [one for one in map(_reached, found) if _is_here(one)]
    if not here:
        raise UsageError(f"{arguments.config}: no address of {key} is on this host; --server ADDR:PORT names one")
    return here


def _reached(one: "Endpoint") -> "Endpoint":
    """Return the address to ask for one that is listened on: an unspecified one is reached by loopback."""
    from resolver.config.values import Endpoint

    return Endpoint({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(one.host, one.host), one.port)  # noqa: S104 - no binding


def _is_here(one: "Endpoint") -> bool:
    """Return whether the address is one of this host: a query to any other would leave it."""
    from resolver.config.values import sockaddr

    try:
        host, _, *rest = sockaddr(one)
        with socket.socket(socket.AF_INET6 if ":" in one.host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0, *rest))
    except OSError:
        return False
    return True


def _first_answer(
    servers: "list[Endpoint]", name: str, kind: str, over: str, how: "Verified | None" = None
) -> "Reply":
    """Return the answer of the first server that gives one; AskError of the last one if none does."""
    from resolver.dns_client import client as dns_client

    for one in servers[:-1]:
        try:
            return dns_client.ask(name, kind, one, over, ASK_TIMEOUT_S, how)
        except dns_client.NotAQuestion:
            raise
        except dns_client.AskError:
            continue
    return dns_client.ask(name, kind, servers[-1], over, ASK_TIMEOUT_S, how)


def _status_of(answer: "Reply | None") -> int:
    return DONE if answer is not None and answer.rcode in ("NOERROR", "NXDOMAIN") else FAILED


def _show_reading(arguments: argparse.Namespace, name: "Typed") -> None:
    """Show how a name was read out of what was typed; for a program on stderr, so that stdout stays JSON."""
    if name.read_as:
        print(f"{name.read_as}{name.name}", file=sys.stderr if arguments.json else sys.stdout, flush=True)


def _ask_as(arguments: argparse.Namespace) -> int:
    if any((arguments.over, arguments.server, arguments.tls_name, arguments.ca, arguments.path)):
        raise UsageError("--as walks the path inside the running service: it goes without --over and --server")
    import ipaddress

    try:
        client = str(ipaddress.ip_address(arguments.client))
    except ValueError:
        raise UsageError("--as: expected an address such as 192.0.2.7 or 2001:db8::7") from None
    from resolver.cli import screen_answer
    from resolver.dns_client import client as dns_client

    try:
        name = _typed(arguments)
        packet = dns_client.build_query(name.name or ".", arguments.type)
        _show_reading(arguments, name)
        reply = called(arguments, requests.Ask(packet=packet.hex(), client=client))
        octets = bytes.fromhex(reply.reply or "")
        answer = dns_client.understand(octets, packet, reply.seconds) if octets else None
    except dns_client.NotAQuestion as error:
        raise UsageError(str(error)) from None
    except dns_client.AskError as error:
        return complain(str(error), FAILED)
    shown = screen_answer.walk_as_json if arguments.json else screen_answer.walk_screen
    print(shown(reply.steps, answer))
    return _status_of(answer)


def _status(arguments: argparse.Namespace) -> int:
    import time

    from resolver.cli import screen_service
    from resolver.control import status

    try:
        found = status.of_json(called(arguments, requests.Status(), STATUS_TIMEOUT_S).health)
    except status.NotStatus:
        return complain("the running service is of another version: restart it, or use its own command", FAILED)
    now = time.time()
    print(
        screen_service.as_json(found, now) if arguments.json else screen_service.screen(found, now, colour=coloured())
    )
    return DONE


def _reload(arguments: argparse.Namespace) -> int:
    reply = called(arguments, requests.Reload())
    for line in reply.warnings:
        print(f"warning: {line}", file=sys.stderr)
    print(f"{reply.file}: taken; changed: {', '.join(reply.changed) or 'nothing'}")
    print("every list is polled now; see: blocklist-resolver status")
    return DONE


def _hand_over(arguments: argparse.Namespace) -> int:
    import time

    process = called(arguments, requests.HandOver()).process
    print(f"process {process} answers now", flush=True)
    until = time.monotonic() + ENDS_S
    while True:
        try:
            called(arguments, requests.Status(), STATUS_TIMEOUT_S)
        except Refusal as refusal:
            # The old process is still answering what it had taken: the socket is the new one's after that.
            if time.monotonic() > until:
                return complain(f"process {process} has not taken the control socket yet: {refusal}", FAILED)
            time.sleep(LOOK_S)  # nobody reports when the socket changes hands
        else:
            print("the old process has ended; see: blocklist-resolver status")
            return DONE


def _flush(arguments: argparse.Namespace) -> int:
    name = _typed(arguments)
    number = called(arguments, requests.Flush(name=name.wire.hex(), subtree=arguments.subtree)).forgotten
    if number is None:
        print(name.shown("removed: all cached answers below it"))
    else:
        said = f"removed: {many(number, 'cached answer')}" if number else "nothing was cached for it"
        print(name.shown(said))
    return DONE


def _typed(arguments: argparse.Namespace) -> "Typed":
    from resolver.cli import typed

    try:
        return typed.read(name_of(arguments), root=True)
    except typed.NotAName as error:
        raise UsageError(str(error)) from None
