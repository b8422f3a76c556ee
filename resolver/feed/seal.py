"""Loads or makes the keys of a host, and seals and unseals images.

Rules:
- The digest key makes names in an image unreadable; the seal key proves that this host wrote the file. Only this module
  ever writes them beside an image, mode 0600.
- Keys come from the configured folder, else from systemd's credentials folder, else they are made in the state folder.
  A folder that holds only one of the two is an error: a host has both or none.
- The key of a zone copy (feed.fetch.zone_copy) is derived from the seal key, one for each list, and never written. The
  copy holds names: `Keys.apart` says whether the keys lie outside the state folder, and so apart from it.
- The key of the noise in published figures is derived from the seal key too: all hosts of a fleet have the same one, so
  that two of them never give the same figure different noise.
- The host key (Ed25519) signs this host's statements. It comes from the same folders, else it is made in the state
  folder at the first start; others trust it by pinning its public half.
- A seal is BLAKE2b-256, keyed with the seal key, over the whole image; it is compared in constant time.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver import atomic_file

DIGEST_KEY_BYTES: Final = 16
SEAL_KEY_BYTES: Final = 32
SEAL_BYTES: Final = 32
HOST_KEY_BYTES: Final = 32
COPY_KEY_BYTES: Final = 32
NOISE_KEY_BYTES: Final = 32
HOST_KEY: Final = "host.key"
_NAMES: Final = ("digest.key", "seal.key")
_SIZES: Final = (DIGEST_KEY_BYTES, SEAL_KEY_BYTES)
_PERSON: Final = b"list image"
_KEY_ID_PERSON: Final = b"digest key id"
_COPY_PERSON: Final = b"zone copy key"
_NOISE_PERSON: Final = b"noise key"


class KeyUnusable(Exception):
    """A key file is missing, of the wrong size, or open to others; the text names the file, never its content."""


class KeyUnreadable(KeyUnusable):
    """A key file is missing or cannot be read by this account."""


class SealBroken(Exception):
    """The file does not end in this host's seal of its content."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The digest key (16 octets) and the seal key (32 octets) of this host; apart: both lie outside the state."""

    digest: bytes = field(repr=False)
    seal: bytes = field(repr=False)
    apart: bool = field(default=False, repr=False, compare=False)

    @property
    def digest_id(self) -> str:
        """Return an identifier of the digest key that does not reveal it."""
        return hashlib.blake2b(self.digest, digest_size=8, person=_KEY_ID_PERSON).hexdigest()

    def copy_key(self, list_id: str) -> bytes:
        """Return the key (32 octets) that seals a list's zone copy, made from the seal key and the list's id."""
        made = hashlib.blake2b(list_id.encode(), digest_size=COPY_KEY_BYTES, key=self.seal, person=_COPY_PERSON)
        return made.digest()

    def noise_key(self) -> bytes:
        """Return the key (32 octets) of the noise in published figures, made from the seal key."""
        return hashlib.blake2b(digest_size=NOISE_KEY_BYTES, key=self.seal, person=_NOISE_PERSON).digest()


def load_keys(state: Path, folder: str = "", credentials: str = "", *, make: bool = True) -> Keys:
    """Load the keys from `folder`, else from `credentials` if they are there, else from `state`, made there if missing.

    KeyUnusable if a key file cannot be used. make: False makes none; a missing one cannot be read.
    """
    if folder:
        return _read(Path(folder), state)
    if credentials and any((Path(credentials) / name).exists() for name in _NAMES):
        return _read(Path(credentials), state)
    if not make:
        return _read(state, state)
    if not any((state / name).exists() for name in _NAMES):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The seal key is written last: if a crash comes before it, there is no image yet that could be lost.
        atomic_file.write(state / _NAMES[0], secrets.token_bytes(DIGEST_KEY_BYTES))
        atomic_file.write(state / _NAMES[1], secrets.token_bytes(SEAL_KEY_BYTES))
    elif not (state / _NAMES[1]).exists():
        atomic_file.write(state / _NAMES[1], secrets.token_bytes(SEAL_KEY_BYTES))
    return _read(state, state)


def host_key(state: Path, folder: str = "", credentials: str = "", *, make: bool) -> "Ed25519PrivateKey":
    """Load the host's signing key from `folder`, `credentials` or `state`; KeyUnusable if there is none.

    make: make it in `state` if it is missing.
    """
    # Imported here: the compile process seals, but never signs, and need not load this.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    places = [Path(one) for one in (folder, credentials) if one]
    found = next((place for place in places if (place / HOST_KEY).exists()), state)
    if found == state and make and not (state / HOST_KEY).exists():
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write(state / HOST_KEY, secrets.token_bytes(HOST_KEY_BYTES))
    return Ed25519PrivateKey.from_private_bytes(_read_one(found / HOST_KEY, HOST_KEY_BYTES))


def seal_of(image: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """Return the seal (32 octets) of `image` under `key`."""
    return hashlib.blake2b(image, digest_size=SEAL_BYTES, key=key, person=_PERSON).digest()


def unseal(data: bytes | memoryview, key: bytes) -> memoryview:
    """Return the image in the file content `data`, without a copy; SealBroken if its seal is not ours."""
    image = memoryview(data)[: max(0, len(data) - SEAL_BYTES)]
    if len(data) <= SEAL_BYTES or not hmac.compare_digest(seal_of(image, key), data[-SEAL_BYTES:]):
        raise SealBroken("seal")
    return image


def _read(folder: Path, state: Path) -> Keys:
    digest, seal = (_read_one(folder / name, size) for name, size in zip(_NAMES, _SIZES, strict=True))
    return Keys(digest, seal, not folder.resolve().is_relative_to(state.resolve()))


def _read_one(path: Path, size: int) -> bytes:
    try:
        key = path.read_bytes()
        open_to_all = path.stat().st_mode & 0o007
    except OSError as error:
        raise KeyUnreadable(f"{path}: {error.strerror}") from None
    if len(key) != size:
        raise KeyUnusable(f"{path}: expected {size} octets")
    if open_to_all:
        raise KeyUnusable(f"{path}: others may read or change it; chmod o= it")
    return key
