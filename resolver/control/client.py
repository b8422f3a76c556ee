"""The command line's end of the control socket: sends one request to the running service and reads its reply."""

import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from resolver.config.config import ConfigError, Control
from resolver.control import requests
from resolver.control.requests import MAX_REPLY_OCTETS, REPLY_S, REQUEST_S, Done, Failed, Refused, Request

TIMEOUT_S: Final = REPLY_S + 2 * REQUEST_S
"""Client timeout, in seconds."""

_R = TypeVar("_R", bound=Done)


class Unreachable(Exception):
    """No service replies; the text says where, why and what to do, in one or two lines."""


def settings(file: Path) -> Control:
    """Return the [control] section of a configuration file, defaults filled in.

    The rest of the file may be broken: a service that runs on its older text must stay reachable. ConfigError if the
    file cannot be read or says that there is no socket.
    """
    said = section(file, "control")
    texts = {key: said[key] for key in ("socket", "group") if isinstance(said.get(key), str)}
    found = Control(**texts)
    if not found.socket:
        raise ConfigError(str(file), "control.socket", 'is "": there is no control socket; SIGHUP still reloads')
    return found


def section(file: Path, name: str) -> Mapping[str, Any]:
    """Return one section of a configuration file as it stands there, of which the rest may be broken; ConfigError if
    the file cannot be read."""
    try:
        text = file.read_bytes().decode(errors="replace")
    except OSError as error:
        raise ConfigError(str(file), "", f"cannot be read: {error.strerror}; --config FILE names another") from None
    _, head, rest = f"\n{text}".partition(f"\n[{name}]\n")
    return _table(text, name) or _table(head + rest.partition("\n[")[0], name)


def _table(text: str, name: str) -> Mapping[str, Any]:
    try:
        found = tomllib.loads(text).get(name)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def call(control: Control, request: Request[_R], *, timeout_s: float = TIMEOUT_S) -> _R | Refused | Failed:
    """Send a request to the service and return its reply, Refused and Failed included.

    Unreachable, with the reason and what to do, if there is no valid reply within `timeout_s` seconds.
    """
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(timeout_s)
            one.connect(control.socket)
            one.sendall(requests.line_of(request))
            with one.makefile("rb") as stream:
                line = stream.readline(MAX_REPLY_OCTETS)
        if not line:
            raise ConnectionResetError
        if not line.endswith(b"\n"):
            raise requests.NoReply
        return requests.reply_of(line, request)
    except (OSError, requests.NoReply) as error:
        raise Unreachable(f"{control.socket}: {_why(error, control, timeout_s)}") from None


def _why(error: Exception, control: Control, timeout_s: float) -> str:
    """Return what went wrong and what to do."""
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return (
                "no service listens there: it does not run, or with another [control] socket; see "
                "`systemctl status blocklist-resolver`, or name its configuration with --config FILE"
            )
        case PermissionError():
            group = f" or a member of the group {control.group}" if control.group else " or the service's own account"
            return f"permission denied: run this as root{group}"
        case ConnectionResetError() | BrokenPipeError():
            return "closed without a reply: the service is stopping, or has too many requests; try again"
        case TimeoutError():
            return f"no reply within {timeout_s:g} s: the service is stopped or hangs; see its log"
        case OSError():
            return error.strerror or type(error).__name__
    return "the reply is not understood: restart the service if it is of another version; else see what listens there"
