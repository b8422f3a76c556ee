"""Logs each time limit of a list once when it has run out, and again if it runs out once more."""

import logging
from collections.abc import Mapping
from typing import Final

_log: Final = logging.getLogger("resolver.feed")


class Alarms:
    """The alarms of one list."""

    def __init__(self, list_id: str) -> None:
        self._list_id = list_id
        self._raised: frozenset[str] = frozenset()

    def look(self, run_out: Mapping[str, bool]) -> None:
        """Log what has run out since the last look; run_out: whether each text holds now."""
        raised = frozenset(text for text, is_so in run_out.items() if is_so)
        for text in sorted(raised - self._raised):
            _log.warning("list %s: %s", self._list_id, text)
        self._raised = raised
