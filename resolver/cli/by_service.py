"""Has the running service read the state folder for a person who may not: a member of the control socket's group.

Rules:
- Root and the service's account read the folder themselves, so that no service need run.
- Everybody else gets the same output and the same exit status from the service, page by page.
- Files that a verb writes are written here, by the person who asked.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resolver.cli.terminal import FAILED, Refusal, called
from resolver.control import requests
from resolver.control.requests import HERE, ReadReply

if TYPE_CHECKING:
    from resolver.config.config import Config

_NOT_SENT: Final = ("--config", "--out", "--summary")
"""Options that name files of this person, with their values."""


def reads_here(loaded: "Config") -> bool:
    """Return whether the caller can read the state folder, or there is none yet."""
    folder = Path(loaded.state.directory)
    if os.environ.get(HERE):
        return True
    try:
        folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return os.access(folder, os.R_OK | os.X_OK)


def read(arguments: argparse.Namespace) -> ReadReply:
    """Return the whole output of the verb that was typed, as the service made it; Refusal if it could not."""
    reply = _called(arguments, requests.Read(words=words_of(arguments.words)))
    parts, err, status = [reply.out], reply.err, reply.status
    while reply.token:
        reply = _called(arguments, requests.ReadMore(token=reply.token, start=reply.next))
        parts.append(reply.out)
    return ReadReply(status=status, out="".join(parts), err=err)


def show(arguments: argparse.Namespace) -> int:
    """Print the output of the verb that was typed, as the service made it; return its exit status."""
    reply = read(arguments)
    sys.stdout.write(reply.out)
    sys.stdout.flush()
    sys.stderr.write(reply.err)
    return reply.status


def words_of(typed: "list[str]") -> tuple[str, ...]:
    """Return the words of a command line without the options that name files of this person."""
    found, words = [], iter(typed)
    for word in words:
        option, given, value = word.partition("=")
        if option in _NOT_SENT:
            if not given:
                next(words, "")
        elif word.startswith("--") and given:
            found += [option, value]
        else:
            found.append(word)
    return tuple(found)


def _called(arguments: argparse.Namespace, request: "requests.Request[ReadReply]") -> ReadReply:
    try:
        return called(arguments, request)
    except Refusal as refusal:
        if refusal.status != FAILED:
            raise
        said = f"the state folder is not yours to read, and the service did not read it for you: {refusal}"
        raise Refusal(said, FAILED) from None
