"""The command line of the doctor: the verb `doctor`, and the zipapp that needs nothing but Python.

Rules:
- Exit status: 0 nothing was found; 1 it could not be probed; 2 usage; 3 something leaks or is over-blocked, or two
  resolvers differ.
- An error is one line on stderr and repeats nothing that was typed. Names come from stdin alone.
"""

import argparse
import contextlib
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from resolver.doctor.ask import Asker, Endpoint
    from resolver.doctor.probes import Examination
    from resolver.doctor.verdicts import Expected
    from resolver.doctor.wire import Name

DONE, FAILED, USAGE, FOUND = 0, 1, 2, 3
ENTRY: Final = "listed.doctor.test"
EVERY_S: Final = 300.0
RATE: Final = 20.0
PRODUCTS: Final = ("bind", "unbound", "recursor", "knot", "dnsdist")
DESCRIPTION: Final = (
    "Probe what a resolver really enforces, from where a subscriber is, with one test entry that its operator lists: "
    "each type, flag and transport, aliases of every kind, caches, the policy zone, and names that must stay open. "
    "--serve-zone serves the test entry's zone with real data for it (deploy/doctor.md). Exit 3: something leaks or is "
    "over-blocked; 1: it could not be probed."
)
EXAMPLES: Final = (
    "doctor --server 192.0.2.53:53 --name listed.probe.isp.example --expect 192.0.2.1 2001:db8::1",
    "doctor --name listed.probe.isp.example --serve-zone 192.0.2.7:5353",
    "doctor --server 192.0.2.53:53 --name listed.probe.isp.example --watch 127.0.0.1:9154",
    "doctor --server 192.0.2.53:53 --name listed.probe.isp.example --against 192.0.2.54:53 --names -",
)


class Unusable(Exception):
    """Raised if the command line cannot be carried out; its text says why and repeats nothing of it."""


