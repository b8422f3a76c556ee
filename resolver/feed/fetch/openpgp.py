"""Fetches a list in a signed and encrypted OpenPGP file.

Runs as its own process (`python -I -m resolver.feed.fetch.openpgp`), see child; GnuPG does the work, see gpg.

Rules:
- The file must be signed by a pinned key and encrypted to us; either alone is refused.
- Serial and time stand in the signed text: the first row of a CSV, or a comment in the first line of a plain list.
- A list that is new to this host must not be older than `dated_within`: an attacker may have held the file back.
- In a drop folder the newest file counts; hidden files and unfinished ones (UNFINISHED) do not.
- Clear text exists in memory only.
"""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from resolver.feed.fetch.child import Wanted, not_fetched, put, work
from resolver.feed.fetch.gpg import Gpg
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, run
from resolver.feed.transport import Access, NotFetched, Transport
from resolver.signed import header

UNFINISHED: Final = (".part", ".tmp")


def fetch(
    request: FetchRequest,
    wanted: Wanted,
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Decrypt and verify, and write the list to the output if it is wanted; return whether it was written."""
    deadline = clock() + request.seconds
    gpg = Gpg(request.identity, request.max_bytes, lambda: deadline - clock())
    try:
        keys = Path(request.root).read_bytes()
    except OSError:
        raise Failed(Reason.ROOT_UNUSABLE) from None
    if not Path(request.identity).is_dir():
        raise Failed(Reason.IDENTITY_UNUSABLE)
    data = _encrypted(request)
    pinned = gpg.pinned(keys)
    text = gpg.opened(data, pinned)
    facts = facts_of(request, text, pinned)
    known = (facts.custom.serial, facts.digest) == (request.serial, request.digest)
    if not known and facts.custom.issued < now() - request.dated_within:
        raise Failed(Reason.TOO_OLD)
    if not wanted(facts):
        return False
    put(request.output, text)
    return True


def facts_of(request: FetchRequest, text: bytes, pinned: frozenset[str]) -> Facts:
    """Return the facts in the header of a text that one of the `pinned` keys has signed; Failed if it lacks them."""
    try:
        said = header.of_csv(text) if request.format == "csv" else header.of_plain(text)
        custom = header.custom_of(said, request.list_id)
    except header.HeaderMalformed:
        raise Failed(Reason.MALFORMED) from None
    if not said.issued:
        raise Failed(Reason.MALFORMED)
    keys = hashlib.sha256("\n".join(sorted(pinned)).encode()).hexdigest()
    return Facts(
        digest=hashlib.sha256(text).hexdigest(),
        length=len(text),
        custom=custom,
        targets_keys=keys[:32],
        root_version=1,
        pinned=keys,
        fresh_until=0,
        format=request.format,
    )


def newest(folder: Path) -> Path | None:
    """Return the newest regular file of a drop folder (of equal age, the last by name); None if there is none."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED):
                continue
            said = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(said.st_mode):
                found.append((said.st_mtime_ns, entry.name))
    return folder / max(found)[1] if found else None


def _encrypted(request: FetchRequest) -> bytes:
    url, path = request.url, Path(unquote(urlsplit(request.url).path))
    try:
        if urlsplit(url).scheme == "file" and path.is_dir():
            file = newest(path)
            if file is None:
                raise Failed(Reason.UNREACHABLE)
            url = file.as_uri()
    except OSError:
        raise Failed(Reason.UNREACHABLE) from None
    access = Access(
        ca=request.ca, certificate=request.certificate, key=request.key, resolvers=request.resolvers
    )
    transport = Transport(access, request.seconds)
    try:
        # Half as much again as the limit: ASCII armor takes four characters for three bytes.
        return transport.read(url, request.max_bytes * 3 // 2)
    except NotFetched as error:
        raise not_fetched(error) from None
    finally:
        transport.close()


if __name__ == "__main__":
    sys.exit(run(lambda: work(fetch)))
