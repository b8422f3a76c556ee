"""What release 0.1 leaves on a host's disk, made by the code of this tree: `python -m tests.previous.make FOLDER`.

Rules:
- Keys, times and the synthetic label are fixed, and so every octet is: the same code makes the same files.
- A list in its second serial, with the first as the previous one; another that was taken out and went back; one that
  was withdrawn.
- The files of a release are made once, when it is released, and never again: a later release reads them as they are.
"""

import hashlib
import sys
from pathlib import Path

from resolver.core import codes, entries, image
from resolver.feed.audit import Audit, Event
from resolver.feed.seal import SEAL_BYTES, Keys, seal_of
from resolver.feed.state import Floor, Held, Record, State
from resolver.feed.store import Store

KEYS = Keys(bytes(range(16)), bytes(range(32, 64)))
SELFTEST = b"abcdefghijklmnopqrstuvwxyz"
ISSUED = 1_790_000_000
EXPIRES = 4_000_000_000
DEMO, BACK, GONE = "demo", "back", "gone"

BLOCK = codes.BLOCK_SELF | codes.BLOCK_BELOW
ENTRIES = {
    6: {b"\x07blocked\x04test\0": BLOCK},
    7: {
        b"\x07blocked\x04test\0": BLOCK,
        b"\x05exact\x07example\0": codes.BLOCK_SELF,
        b"\x04fine\x07blocked\x04test\0": codes.EXCEPT_SELF | codes.EXCEPT_BELOW,
        b"\x05aside\x04test\0": BLOCK | codes.SET_ASIDE,
    },
}
"""Entries of each serial: a name in wire format, its bits."""


def sealed(list_id: str, serial: int, generation: int, previous: bytes | None = None) -> bytes:
    """The image of a serial with its seal, as a compile process writes it."""
    listed = ENTRIES[serial]
    made = entries.write(
        b"".join(listed),
        b"".join(bits.to_bytes(2, "little") for bits in listed.values()),
        KEYS.digest,
        list_id=list_id,
        serial=serial,
        issued=ISSUED + serial,
        expires=EXPIRES,
        generation=generation,
        selftest=SELFTEST,
        previous=image.view(previous) if previous else None,
    )
    return bytes(made) + seal_of(made, KEYS.seal)


def digest_of(serial: int) -> str:
    """What stands for the digest of a serial's signed file."""
    return hashlib.sha256(b"list %d" % serial).hexdigest()


def record(serial: int, generation: int, *, withdrawn: bool = False) -> Record:
    """What is written of a serial."""
    return Record(
        serial=serial,
        digest=digest_of(serial),
        issued=ISSUED + serial,
        expires=EXPIRES,
        withdrawn=withdrawn,
        announced=4 if serial == 7 else None,
        entries=0 if withdrawn else len(ENTRIES[serial]),
        refused={"icann_suffix": 2} if serial == 7 else {},
        refused_lines={"icann_suffix": (3, 5)} if serial == 7 else {},
        image="" if withdrawn else f"{generation}.image",
        generation=generation,
        digest_key=KEYS.digest_id,
        demonstration=True,
        targets_keys="a" * 64,
        since=ISSUED + 60 * serial,
        pinned="b" * 64,
        root_version=1,
    )


def states() -> dict[str, tuple[State, Floor]]:
    """State and floor of each list."""
    old, new = record(6, 2), record(7, 3)
    return {
        DEMO: (
            State(
                generation=4,
                in_force=new,
                previous=old,
                held=Held(record=record(7, 4), reasons=("growth",), since=ISSUED + 900),
            ),
            Floor(record=new),
        ),
        BACK: (
            State(generation=3, in_force=old, gone_back_to=old.identity, quarantined=(new.identity,)),
            Floor(record=new),
        ),
        GONE: (
            State(generation=3, in_force=record(7, 3, withdrawn=True), previous=old),
            Floor(record=record(7, 3, withdrawn=True)),
        ),
    }


def write(folder: Path) -> None:
    """Write keys, images, states, floors and the log into an empty folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, key in (("digest.key", KEYS.digest), ("seal.key", KEYS.seal)):
        (folder / name).write_bytes(key)
    audit = Audit(folder / "audit.log")
    old_images = {list_id: sealed(list_id, 6, 2) for list_id in (DEMO, BACK, GONE)}
    for list_id, (state, floor) in states().items():
        store = Store(folder / "lists" / list_id)
        store.prepare()
        kept = [state.previous, state.in_force, state.held.record if state.held else None, floor.record]
        for one in {record.generation: record for record in kept if record and record.image}.values():
            before = old_images[list_id][:-SEAL_BYTES] if one.serial == 7 else None
            (store.folder / one.image).write_bytes(sealed(list_id, one.serial, one.generation, before))
            audit.append(Event.IN_FORCE, one.since, list_id=list_id, serial=one.serial, digest=one.digest)
        store.write_floor(floor)
        store.write_state(state)
    back = record(6, 2)
    audit.append(Event.GONE_BACK, ISSUED, list_id=BACK, serial=6, digest=back.digest, detail="selftest")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
