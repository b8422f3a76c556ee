"""Shows the page without the service: on hosts or in pods of its own, for resolvers whose page.listen is empty.

Rules:
- Of the configuration it uses [page], what the lists say on the page, [limits] exempt and [listen] user. It reads no
  list, no key and no state folder, and asks nobody anything.
- The process that shows the page is the service's own (`page_process`), with the same sandbox and the same bounds.
- Views and followed links are published nowhere: counts leave a service on its beat, and here is none.
"""

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Final

from resolver.config import for_core
from resolver.config.config import Config, ConfigError, HostFault, load
from resolver.config.values import sockaddr
from resolver.page.rendered import Rendered
from resolver.process.limits import leave_no_dump
from resolver.process.log import log_ours_alone
from resolver.service.checks import check
from resolver.service.host.privileges import Privileges
from resolver.service.page_host import PageHost

_log: Final = logging.getLogger("resolver")


def serve(path: Path) -> int:
    """Show the page until SIGTERM or SIGINT; return 0. ConfigError if there is none, HostFault if it has no address."""
    config = load(path)
    rendered = check(path, config)
    if rendered is None:
        raise ConfigError(str(path), "page.listen", "names no address: nothing would be shown")
    log_ours_alone()
    leave_no_dump()
    asyncio.run(_serve(path, config, rendered))
    return 0


async def _serve(path: Path, config: Config, rendered: Rendered) -> None:
    ended = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, ended.set)
    host = PageHost(rendered, lambda: (for_core.ranges(config.limits.exempt), ()))
    privileges = Privileges(path, config)
    with privileges.borrowed():
        missed: dict[int, OSError] = {}
        await host.open(map(sockaddr, config.page.listen), missed)
    privileges.give_up()
    for number, error in missed.items():
        why = os.strerror(error.errno or 0)
        raise HostFault(str(path), "page.listen", f"cannot listen at {config.page.listen[number]}: {why}")
    shown = asyncio.ensure_future(host.run())
    _log.info("showing the page on %s", ", ".join(map(str, config.page.listen)))
    await ended.wait()
    shown.cancel()
    await asyncio.gather(shown, return_exceptions=True)
    await host.stop()
