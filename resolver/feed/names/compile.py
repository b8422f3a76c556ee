"""Compiles a list into one sealed image; with the fetch process, the only place where names exist.

Runs as its own process (`python -I -m resolver.feed.names.compile`): one line of JSON without names comes in, one
line of counts goes out. The list, the keys, the previous image and the output are inherited descriptors.

Rules:
- Before it reads the first byte of the list, the process can open nothing, is not dumpable and is limited in memory.
- Each image gets a new random synthetic name, so that a self-test cannot pass with an older image.
- The image is complete, sealed and on the disk, or the process has failed.
- Names leave it only if the operator has switched the export on: over an inherited connection to that process.
"""

import os
import sys
import time
from pathlib import Path

import msgspec

from resolver.core import entries, image
from resolver.feed import exported, seal, synthetic
from resolver.feed.details import Code, Detail, Place, Unusable
from resolver.feed.messages import Compiled, CompileRequest
from resolver.feed.names import read, read_csv, read_master, read_zone, shape, suffixes
from resolver.feed.names.guard_lines import INFRASTRUCTURE, Protected
from resolver.feed.operator_names import popular_names
from resolver.feed.sandbox import Failed, confine, open_nothing, run, say

EXPORT_S = 60.0
"""So long the export process may take to take the names: a list never waits for it longer."""
EXPORT_OCTETS = 65_536
FEW_NAMES = 10
USUAL_LABELS = 5


def entries_of(
    request: CompileRequest, data: bytes, psl: suffixes.Suffixes, protected: Protected | None = None
) -> read.Entries:
    """Read the entries of a list; Failed with a reason if the whole list is refused.

    A list without a blocking entry is refused: exceptions alone would lift the list before it, which only a withdrawal
    may do. The serial of a master file's SOA is that of the signature, as far as its 32 bits go.
    """
    readers = {
        "plain": read.read,
        "csv": read_csv.read_csv,
        "rpz": read_zone.read_zone,
        "master": read_master.read_master,
    }
    try:
        found = readers[request.format](
            data, psl, demonstration=request.demonstration, max_entries=request.max_entries, protected=protected
        )
        agree = request.format != "master" or read_master.soa_serial(data) == request.serial & 0xFFFFFFFF
    except read.ReadError as error:
        raise _failed(request, error, data) from None
    if not agree:
        serials = read_master.soa_serial(data), request.serial
        raise Failed("malformed", Detail(code=Code.SOA_SERIAL, at=Place.LIST, numbers=serials))
    if not found.blocks:
        raise Failed("empty", Detail(code=Code.UNUSABLE, unusable=Unusable(reason="empty", exceptions=True)))
    return found


def _failed(request: CompileRequest, error: read.ReadError, data: bytes) -> Failed:
    """Return why a whole list is refused: counts, line numbers and what it looks like, nothing of what it holds."""
    # A zone that was transferred is made of lines of ours: what they look like says nothing.
    looks = None if request.format == "rpz" else shape.looks_like(data)
    unusable = {
        "reason": error.reason,
        "refused": error.refused,
        "refused_lines": error.refused_lines,
        "shape": looks,
        "line": error.line,
        "read_as": "rpz" if request.format == "master" else request.format,
    }
    return Failed(error.reason, Detail(code=Code.UNUSABLE, unusable=msgspec.convert(unusable, Unusable)))


def compiled(request: CompileRequest, found: read.Entries, keys: seal.Keys) -> tuple[Compiled, bytearray, bytearray]:
    """Return counts, image, and the line of each slot (core.image) for the entries of a list."""
    line_of = bytearray()
    made = entries.write(
        found.names,
        found.flags,
        keys.digest,
        list_id=request.list_id,
        serial=request.serial,
        issued=request.issued,
        expires=request.expires,
        generation=request.generation,
        selftest=synthetic.label(),
        previous=_previous(request.previous, keys),
        keep_new=request.keep_new,
        approved=request.approved,
        lines=found.numbers if request.lines >= 0 else None,
        line_of=line_of,
    )
    counts = Compiled(
        entries=image.header(image.view(made)).entries,
        refused=found.refused,
        refused_lines=found.refused_lines,
        set_aside=found.set_aside,
        set_aside_lines=found.set_aside_lines,
        exceptions=found.exceptions,
        rare_depths=rare_depths(found.names),
    )
    return counts, made, line_of


