"""The command line: parses it and hands it to one verb.

Rules:
1. Exit status: 0 done; 1 failed while running; 2 usage or configuration: a person must edit something; 3 refused (a
   list, a signature); 4 the service cannot start on this host now: a start later may succeed without an edit.
2. An error is one or two lines on stderr: what, where, what to do. No traceback, and never a listed name:
   nothing that was typed is repeated, for it may be one.
3. Names are read from the terminal without echo, or from stdin. `list check` takes none from the command
   line, where other users of the host could read them, except reserved names, which nobody lists.
4. A verb imports what it needs when it runs, so that `ask` starts fast.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from resolver import __version__
from resolver.cli import (
    examples,
    verbs_discovery,
    verbs_doctor,
    verbs_edge,
    verbs_evidence,
    verbs_export,
    verbs_list,
    verbs_national,
    verbs_receive,
    verbs_report,
    verbs_service,
)
from resolver.cli.terminal import (
    DEFAULT_CONFIG,
    DONE,
    FAILED,
    NOT_NOW,
    REFUSED,
    USAGE,
    Refusal,
    UsageError,
    add_config,
    complain,
)
from resolver.config.values import many

_TYPED: Final = re.compile(r"invalid choice: .* \(choose from (?P<choices>.*)\)|invalid \w+ value: .*", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors repeat nothing that was typed."""

    def error(self, message: str) -> NoReturn:
        said = _TYPED.sub(_without_typed, message)
        if said.startswith("unrecognized arguments"):
            said = "too many arguments"
        self.exit(USAGE, f"{self.prog}: {said}; see {self.prog} --help\n")


def _without_typed(found: re.Match[str]) -> str:
    choices = found["choices"]
    return f"expected one of {choices.replace(chr(39), '')}" if choices else "not understood"


