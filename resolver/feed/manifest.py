"""The format between a compile host and its nodes: signed manifests of images, and releases.

    FOLDER/ID.json          a signed statement (signed.statement): the Manifest of list ID
    FOLDER/SHA256.image     its sealed image, named by the SHA-256 of the file
    FOLDER/releases.json    a signed statement: the names released in the fleet, each as a sealed image

Rules:
- Each statement has a number that only goes up: a node that has seen one accepts no earlier one.
- A statement is fresh until `fresh_until`; the compile host signs it again before that, changed or not.
- Nothing here holds a name: an image is keyed digests, and its keys are not in the folder.
- Unknown fields are ignored, so that a newer compile host can feed older nodes.
"""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from resolver.feed.messages import Facts, Made
from resolver.feed.release import MAX_RELEASES
from resolver.feed.state import Record
from resolver.signed import statement
from resolver.signed.metadata import Custom

RELEASES: Final = "releases"
MAX_IMAGE_BYTES: Final = 128 * 2**20
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_T = TypeVar("_T", bound="_Said")


class ManifestBroken(Exception):
    """The statement is malformed, or not signed by the pinned key; the text says which."""


class _Said(Struct, frozen=True, kw_only=True):
    """A statement; times in unix seconds. sequence: its number, which goes up with each one."""

    sequence: _Number
    published: _Number
    fresh_until: _Number


class Manifest(_Said, frozen=True, kw_only=True, tag_field="kind", tag="image"):
    """One list as it is in force on the compile host.

    digest: of the list in clear. image: SHA-256 of the sealed file, "" for a withdrawal. targets_keys, pinned,
    root_version: the keys of its authority, as the compile host verified them.
    """

    custom: Custom
    digest: _Digest
    made: Made
    image: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
    size: _Number
    targets_keys: str
    pinned: str
    root_version: int


class Released(Struct, frozen=True, kw_only=True):
    """One name released: its number, when it ends, and its sealed image in base64."""

    number: _Number
    until: _Number
    image: str

    @property
    def sealed(self) -> bytes:
        """Return the octets of the sealed file; ManifestBroken if they are not base64."""
        try:
            return base64.b64decode(self.image, validate=True)
        except (binascii.Error, ValueError):
            raise ManifestBroken("a release") from None


class ReleasesSaid(_Said, frozen=True, kw_only=True, tag_field="kind", tag="releases"):
    """All names released in the fleet."""

    digest_key: str
    releases: Annotated[tuple[Released, ...], Meta(max_length=MAX_RELEASES)]


def of_record(
    record: Record, *, list_id: str, image: tuple[str, int], said: dict[str, int]
) -> Manifest:
    """Return the manifest of a record in force. image: SHA-256 and size of the sealed file. said: number and dates."""
    return Manifest(
        custom=Custom(
            list=list_id,
            serial=record.serial,
            issued=record.issued,
            expires=record.expires,
            withdrawn=record.withdrawn,
            entries=record.announced,
        ),
        digest=record.digest,
        made=Made(
            entries=record.entries,
            refused=record.refused,
            refused_lines=record.refused_lines,
            set_aside=record.set_aside,
            set_aside_lines=record.set_aside_lines,
            approved=record.approved,
            generation=record.generation,
            digest_key=record.digest_key,
            demonstration=record.demonstration,
            confirmed=record.confirmed,
            exceptions=record.exceptions,
        ),
        image=image[0],
        size=image[1],
        targets_keys=record.targets_keys,
        pinned=record.pinned,
        root_version=record.root_version,
        **said,
    )


def keys_of(pinned: bytes) -> tuple[str, str, int]:
    """Return stand-ins for targets keys, root and root version of a list that is trusted by a host's key alone."""
    mark = hashlib.sha256(pinned).hexdigest()
    return mark[:32], mark, 1


def record_of(said: Manifest | Facts, pinned: bytes | None = None) -> Record:
    """Return the record of a list that another host compiled; ManifestBroken if `said` is about no image.

    pinned: the raw key of that host, if the list is trusted by it alone; None to keep the authority's keys.
    """
    custom, made = said.custom, said.made
    if made is None:
        raise ManifestBroken("no image")
    keys = (said.targets_keys, said.pinned, said.root_version) if pinned is None else keys_of(pinned)
    return Record(
        serial=custom.serial,
        digest=said.digest,
        issued=custom.issued,
        expires=custom.expires,
        withdrawn=custom.withdrawn,
        announced=custom.entries,
        entries=made.entries,
        refused=made.refused,
        refused_lines=made.refused_lines,
        set_aside=made.set_aside,
        set_aside_lines=made.set_aside_lines,
        image="" if custom.withdrawn else f"{made.generation}.image",
        generation=made.generation,
        digest_key=made.digest_key,
        demonstration=made.demonstration,
        targets_keys=keys[0],
        pinned=keys[1],
        root_version=keys[2],
        approved=made.approved,
        confirmed=made.confirmed,
        exceptions=made.exceptions,
    )


def to_json(said: Manifest | ReleasesSaid) -> dict[str, Any]:
    """Return the statement, ready to be signed."""
    built: dict[str, Any] = msgspec.to_builtins(said)
    return built


def read(data: bytes, pinned: bytes, kind: type[_T]) -> _T:
    """Return the statement in `data`; ManifestBroken unless the raw public key `pinned` signed it."""
    try:
        return msgspec.convert(statement.verified(data, pinned), kind)
    except statement.StatementBroken as error:
        raise ManifestBroken(str(error)) from None
    except msgspec.ValidationError:
        raise ManifestBroken("not a manifest") from None


def released(metadata: Path, root: Path, digest_key: str) -> list[tuple[int, int, bytes]] | None:
    """Return number, end and sealed image of each release in the statement in the folder `metadata`.

    Empty if the releases were made with another digest key; None if no statement verifies by the key at `root`.
    """
    try:
        pinned = statement.pinned_of(root.read_bytes())
        said = read((metadata / f"{RELEASES}.json").read_bytes(), pinned, ReleasesSaid)
        found = [(one.number, one.until, one.sealed) for one in said.releases]
    except (OSError, ManifestBroken, statement.StatementBroken):
        return None
    return found if said.digest_key == digest_key else []
