"""The verb `export`: runs the process that holds names for secondaries, as the configuration's `[export]` says.

Rules:
- What sees names is another program (feed.names.export), which takes the place of this one: no code of the command line
  and none of the service is in that process.
"""

import argparse
import os
import sys
from typing import Any, Final

import msgspec

from resolver.cli.terminal import USAGE, add_config, complain
from resolver.config.config import Config
from resolver.config.export import lists_of
from resolver.feed.exported import ExportRequest, TableRequest, ZoneRequest

MODULE: Final = "resolver.feed.names.export"
HELP: Final = "give the names of lists in plaintext to secondaries, as [export] says; off unless it is configured"


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `export`."""
    export = verbs.add_parser("export", help=HELP)
    add_config(export)
    export.set_defaults(verb=_export)


def request_of(config: Config) -> ExportRequest:
    """Return what the process is started with."""
    export = config.export
    return ExportRequest(
        socket=export.socket,
        directory=export.directory,
        state=config.state.directory,
        demonstration=all(one.demonstration for one in config.lists),
        listen=tuple((one.host, one.port) for one in export.listen),
        listen_tls=tuple((one.host, one.port) for one in export.listen_tls),
        certificate=export.certificate,
        key=export.key,
        ca=export.ca,
        zones=tuple(
            ZoneRequest(
                name=str(zone.name),
                lists=tuple(one.id for one in lists_of(zone, config.lists)),
                profile=zone.profile,
                keys=zone.keys,
                secondaries=tuple(map(str, zone.secondaries)),
                notify=tuple((one.host, one.port) for one in zone.notify),
                page=str(zone.page),
            )
            for zone in export.zone
        ),
        tables=tuple(
            TableRequest(file=table.file, lists=tuple(one.id for one in lists_of(table, config.lists)))
            for table in export.table
        ),
    )


def _export(arguments: argparse.Namespace) -> int:
    from resolver.config import config

    loaded = config.parse(arguments.config.read_text(encoding="utf-8"), str(arguments.config))
    if not loaded.export.socket:
        return complain(f"{arguments.config}: export.socket: is not set: names stay in sealed storage", USAGE)
    handle = os.memfd_create("request")
    os.write(handle, msgspec.json.encode(request_of(loaded)) + b"\n")
    os.lseek(handle, 0, os.SEEK_SET)
    os.dup2(handle, 0)
    os.close(handle)
    kept = {name: os.environ[name] for name in ("LISTEN_PID", "LISTEN_FDS") if name in os.environ}
    replace_this(kept)
    raise AssertionError("execve returns only by an error")


def replace_this(environment: dict[str, str]) -> None:
    """Run the export process in place of this one."""
    os.execve(sys.executable, [sys.executable, "-I", "-m", MODULE], environment)  # noqa: S606 - our own module
