"""Fetches a list in a signed and encrypted OpenPGP file.

Runs as its own process (`python -I -m resolver.feed.fetch.openpgp`), see child; GnuPG does the work, see gpg.

Rules:
- The file must be signed by a pinned key and encrypted to us; either alone is refused.
- Serial and time stand in the signed text: the first row of a CSV, or a comment in the first line of a plain list or of
  a zone's master file. The compile process compares the serial with that of the zone's SOA, as for a file of minisign.
- A list that is new to this host must not be older than `dated_within`: an attacker may have held the file back.
- In a drop folder the list that verifies with the highest serial counts; other files are passed over and counted.
- Clear text exists in memory only.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from resolver.feed import details, dropped
from resolver.feed.details import Code, Detail, Place, Word
from resolver.feed.fetch import drop_folder
from resolver.feed.fetch.child import Wanted, access_of, facts_of_file, not_fetched, put, step, work
from resolver.feed.fetch.gpg import Gpg
from resolver.feed.fetch.header_details import of_header
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, run
from resolver.feed.transport import NotFetched, Transport
from resolver.signed import header

_HEADERS: Final = {"plain": header.of_plain, "csv": header.of_csv, "rpz": header.of_master}


class _List(NamedTuple):
    """A list that verified."""

    facts: Facts
    text: bytes


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
    except OSError as error:
        raise Failed(Reason.ROOT_UNUSABLE, details.of_errno(error, Place.ROOT_FILE)) from None
    if not Path(request.identity).is_dir():
        raise Failed(Reason.IDENTITY_UNUSABLE, Detail(code=Code.GPG_HOME, at=Place.IDENTITY))
    pinned = gpg.pinned(keys)
    folder = _folder(request.url)
    if folder is None:
        facts, text = _in_file(request, gpg, pinned)
    else:
        facts, text = _in_folder(request, gpg, pinned, folder)
    if not _is_known(request, facts) and facts.custom.issued < now() - request.dated_within:
        age = max(int(now()) - facts.custom.issued, 0), int(request.dated_within)
        raise Failed(Reason.TOO_OLD, Detail(code=Code.AGE, numbers=age))
    if not wanted(facts):
        return False
    put(request.output, text)
    return True


def facts_of(request: FetchRequest, text: bytes, pinned: frozenset[str]) -> Facts:
    """Return the facts in the header of a text that one of the `pinned` keys has signed; Failed if it lacks them."""
    try:
        said = _HEADERS[request.format](text)
        custom = header.custom_of(said, request.list_id)
    except header.HeaderMalformed as error:
        raise Failed(Reason.MALFORMED, of_header(error, Place.LIST)) from None
    if not said.issued:
        raise Failed(Reason.MALFORMED, Detail(code=Code.FIELD_MISSING, at=Place.LIST, word=Word.ISSUED))
    step(Detail(code=Code.FOUND_SIGNED, numbers=(said.serial,)))
    keys = hashlib.sha256("\n".join(sorted(pinned)).encode()).hexdigest()
    return facts_of_file(request, text, custom, keys)


def _folder(url: str) -> Path | None:
    """Return the drop folder that a URL names; None if it names a file."""
    path = Path(unquote(urlsplit(url).path))
    return path if urlsplit(url).scheme == "file" and path.is_dir() else None


def _in_file(request: FetchRequest, gpg: Gpg, pinned: frozenset[str]) -> _List:
    transport = Transport(access_of(request), request.seconds)
    try:
        data = transport.read(request.url, _most(request))
    except NotFetched as error:
        raise not_fetched(error) from None
    finally:
        transport.close()
    text = gpg.opened(data, pinned)
    return _List(facts_of(request, text, pinned), text)


def _in_folder(request: FetchRequest, gpg: Gpg, pinned: frozenset[str], folder: Path) -> _List:
    """Return the list with the highest serial among those that verify, of equal ones the latest; Failed without one."""
    try:
        looked = drop_folder.look(folder, _most(request))
    except OSError as error:
        raise Failed(Reason.UNREACHABLE, details.of_errno(error, Place.FOLDER)) from None
    best: _List | None = None
    first: Failed | None = None
    others = looked.others
    unverified = 0
    for path in looked.files:
        try:
            found = _opened(request, gpg, pinned, path)
        except Failed as failed:
            if failed.reason is Reason.TIMED_OUT:
                raise
            first = first or failed
            unverified += 1
            continue
        if best is None or found.facts.custom.serial > best.facts.custom.serial:
            best = found
        if _is_known(request, found.facts):
            break  # What arrived before it was looked at when it was new.
    counts = (others + unverified + looked.left, others, unverified, looked.left)
    passed_over = Detail(code=Code.PASSED_OVER, at=Place.FOLDER, numbers=counts) if counts[0] else None
    if passed_over is not None:
        step(passed_over)
    if best is not None:
        return best._replace(facts=replace(best.facts, passed_over=passed_over))
    if first is not None:
        raise Failed(first.reason, first.detail or passed_over)
    if passed_over is not None:
        raise Failed(Reason.OVERSIZED if looked.left else Reason.MALFORMED, passed_over)
    raise Failed(Reason.UNREACHABLE, Detail(code=Code.FOLDER_EMPTY, at=Place.FOLDER))


def _opened(request: FetchRequest, gpg: Gpg, pinned: frozenset[str], path: Path) -> _List:
    try:
        data = dropped.read(path, _most(request))
    except OSError as error:
        raise Failed(Reason.UNREACHABLE, details.of_errno(error, Place.FOLDER)) from None
    text = gpg.opened(data, pinned)
    facts = facts_of(request, text, pinned)
    if facts.custom.list != request.list_id:
        raise Failed(Reason.WRONG_LIST)
    return _List(facts, text)


def _most(request: FetchRequest) -> int:
    """Return the limit of an encrypted file: half as much again, since armor takes four characters for three bytes."""
    return request.max_bytes * 3 // 2


def _is_known(request: FetchRequest, facts: Facts) -> bool:
    return (facts.custom.serial, facts.digest) == (request.serial, request.digest)


if __name__ == "__main__":
    sys.exit(run(lambda: work(fetch)))