def parser_of(*, authority: bool, setup: bool | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs; the steps of `authority` and the options of `setup` only if wanted, for they
    import much. setup: None is as `authority` says."""
    parser = _Parser(
        prog="blocklist-resolver",
        description="A DNS forwarder that enforces an authority's signed blocklist.",
        epilog="Exit status: 0 done, 1 failed while running, 2 usage or configuration, 3 refused, 4 not possible on "
        "this host now.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_run(verbs)
    asks = verbs.add_parser("setup", help="ask what is needed, write configuration and folders, and check them")
    if authority if setup is None else setup:
        _add_setup(asks)
    verbs_service.add_verbs(verbs)
    verbs_list.add_verbs(verbs)
    verbs_report.add_verbs(verbs)
    verbs_evidence.add_verbs(verbs)
    verbs_national.add_verbs(verbs)
    verbs_receive.add_verbs(verbs)
    verbs_doctor.add_verbs(verbs)
    verbs_discovery.add_verbs(verbs)
    verbs_export.add_verbs(verbs)
    verbs_edge.add_verbs(verbs)
    steps = verbs.add_parser("authority", help="the authority's side: a signed repository of lists")
    if authority:
        _add_authority(steps)
    examples.add(parser)
    return parser


def _add_run(verbs: "argparse._SubParsersAction[_Parser]") -> None:
    run = verbs.add_parser("run", help="serve until SIGTERM (drains) or SIGINT; SIGHUP reads the configuration again")
    add_config(run)
    run.add_argument("--take-over", type=int, help=argparse.SUPPRESS)
    run.set_defaults(verb=_run)
    compile_once = verbs.add_parser("compile", help="on a fleet's compile host: fetch, test and publish each list once")
    add_config(compile_once)
    compile_once.set_defaults(verb=_compile)
    page = verbs.add_parser("page", help="show the page alone, where the resolvers' page.listen is empty")
    add_config(page)
    page.set_defaults(verb=_page)
    check = verbs.add_parser("check-config", help="exit 0, or 2 with file, key and reason")
    check.add_argument("file", type=Path, metavar="FILE", nargs="?", help=f"default: {DEFAULT_CONFIG}")
    check.add_argument("--config", type=Path, metavar="FILE", help="the same")
    check.add_argument("--schema", action="store_true", help="print the JSON Schema of the configuration")
    check.set_defaults(verb=_check_config)


def _add_setup(parser: argparse.ArgumentParser) -> None:
    from resolver.cli import verbs_setup

    verbs_setup.add(parser)


def _add_authority(parser: argparse.ArgumentParser) -> None:
    from resolver.cli import verbs_authority

    verbs_authority.add_verbs(parser.add_subparsers(metavar="STEP", required=True))
    parser.set_defaults(verb=verbs_authority.run)


def _run(arguments: argparse.Namespace) -> int:
    from resolver.service import start

    return start.serve(arguments.config, arguments.take_over)


def _page(arguments: argparse.Namespace) -> int:
    from resolver.service import page_alone

    return page_alone.serve(arguments.config)


def _compile(arguments: argparse.Namespace) -> int:
    from resolver.cli.acting import owner_of
    from resolver.cli.progress import working
    from resolver.config import config
    from resolver.service import compile_host

    loaded = config.load(arguments.config)
    try:
        with working("fetching, compiling and testing each list"), owner_of(Path(loaded.state.directory)):
            done = compile_host.compile_once(arguments.config, loaded)
    except compile_host.NotCompiled as error:
        return complain(str(error), FAILED)
    print("\n".join(done.lines))
    return FAILED if done.failed else REFUSED if done.refused else DONE


def _check_config(arguments: argparse.Namespace) -> int:
    from resolver.config import config

    if arguments.schema:
        return _print_schema()
    if arguments.file and arguments.config:
        raise UsageError("the file is named once: check-config FILE, or check-config --config FILE")
    file = arguments.file or arguments.config or DEFAULT_CONFIG
    loaded = config.load(file)
    from resolver.cli import acting
    from resolver.control import server
    from resolver.service import checks, rehearsal

    checks.check(file, loaded)
    checks.check_deadlines(file, loaded)
    checks.check_interfaces(file, loaded)
    checks.check_files(file, loaded)
    unit = checks.unit()
    name = loaded.listen.user or (unit.user if unit else "")
    with acting.account(name) if name else acting.owner_of(Path(loaded.state.directory)):
        unusable = checks.unusable_folders(loaded)
    closed = checks.closed_by_the_unit(loaded, unit)
    here = (*config.left_out(file), *checks.missing_addresses(loaded), *checks.stray_lists(loaded), *unusable, *closed)
    for line in (*config.warnings(loaded), *here, server.missing(loaded.control.group)):
        if line:
            print(f"warning: {line}", file=sys.stderr)
    print(f"{file}: ok, {many(len(loaded.lists), 'list')}")
    for line in (*checks.new_lists(loaded), *filter(None, [rehearsal.line(loaded)])):
        print(line)
    return DONE


def _print_schema() -> int:
    import json

    from resolver.config import schema

    print(json.dumps(schema.schema(), indent=2, ensure_ascii=False))
    return DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line (default: the process's own); return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser_of(authority="authority" in words[:1], setup="setup" in words[:1]).parse_args(words)
    arguments.words = words
    from resolver.config.config import ConfigError, HostFault

    try:
        status: int = arguments.verb(arguments)
        sys.stdout.flush()
        return status
    except HostFault as fault:
        return complain(str(fault), NOT_NOW)
    except (ConfigError, UsageError) as error:
        return complain(str(error), USAGE)
    except Refusal as refusal:
        return complain(str(refusal), refusal.status)
    except BrokenPipeError:
        # The reader of our output has left: nothing to say, and no second attempt to flush at exit.
        sys.stdout = None
        return FAILED
    except OSError as error:
        # Only a path with folders is shown: a word without any may be a name that was typed in a file's place.
        place = f"{error.filename}: " if isinstance(error.filename, str) and "/" in error.filename else ""
        return complain(f"{place}{error.strerror or type(error).__name__}", FAILED)
    except KeyboardInterrupt:
        return FAILED
    except Exception as error:  # noqa: BLE001 - the text or the traceback of an unforeseen error may hold a listed name
        return complain(f"internal error: {type(error).__name__}; please report it", FAILED)