def rare_depths(names: bytes | bytearray) -> tuple[int, ...]:
    """Return the numbers of labels that few of these names have: each costs every query a digest of its own.

    Few: fewer than FEW_NAMES, and fewer than one in a hundred. Names of up to USUAL_LABELS are usual.
    """
    counts = memoryview(bytearray(8 * 128)).cast("Q")
    entries.count_depths(memoryview(names), counts)
    few = min(FEW_NAMES, sum(counts) / 100)
    return tuple(depth for depth, count in enumerate(counts) if depth > USUAL_LABELS and 0 < count < few)


def _contents(handle: int) -> bytes:
    with os.fdopen(handle, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def _previous(handle: int, keys: seal.Keys) -> memoryview | None:
    """Return the view of the image in force; None if there is none of ours, and then no name counts as new."""
    if handle < 0:
        return None
    try:
        view: memoryview = image.view(seal.unseal(_contents(handle), keys.seal))
        return view
    except (seal.SealBroken, image.ImageMalformed):
        return None


def _write(handle: int, data: bytes | bytearray | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def protected_of(request: CompileRequest, psl: suffixes.Suffixes) -> Protected:
    """Return what lines are set aside for; Failed if the operator's file is unreadable or holds what is no name."""
    try:
        popular = popular_names(Path(request.popular)) if request.popular else ""
        return Protected(request.protected, INFRASTRUCTURE.read_text("ascii"), popular, psl)
    except (OSError, ValueError):
        raise Failed("protected_unreadable") from None


def make(request: CompileRequest, psl: suffixes.Suffixes, protected: Protected) -> Compiled:
    """Write the sealed image and the lines of the list to the descriptors of `request`; return the counts. Failed if
    the list is refused whole."""
    both = os.read(request.keys, seal.DIGEST_KEY_BYTES + seal.SEAL_KEY_BYTES)
    keys = seal.Keys(both[: seal.DIGEST_KEY_BYTES], both[seal.DIGEST_KEY_BYTES :])
    if os.fstat(request.list_fd).st_size == 0:
        raise Failed("empty", Detail(code=Code.UNUSABLE, unusable=Unusable(reason="empty")))
    # No variable here keeps the list longer than it takes to read it.
    found = entries_of(request, _contents(request.list_fd), psl, protected)
    counts, made, line_of = compiled(request, found, keys)
    _write(request.output, made)
    _write(request.output, seal.seal_of(made, keys.seal))
    if request.lines >= 0:
        _write(request.lines, line_of)
    os.fsync(request.output)
    if request.export < 0:
        return counts
    return msgspec.structs.replace(counts, exported=_stage(request, found, made))


def _stage(request: CompileRequest, found: read.Entries, made: bytearray) -> bool:
    """Give the names to the export process; return whether it has taken them. The image is complete in any case."""
    about = exported.Stage(
        list=request.list_id,
        serial=request.serial,
        generation=request.generation,
        digest=request.digest,
        selftest=image.header(image.view(made)).selftest.decode("ascii"),
        names=len(found.names),
        entries=found.lines,
    )
    until = time.monotonic() + EXPORT_S
    try:
        # Not by a timeout of Python's: that polls, which a process that may open nothing cannot. The socket has one for
        # a write; a reader that takes an octet now and then is left by the clock.
        _write(request.export, msgspec.json.encode(about) + b"\n")
        for part in (found.names, found.flags, found.numbers):
            octets = memoryview(part).cast("B")
            for at in range(0, len(octets), EXPORT_OCTETS):
                if time.monotonic() > until:
                    return False
                _write(request.export, octets[at : at + EXPORT_OCTETS])
        return os.read(request.export, 1) == b"{"
    except OSError:
        return False


def work() -> None:
    """Serve the one request of this process."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=CompileRequest)
    psl = suffixes.load()
    protected = protected_of(request, psl)
    confine(request.parent, request.memory_bytes, *request.handles)
    open_nothing()
    say({"compiled": msgspec.to_builtins(make(request, psl, protected))})


if __name__ == "__main__":
    sys.exit(run(work))
