"""The side of the resolver that a list reaches: configuration, a judgement by suffixes, what is enforced."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from resolver.config import config
from resolver.core import codes, image, siphash
from resolver.feed import activate, poll
from resolver.feed.receipt import Proof
from resolver.feed.state import Record
from resolver.feed.update import ListUpdate
from tests.fakes.authority import Authority


def wire(name: str) -> bytes:
    """A name in wire format."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


@dataclass
class Enforcer:
    """Stands for the service: `enforced` is a serial, "lifted" or "no list". `source`: the lines of [list.source],
    where it is not the authority's repository; `of_source`: more of them; `page`: of [page]."""

    authority: Authority | None
    folder: Path
    settings: str = ""
    demonstration: bool = True
    source: str = ""
    of_source: str = ""
    page: str = ""
    now: Callable[[], float] = time.time
    enforced: int | str = "no list"
    fail_swaps: int = 0
    judged_wrong: bool = False
    approved: bool = False
    wrong: int = 0
    silent: int = 0
    proofs: int = 0
    asked: frozenset[str] = frozenset()
    view: memoryview | None = None
    events: list[int | str] = field(default_factory=list)
    told: Callable[[int | str], object] = str

    def __post_init__(self) -> None:
        self.config = self.configured()
        self.keys = poll.keys_of(self.config)
        self.feed = self.started()

    def configured(self) -> config.Config:
        guard = "" if "[list.guard]" in self.settings else "[list.guard]\nexpect_entries = [1, 4000000]\n"
        beat = "" if self.demonstration else "[count]\npublish_every = '15m'\n"
        source = self.source
        if self.authority is not None:
            source = f'kind = "tuf"\nurl = "{self.authority.url}"\nroot = "{self.authority.pinned}"'
        text = f"""
            [upstream]
            servers = ["127.0.0.1:5301"]
            [page]
            addresses = ["192.0.2.1"]
            listen = []
            {self.page}
            {beat}
            [state]
            directory = "{self.folder}"
            [[list]]
            id = "demo"
            demonstration = {str(self.demonstration).lower()}
            expire = "keep"
            {{list}}
            [list.source]
            {source}
            poll = "1m"
            {self.of_source}
            {guard}
        """
        own, _, rest = self.settings.partition("[list.guard]")
        if "expire" in own:
            text = text.replace('expire = "keep"\n', "\n")
        text = text.replace("{list}", own) + ("[list.guard]" + rest if rest else "")
        return config.parse(text, "resolver.toml")

    def started(self, *, later: bool = False) -> poll.Feed:
        """A new process, as far as the feed can tell; later: as poll.Feed has it."""
        self.enforced, self.view = "no list", None
        hooks = activate.Hooks(
            judge=self.judge,
            put_in_force=self.put_in_force,
            lift=self.lift,
            take_out=self.take_out,
            prove=self.prove,
            follow=self.follow,
            widely_asked=self.widely_asked,
        )
        return poll.Feed(self.config, self.keys, hooks, now=self._clock, later=later)

    def _clock(self) -> float:
        return self.now()

    @property
    def list(self) -> ListUpdate:
        return self.feed["demo"]

    @property
    def failures(self) -> dict[str, int]:
        return self.list.failures.counts

    def restarted(self) -> None:
        """Stop, start, recover."""
        self.feed = self.started()
        self.feed.recover()

    def blocks(self, name: str) -> bool:
        """Whether the image in force blocks a name."""
        return self.view is not None and self.judge(self.view)(wire(name), 1) == codes.BLOCK

    def enforces(self, name: str) -> bool:
        """Whether an entry of just this name is in force."""
        return bool(image.find(self.view, *siphash.digest_of(self.keys.digest, wire(name))))

    def judge(self, view: memoryview) -> Callable[[bytes, int], int]:
        """Judge by the entries on the way up, independently of core.policy."""

        def verdict(name: bytes, qtype: int) -> int:
            at = 0
            while name[at]:
                low, high = siphash.digest_of(self.keys.digest, name[at:])
                bits = image.find(view, low, high)
                if bits & codes.SET_ASIDE and not self.approved:
                    bits &= ~(codes.BLOCK_SELF | codes.BLOCK_BELOW)
                if bits:
                    block, exception = (
                        (codes.BLOCK_SELF, codes.EXCEPT_SELF) if at == 0 else (codes.BLOCK_BELOW, codes.EXCEPT_BELOW)
                    )
                    if bits & exception:
                        return codes.PASS
                    if bits & block:
                        return codes.PASS if self.judged_wrong else codes.BLOCK
                at += name[at] + 1
            return codes.PASS

        return verdict

    def put_in_force(self, list_id: str, view: memoryview, record: Record) -> None:
        if self.fail_swaps:
            self.fail_swaps -= 1
            raise RuntimeError("name0.test")
        self.view, self.approved = view, record.approved
        self._tell(record.serial)

    async def prove(self, list_id: str, view: memoryview) -> Proof:
        """Ask the sockets, of which `wrong` answer wrongly and `silent` not at all."""
        self.proofs += 1
        return Proof(sockets=2, questions=6, wrong=self.wrong, silent=self.silent)

    def follow(self, list_id: str, released: Iterable[tuple[int, bytes]]) -> None:
        """Take the names that a compile host has released; only a node has one."""

    def widely_asked(self, share: float) -> set[tuple[int, int]]:
        """The digests of the names that clients are said to have asked."""
        return {siphash.digest_of(self.keys.digest, wire(name)) for name in self.asked}

    def lift(self, list_id: str) -> None:
        self.view = None
        self._tell("lifted")

    def take_out(self, list_id: str) -> None:
        self.view = None
        self._tell("no list")

    def _tell(self, event: int | str) -> None:
        self.enforced = event
        self.events.append(event)
        self.told(event)


def all_bytes_below(folder: Path) -> bytes:
    """Everything that is written below a folder, names of files included."""
    return b"\n".join(_bytes_of(folder.rglob("*")))


def _bytes_of(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        yield str(path).encode()
        if path.is_file():
            yield path.read_bytes()
