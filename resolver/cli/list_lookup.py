"""Looks names up in the saved lists of this host, for `list check` and its siblings; no service has to run.

Rules:
1. A name is judged by core.policy and by the saved images, as the service would judge it.
2. A finding names the list, the serial and how the name is covered; it repeats no name that was typed as one. A name
   that was read out of a URL or the like (`typed`) is shown to the person who typed it, who has to know the reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from resolver.cli import typed
from resolver.config.config import Config, List
from resolver.config.values import utc_text
from resolver.core import codes, image, policy
from resolver.core.name import Name, unfold
from resolver.feed import poll, release, released
from resolver.feed.activate import ImageUnusable
from resolver.feed.facts import ListFacts, of_state
from resolver.feed.places import Places
from resolver.feed.released import Free
from resolver.feed.seal import KeyUnusable
from resolver.feed.state import Record, State
from resolver.feed.store import StateUnreadable, Store
from resolver.signed import statement


class ListUnreadable(Exception):
    """The files of a list cannot be used; says which list and why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a list in force says of a name: an entry of its own, an entry above it (subtree), or an exception.

    line: of the list, None if it is not known. but: why the name is not blocked all the same, "" if it is.
    """

    list_id: str
    serial: int
    how: str
    line: int | None = None
    but: str = ""

    def __str__(self) -> str:
        line = "" if self.line is None else f", line {self.line}"
        but = f", but {self.but}: not blocked" if self.but else ""
        return f"listed by {self.list_id} serial {self.serial}{line} ({self.how}){but}"


@dataclass(frozen=True, slots=True)
class _Saved:
    facts: ListFacts
    record: Record
    view: memoryview
    key: bytes
    store: Store

    def find(self, name: Name) -> Finding | None:
        """Return what the list says of a name: by an entry that blocks, else by one that does not."""
        found = self._find(name, approved=self.record.approved)
        if found is not None:
            return replace(found, but="lifted") if self.facts.lifted and found.how != "exception" else found
        waits = self._find(name, approved=True)
        return None if waits is None else replace(waits, but=f"set aside{self._reason(waits.line)}")

    def _reason(self, line: int | None) -> str:
        """Return why a line is set aside, in brackets; "" unless it is one of the first lines: only theirs is kept."""
        reasons = [reason for reason, lines in self.record.set_aside_lines.items() if line in lines]
        return f" ({reasons[0]})" if reasons else ""

    def _find(self, name: Name, *, approved: bool) -> Finding | None:
        # Only for a member that releases does the verdict distinguish an exception from a name that is not listed.
        member = policy.Member(self.view, None, slot=0, release=True, approved=approved)
        verdict = policy.Verdict()
        said = policy.decide(policy.Generation(self.record.generation, self.key, (member,)), name, 1, verdict)
        if said == codes.ASK:
            raise ListUnreadable("a saved image cannot be searched")
        if verdict.released:
            return Finding(self.facts.list_id, self.record.serial, "exception")
        if said == codes.PASS:
            return None
        slot = image.slot_of(self.view, verdict.low, verdict.high)
        line = self.store.line(self.record, slot, image.header(self.view).slots)
        how = "itself" if verdict.depth == name.labels else "subtree"
        return Finding(self.facts.list_id, self.record.serial, how, line)


class Lists:
    """The saved images of the lists in force, and the names released at `now` (unix seconds); ListUnreadable if one
    cannot be used."""

    def __init__(self, config: Config, now: float) -> None:
        self._saved = tuple(_saved(config, now))
        self._free = tuple(_free(config, now)) if self._saved else ()

    def look_up(self, text: str) -> tuple[Finding, ...]:
        """Return what each list says of the name in what was typed, in configured order; NotAName if it is none."""
        octets = typed.wire(text)
        name = Name()
        if not unfold(octets, 0, len(octets), name):
            raise typed.NotAName("not a domain name")
        found = [one for saved in self._saved if (one := saved.find(name)) is not None]
        free = next((one for one in self._free if self._is_free(name, one)), None)
        if free is not None:
            but = f"released until {utc_text(free.until)} (release {free.number})"
            found = [one if one.but or one.how == "exception" else replace(one, but=but) for one in found]
        return tuple(found)

    def _is_free(self, name: Name, one: Free) -> bool:
        verdict, member = policy.Verdict(), policy.Member(one.view, None, slot=-1, release=True)
        policy.decide(policy.Generation(0, self._saved[0].key, (member,)), name, 1, verdict)
        return bool(verdict.released)

    def describe(self, text: str) -> str:
        """Return the same as one line of text, after the reading if the name was read out of something else."""
        return typed.read(text).shown("; ".join(map(str, self.look_up(text))) or "not listed")


def public_key(config: Config) -> str:
    """Return the public half of this host's signing key, as PEM; ListUnreadable if there is none yet."""
    try:
        return statement.pem_of(statement.public_of(poll.host_key_of(config, make=False))).decode()
    except KeyUnusable as error:
        raise ListUnreadable(f"{error}; the service makes it at its first start") from None


def _saved(config: Config, now: float) -> Iterator[_Saved]:
    places = Places(config.state.directory)
    for one, state in every_state(config):
        if state.in_force is None or state.in_force.withdrawn:
            continue
        try:
            keys = poll.keys_of(config)
            view = poll.saved_image(config, one.id, keys)
        except (ImageUnusable, KeyUnusable, OSError) as error:
            raise ListUnreadable(f"{one.id}: its saved image cannot be used: {error}") from None
        if view is not None:
            store = Store(places.list(one.id))
            yield _Saved(of_state(one, state, now), state.in_force, view, keys.digest, store)


def _free(config: Config, now: float) -> Iterator[Free]:
    places = Places(config.state.directory)
    try:
        keys = poll.keys_of(config)
        yield from released.of_host(places.releases, keys, now)
    except (KeyUnusable, release.ReleasesUnreadable, OSError) as error:
        raise ListUnreadable(f"the releases cannot be read: {_why(error)}") from None
    stores = [(one, Store(places.list(one.id))) for one in config.lists]
    yield from released.of_compile_hosts(stores, keys, now)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__


def releases(config: Config) -> tuple[release.Release, ...]:
    """Return the names that are released on this host; ListUnreadable if they cannot be read."""
    try:
        return release.read(Places(config.state.directory).releases).releases
    except (release.ReleasesUnreadable, OSError) as error:
        said = _why(error)
        raise ListUnreadable(f"the releases below {config.state.directory} cannot be read: {said}") from None


def every_state(config: Config) -> list[tuple[List, State]]:
    """Return each list with its saved state, in configured order; ListUnreadable if one cannot be read."""
    try:
        return [(one, poll.saved_state(config, one.id)) for one in config.lists]
    except PermissionError:
        said = "is not yours to read: run this as root or as the service's account"
        raise ListUnreadable(f"the state below {config.state.directory} {said}") from None
    except (StateUnreadable, OSError) as error:
        raise ListUnreadable(f"the state below {config.state.directory} cannot be read: {error}") from None


def state_of(config: Config, list_id: str) -> tuple[List, State]:
    """Return one list with its saved state; ListUnreadable if no list of that id is configured."""
    for one, state in every_state(config):
        if one.id == list_id:
            return one, state
    raise ListUnreadable("no such list is configured")
