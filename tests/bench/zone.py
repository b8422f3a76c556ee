"""`python -m tests.bench.zone`: a large zone from a real primary to the memfd, and from there to a sealed image.

Rules:
- Both run as in the service: processes of their own, confined, the list in a memfd. The fetch's time is all of it, from
  the start of the interpreter to the last octet written: SOA query, TSIG of every message and digest included.
- Peak memory is the kernel's VmHWM of each process.
- `--differences` fetches in the same run the whole zone, the whole zone with its copy, and, after ten records have gone
  and ten have come, what has changed. Octets on the wire are those that the primary says it has sent.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from resolver.config.lists import MAX_ENTRIES, MAX_TARGET_BYTES
from resolver.feed import processes
from resolver.feed.messages import CompileRequest, Facts, FetchRequest
from tests.bench import names
from tests.bench.watch import Watch
from tests.peers import primaries
from tests.peers.servers import find

_FETCH, _COMPILE = "feed.fetch.zone", "feed.names.compile"


class Measured(NamedTuple):
    """Of one process: seconds, those of them that it had a core, and the peak of its memory in bytes."""

    seconds: float
    cpu_s: float
    peak: int


async def fetched(request: FetchRequest, watch: Watch) -> tuple[Facts, Measured]:
    """The facts of the zone, which then is in `request.output`, and what that took."""
    began = time.monotonic()
    with watch.over():
        facts, _ = await processes.fetch("resolver.feed.fetch.zone", request, lambda facts: True)
    return facts, Measured(time.monotonic() - began, watch.cpu_s[_FETCH], watch.peaks[_FETCH])


async def compiled(request: CompileRequest, watch: Watch) -> tuple[int, Measured]:
    """The entries of the image, and what that took."""
    began = time.monotonic()
    with watch.over():
        said = await processes.compile_list(request)
    return said.entries, Measured(time.monotonic() - began, watch.cpu_s[_COMPILE], watch.peaks[_COMPILE])


def _sent(serving: primaries.Primary) -> str:
    """What Knot says of the last transfer that it has sent."""
    said = [line for line in (serving.folder / "log").read_text().splitlines() if "outgoing" in line]
    return said[-1].partition("] ")[2]


async def compare(serving: primaries.Primary, records: Sequence[str], rounds: int) -> None:
    """Print what a difference of twenty records costs against the whole zone."""
    watch, key = Watch((_FETCH,)), processes.memory_file("key", os.urandom(32))
    copy = processes.memory_file("copy")
    plain = FetchRequest(
        parent=os.getpid(),
        output=-1,
        list_id="bench",
        url=serving.url,
        root=str(serving.folder / f"{primaries.KEY}.key"),
        target="",
        metadata="",
        ca="",
        certificate="",
        key="",
        max_bytes=MAX_TARGET_BYTES,
        memory_bytes=processes.FETCH_MEMORY_BYTES,
        seconds=processes.FETCH_SECONDS,
    )

    async def shown(what: str, request: FetchRequest) -> Facts:
        output = processes.memory_file("list")
        facts, took = await fetched(replace(request, output=output), watch)
        os.close(output)
        print(
            f"{what}: {took.seconds:.2f} s, {took.cpu_s:.2f} s of CPU, peak {took.peak / 2**20:.0f} MiB; "
            f"serial {facts.custom.serial}, difference: {facts.difference}; {_sent(serving)}"
        )
        return facts

    await shown("whole", plain)
    facts = await shown("whole, with a copy", replace(plain, copy_key=key, copy_output=copy))
    print(f"copy: {os.fstat(copy).st_size / 2**20:.1f} MiB")
    for number in range(1, rounds + 1):
        gone = {f"{records[len(records) // 20 * at + number]}" for at in range(10)}
        come = [f"come-{number}-{at}.test CNAME ." for at in range(10)]
        records = [*(one for one in records if one not in gone), *come]
        await asyncio.to_thread(serving.publish, number + 1, records, 300)
        known = replace(
            plain,
            serial=facts.custom.serial,
            issued=facts.custom.issued,
            digest=facts.digest,
            targets_keys=facts.targets_keys,
        )
        following = processes.memory_file("copy")
        facts = await shown("what has changed", replace(known, copy=copy, copy_key=key, copy_output=following))
        os.close(copy)
        copy = following
    whole = await shown("whole", plain)
    if whole.digest != facts.digest:
        raise AssertionError("what has changed led to another list")
    os.close(copy)
    os.close(key)


async def measure(serving: primaries.Primary, count: int, rounds: int) -> None:
    """Print what each round took."""
    watch = Watch((_FETCH, _COMPILE))
    for _ in range(rounds):
        output, image = processes.memory_file("list"), processes.memory_file("image")
        keys = processes.memory_file("keys", os.urandom(64))
        fetch = FetchRequest(
            parent=os.getpid(),
            output=output,
            list_id="bench",
            url=serving.url,
            root=str(serving.folder / f"{primaries.KEY}.key"),
            target="",
            metadata="",
            ca="",
            certificate="",
            key="",
            max_bytes=MAX_TARGET_BYTES,
            memory_bytes=processes.FETCH_MEMORY_BYTES,
            seconds=processes.FETCH_SECONDS,
        )
        facts, took = await fetched(fetch, watch)
        print(
            f"fetch: {count:,} records in {took.seconds:.2f} s = {count / took.seconds:,.0f} records/s, "
            f"{took.cpu_s:.2f} s of CPU = {count / took.cpu_s:,.0f}/s, peak {took.peak / 2**20:.0f} MiB, "
            f"list {facts.length / 2**20:.1f} MiB"
        )
        request = CompileRequest(
            parent=os.getpid(),
            list_fd=output,
            output=image,
            keys=keys,
            previous=-1,
            list_id="bench",
            serial=facts.custom.serial,
            issued=facts.custom.issued,
            expires=0,
            generation=1,
            demonstration=True,
            max_entries=MAX_ENTRIES,
            memory_bytes=processes.COMPILE_MEMORY_BYTES,
            format=facts.format,
        )
        entries, took = await compiled(request, watch)
        print(
            f"compile: {entries:,} entries in {took.seconds:.2f} s, {took.cpu_s:.2f} s of CPU, "
            f"peak {took.peak / 2**20:.0f} MiB, image {os.fstat(image).st_size / 2**20:.1f} MiB"
        )
        for handle in (output, image, keys):
            os.close(handle)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 2 where the primary is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.zone", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--records", type=int, default=2_000_000, help="half of them names, half what is below them")
    parser.add_argument("--primary", choices=sorted(primaries.PROGRAMS), default="knot")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--differences", action="store_true", help="by Knot: differences against the whole zone")
    arguments = parser.parse_args(argv)
    if arguments.differences and arguments.primary != "knot":
        parser.error("--differences reads what Knot says it has sent")
    if find(primaries.PROGRAMS[arguments.primary]) is None:
        sys.stderr.write(f"missing: {arguments.primary}; `make peers` installs what is needed\n")
        return 2
    records = [f"{owner} CNAME ." for name in names.listed(arguments.records // 2) for owner in (name, f"*.{name}")]
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        primaries.primary(arguments.primary, Path(folder) / "primary", records, seconds=300) as serving,
    ):
        if arguments.differences:
            asyncio.run(compare(serving, records, arguments.rounds))
        else:
            asyncio.run(measure(serving, len(records), arguments.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
