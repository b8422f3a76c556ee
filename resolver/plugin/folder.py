"""Owns the format of the folder through which the service hands its policy to plugins in other resolvers.

    FOLDER/policy        what is in force, replaced whole
    FOLDER/SEAL.image    the image of a list or of a release (core.image), named by its seal in hexadecimal
    FOLDER/blocks        the service's socket, which receives what plugins have blocked (plugin.blocks)

The file `policy` is little-endian 32-bit words, then octets:

    0, 1    magic and format         6       octets of the file, without the seal
    2, 3    number of the policy     7       zero
    4       1 if it is complete      8-      a record of RECORD words for each member, in configured order
    5       members                  then    the PARTS to which the records point; the last 16 octets: the seal

Rules:
- A seal is SipHash-2-4-128 under a key made from the digest key. It detects damage, and a forger who lacks that key.
- The folder holds keyed digests, addresses and texts of answers; no name, and no key.
- An image is written before the policy that names it, and stays until the next policy but one is written. One that is
  there is compared, and written again if it is not what it has to be: damage ends with the next policy.
- A policy is used whole or not at all: one octet that differs, or an image that is missing, makes it Damaged.
- An image is read into memory: a file that is mapped ends its reader when somebody truncates it.
- The result of `read` are the structs of core, as the service has them; a plugin in another language reads the same
  file by the tables that plugin.lua_tables makes from this module.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver import atomic_file
from resolver.core import codes, image
from resolver.core.admit import BUCKET_OCTETS, WAYS, Access
from resolver.core.policy import Generation, Member
from resolver.core.reply import Replies
from resolver.core.siphash import siphash128

if TYPE_CHECKING:
    # A plugin needs no lane.
    from resolver.core.lane import Tables

POLICY: Final = "policy"
BLOCKS: Final = "blocks"
IMAGE: Final = ".image"
MAGIC: Final = b"BLRPLUG\x01"
HEADER: Final = 8
SEAL_OCTETS: Final = 16
SEAL_TEXT: Final = b"seal of what plugins read"
FILE_MODE: Final = 0o640
MOST_MEMBERS: Final = 4096
MOST_OCTETS: Final = 2**24

WORDS: Final = (
    *("slot", "flags", "octets_low", "octets_high", "seal_0", "seal_1", "seal_2", "seal_3"),
    *("answer", "ede", "refusal", "signal", "v4_count", "v6_count"),
)
"""The first words of a record; a slot of -1 is written as 2^32 - 1, and answer to v6_count are 0 without replies."""
PARTS: Final = ("v4", "v6", "soa", "said", "full", "brief", "clients", "exempt")
"""The parts of a record: for each, after WORDS, the offset in the file and the octets. said, full, brief: options."""
RECORD: Final = len(WORDS) + 2 * len(PARTS)
RELEASE: Final = 1
APPROVED: Final = 2
ANSWERS: Final = 4
"""Bits of `flags`; ANSWERS: the record has replies."""

_NO_SLOT: Final = 2**32 - 1
_RECORD_HEAD: Final = 12
_OPTION_HEAD: Final = 6
_SIZES: Final = {"v4": 4, "v6": 16}


class Damaged(Exception):
    """A file is not what its seal says, or cannot be read; the text says which kind of file, never its content."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What judges and answers. complete: False while a name that no list blocks gets SERVFAIL. images: by their seal.
    access: has the scopes of the lists, and nothing else."""

    number: int
    complete: bool
    generation: Generation
    access: Access
    images: dict[bytes, memoryview]


def seal_key(digest_key: bytes) -> memoryview:
    """Return the key of the seals, two words, made from the digest key (16 octets)."""
    key = memoryview(bytearray(16)).cast("Q")
    siphash128(memoryview(bytes(digest_key)).cast("Q"), memoryview(SEAL_TEXT), 0, len(SEAL_TEXT), key, 0)
    return key


def seal_of(key: memoryview, data: Any) -> bytes:
    """Return the seal (16 octets) of `data` under the key of `seal_key`."""
    octets, out = memoryview(data).cast("B"), memoryview(bytearray(16))
    siphash128(key, octets, 0, len(octets), out.cast("Q"), 0)
    return bytes(out)


# Written by the service.


class Writer:
    """Writes the folder. Used by one thread at a time; seals of images that are unchanged are not made again."""

    def __init__(self, folder: Path, digest_key: bytes) -> None:
        self._folder = folder
        self._key = seal_key(digest_key)
        self._sealed: dict[int, tuple[Any, bytes]] = {}
        self._before: frozenset[str] = frozenset()

    def write(self, tables: "Tables") -> None:
        """Write the policy of these tables, and what it needs; OSError if the folder cannot be written."""
        views = [_view_of(one) for one in tables.generation.members]
        self._sealed = {id(view): self._sealed_of(view) for view in views}
        for view, seal in self._sealed.values():
            path = self._folder / f"{seal.hex()}{IMAGE}"
            octets = memoryview(view).cast("B")
            if not _holds(path, octets):
                atomic_file.write(path, octets, FILE_MODE)  # type: ignore[arg-type] # any octets
        seals = [self._sealed[id(view)][1] for view in views]
        atomic_file.write(self._folder / POLICY, encoded(tables, seals, self._key), FILE_MODE)
        now = frozenset(f"{seal.hex()}{IMAGE}" for seal in seals)
        for path in self._folder.glob(f"*{IMAGE}"):
            if path.name not in now | self._before:
                path.unlink(missing_ok=True)
        self._before = now

    def _sealed_of(self, view: Any) -> tuple[Any, bytes]:
        known = self._sealed.get(id(view))
        return known if known is not None and known[0] is view else (view, seal_of(self._key, view))


def _holds(path: Path, octets: memoryview) -> bool:
    """Return whether a file is there and has just these octets."""
    try:
        return path.stat().st_size == len(octets) and path.read_bytes() == octets
    except OSError:
        return False


def _view_of(member: Member) -> Any:
    """Return what a member's image was made of: the same object in each generation that has this image."""
    return getattr(member.words, "base", member.words)


