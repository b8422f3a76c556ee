"""The log of a process: its own lines, to standard error, where systemd takes them into the journal."""

import logging
import sys
from typing import Final

FORMAT: Final = "%(levelname)s %(name)s: %(message)s"


def log_ours_alone() -> None:
    """Begin the log. Nothing is logged but by ourselves: a library's line may hold what a client sent."""
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=sys.stderr)
    for one in logging.getLogger().handlers:
        one.addFilter(lambda record: record.name.partition(".")[0] == "resolver")
