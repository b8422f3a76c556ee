"""Reads recipients (names and age public keys, typed or in a file) and encrypts a list to them.

Rules:
- Each recipient's copy is a target of its own, `ID-NAME`: a recipient learns only the names of the others.
- No recipients are stored here: each publish names them all, and refuses to leave one out unnoticed.
- A key is that of one X25519 identity (`age1…`): no passphrase, no plug-in, no SSH key.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pyrage

from resolver.authority.repository import AuthorityError

ENCRYPTION: Final = "age"
MAX_TARGET_LETTERS: Final = 64
MAX_RECIPIENTS: Final = 500
_NAME: Final = re.compile(r"[a-z0-9-]{1,48}\Z")
_FILE_BYTES: Final = 2**20


def target_of(list_id: str, name: str) -> str:
    """Return the target path of a recipient's copy; AuthorityError if it would be too long."""
    path = f"{list_id}-{name}"
    if len(path) > MAX_TARGET_LETTERS:
        raise AuthorityError(f"{path}: a target has at most {MAX_TARGET_LETTERS} characters")
    return path


def typed(words: Iterable[str], file: Path | None) -> dict[str, str]:
    """Return recipients, name to key, from typed words NAME=KEY and NAME=@FILE and from a file of lines `NAME KEY`."""
    found: dict[str, str] = {}
    for word in words:
        name, _, key = word.partition("=")
        if key.startswith("@"):
            lines = _lines(Path(key[1:]))
            key = lines[0] if len(lines) == 1 else ""
        _add(found, name, key)
    for line in [] if file is None else _lines(file):
        name, _, key = line.partition(" ")
        _add(found, name, key.strip())
    if len(found) > MAX_RECIPIENTS:
        raise AuthorityError(f"more than {MAX_RECIPIENTS} recipients")
    return found


def encrypted(data: bytes, key: str) -> bytes:
    """Return `data` encrypted to a public key that `typed` has accepted."""
    return pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(key)])


def _add(found: dict[str, str], name: str, key: str) -> None:
    if not _NAME.match(name):
        raise AuthorityError("a recipient is written NAME=KEY; NAME is [a-z0-9-], at most 48 characters")
    if name in found:
        raise AuthorityError(f"{name}: named twice")
    try:
        pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError:
        raise AuthorityError(f"{name}: not an age public key (age1…)") from None
    found[name] = key


def _lines(path: Path) -> list[str]:
    """Return the lines of a file that are neither empty nor comments."""
    try:
        with open(path, "rb") as file:
            text = file.read(_FILE_BYTES).decode("ascii")
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from None
    except UnicodeError:
        raise AuthorityError(f"{path}: not ASCII text") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