class Failed(Exception):
    """Raised if a resolver could not be probed; its text says what to do."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    parser.add_argument("--server", metavar="ADDR:PORT", help="the resolver; default: the first of /etc/resolv.conf")
    parser.add_argument(
        "--name",
        default=ENTRY,
        metavar="NAME",
        help="the test entry; its parent is the probe zone; default: %(default)s",
    )
    parser.add_argument(
        "--expect",
        nargs="+",
        default=[],
        metavar="ADDRESS",
        help="what blocked answers look like: addresses of the page, or nxdomain, nodata, refused; default: as the "
        "resolver answers A and AAAA of the entry",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--json-schema", action="store_true", help="print the schema of that JSON")
    parser.add_argument("--product", choices=PRODUCTS, default="", help="print the lines of this product alone")
    parser.add_argument(
        "--policy-zone", action="append", default=[], metavar="NAME", help="a zone that holds the list; repeatable"
    )
    parser.add_argument(
        "--stranger", default="", metavar="ADDRESS", help="an address of this host that is no subscriber's"
    )
    parser.add_argument(
        "--structured-option", type=int, default=0, metavar="N", help="the option code of structured errors"
    )
    parser.add_argument("--dot", metavar="ADDR:PORT", help="where DoT answers; default: port 853 of the resolver")
    parser.add_argument("--doh", metavar="ADDR:PORT", help="where DoH answers; default: port 443 of the resolver")
    parser.add_argument("--doq", metavar="ADDR:PORT", help="where DoQ answers; needs aioquic; default: it is not asked")
    parser.add_argument("--doh-path", default="/dns-query", metavar="PATH", help="default: %(default)s")
    parser.add_argument(
        "--tls-name", default="", metavar="NAME", help="the name in its certificate; default: the resolver's address"
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="who signs it; default: the system's authorities")
    parser.add_argument("--wait", type=float, default=2.0, metavar="SECONDS", help="for a reply; default: %(default)s")
    parser.add_argument("--serve-zone", metavar="ADDR:PORT", help="serve the probe zone over UDP and TCP until SIGTERM")
    parser.add_argument("--watch", metavar="ADDR:PORT", help="probe again and again, and serve /metrics for Prometheus")
    parser.add_argument(
        "--every",
        type=float,
        default=EVERY_S,
        metavar="SECONDS",
        help="between two runs of --watch; default: %(default)s",
    )
    parser.add_argument("--against", metavar="ADDR:PORT", help="compare with this older resolver, over --names")
    parser.add_argument("--names", choices=("-",), help="read the names to compare from stdin, one a line")
    parser.add_argument(
        "--expect-old", nargs="+", default=[], metavar="ADDRESS", help="--expect of the older resolver"
    )
    parser.add_argument(
        "--rate", type=float, default=RATE, metavar="N", help="names to compare in a second; default: %(default)s"
    )


def run(arguments: argparse.Namespace, *, colour: bool = False) -> int:
    """Carry out what was typed; return the exit status. Unusable or Failed if it cannot be."""
    if arguments.json_schema:
        print(_schema())
        return DONE
    entry = _name(arguments.name, "--name")
    if len(entry) < 2:
        raise Unusable("--name: the test entry needs a zone above it")
    if not 0.01 <= arguments.wait <= 10:
        raise Unusable("--wait: from 0.01 to 10 seconds")
    for text, option in ((arguments.tls_name, "--tls-name"), (arguments.doh_path, "--doh-path")):
        if not text.isascii() or len(text) > 255 or text.startswith("."):
            raise Unusable(f"{option}: at most 255 characters of ASCII")
    if arguments.tls_name and not all(arguments.tls_name.removesuffix(".").split(".")):
        raise Unusable("--tls-name: not a domain name or an address")
    if arguments.ca and not os.access(arguments.ca, os.R_OK):
        raise Unusable("--ca: the file cannot be read")
    if bool(arguments.against) != bool(arguments.names):
        raise Unusable("--against and --names - belong together")
    if arguments.serve_zone:
        return _serve(entry, _endpoint(arguments.serve_zone, "--serve-zone"))
    if arguments.against:
        return _compare(arguments, entry)
    if arguments.watch:
        return _watch(arguments, entry, _endpoint(arguments.watch, "--watch"))
    return _probe(arguments, entry, colour=colour)


def _schema() -> str:
    import importlib.resources

    return importlib.resources.files("resolver.doctor").joinpath("doctor.schema.json").read_text().rstrip()


def _name(text: str, option: str) -> "Name":
    from resolver.doctor import wire

    try:
        return wire.lower(wire.name_of(text))
    except wire.Malformed as error:
        raise Unusable(f"{option}: {error}") from None


def _endpoint(text: str, option: str) -> "Endpoint":
    from resolver.doctor import ask

    try:
        return ask.endpoint_of(text)
    except ValueError:
        raise Unusable(f"{option}: an address with a port, as 192.0.2.53:53 or [2001:db8::53]:53") from None


def _expected(words: "Sequence[str]", option: str) -> "Expected | None":
    from resolver.doctor import verdicts

    try:
        return verdicts.expected_of(words) if words else None
    except verdicts.NotUnderstood as error:
        raise Unusable(f"{option}: {error}") from None


def _server(arguments: argparse.Namespace) -> "Endpoint":
    from resolver.doctor import ask

    if arguments.server:
        return _endpoint(arguments.server, "--server")
    try:
        return ask.own_resolver()
    except ValueError as error:
        raise Unusable(str(error)) from None


def _asker(arguments: argparse.Namespace, server: "Endpoint", **bounds: Any) -> "Asker":
    from resolver.doctor import ask

    return ask.Asker(
        server,
        tls_name=arguments.tls_name,
        ca=arguments.ca,
        dot=_endpoint(arguments.dot, "--dot") if arguments.dot else None,
        doh=_endpoint(arguments.doh, "--doh") if arguments.doh else None,
        doq=_endpoint(arguments.doq, "--doq") if arguments.doq else None,
        doh_path=arguments.doh_path,
        wait_s=arguments.wait,
        **bounds,
    )


def _examination(arguments: argparse.Namespace, entry: "Name") -> "Callable[[], Examination]":
    """Return what makes a new examination; all that was typed is read once, before."""
    import ipaddress

    from resolver.doctor import probes

    server, expected = _server(arguments), _expected(arguments.expect, "--expect")
    zones = tuple(_name(one, "--policy-zone") for one in arguments.policy_zone)
    if not 0 <= arguments.structured_option < 65_536:
        raise Unusable("--structured-option: from 0 to 65535")
    try:
        stranger = str(ipaddress.ip_address(arguments.stranger)) if arguments.stranger else ""
    except ValueError:
        raise Unusable("--stranger: an address of this host") from None
    _asker(arguments, server)

    def made() -> "probes.Examination":
        return probes.Examination(
            asker=_asker(arguments, server),
            entry=entry,
            expected=expected,
            policy_zones=zones,
            stranger=stranger,
            structured_option=arguments.structured_option,
        )

    return made


def _probe(arguments: argparse.Namespace, entry: "Name", *, colour: bool) -> int:
    from resolver.doctor import probes, report
    from resolver.doctor.verdicts import Verdict

    made = _examination(arguments, entry)
    try:
        found = made().run()
    except probes.NotProbed as error:
        raise Failed(str(error)) from None
    print(report.as_json(found) if arguments.json else report.table(found, product=arguments.product, colour=colour))
    if found.count(Verdict.LEAKS) or found.count(Verdict.OVER_BLOCKS):
        return FOUND
    first = next((one.verdict for one in found.results if one.id == "a"), Verdict.UNKNOWN)
    return FAILED if first is Verdict.UNKNOWN else DONE


def _serve(entry: "Name", place: "Endpoint") -> int:
    import asyncio
    import ipaddress

    from resolver.doctor import serve, wire, zone

    if ipaddress.ip_address(place.host).is_unspecified:
        raise Unusable("--serve-zone: the address that the delegation or the forwarding names")
    served = zone.Zone(entry, [place.host])

    def started() -> None:
        print(f"serving {wire.text_of(served.apex)} at {place}, over UDP and TCP", flush=True)

    asyncio.run(serve.serve(served, place.host, place.port, started))
    return DONE


def _watch(arguments: argparse.Namespace, entry: "Name", place: "Endpoint") -> int:
    from resolver.doctor import watch

    if not watch.LEAST_S <= arguments.every <= watch.MOST_S:
        raise Unusable(f"--every: from {watch.LEAST_S:.0f} to {watch.MOST_S:,.0f} seconds")
    made = _examination(arguments, entry)
    watched = watch.Watch(lambda: made().run(), arguments.every)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, _end)
    with contextlib.suppress(_Ended):  # An examination that waits for a slow resolver does not hold it up.
        watched.serve(
            place,
            started=lambda port: print(f"serving /metrics at port {port}", flush=True),
            failed=lambda reason: print(f"doctor: {reason}", file=sys.stderr, flush=True),
        )
    return DONE


class _Ended(BaseException):
    """Raised by a signal."""


def _end(*_: object) -> NoReturn:
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    raise _Ended


def _compare(arguments: argparse.Namespace, entry: "Name") -> int:
    from resolver.doctor import against, ask

    if not 0 < arguments.rate <= 1000:
        raise Unusable("--rate: more than 0, at most 1000")
    bounds = {"queries": 5 * against.MOST_NAMES, "seconds": 86_400.0}
    new = _asker(arguments, _server(arguments), **bounds)
    old = _asker(arguments, _endpoint(arguments.against, "--against"), **bounds)
    looks = [
        _look(one, entry, _expected(words, option), option)
        for one, words, option in ((old, arguments.expect_old, "--expect-old"), (new, arguments.expect, "--expect"))
    ]
    waited, each = threading.Event(), 1 / arguments.rate
    try:
        found = against.compare(
            (old, looks[0]), (new, looks[1]), against.names(_typed_lines()), lambda: waited.wait(each)
        )
    except against.NotAName as error:
        raise Unusable(f"stdin: {error}") from None
    except ask.Spent as error:
        raise Failed(str(error)) from None
    print(found.text())
    return FOUND if found.differs else FAILED if found.failed else DONE


def _look(asker: "Asker", entry: "Name", said: "Expected | None", option: str) -> "Expected":
    """Return what blocked answers of a resolver look like; Failed if nobody says it."""
    from resolver.doctor import probes

    if said is not None:
        return said
    try:
        found = probes.Examination(asker=asker, entry=entry).look()
    except probes.NotProbed as error:
        raise Failed(f"{error}; or {option} says what blocked answers look like") from None
    if found is None:
        raise Failed(f"{asker.server} does not block the test entry: {option} says what blocked answers look like")
    return found


def _typed_lines() -> "Any":
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # What is no text is no name, and is refused by its line.
    while line := sys.stdin.readline(1025):
        if len(line) > 1024:
            raise Unusable("stdin: a line is longer than a name can be")
        yield line


_TYPED: Final = re.compile(r"invalid choice: .*|invalid \w+ value: .*", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors repeat nothing that was typed."""

    def error(self, message: str) -> NoReturn:
        said = "too many arguments" if message.startswith("unrecognized") else _TYPED.sub("not understood", message)
        self.exit(USAGE, f"{self.prog}: {said}; see {self.prog} --help\n")


def main(argv: "Sequence[str] | None" = None) -> int:
    """Carry out a command line of the zipapp (default: the process's own); return its exit status."""
    examples = "\n".join(f"  {one}" for one in EXAMPLES)
    parser = _Parser(
        prog="doctor",
        description=DESCRIPTION,
        epilog=f"examples:\n{examples}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    try:
        return run(parser.parse_args(argv), colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    except Unusable as error:
        print(f"doctor: {error}", file=sys.stderr)
        return USAGE
    except Failed as error:
        print(f"doctor: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        sys.stdout = None
        return FAILED
    except OSError as error:
        print(f"doctor: {error.strerror or type(error).__name__}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED
