"""A running service at the end of a control socket, for the verbs that ask one."""

from pathlib import Path
from typing import Any

import pytest

from resolver.config.config import Control
from resolver.control import client
from resolver.control.requests import Reply, Request


class Running:
    """Notes what it is asked, and gives the next of `replies`, or the last one again; an exception is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Request[Any]] = []
        self.files: list[Path] = []
        self.timeouts: list[float] = []
        self.replies: list[Reply | Exception] = []
        monkeypatch.setattr(client, "settings", self._settings)
        monkeypatch.setattr(client, "call", self._call)

    def _settings(self, file: Path) -> Control:
        self.files.append(file)
        return Control()

    def _call(self, control: Control, request: Request[Any], *, timeout_s: float) -> Reply:
        self.asked.append(request)
        self.timeouts.append(timeout_s)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    return Running(monkeypatch)
