"""Releases names: lifts a wrongful block on this host at once, against every list.

    STATE/releases/releases.json    the facts of each release: never a name
    STATE/releases/N.image          the sealed image of release N: the keyed digest of one name, as an exception

Rules:
- A release is in effect from the moment it is written, across restarts, and ends by itself at `until`.
- It holds no name: only list, serial and line, the user who asked, and the reason in words without a name.
- One signature within CONFIRM_S confirms it; an unconfirmed one stays in effect, with an alarm once an hour.
- At most MAX_RELEASES at once: with so many faults the list itself is wrong, and a list can be rolled back.
- A release of the fleet's compile host is followed as long as that host publishes it, and ends at `until` in any case.
- A release whose image is no longer ours is not applied: an error blocks, it never lets a name pass.
"""

import asyncio
import hashlib
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from resolver import atomic_file
from resolver.core import codes, entries, image
from resolver.feed import approve, audit_details, synthetic
from resolver.feed.actions import Action
from resolver.feed.audit import Audit, Event
from resolver.feed.seal import Keys, SealBroken, seal_of, unseal

MAX_RELEASES: Final = 64
LEAST_S: Final = 3600
MOST_S: Final = 30 * 86400
DEFAULT_S: Final = 7 * 86400
CONFIRM_S: Final = 24 * 3600
WARN_S: Final = 24 * 3600
ALARM_EVERY_S: Final = 3600
LOOK_S: Final = 5.0
MAX_REASON_LETTERS: Final = 200
LIST_ID: Final = "releases"
KIND: Final = "release"

_FILE: Final = "releases.json"
_FLAGS: Final = (codes.EXCEPT_SELF | codes.EXCEPT_BELOW).to_bytes(2, "little")
# A dot between two letters or digits, as it is written in names, full-width, in brackets or spelled out.
_DOTTED: Final = re.compile(
    r"\w(?:[.\u3002\uff0e\uff61\u00b7\u2022]|\s*[\[({]\s*(?:\.|dot)\s*[\])}]\s*|\s+dot\s+)\w|xn--|://", re.IGNORECASE
)
_WORD: Final = re.compile(r"[\w-]+")
_GAP: Final = re.compile(r"[\W_]+")

_log: Final = logging.getLogger("resolver.feed")


class NotReleased(Exception):
    """The request is refused; the text says why and repeats nothing of the request."""


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file; unknown fields are refused."""


class Covered(_Part, frozen=True):
    """A list that blocks the name: serial and digest in force, and the line of the entry if this host knows it."""

    list: str
    serial: int
    digest: str
    line: int | None = None


class Release(_Part, frozen=True):
    """A released name; times in unix seconds. image: SHA-256 of the sealed file. signer, key: of the confirmation."""

    number: int
    covered: tuple[Covered, ...]
    uid: int
    reason: str
    at: int
    until: int
    image: str
    digest_key: str
    signer: str = ""
    key: str = ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 that a signature confirms: of all fields but the signature's."""
        return hashlib.sha256(msgspec.json.encode(replace(self, signer="", key=""))).hexdigest()

    def statements(self, now: float) -> dict[int, bytes]:
        """Return the statements that a signature may be under now, by their expiry; the number stands for a serial."""
        about = approve.Subject(self.number, self.digest)
        return approve.statements(Action.RELEASE, self.covered[0].list, about, now)

    def to_json(self) -> dict[str, Any]:
        """Return the facts that may be shown, for JSON."""
        return {
            "number": self.number,
            "lists": [{"list": about.list, "serial": about.serial, "line": about.line} for about in self.covered],
            "reason": self.reason,
            "at": self.at,
            "until": self.until,
            "uid": self.uid,
            "confirmed_by": self.signer or None,
        }

    def overdue(self, now: float) -> bool:
        """Return whether it is unconfirmed after CONFIRM_S."""
        return not self.key and now >= self.at + CONFIRM_S


class Written(_Part, frozen=True):
    """The content of releases.json; `last` is the highest number ever used."""

    format: Literal[1] = 1
    last: int = 0
    releases: tuple[Release, ...] = ()