def encoded(tables: "Tables", seals: Iterable[bytes], key: memoryview) -> bytes:
    """Return the file `policy` of some tables; seals: of the members' images, in their order."""
    members = tables.generation.members
    at = 4 * (HEADER + RECORD * len(members))
    records, parts = bytearray(), bytearray()
    for member, seal in zip(members, seals, strict=True):
        words, said = _words_of(member, seal), _parts_of(member, tables.access)
        for name in PARTS:
            words += [at + len(parts), len(said[name])]
            parts += said[name]
        records += b"".join(word.to_bytes(4, "little") for word in words)
    head = [int(tables.complete), len(members), at + len(parts), 0]
    file: bytes = MAGIC + tables.generation.number.to_bytes(8, "little")
    file += b"".join(word.to_bytes(4, "little") for word in head) + records + parts
    return file + seal_of(key, file)


def _words_of(member: Member, seal: bytes) -> list[int]:
    replies = member.replies
    flags = RELEASE * bool(member.release) | APPROVED * bool(member.approved) | ANSWERS * (replies is not None)
    octets = 8 * len(member.words)
    slot = member.slot if member.slot >= 0 else _NO_SLOT
    answers = [0] * 6
    if replies is not None:
        answers = [replies.answer, replies.ede, replies.refusal, replies.signal, replies.v4_count, replies.v6_count]
    seals = [int.from_bytes(seal[at : at + 4], "little") for at in range(0, SEAL_OCTETS, 4)]
    return [slot, flags, octets & 0xFFFFFFFF, octets >> 32, *seals, *answers]


def _parts_of(member: Member, access: Access) -> dict[str, bytes]:
    found = dict.fromkeys(PARTS, b"")
    replies = member.replies
    if replies is not None:
        found["v4"] = bytes(replies.v4) if replies.v4_count else b""
        found["v6"] = bytes(replies.v6) if replies.v6_count else b""
        found["soa"] = bytes(replies.soa)
        for name in ("said", "full", "brief"):
            body = getattr(replies, name)
            found[name] = bytes(body.errors[body.errors_start : body.errors_start + body.errors_size])
    if member.slot >= 0:
        for part, name in enumerate(("clients", "exempt")):
            start, end = (access.bounds[4 * member.slot + 2 * part + side] for side in (0, 1))
            found[name] = bytes(access.ranges[start:end]) if end > start else b""
    return found


