"""The log of a process, as another process reads it."""

import subprocess
import sys

SAYS = """
import logging
from resolver.process.log import log_ours_alone
log_ours_alone()
logging.getLogger("resolver.service").info("ours")
logging.getLogger("resolver").debug("too fine")
for name in ("asyncio", "aiohttp.access", "", "resolverless"):
    logging.getLogger(name).critical("a client")
"""


def test_only_our_own_lines_are_written() -> None:
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "INFO resolver.service: ours\n")
