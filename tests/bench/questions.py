"""The files of questions of one run of the bench, each written when it is first needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import names
from tests.bench.subjects import Subject
from tests.bench.workloads import Workload
from tests.journeys.running import PAGE_V4

FEWER = 10_000
# As many questions for each second of load; a load that has asked them all ends early, or begins again where it may.
A_SECOND = 250_000


@dataclass(frozen=True)
class Questions:
    """Below `folder`: for a list, for runs of so many seconds, with or without EDNS."""

    folder: Path
    listed: Sequence[str]
    seconds: float
    edns: bool

    @property
    def every_cached(self) -> Path:
        """Each name that is kept, once."""
        path = self.folder / "every-cached"
        if not path.exists():
            names.write_every_cached(path)
        return path

    def text(self, workload: Workload, subject: Subject, round_number: int) -> Path:
        """As dnsperf reads them: the same for all subjects, but for one that has only the fewer names."""
        kind, count = workload.questions, int(self.seconds * A_SECOND)
        some = self.listed[:FEWER] if subject.few else self.listed
        path = self.folder / f"{kind}{len(some) if kind == 'blocked' else ''}{round_number if workload.once else ''}"
        if not path.exists():
            if kind == "blocked":
                names.write_blocked(path, some, count)
            elif kind == "cached":
                names.write_cached(path, count)
            elif kind == "mixed":
                names.write_mixed(path, self.listed[:FEWER], count, round_number)
            else:
                names.write_miss(path, count, round_number)
        return path

    def wire(self, text: Path, header: bytes = b"", *, checked: bool = True) -> Path:
        """The same as ask.c reads them, each behind `header`; unchecked, any answer will do."""
        path = text.with_name(f"{text.name}-{len(header)}-{'checked' if checked else 'any'}")
        if not path.exists():
            names.write_wire(path, text, PAGE_V4, header, edns=self.edns, checked=checked)
        return path