class Releases:
    """The releases of one host.

    now: returns unix seconds. enforce: takes the images (views of u64) in effect. report: takes a file name, a list's
    id, and the statement to its authority.
    """

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        audit: Audit,
        *,
        now: Callable[[], float],
        enforce: Callable[[Sequence[memoryview]], None],
        report: Callable[[str, str, Mapping[str, Any]], object],
        host: str = "",
    ) -> None:
        self.written = Written()
        self._folder = folder.absolute()
        self._keys = keys
        self._audit = audit
        self._now = now
        self._enforce = enforce
        self._report = report
        self._host = host
        self._views: dict[int, memoryview] = {}
        self._sealed: dict[int, bytes] = {}
        self._followed: dict[str, dict[bytes, tuple[int, memoryview]]] = {}
        self._enforced: list[memoryview] = []
        self._warned: set[int] = set()
        self._alarmed: dict[int, float] = {}

    def __iter__(self) -> Iterator[Release]:
        return iter(self.written.releases)

    def preview(self) -> None:
        """Apply the written releases as `recover` will, and write nothing.

        ReleasesUnreadable, OSError, SealBroken or ImageMalformed if one cannot be applied.
        """
        self.written = read(self._folder)
        for one in self:
            if self._now() < one.until:
                self._take(one, self._file(one).read_bytes())
        self._put()

    def recover(self) -> None:
        """Apply the written releases that have not ended; OSError if the folder cannot be used."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.drop_parts(self._folder)
        try:
            self.written = read(self._folder)
        except ReleasesUnreadable:
            _log.error("releases: %s is damaged: no name is released now; make each release again", _FILE)
            (self._folder / _FILE).replace(self._folder / f"{_FILE}.damaged")
        for one in self:
            try:
                self._take(one, self._file(one).read_bytes())
            except (OSError, SealBroken, image.ImageMalformed):
                said = "release %d: its image cannot be used, so its name is blocked; release the name again"
                _log.error(said, one.number)
        self._clean()
        self._put()
        try:
            self.look()
        except OSError:
            _log.error("releases: the end of a release could not be written; it is tried again")

    def add(self, name: bytes, covered: Sequence[Covered], *, uid: int, reason: str, for_s: float) -> Release:
        """Release a lower-case name in wire format and all names below it; NotReleased if that is refused."""
        if not covered:
            raise NotReleased("not listed: no list in force blocks it")
        if not LEAST_S <= for_s <= MOST_S:
            raise NotReleased("--for: expected 1h to 30d")
        check_reason(reason, name)
        if len(self.written.releases) >= MAX_RELEASES:
            raise NotReleased(f"{MAX_RELEASES} names are released already: end one, or roll the list back")
        number, at = self.written.last + 1, int(self._now())
        sealed = self._made(name, number, at, at + int(for_s))
        one = Release(
            number=number,
            covered=tuple(covered),
            uid=uid,
            reason=reason,
            at=at,
            until=at + int(for_s),
            image=hashlib.sha256(sealed).hexdigest(),
            digest_key=self._keys.digest_id,
        )
        atomic_file.write(self._folder / f"{number}.image", sealed)
        self._say(Event.RELEASED_NAME, one, audit_details.released(one.until, uid))
        self._keep(replace(self.written, last=number, releases=(*self.written.releases, one)))
        self._take(one, sealed)
        self._put()
        for about in one.covered:
            try:
                self._report(f"release-{number}-{about.list}", about.list, statement_of(self._host, one, about))
            except OSError:
                _log.error("release %d: the report to its authority could not be written", number)
        return one

    def end(self, number: int, why: str) -> Release:
        """End a release, so that lists block the name again; NotReleased if there is no such release."""
        one = self.of(number)
        self._say(Event.RELEASE_ENDED, one, why)
        self._keep(replace(self.written, releases=tuple(other for other in self if other.number != number)))
        self._views = {key: view for key, view in self._views.items() if key != number}
        self._put()
        self._clean()
        return one

    def confirm(self, number: int, signer: str, key: str) -> Release:
        """Record the confirming signature of a release; NotReleased if there is no such release."""
        one = replace(self.of(number), signer=signer, key=key)
        self._say(Event.RELEASE_CONFIRMED, one, audit_details.confirmed(signer, key))
        self._keep(replace(self.written, releases=tuple(one if other.number == number else other for other in self)))
        return one

    def of(self, number: int) -> Release:
        """Return the release with this number; NotReleased if there is none."""
        for one in self:
            if one.number == number:
                return one
        raise NotReleased("no release has this number; see: blocklist-resolver list releases")

    def look(self) -> None:
        """End the releases whose time is over; warn of those that end within a day or are still unconfirmed."""
        now = self._now()
        for one in self.written.releases:
            if now >= one.until:
                self.end(one.number, "its time is over")
                _log.warning("release %d has ended: its name is blocked again if it is still listed", one.number)
            elif now >= one.until - WARN_S and one.until - one.at > WARN_S and one.number not in self._warned:
                self._warned.add(one.number)
                _log.warning("release %d ends within a day: then its name is blocked again", one.number)
            if now < one.until and one.overdue(now) and now - self._alarmed.get(one.number, 0) >= ALARM_EVERY_S:
                self._alarmed[one.number] = now
                _log.warning("release %d is still unconfirmed after 24 h: confirm it or end it", one.number)
        self._put()

    def follow(self, list_id: str, released: Iterable[tuple[int, bytes]]) -> None:
        """Apply the releases (end, sealed image) of a list's compile host, in place of its earlier ones."""
        found, before = {}, self._followed.get(list_id, {})
        for until, sealed in released:
            mark = hashlib.sha256(sealed).digest()
            try:
                view = before[mark][1] if mark in before else image.view(unseal(sealed, self._keys.seal))
            except (SealBroken, image.ImageMalformed):
                said = "list %s: a name that its compile host released stays blocked here: the fleet's seal key differs"
                _log.warning(said, list_id)
                continue
            found[mark] = until, view
        self._followed = {**self._followed, list_id: found}
        self._put()

    async def run(self) -> None:
        """Call `look` every few seconds, until cancelled."""
        while True:
            try:
                self.look()
            except OSError:
                _log.warning("releases: the state folder cannot be written; trying again")
            await asyncio.sleep(LOOK_S)

    def sealed(self) -> list[tuple[Release, bytes]]:
        """Return each release in effect with its sealed file."""
        sealed = self._sealed
        return [(one, sealed[one.number]) for one in self if one.number in sealed]

    def _put(self) -> None:
        """Pass the images in effect now to `enforce`, if they have changed."""
        now = self._now()
        followed = {mark: one for each in self._followed.values() for mark, one in each.items()}
        views = [*self._views.values(), *(view for until, view in followed.values() if now < until)]
        if list(map(id, views)) != list(map(id, self._enforced)):
            self._enforced = views
            self._enforce(views)

    def _made(self, name: bytes, number: int, at: int, until: int) -> bytes:
        made = entries.write(
            name,
            _FLAGS,
            self._keys.digest,
            list_id=LIST_ID,
            serial=number,
            issued=at,
            expires=until,
            generation=number,
            selftest=synthetic.label(),
        )
        return bytes(made) + seal_of(made, self._keys.seal)

    def _take(self, one: Release, sealed: bytes) -> None:
        self._views = {**self._views, one.number: opened(one, sealed, self._keys)}
        self._sealed = {**self._sealed, one.number: sealed}

    def _file(self, one: Release) -> Path:
        return self._folder / f"{one.number}.image"

    def _keep(self, written: Written) -> None:
        said = msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n"
        atomic_file.write(self._folder / _FILE, said)
        self.written = written

    def _clean(self) -> None:
        kept = {f"{one.number}.image" for one in self}
        for path in self._folder.glob("*.image"):
            if path.name not in kept:
                path.unlink()

    def _say(self, event: Event, one: Release, detail: str) -> None:
        for about in one.covered:
            said = audit_details.of_release(one.number, about.line, detail)
            self._audit.append(
                event, self._now(), list_id=about.list, serial=about.serial, digest=about.digest, detail=said
            )


