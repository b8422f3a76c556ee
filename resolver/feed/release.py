"""Names that are released: a wrongful block lifted on this host at once, against every list.

    STATE/releases/releases.json    what is told of each release: never a name
    STATE/releases/N.image          the sealed image of release N: the keyed digest of one name, as an exception

Rules:
- A release is in force from the moment it is written down, over every restart, and ends by itself at `until`.
- It names nothing: which list, serial and line, who asked, why in words without a name.
- One signature within CONFIRM_S confirms it; without one it stays in force, and is alarmed once an hour.
- At most MAX_RELEASES at once: what is wrong in so many places is the list, and a list can be rolled back.
- What another host of the fleet has released is followed as long as it says so, and ends at `until` all the same.
- A release whose image is not ours any more is not enforced: an error blocks, it never lets pass.
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
    """What was asked is refused; the text says why and repeats nothing of it."""


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something written down."""


class Covered(_Part, frozen=True):
    """One list that blocks the name: what of it is in force, and the line of its entry where this host knows it."""

    list: str
    serial: int
    digest: str
    line: int | None = None


class Release(_Part, frozen=True):
    """One name released; times in unix seconds. image: SHA-256 of the sealed file. signer, key: who confirmed it."""

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
        """SHA-256 of what a signature confirms: all but the signature itself."""
        return hashlib.sha256(msgspec.json.encode(replace(self, signer="", key=""))).hexdigest()

    def statements(self, now: float) -> dict[int, bytes]:
        """What a signature may be under now, by when each expires: the number stands for a serial."""
        about = approve.Subject(self.number, self.digest)
        return approve.statements(Action.RELEASE, self.covered[0].list, about, now)

    def told(self) -> dict[str, Any]:
        """What may be known of it, as JSON carries it."""
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
        """Whether nobody has confirmed it in time."""
        return not self.key and now >= self.at + CONFIRM_S


class Written(_Part, frozen=True):
    """The file; `last` is the highest number ever given."""

    format: Literal[1] = 1
    last: int = 0
    releases: tuple[Release, ...] = ()


