"""Keeps what an operator must not lose or disclose: its X25519 keys, and of each submission figures, noise and salts.

    STATE/national/agreement.json             X25519 keys, the newest last
    STATE/national/noise.json                 the key that noise and salts are drawn from
    STATE/national/MONTH-ROUND-DIGEST.json    one submission, as it was handed out, and what opens its commitments

Rules:
- All files are for their owner alone. A record is on the disk before its submission is handed out.
- The key of the noise never changes: it gives a submission again whose record was lost.
- A submission that was made is handed out again octet for octet; nothing of it is computed again.
- An X25519 key that is older than the one of a new submission is removed if it was replaced SPARE_S ago: a theft cannot
  open what it masked then, and no roster that is still open needs it.
"""

import fcntl
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver import atomic_file
from resolver.count.national.forms import Form, Hash, Moment, Month, Refused
from resolver.count.national.join import public_of
from resolver.count.national.submission import Figure

_KEYS: Final = "agreement.json"
_NOISE: Final = "noise.json"
_LOCK: Final = ".lock"
SPARE_S: Final = 62 * 86400
"""Longer than a round of a month and its correction take by default, in seconds."""
_F = TypeVar("_F", bound=Form)


class Record(Form, frozen=True, kw_only=True):
    """One submission: when it was made (unix seconds), its task, its file, and the figures in it."""

    format: Literal[1] = 1
    at: Moment
    month: Month
    round: Literal[1, 2]
    roster: Hash
    submission: str
    figures: tuple[Figure, ...]

    @property
    def lists(self) -> frozenset[str]:
        """Return the ids of its lists."""
        return frozenset(one.list for one in self.figures)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the submission's file, in hex."""
        return hashlib.sha256(self.submission.encode()).hexdigest()


class _Key(Form, frozen=True, kw_only=True):
    private: Hash
    made: Moment


class _Keys(Form, frozen=True, kw_only=True):
    format: Literal[1] = 1
    keys: tuple[_Key, ...] = ()


class _Noise(Form, frozen=True, kw_only=True):
    format: Literal[1] = 1
    key: Hash


class Kept:
    """The files of one operator in their folder; Refused if one of them cannot be understood."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest_key(self, until: float = math.inf) -> X25519PrivateKey | None:
        """Return the newest X25519 key that was made until then (unix seconds), None if there is none."""
        keys = [one for one in self._keys().keys if one.made <= until]
        return _key_of(keys[-1]) if keys else None

    def new_key(self, now: float) -> X25519PrivateKey:
        """Make an X25519 key, keep it, and return it."""
        key = X25519PrivateKey.generate()
        raw = key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        self._write_keys((*self._keys().keys, _Key(private=raw.hex(), made=int(now))))
        return key

    def key_of(self, public: str) -> X25519PrivateKey | None:
        """Return the X25519 key with this public key (hex), None if it is not here."""
        return next((key for key in map(_key_of, self._keys().keys) if public_of(key).hex() == public), None)

    def drop_older(self, public: str, now: float) -> None:
        """Remove the keys that are older than the one with this public key, and were replaced SPARE_S ago or more."""
        keys = self._keys().keys
        used = [public_of(_key_of(one)).hex() for one in keys].index(public)
        gone = [place for place in range(used) if keys[place + 1].made <= now - SPARE_S]
        if gone:
            self._write_keys(keys[gone[-1] + 1 :])

    def noise_key(self, octets: Callable[[int], bytes]) -> bytes:
        """Return the key of the noise (32 octets); made at its first use. octets: secrets.token_bytes."""
        path = self._folder / _NOISE
        if not path.exists():
            atomic_file.write(path, msgspec.json.encode(_Noise(key=octets(32).hex())))
        return bytes.fromhex(_decoded(path, _Noise).key)

    def records(self) -> tuple[Record, ...]:
        """Return all records, in the order of their months."""
        return tuple(_decoded(path, Record) for path in sorted(self._folder.glob("20*-*.json")))

    def keep(self, record: Record) -> None:
        """Write a record; OSError."""
        # The whole digest: rosters that begin alike can be made, and the record of one would replace the other's.
        path = self._folder / f"{record.month}-{record.round}-{record.roster}.json"
        atomic_file.write(path, msgspec.json.encode(record))

    def _keys(self) -> _Keys:
        path = self._folder / _KEYS
        return _decoded(path, _Keys) if path.exists() else _Keys()

    def _write_keys(self, keys: tuple[_Key, ...]) -> None:
        atomic_file.write(self._folder / _KEYS, msgspec.json.encode(_Keys(keys=keys)))


@contextmanager
def alone(folder: Path) -> Iterator[Kept]:
    """Give the files in `folder` to one process at a time; the folder is made if it is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        atomic_file.drop_parts(folder)
        yield Kept(folder)
    finally:
        os.close(handle)


def _key_of(one: _Key) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(one.private))


def _decoded(path: Path, kind: type[_F]) -> _F:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(f"{path}: damaged or of another release: restore it from a backup") from None