# Read by a plugin.


def read(folder: Path, digest_key: bytes, known: dict[bytes, memoryview]) -> Policy:
    """Return the policy in the folder; Damaged if it cannot be used as it is.

    known: images by their seal that were read before, which are not read again.
    """
    key = seal_key(digest_key)
    data = _octets(folder / POLICY, "policy", MOST_OCTETS)
    body = data[: max(0, len(data) - SEAL_OCTETS)]
    if len(body) < 4 * HEADER or seal_of(key, body) != bytes(data[-SEAL_OCTETS:]):
        raise Damaged("policy: its seal is broken")
    words = body[: len(body) // 4 * 4].cast("I")
    if bytes(body[:8]) != MAGIC or words[6] != len(body) or words[5] > MOST_MEMBERS:
        raise Damaged("policy: another format")
    members: list[Member] = []
    images: dict[bytes, memoryview] = {}
    clients, exempt = [b""] * codes.MAX_LISTS, [b""] * codes.MAX_LISTS
    for number in range(words[5]):
        at = HEADER + RECORD * number
        one = dict(zip(WORDS, words[at : at + len(WORDS)], strict=True))
        parts = _parts_in(body, words[at + len(WORDS) : at + RECORD])
        seal = bytes(body[4 * (at + WORDS.index("seal_0")) :][:SEAL_OCTETS])
        octets = one["octets_high"] << 32 | one["octets_low"]
        images[seal] = view = known.get(seal) or images.get(seal) or _image(folder, seal, key, octets)
        slot = -1 if one["slot"] == _NO_SLOT else one["slot"]
        if slot >= 0:
            clients[slot], exempt[slot] = parts["clients"], parts["exempt"]
        flags = one["flags"]
        replies = _replies(one, parts) if flags & ANSWERS else None
        members.append(
            Member(view, replies, slot=slot, release=bool(flags & RELEASE), approved=bool(flags & APPROVED))
        )
    number = words[3] << 32 | words[2]
    buckets = bytearray(WAYS * BUCKET_OCTETS)
    access = Access(b"", b"", tuple(clients), tuple(exempt), rate=0, memory=buckets, key=bytes(16))
    return Policy(number, bool(words[4]), Generation(number, digest_key, members), access, images)


def _parts_in(body: memoryview, places: memoryview) -> dict[str, bytes]:
    found = {}
    for part, name in enumerate(PARTS):
        at, size = places[2 * part], places[2 * part + 1]
        found[name] = bytes(body[at : at + size])
        if len(found[name]) != size:
            raise Damaged("policy: a part lies outside of it")
    return found


def _replies(one: dict[str, int], parts: dict[str, bytes]) -> Replies:
    addresses = {}
    for name, octets in _SIZES.items():
        step = _RECORD_HEAD + octets
        addresses[name] = [parts[name][at + _RECORD_HEAD : at + step] for at in range(0, len(parts[name]), step)]
    return Replies(
        one["answer"],
        statute=one["refusal"] == codes.EDE_CENSORED,
        text=parts["said"][_OPTION_HEAD:],
        signal=one["signal"],
        structured=(parts["full"][_OPTION_HEAD:], parts["brief"][_OPTION_HEAD:]),
        v4=addresses["v4"],
        v6=addresses["v6"],
    )


def _image(folder: Path, seal: bytes, key: memoryview, octets: int) -> memoryview:
    data = _octets(folder / f"{seal.hex()}{IMAGE}", "image", octets)
    if len(data) != octets or seal_of(key, data) != seal:
        raise Damaged("image: its seal is broken")
    try:
        view: memoryview = image.view(data)
    except image.ImageMalformed:
        raise Damaged("image: another format") from None
    return view


def _octets(path: Path, kind: str, most: int) -> memoryview:
    try:
        with open(path, "rb", buffering=0) as file:
            size = min(os.fstat(file.fileno()).st_size, most)
            memory = memoryview(bytearray(size))
            at = 0
            while at < size and (read := file.readinto(memory[at:])):
                at += read
    except OSError as error:
        raise Damaged(f"{kind}: {error.strerror}") from None
    return memory[:at].toreadonly()
