"""Watches a TUF client at its work: reports each file that it verifies, and makes details of its errors.

Rules:
- An error's text is examined for the closed set of forms that the client has, never passed on: it may hold what was
  read.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater

from resolver.feed.details import Code, Detail, Place, Word, of_errno
from resolver.feed.fetch.child import step
from resolver.signed import metadata

_FILE: Final = re.compile(r"/metadata/(?:(\d{1,9})\.)?(root|timestamp|snapshot|targets)\.json\Z")
_ROLE: Final = re.compile(r"(?:Final )?(root|timestamp|snapshot|targets)(?:\.json is expired| was signed by)")
_SIGNED: Final = re.compile(r"was signed by (\d{1,9})/(\d{1,9})")
_LOWER: Final = re.compile(r"New timestamp version (\d{1,18}) must be >= (\d{1,18})")
_LOWER_SNAPSHOT: Final = re.compile(r"New snapshot version must be >= (\d{1,18}), got version (\d{1,18})")
_OTHER: Final = re.compile(r"Expected [\w.]+ (?:version |v)(\d{1,18})\D+(\d{1,18})")
_METHODS: Final = {
    "update_root": Place.ROOT,
    "update_timestamp": Place.TIMESTAMP,
    "update_snapshot": Place.SNAPSHOT,
    "update_delegated_targets": Place.TARGETS,
}
_FIELDS: Final = {word.value: word for word in Word if word.value}


def place_of(url: str) -> tuple[Place, int]:
    """Return what a url of the repository is, and the version in its name, 0 if there is none."""
    found = _FILE.search(url)
    return (Place(found[2]), int(found[1] or 0)) if found else (Place.LIST, 0)


class Watch:
    """What a TUF client verifies. at: the file that it works on. fetched: the file that was downloaded last."""

    def __init__(self) -> None:
        self.at = Place.ROOT
        self.fetched = Place.NOWHERE
        self._expires = 0

    def look_at(self, updater: Updater) -> None:
        """Watch the verifications of a client from now on."""
        # The client has no hook for them: its set of trusted metadata is the one place that all of them pass.
        trusted: Any = updater._trusted_set
        for name, at in _METHODS.items():
            setattr(trusted, name, self._watched(getattr(trusted, name), at, trusted))

    def _watched(self, verify: Callable[..., Any], at: Place, trusted: Any) -> Callable[..., Any]:
        def watched(data: bytes, *more: Any, **named: Any) -> Any:
            kept = self.fetched is not at
            self.at, self.fetched = at, Place.NOWHERE
            if not kept:
                step(Detail(code=Code.STEP_VERIFY, at=at))
            try:
                signed = verify(data, *more, **named)
            except tuf.ExpiredMetadataError as error:
                late = trusted.root if "root" in str(error) else Metadata.from_bytes(data).signed
                self._expires = int(late.expires.timestamp())
                raise
            numbers = signed.version, max(int(signed.expires.timestamp()), 0)
            step(Detail(code=Code.STEP_KEPT if kept else Code.FOUND_VERIFIED, at=at, numbers=numbers))
            return signed

        return watched

    def detail_of(self, error: Exception) -> Detail | None:
        """Return the detail of an error of the client; None if nothing more than its reason is known."""
        text = str(error)
        role = _ROLE.match(text)
        at = Place(role[1]) if role else self.at
        match error:
            case tuf.ExpiredMetadataError():
                return Detail(code=Code.ENDED, at=at, numbers=(self._expires,))
            case tuf.UnsignedMetadataError():
                return _numbered(Code.SIGNATURES, at, _SIGNED.search(text))
            case tuf.BadVersionNumberError():
                return _of_version(at, text)
            case tuf.LengthOrHashMismatchError():
                return Detail(code=Code.OTHER_OCTETS, at=at)
            case tuf.RepositoryError():
                word = _missing(error)
                return Detail(code=Code.FIELD_MISSING if word else Code.FORM, at=at, word=word)
            case OSError():
                return of_errno(error, Place.STATE)
        return None


def of_custom(error: metadata.CustomMalformed) -> Detail:
    """Return the detail of signed facts that are not as they must be."""
    word = _FIELDS.get(error.field, Word.NONE)
    if not word:
        return Detail(code=Code.CUSTOM_NONE, at=Place.TARGETS)
    return Detail(code=Code.FIELD_MISSING if error.missing else Code.FIELD, at=Place.TARGETS, word=word)


def _numbered(code: Code, at: Place, found: re.Match[str] | None) -> Detail | None:
    return Detail(code=code, at=at, numbers=tuple(map(int, found.groups()))) if found else None


def _of_version(at: Place, text: str) -> Detail | None:
    if found := _LOWER.match(text):
        return _numbered(Code.VERSION_LOWER, at, found)
    if found := _LOWER_SNAPSHOT.match(text):
        return Detail(code=Code.VERSION_LOWER, at=Place.SNAPSHOT, numbers=(int(found[2]), int(found[1])))
    return _numbered(Code.VERSION_OTHER, at, _OTHER.match(text))


def _missing(error: BaseException) -> Word:
    """Return the field whose absence has caused an error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyError) and cause.args:
            return _FIELDS.get(str(cause.args[0]), Word.NONE)
        cause = cause.__cause__ or cause.__context__
    return Word.NONE
