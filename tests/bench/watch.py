"""What the children of a process take while they live: core time and the peak of their memory, as the kernel says."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_LOOK_S = 0.005
_TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(process: Path) -> float:
    """Seconds that a process, given by its folder in /proc, has had a core; its children not included."""
    return sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13])) / _TICK


def peak(process: Path) -> int:
    """The peak of a process's memory in bytes; 0 where it has none any more."""
    said = (process / "status").read_text().partition("VmHWM:")[2].split()
    return int(said[0]) * 1024 if said else 0


@dataclass
class Watch:
    """Looks at those children of a process whose command holds one of `words`; what they took stands by the word."""

    words: tuple[str, ...]
    parent: int = field(default_factory=os.getpid)
    peaks: dict[str, int] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def over(self) -> Iterator[None]:
        """Look until the end of the block."""
        self.peaks, self.cpu_s = dict.fromkeys(self.words, 0), dict.fromkeys(self.words, 0.0)
        done = threading.Event()
        thread = threading.Thread(target=self._look, args=(done,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _look(self, done: threading.Event) -> None:
        while not done.wait(_LOOK_S):
            with suppress(OSError):  # A thread, or a child, has just ended.
                for task in Path(f"/proc/{self.parent}/task").iterdir():
                    for child in (task / "children").read_text().split():
                        self._note(Path("/proc") / child)

    def _note(self, process: Path) -> None:
        command = (process / "cmdline").read_bytes()
        for word in self.words:
            if word.encode() in command:
                self.peaks[word] = max(self.peaks[word], peak(process))
                self.cpu_s[word] = max(self.cpu_s[word], cpu_s(process))
