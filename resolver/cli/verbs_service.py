"""The verbs that ask a server or the running service: ask, status, reload, cache flush."""

import argparse
import sys
from typing import Any, Final

from resolver.cli.terminal import DONE, FAILED, UsageError, add_config, called, coloured, complain, name_of
from resolver.control import requests

DEFAULT_SERVER: Final = "127.0.0.1:5300"
ASK_TIMEOUT_S: Final = 5.0
STATUS_TIMEOUT_S: Final = 10.0
"""A status takes no time of its own: a service that needs longer hangs, and the operator must learn that soon."""

_NAME: Final = "-: from the terminal without echo, or from stdin"


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add the verbs."""
    ask = verbs.add_parser("ask", help="one query, and its answer as text")
    ask.add_argument("name", metavar="NAME|-", help=_NAME)
    ask.add_argument("type", metavar="TYPE", nargs="?", default="A", help="default: A")
    ask.add_argument("--server", metavar="ADDR:PORT", help=f"default: {DEFAULT_SERVER}")
    ask.add_argument("--over", choices=("udp", "tcp"), help="default: udp")
    ask.add_argument("--as", dest="client", metavar="ADDR", help=requests.Ask.help)
    ask.add_argument("--json", action="store_true")
    ask.set_defaults(verb=_ask)
    status = verbs.add_parser("status", help=requests.Status.help)
    status.add_argument("--json", action="store_true")
    status.set_defaults(verb=_status)
    reload = verbs.add_parser("reload", help=requests.Reload.help)
    reload.set_defaults(verb=_reload)
    cache = verbs.add_parser("cache", help="the cache of answers").add_subparsers(metavar="STEP", required=True)
    flush = cache.add_parser("flush", help=requests.Flush.help)
    flush.add_argument("name", metavar="NAME|-", help=_NAME)
    flush.add_argument("--subtree", action="store_true", help="and for every name below it; . is everything")
    flush.set_defaults(verb=_flush)
    for parser in (ask, status, reload, flush):
        add_config(parser)


def _ask(arguments: argparse.Namespace) -> int:
    if arguments.client is not None:
        return _ask_as(arguments)
    from resolver.config import values

    try:
        server = values.endpoint(arguments.server or DEFAULT_SERVER)
    except ValueError as error:
        raise UsageError(f"--server: {error}") from None
    from resolver import dns_client
    from resolver.cli import screen_answer

    try:
        answer = dns_client.ask(name_of(arguments), arguments.type, server, arguments.over or "udp", ASK_TIMEOUT_S)
    except dns_client.NotAQuestion as error:
        raise UsageError(str(error)) from None
    except dns_client.AskError as error:
        return complain(str(error), FAILED)
    print(screen_answer.as_json(answer) if arguments.json else screen_answer.screen(answer))
    return DONE


def _ask_as(arguments: argparse.Namespace) -> int:
    if arguments.over or arguments.server:
        raise UsageError("--as walks the path inside the running service: it goes without --over and --server")
    import ipaddress

    try:
        client = str(ipaddress.ip_address(arguments.client))
    except ValueError:
        raise UsageError("--as: expected an address such as 192.0.2.7 or 2001:db8::7") from None
    from resolver import dns_client
    from resolver.cli import screen_answer

    try:
        packet = dns_client.build_query(name_of(arguments), arguments.type)
        reply = called(arguments, requests.Ask(packet=packet.hex(), client=client))
        octets = bytes.fromhex(reply.reply or "")
        answer = dns_client.understand(octets, packet, reply.seconds) if octets else None
    except dns_client.NotAQuestion as error:
        raise UsageError(str(error)) from None
    except dns_client.AskError as error:
        return complain(str(error), FAILED)
    shown = screen_answer.walk_as_json if arguments.json else screen_answer.walk_screen
    print(shown(reply.steps, answer))
    return DONE


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


def _flush(arguments: argparse.Namespace) -> int:
    from resolver.cli import list_lookup

    typed = name_of(arguments)
    try:
        wire = b"\0" if typed == "." else list_lookup.wire(typed)
    except list_lookup.NotAName as error:
        raise UsageError(str(error)) from None
    number = called(arguments, requests.Flush(name=wire.hex(), subtree=arguments.subtree)).forgotten
    if number is None:
        print("removed: all cached answers below it")
    else:
        print(f"removed: {number} cached answer{'s' * (number != 1)}" if number else "nothing was cached for it")
    return DONE
