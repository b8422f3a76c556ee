"""The verbs.

Rules:
1. Exit status: 0 done; 1 failed while running; 2 usage or configuration; 3 refused (a list, a signature).
2. An error is one or two lines on stderr: what, where, what to do. No traceback, and never a listed name:
   what was typed is not repeated, for it may be one.
3. Names are read from the terminal without echo, or from stdin. `list check` takes none from the command
   line, where other users of the host could read them; reserved names, which nobody lists, are let through.
4. A verb imports what it needs when it runs, so that `ask` starts fast.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from resolver import __version__
from resolver.cli import verbs_evidence, verbs_list, verbs_report
from resolver.cli.terminal import (
    DONE,
    FAILED,
    REFUSED,
    USAGE,
    Refusal,
    UsageError,
    add_config,
    called,
    coloured,
    complain,
    name_of,
)

DEFAULT_SERVER = "127.0.0.1:5300"
ASK_TIMEOUT_S = 5.0
STATUS_TIMEOUT_S = 10.0
"""A status is at hand, or the service hangs: who looks at night need not wait as long as for a walk."""

_TYPED = re.compile(r"invalid choice: .*? \(choose from |invalid \w+ value: .*", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        said = _TYPED.sub(lambda found: "choose from (" if "choose" in found[0] else "not understood", message)
        if said.startswith("unrecognized arguments"):
            said = "too many arguments"
        self.exit(USAGE, f"{self.prog}: {said}; see {self.prog} --help\n")


def parser_of(*, authority: bool) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="blocklist-resolver",
        description="A DNS forwarder that enforces an authority's signed blocklist.",
        epilog="Exit status: 0 done, 1 failed while running, 2 usage or configuration, 3 refused.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_run(verbs)
    _add_ask(verbs)
    verbs_list.add_verbs(verbs)
    verbs_report.add_verbs(verbs)
    verbs_evidence.add_verbs(verbs)
    _add_control(verbs)
    steps = verbs.add_parser("authority", help="the authority's side: a signed repository of lists")
    if authority:
        _add_authority(steps)
    return parser


def _add_run(verbs: "argparse._SubParsersAction[_Parser]") -> None:
    run = verbs.add_parser("run", help="serve until SIGTERM (drains) or SIGINT; SIGHUP reads the configuration again")
    add_config(run)
    run.set_defaults(verb=_run)
    compile_once = verbs.add_parser("compile", help="on a fleet's compile host: take, test and publish each list once")
    add_config(compile_once)
    compile_once.set_defaults(verb=_compile)
    check = verbs.add_parser("check-config", help="exit 0, or 2 with file, key and reason")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(verb=_check_config)


def _add_ask(verbs: "argparse._SubParsersAction[_Parser]") -> None:
    ask = verbs.add_parser("ask", help="one query, as a person would read it")
    ask.add_argument("name", metavar="NAME|-", help="-: from the terminal without echo, or from stdin")
    ask.add_argument("type", metavar="TYPE", nargs="?", default="A", help="default: A")
    ask.add_argument("--server", metavar="ADDR:PORT", help=f"default: {DEFAULT_SERVER}")
    ask.add_argument("--over", choices=("udp", "tcp"), help="default: udp")
    ask.add_argument(
        "--as",
        dest="client",
        metavar="ADDR",
        help="walk the running service's own path as this client would, and tell each step",
    )
    add_config(ask)
    ask.add_argument("--json", action="store_true")
    ask.set_defaults(verb=_ask)


def _add_control(verbs: "argparse._SubParsersAction[_Parser]") -> None:
    status = verbs.add_parser("status", help="one screen of the running service's health, and what to do next")
    status.add_argument("--json", action="store_true")
    status.set_defaults(verb=_status)
    reload = verbs.add_parser("reload", help="read lists and configuration again; exit 2: the old one stays")
    reload.set_defaults(verb=_reload)
    cache = verbs.add_parser("cache", help="the answers kept").add_subparsers(metavar="STEP", required=True)
    flush = cache.add_parser("flush", help="forget the answers kept for a name")
    flush.add_argument("name", metavar="NAME|-", help="-: from the terminal without echo, or from stdin")
    flush.add_argument("--subtree", action="store_true", help="and for every name below it; . is everything")
    flush.set_defaults(verb=_cache_flush)
    for parser in (status, reload, flush):
        add_config(parser)


def _add_authority(parser: argparse.ArgumentParser) -> None:
    from resolver.cli import verbs_authority

    verbs_authority.add_verbs(parser.add_subparsers(metavar="STEP", required=True))
    parser.set_defaults(verb=verbs_authority.run)


def _run(arguments: argparse.Namespace) -> int:
    from resolver.service import service

    return service.serve(arguments.config)


def _compile(arguments: argparse.Namespace) -> int:
    from resolver.config import config
    from resolver.service import compile_host

    try:
        done = compile_host.compile_once(arguments.config, config.load(arguments.config))
    except compile_host.NotCompiled as error:
        return complain(str(error), FAILED)
    print("\n".join(done.lines))
    return FAILED if done.failed else REFUSED if done.refused else DONE


def _check_config(arguments: argparse.Namespace) -> int:
    from resolver.config import config

    loaded = config.load(arguments.file)
    from resolver.control import server
    from resolver.service import checks

    checks.check(arguments.file, loaded)
    checks.check_files(arguments.file, loaded)
    for line in (*config.warnings(loaded), server.missing(loaded.control.group)):
        if line:
            print(f"warning: {line}", file=sys.stderr)
    print(f"{arguments.file}: ok, {len(loaded.lists)} list{'s' * (len(loaded.lists) != 1)}")
    return DONE


def _ask(arguments: argparse.Namespace) -> int:
    if arguments.client is not None:
        return _ask_as(arguments)
    from resolver.config import values

    try:
        server = values.endpoint(arguments.server or DEFAULT_SERVER)
    except ValueError as error:
        raise UsageError(f"--server: {error}") from None
    from resolver import dns_client

    try:
        reply = dns_client.ask(name_of(arguments), arguments.type, server, arguments.over or "udp", ASK_TIMEOUT_S)
    except dns_client.NotAQuestion as error:
        raise UsageError(str(error)) from None
    except dns_client.AskError as error:
        return complain(str(error), FAILED)
    print(dns_client.as_json(reply) if arguments.json else dns_client.render(reply))
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

    try:
        packet = dns_client.build_query(name_of(arguments), arguments.type)
        answer = called(arguments, {"verb": "ask", "packet": packet.hex(), "as": client})
        octets = bytes.fromhex(answer["reply"] or "")
        reply = dns_client.understand(octets, packet, answer["seconds"]) if octets else None
    except dns_client.NotAQuestion as error:
        raise UsageError(str(error)) from None
    except dns_client.AskError as error:
        return complain(str(error), FAILED)
    print(
        dns_client.walk_as_json(answer["steps"], reply)
        if arguments.json
        else dns_client.render_walk(answer["steps"], reply)
    )
    return DONE


def _status(arguments: argparse.Namespace) -> int:
    import time

    from resolver.cli import screen_service

    try:
        found = screen_service.read(called(arguments, {"verb": "status"}, STATUS_TIMEOUT_S)["health"])
    except screen_service.NotHealth:
        return complain("the running service is of another version: restart it, or use its own command", FAILED)
    now = time.time()
    print(
        screen_service.as_json(found, now) if arguments.json else screen_service.screen(found, now, colour=coloured())
    )
    return DONE


def _reload(arguments: argparse.Namespace) -> int:
    answer = called(arguments, {"verb": "reload"})
    for line in answer["warnings"]:
        print(f"warning: {line}", file=sys.stderr)
    print(f"{answer['file']}: taken; changed: {', '.join(answer['changed']) or 'nothing'}")
    print("every list is polled now; see: blocklist-resolver status")
    return DONE


def _cache_flush(arguments: argparse.Namespace) -> int:
    from resolver.cli import list_lookup

    typed = name_of(arguments)
    try:
        wire = b"\0" if typed == "." else list_lookup.wire(typed)
    except list_lookup.NotAName as error:
        raise UsageError(str(error)) from None
    answer = called(arguments, {"verb": "flush", "name": wire.hex(), "subtree": arguments.subtree})
    number = answer["forgotten"]
    if number is None:
        print("forgotten: all that was kept below it")
    else:
        print(f"forgotten: {number} kept answer{'s' * (number != 1)}" if number else "nothing was kept for it")
    return DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Carries out one command line (default: the process's own); returns its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser_of(authority="authority" in words[:1]).parse_args(words)
    from resolver.config.config import ConfigError

    try:
        status: int = arguments.verb(arguments)
        sys.stdout.flush()
        return status
    except (ConfigError, UsageError) as error:
        return complain(str(error), USAGE)
    except Refusal as refusal:
        return complain(str(refusal), refusal.status)
    except BrokenPipeError:
        # Whoever read our output has left: nothing to say, and no second attempt to flush at exit.
        sys.stdout = None
        return FAILED
    except OSError as error:
        return complain(f"{error.strerror or type(error).__name__}", FAILED)
    except KeyboardInterrupt:
        return FAILED
    except Exception as error:  # noqa: BLE001 - the text or the traceback of an unforeseen error may hold a listed name
        return complain(f"internal error: {type(error).__name__}; please report it", FAILED)
