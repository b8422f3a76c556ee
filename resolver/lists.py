"""What is written of the lists on this host, for `list status` and `list check`; no service need run.

Rules:
1. A name is judged by core.policy and by the saved images, as the service would judge it.
2. What is said of a name is the list, the serial and how it is covered; the name itself is never repeated.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import idna

from resolver.authority import statement
from resolver.config import Config
from resolver.core import codes, image, policy
from resolver.core.name import Name, unfold
from resolver.feed import approve, fleet_receipt, poll, release
from resolver.feed.activate import ImageUnusable
from resolver.feed.seal import KeyUnusable
from resolver.feed.state import Record
from resolver.feed.store import StateUnreadable, Store
from resolver.feed.suffixes import DOCUMENTATION_NAMES, DOCUMENTATION_TLDS


class ListUnreadable(Exception):
    """What is written of a list cannot be used; says which list and why."""


class NotAName(Exception):
    """The text is no domain name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """That a list in force speaks of a name: itself, by an entry above it (subtree), or as an exception.

    line: of the list, None where it is not known. waits: whether the entry is set aside, and nobody has approved it.
    """

    list_id: str
    serial: int
    how: str
    line: int | None = None
    waits: bool = False

    def __str__(self) -> str:
        line = "" if self.line is None else f", line {self.line}"
        waits = ", set aside, not enforced" if self.waits else ""
        return f"listed by {self.list_id} serial {self.serial}{line} ({self.how}){waits}"


@dataclass(frozen=True, slots=True)
class _Saved:
    list_id: str
    record: Record
    view: memoryview
    key: bytes
    store: Store

    def find(self, name: Name) -> Finding | None:
        """What the list says of a name; an entry that waits is told where nothing is enforced."""
        return self._find(name, approved=self.record.approved) or self._find(name, approved=True, waits=True)

    def _find(self, name: Name, *, approved: bool, waits: bool = False) -> Finding | None:
        # As a member that releases, a list tells an exception from a name it says nothing of.
        member = policy.Member(self.view, None, slot=0, release=True, approved=approved)
        verdict = policy.Verdict()
        said = policy.decide(policy.Generation(self.record.generation, self.key, (member,)), name, 1, verdict)
        if said == codes.ASK:
            raise ListUnreadable("a saved image cannot be searched")
        if verdict.released:
            return Finding(self.list_id, self.record.serial, "exception")
        if said == codes.PASS:
            return None
        slot = image.slot_of(self.view, verdict.low, verdict.high)
        line = self.store.line(self.record, slot, image.header(self.view).slots)
        how = "itself" if verdict.depth == name.labels else "subtree"
        return Finding(self.list_id, self.record.serial, how, line, waits)