def statement_of(host: str, one: Release, about: Covered) -> dict[str, Any]:
    """Return what this host reports of a release to the authority of one of the lists that it covers."""
    return {
        "kind": KIND,
        "host": host,
        "release": one.number,
        "list": about.list,
        "serial": about.serial,
        "digest": about.digest,
        "line": about.line,
        "reason": one.reason,
        "at": one.at,
        "until": one.until,
    }


class ReleasesUnreadable(Exception):
    """The file is damaged."""


def read(folder: Path) -> Written:
    """Read the releases in `folder`, empty if there is no file; ReleasesUnreadable, OSError."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Written)
    except FileNotFoundError:
        return Written()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ReleasesUnreadable(_FILE) from None


def opened(one: Release, sealed: bytes, keys: Keys) -> memoryview:
    """Return the view of a release's sealed image; SealBroken or image.ImageMalformed if it is no longer ours."""
    if one.digest_key != keys.digest_id or hashlib.sha256(sealed).hexdigest() != one.image:
        raise SealBroken("image")
    view: memoryview = image.view(unseal(sealed, keys.seal))
    return view


def check_reason(reason: str, name: bytes) -> None:
    """Check that a reason is a line of text that reveals nothing of the name; NotReleased otherwise."""
    if not reason.strip() or len(reason) > MAX_REASON_LETTERS or not reason.isprintable():
        raise NotReleased(f"--reason: expected one line of at most {MAX_REASON_LETTERS} letters")
    if _DOTTED.search(reason):
        raise NotReleased("--reason holds something like a domain name: give the reason without it")
    plain = unicodedata.normalize("NFKC", reason).casefold()
    words, closed = {*_WORD.findall(plain), *_GAP.split(plain)}, _GAP.sub("", plain)
    if any(one in words or (len(part := _GAP.sub("", one)) > 5 and part in closed) for one in _labels(name)):
        raise NotReleased("--reason repeats a part of the name: give the reason without it")


def _labels(name: bytes) -> Iterator[str]:
    """Yield the labels of a name without its last, as they are and decoded from Punycode."""
    at, found = 0, []
    while name[at]:
        found.append(name[at + 1 : at + 1 + name[at]].decode("ascii", "replace").casefold())
        at += name[at] + 1
    yield from (*found[:-1], *map(_unicode, found[:-1]))


def _unicode(label: str) -> str:
    try:
        return label.removeprefix("xn--").encode().decode("punycode").casefold() if label.startswith("xn--") else label
    except UnicodeError:
        return label