class Releases:
    """The releases of one host. `now` returns unix seconds; `enforce` takes the images (views of u64) that are in
    force; `report` takes a name, a list's id and what its authority is told."""

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

    def recover(self) -> None:
        """Enforce what is written down and not over; OSError where the folder cannot be used."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.drop_parts(self._folder)
        try:
            self.written = read(self._folder)
        except ReleasesUnreadable:
            _log.error("releases: %s is damaged: no name is released; make each release again", _FILE)
            (self._folder / _FILE).replace(self._folder / f"{_FILE}.damaged")
        for one in self:
            try:
                self._take(one, self._file(one).read_bytes())
            except (OSError, SealBroken, image.ImageMalformed):
                _log.error("release %d: its image cannot be used: it is not in force", one.number)
        self._clean()
        self._put()
        self.look()

    def add(self, name: bytes, covered: Sequence[Covered], *, uid: int, reason: str, for_s: float) -> Release:
        """Release a lower-cased name in wire format and all below it; NotReleased where that is refused."""
        if not covered:
            raise NotReleased("not listed: no list in force blocks it")
        if not LEAST_S <= for_s <= MOST_S:
            raise NotReleased("--for is out of bounds: 1h to 30d")
        check_reason(reason, name)
        if len(self.written.releases) >= MAX_RELEASES:
            raise NotReleased(f"{MAX_RELEASES} names are released: end one, or roll the list back")
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
                _log.error("release %d: what its authority is told could not be written", number)
        return one

    def end(self, number: int, why: str) -> Release:
        """Let the lists have their say again; NotReleased where there is no such release."""
        one = self.of(number)
        self._say(Event.RELEASE_ENDED, one, why)
        self._keep(replace(self.written, releases=tuple(other for other in self if other.number != number)))
        self._views = {key: view for key, view in self._views.items() if key != number}
        self._put()
        self._clean()
        return one

    def confirm(self, number: int, signer: str, key: str) -> Release:
        """Note who has signed for a release; NotReleased where there is no such release."""
        one = replace(self.of(number), signer=signer, key=key)
        self._say(Event.RELEASE_CONFIRMED, one, audit_details.confirmed(signer, key))
        self._keep(replace(self.written, releases=tuple(one if other.number == number else other for other in self)))
        return one

    def of(self, number: int) -> Release:
        """The release of this number; NotReleased where there is none."""
        for one in self:
            if one.number == number:
                return one
        raise NotReleased("no release in force has this number; see: blocklist-resolver list releases")

    def look(self) -> None:
        """End what is over; warn of what ends within a day, and of what nobody has confirmed."""
        now = self._now()
        for one in self.written.releases:
            if now >= one.until:
                self.end(one.number, "its time is over")
                _log.warning("release %d has ended: its name is blocked again where it is listed", one.number)
            elif now >= one.until - WARN_S and one.until - one.at > WARN_S and one.number not in self._warned:
                self._warned.add(one.number)
                _log.warning("release %d ends within a day: its name will be blocked again", one.number)
            if now < one.until and one.overdue(now) and now - self._alarmed.get(one.number, 0) >= ALARM_EVERY_S:
                self._alarmed[one.number] = now
                _log.warning("release %d was confirmed by no signature within a day: confirm it or end it", one.number)
        self._put()

    def follow(self, list_id: str, released: Iterable[tuple[int, bytes]]) -> None:
        """Enforce what the source of a list says is released, in place of what it said before: when each ends, and the
        sealed image."""
        found, before = {}, self._followed.get(list_id, {})
        for until, sealed in released:
            mark = hashlib.sha256(sealed).digest()
            try:
                view = before[mark][1] if mark in before else image.view(unseal(sealed, self._keys.seal))
            except (SealBroken, image.ImageMalformed):
                _log.warning("list %s: a release of its compile host is not sealed with the fleet's key", list_id)
                continue
            found[mark] = until, view
        self._followed = {**self._followed, list_id: found}
        self._put()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                self.look()
            except OSError:
                _log.warning("releases: the state folder cannot be written; tried again")
            await asyncio.sleep(LOOK_S)

    def sealed(self) -> list[tuple[Release, bytes]]:
        """Each release in force with its sealed file."""
        sealed = self._sealed
        return [(one, sealed[one.number]) for one in self if one.number in sealed]

    def expiry_of(self, list_id: str) -> int:
        """When the first release that concerns a list ends; 0 where there is none."""
        return min((one.until for one in self if any(about.list == list_id for about in one.covered)), default=0)

    def _put(self) -> None:
        """Enforce what has to be in force now, where that has changed."""
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
    """The file is not what these rules write."""


def read(folder: Path) -> Written:
    """What is written of the releases in `folder`, nothing where there is none; ReleasesUnreadable, OSError."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Written)
    except FileNotFoundError:
        return Written()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ReleasesUnreadable(_FILE) from None


def opened(one: Release, sealed: bytes, keys: Keys) -> memoryview:
    """The view of a release's sealed image; SealBroken or image.ImageMalformed where it is not ours any more."""
    if one.digest_key != keys.digest_id or hashlib.sha256(sealed).hexdigest() != one.image:
        raise SealBroken("image")
    view: memoryview = image.view(unseal(sealed, keys.seal))
    return view


def check_reason(reason: str, name: bytes) -> None:
    """NotReleased where a reason cannot be kept beside a release: it tells a name, or is none."""
    if not reason.strip() or len(reason) > MAX_REASON_LETTERS or not reason.isprintable():
        raise NotReleased(f"--reason: expected one line of at most {MAX_REASON_LETTERS} letters")
    if _DOTTED.search(reason):
        raise NotReleased("--reason holds what looks like a domain name: say why without it")
    plain = unicodedata.normalize("NFKC", reason).casefold()
    words, closed = {*_WORD.findall(plain), *_GAP.split(plain)}, _GAP.sub("", plain)
    if any(one in words or (len(part := _GAP.sub("", one)) > 5 and part in closed) for one in _labels(name)):
        raise NotReleased("--reason repeats a part of the name: say why without it")


def _labels(name: bytes) -> Iterator[str]:
    """The labels of a name but its last, as they are and as people write them."""
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