def wire(text: str) -> bytes:
    """The wire format of a name as a person writes it (UTS 46 beyond ASCII); NotAName otherwise."""
    try:
        plain = text.encode("ascii") if text.isascii() else idna.encode(text, uts46=True)
    except idna.IDNAError:
        raise NotAName("not a domain name") from None
    labels = plain.removesuffix(b".").split(b".")
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise NotAName("not a domain name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def is_reserved(text: str) -> bool:
    """Whether the name is one of those that nobody owns (RFC 2606), and so no secret."""
    name = b"." + text.encode("ascii", "replace").lower().removesuffix(b".")
    return name.endswith(tuple(b"." + one for one in (*DOCUMENTATION_TLDS, *DOCUMENTATION_NAMES)))


class Lists:
    """The saved images of the lists in force; ListUnreadable where one cannot be used."""

    def __init__(self, config: Config) -> None:
        self._saved = tuple(_saved(config))

    def look_up(self, text: str) -> tuple[Finding, ...]:
        """What each list says of a name, in configured order; NotAName where it is none."""
        octets = wire(text)
        name = Name()
        if not unfold(octets, 0, len(octets), name):
            raise NotAName("not a domain name")
        return tuple(found for saved in self._saved if (found := saved.find(name)) is not None)

    def describe(self, text: str) -> str:
        """The same in one line that a person reads."""
        try:
            return "; ".join(map(str, self.look_up(text))) or "not listed"
        except NotAName as error:
            return str(error)


def public_key(config: Config) -> str:
    """The public half of what this host signs with, as PEM; ListUnreadable where there is none yet."""
    try:
        return statement.pem_of(statement.public_of(poll.host_key_of(config, make=False))).decode()
    except KeyUnusable as error:
        raise ListUnreadable(f"{error}; the service makes it at its first start") from None


def _saved(config: Config) -> Iterator[_Saved]:
    for one in _status(config):
        if one.in_force is None or one.in_force.withdrawn:
            continue
        try:
            keys = poll.keys_of(config)
            view = poll.saved_image(config, one.list_id, keys)
        except (ImageUnusable, KeyUnusable, OSError) as error:
            raise ListUnreadable(f"{one.list_id}: its saved image cannot be used: {error}") from None
        if view is not None:
            store = Store(poll.folder_of(config, one.list_id))
            yield _Saved(one.list_id, one.in_force, view, keys.digest, store)


def releases(config: Config) -> tuple[release.Release, ...]:
    """What is written of the names that are released on this host; ListUnreadable where that cannot be read."""
    folder = Path(config.state.directory) / "releases"
    try:
        return release.read(folder).releases
    except (release.ReleasesUnreadable, OSError) as error:
        said = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        raise ListUnreadable(f"what is released below {config.state.directory} cannot be read: {said}") from None


def _status(config: Config) -> list[poll.Status]:
    try:
        return poll.read_status(config)
    except PermissionError:
        said = "is not yours to read: run this as root or as the service's account"
        raise ListUnreadable(f"the state below {config.state.directory} {said}") from None
    except (StateUnreadable, OSError) as error:
        raise ListUnreadable(f"the state below {config.state.directory} cannot be read: {error}") from None


def status_of(config: Config, list_id: str) -> poll.Status:
    """What is written of one list; ListUnreadable where there is none of that id."""
    for one in _status(config):
        if one.list_id == list_id:
            return one
    raise ListUnreadable("no such list is configured")


def _date(seconds: int | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None


def _facts(one: poll.Status) -> dict[str, object]:
    """One list's status as JSON shows it; dates in UTC, null where there is none."""
    record = one.in_force
    return {
        "list": one.list_id,
        "serial": record.serial if record else None,
        "in_force_since": _date(record.since) if record else None,
        "issued": _date(record.issued) if record else None,
        "expires": _date(record.expires) if record else None,
        "hard_limit": _date(one.expiry),
        "entries": record.entries if record else 0,
        "withdrawn": bool(record and record.withdrawn),
        "refused": dict(record.refused) if record else {},
        "held": {"serial": one.held.serial, "reasons": list(one.held_for)} if one.held else None,
        "quarantined": one.quarantined,
    }


def status_as_json(config: Config) -> str:
    """Status of every list as one JSON array."""
    told = [{**_facts(one), "fleet": _reported(_fleet(config, one))} for one in _status(config)]
    return json.dumps(told, indent=2)


def status(config: Config) -> str:
    """Status of every list as a person reads it."""
    return "\n".join(line for one in _status(config) for line in (*_lines(one), *_fleet_lines(config, one)))


def _fleet(config: Config, one: poll.Status) -> fleet_receipt.Reports | None:
    """Who of a fleet has reported the list in force; None where this host collects no receipts, or has no list."""
    fleet = config.fleet
    if not fleet.nodes or one.in_force is None:
        return None
    try:
        return fleet_receipt.Collector(Path(fleet.receipts), Path(fleet.nodes)).reports(one.list_id, one.in_force)
    except OSError as error:
        raise ListUnreadable(f"the fleet's receipts cannot be read: {error.strerror}") from None


def _reported(found: fleet_receipt.Reports | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {"nodes": found.nodes, "reported": len(found.since), "since": {k: _date(v) for k, v in found.since.items()}}


def _fleet_lines(config: Config, one: poll.Status) -> Iterator[str]:
    found = _fleet(config, one)
    if found is not None and one.in_force is not None:
        said = f"reported in force by {len(found.since)} of {found.nodes} hosts"
        yield f"  fleet: serial {one.in_force.serial} is {said}"


def _lines(one: poll.Status) -> Iterator[str]:
    record = one.in_force
    if record is None:
        yield f"{one.list_id}: no verified list yet"
    elif record.withdrawn:
        yield f"{one.list_id}: withdrawn by serial {record.serial}, nothing is blocked"
    else:
        yield f"{one.list_id}: serial {record.serial} in force, {record.entries} entries"
    if record is not None:
        yield f"  issued {_date(record.issued)}, in force since {_date(record.since) or 'unknown'}"
        yield f"  expires {_date(record.expires) or 'as configured'}, hard limit {_date(one.expiry)}"
        refused = ", ".join(f"{reason} {count}" for reason, count in sorted(record.refused.items()) if count)
        yield f"  refused lines: {refused or 'none'}"
    if one.held is not None:
        yield f"  held: serial {one.held.serial} ({', '.join(one.held_for)}); see: list held {one.list_id}"
    waits = approve.unconfirmed(one.state)
    if waits is not None:
        yield f"  rolled back on {_date(waits.at)} by {waits.principal} alone; next: list held {one.list_id}"
