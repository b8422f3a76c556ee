"""Parses the table `[cookies]`: DNS cookies, by which clients show over UDP that their address is not forged."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from resolver.config.lists import Fault

MOST_OCTETS: Final = 4096
_SECRET: Final = re.compile(r"[0-9A-Fa-f]{32}\Z")


class Cookies(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cookies of answers. answer: whether there are any. secrets: the file of a fleet's secrets; "" draws one here."""

    answer: bool = True
    secrets: str = ""


class SecretsUnusable(ValueError):
    """The file of secrets cannot be used; the text says why, and repeats nothing that is in it."""


def faults_of_cookies(cookies: Cookies) -> Iterator[Fault]:
    """Yield the faults of `[cookies]`."""
    if cookies.secrets and not cookies.secrets.startswith("/"):
        yield "cookies.secrets", 'expected an absolute path, or "" for a secret of this process'


def read_secrets(path: str) -> tuple[bytes, ...]:
    """Return the secrets in a file: 32 hexadecimal digits a line; empty lines and those that begin with # are none.

    SecretsUnusable if it cannot be read, if others than its owner and group may read it, or if it holds something else.
    """
    from resolver.core.cookie import MOST_SECRETS

    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(MOST_OCTETS + 1)
    except OSError as error:
        raise SecretsUnusable(f"cannot be read: {error.strerror or type(error).__name__}") from None
    if mode & 0o007:
        raise SecretsUnusable("may be read or written by every account of this host: chmod o= it")
    if len(octets) > MOST_OCTETS:
        raise SecretsUnusable(f"has more than {MOST_OCTETS} octets")
    found = []
    for number, line in enumerate(octets.decode("ascii", "replace").splitlines(), 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        if not _SECRET.match(said):
            raise SecretsUnusable(f"line {number}: expected 32 hexadecimal digits, as of `openssl rand -hex 16`")
        found.append(bytes.fromhex(said))
    if len(set(found)) != len(found):
        raise SecretsUnusable("holds a secret twice")
    if not 1 <= len(found) <= MOST_SECRETS:
        raise SecretsUnusable(f"expected 1 to {MOST_SECRETS} secrets, found {len(found)}")
    return tuple(found)
