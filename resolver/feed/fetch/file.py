"""Fetches a list with a minisign signature.

Runs as its own process (`python -I -m resolver.feed.fetch.file`), see child.

Rules:
- The signature is at the list's URL followed by `.minisig`. It must be by the pinned key, over the file and over its
  trusted comment.
- Only prehashed signatures count (minisign's default): nothing signed says which of the two forms a signature has, so
  that otherwise one could be passed off as the other.
- The trusted comment holds serial and not-after; after not-after the list is refused.
- Files that do not fit together are read again at once: the authority may have replaced them between the two reads.
- A CSV holds its serial a second time, in its first row: both must agree. So does a zone's master file, in its SOA:
  the compile process compares them, which reads the names.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from minisign import Error, ParseError, PublicKey, Signature

from resolver.feed.details import Code, Detail, Place, Word, of_errno
from resolver.feed.fetch.child import Wanted, access_of, facts_of_file, not_fetched, put, step, work
from resolver.feed.fetch.header_details import of_header
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, run
from resolver.feed.transport import NotFetched, Transport
from resolver.signed import header

MAX_SIGNATURE_BYTES: Final = 16_384
SUFFIX: Final = ".minisig"


def fetch(request: FetchRequest, wanted: Wanted, now: Callable[[], float] = time.time) -> bool:
    """Verify, and write the list to the output if it is wanted; return whether it was written."""
    key = _pinned(request.root)
    transport = Transport(access_of(request), request.seconds)
    try:
        data, facts = _verified(request, key, transport)
    except NotFetched as error:
        raise not_fetched(error) from None
    finally:
        transport.close()
    if facts.custom.expires is None or facts.custom.expires <= now():
        ended = Detail(code=Code.ENDED, at=Place.SIGNATURE, numbers=(facts.custom.expires or 0,))
        raise Failed(Reason.EXPIRED, ended)
    if not wanted(facts):
        return False
    put(request.output, data)
    return True


def _verified(request: FetchRequest, key: PublicKey, transport: Transport) -> tuple[bytes, Facts]:
    """Return the list and its facts; read both files again, once, if they were replaced between the two reads."""

    def read() -> tuple[bytes, bytes]:
        return transport.read(request.url, request.max_bytes), _signature(transport, request.url + SUFFIX)

    data, signature = read()
    try:
        return data, facts_of(request, key, data, signature)
    except Failed as failed:
        if failed.reason is not Reason.TAMPERED:
            raise
        again = read()
        if again == (data, signature):
            raise
    return again[0], facts_of(request, key, *again)


def facts_of(request: FetchRequest, key: PublicKey, data: bytes, signed: bytes) -> Facts:
    """Verify a list and return its facts; Failed otherwise."""
    step(Detail(code=Code.STEP_VERIFY, at=Place.SIGNATURE))
    try:
        signature = Signature.from_bytes(signed)
    except Error:
        raise Failed(Reason.MALFORMED, Detail(code=Code.FORM, at=Place.SIGNATURE)) from None
    if not signature.is_prehashed():
        raise Failed(Reason.MALFORMED, Detail(code=Code.NOT_PREHASHED, at=Place.SIGNATURE))
    try:
        key.verify(data, signature)
    except Error as error:
        # The library says only by its text that the key ids differ.
        code = Code.OTHER_KEY if "identifiers" in str(error) else Code.NOT_GOOD
        raise Failed(Reason.TAMPERED, Detail(code=code, at=Place.SIGNATURE)) from None
    at = Place.SIGNATURE
    try:
        said = header.of_words(signature.trusted_comment)
        custom = header.custom_of(said, request.list_id)
        at = Place.LIST
        agree = request.format != "csv" or said.withdrawn or header.of_csv(data).serial == said.serial
    except header.HeaderMalformed as error:
        raise Failed(Reason.MALFORMED, of_header(error, at)) from None
    if said.not_after is None:
        missing = Detail(code=Code.FIELD_MISSING, at=Place.SIGNATURE, word=Word.NOT_AFTER)
        raise Failed(Reason.MALFORMED, missing)
    if not agree:
        raise Failed(Reason.MALFORMED, Detail(code=Code.SERIALS_DIFFER))
    step(Detail(code=Code.FOUND_SIGNED, numbers=(said.serial,)))
    pinned = hashlib.sha256(key.to_base64()).hexdigest()
    return facts_of_file(request, data, custom, pinned, said.not_after)


def _pinned(path: str) -> PublicKey:
    try:
        return PublicKey.from_bytes(Path(path).read_bytes())
    except OSError as error:
        raise Failed(Reason.ROOT_UNUSABLE, of_errno(error, Place.ROOT_FILE)) from None
    except ParseError:
        raise Failed(Reason.ROOT_UNUSABLE, Detail(code=Code.KEY_NONE, at=Place.ROOT_FILE)) from None


def _signature(transport: Transport, url: str) -> bytes:
    try:
        return transport.read(url, MAX_SIGNATURE_BYTES, Place.SIGNATURE)
    except NotFetched as error:
        if error.status == 404:
            raise Failed(Reason.NOT_SIGNED, Detail(code=Code.NO_SIGNATURE, at=Place.SIGNATURE)) from None
        raise


if __name__ == "__main__":
    sys.exit(run(lambda: work(fetch)))
