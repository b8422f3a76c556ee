"""Starts the process of the service: log, limits, what was handed over, privileges, and who owns the state folder.

Rules:
- Before the first socket: no dump, the account of the service, the crash report. After every import: a report can only
  name objects that were loaded before.
- What a person must edit is a ConfigError, what this host does not allow now a HostFault; both name the key.
"""

import asyncio
import os
import resource
from pathlib import Path

from resolver.config.config import Config, ConfigError, HostFault, load
from resolver.feed.seal import KeyUnreadable, KeyUnusable
from resolver.process.limits import leave_no_dump
from resolver.process.log import log_ours_alone
from resolver.process.loop import loop_factory
from resolver.service.faults import named
from resolver.service.hand_over import NotTaken, Predecessor, predecessor
from resolver.service.host import crash, systemd
from resolver.service.host.privileges import Privileges
from resolver.service.owner import IN_USE, Owner
from resolver.service.service import NOTHING_HANDED, Service


def serve(path: Path, take_over: int | None = None) -> int:
    """Serve until a signal, in place of the process at socket `take_over` if any; return 0, 1 if it could not go on."""
    config = load(path)
    log_ours_alone()
    leave_no_dump()
    factory = loop_factory()
    crash.watch()
    try:
        old = None if take_over is None else predecessor(take_over)
        handed = systemd.take(os.environ, os.getpid())
    except systemd.SocketsUnusable as error:
        raise ConfigError(str(path), "listen.dns", f"sockets that systemd handed over: {error}") from None
    except NotTaken as error:
        raise HostFault(str(path), "", f"nothing is taken over: {error}") from None
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    privileges = Privileges(path, config)
    privileges.step_down()
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(started(path, config, privileges, handed, old))


async def started(
    path: Path,
    config: Config,
    privileges: Privileges | None = None,
    handed: systemd.Handed = NOTHING_HANDED,
    old: Predecessor | None = None,
) -> int:
    """Own the state folder, unless `old` still does, and serve; return the exit status. HostFault or ConfigError."""
    if old is None:
        with named(path, "state.directory", "cannot be used"):
            if not Owner(config.state.directory).take():
                raise HostFault(str(path), "state.directory", IN_USE)
    try:
        service = Service(path, config, privileges, handed, old)
    except KeyUnreadable as error:
        raise HostFault(str(path), "", str(error)) from None
    except KeyUnusable as error:
        raise ConfigError(str(path), "", str(error)) from None
    return await service.run()
