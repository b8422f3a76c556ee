"""Simulated nodes of a fleet, some thousands in a process: what a node does with its compile host, and nothing else.

Real are the fetch (feed.fetch.image whole: connections, TLS with a certificate of each node's own, statements that
are verified and kept, the image), the image that is opened by the fleet's keys, and the receipt, signed by a key of
each node's own and posted. Simulated: there is no process for each node or poll, no list is tested or enforced, no
receipt is on a disk before it is delivered, and what a node keeps is in a folder in memory. A receipt says that nothing
was tested.

Rules:
- One thread polls a node; it is due again as a real one is (feed.poll.pause_of), counted from the end of its last poll.
  Where the machine cannot do so many, a poll is late, and that is counted.
- Threads of their own post receipts, as a real node's outbox does beside its polls; one that is not accepted is posted
  again after the same pause as there.
- What was in force when stands in arrays that the parent reads while this process runs.
"""

import ctypes
import heapq
import os
import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.config.config import Source
from resolver.config.values import Seconds
from resolver.feed import activate, manifest, outbox, poll, processes, receipt, seal
from resolver.feed.fetch import image
from resolver.feed.fetch.child import contents
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.sandbox import Failed
from resolver.feed.transport import Access, NotFetched, Transport
from resolver.signed import statement

THREADS = 40
POSTING = 20
"""Threads that poll, and threads that post."""
SECONDS = 60.0
"""Timeout of a fetch, as a real node has it."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What all nodes have in common: where they fetch and post, the compile host's key, the fleet's keys."""

    url: str
    receipts: str
    ca: str
    root: str
    keys: seal.Keys
    list_id: str
    poll: float

    @property
    def source(self) -> Source:
        """What a node configures."""
        return Source(kind="image", url=self.url, root=self.root, poll=Seconds(self.poll))


class Counts(ctypes.Structure):
    """What the nodes of one process have done; seconds late are those of all polls together."""

    _fields_ = (
        ("polls", ctypes.c_uint64),
        ("images", ctypes.c_uint64),
        ("receipts", ctypes.c_uint64),
        ("failed", ctypes.c_uint64),
        ("late_s", ctypes.c_double),
        ("cpu_s", ctypes.c_double),
    )


@dataclass
class Node:
    """One node: its name, its key, the file with its certificate and key, the folder of what it keeps."""

    name: str
    number: int
    key: Ed25519PrivateKey
    certificate: str
    folder: Path
    fleet: Fleet
    generation: int = 0
    digest: str = ""

    def poll(self) -> tuple[int, bytes]:
        """Fetch what is due and take it; return the serial that came, 0 if none did, and its receipt. Failed."""
        found: list[Facts] = []
        with memory() as handle:

            def wanted(facts: Facts) -> bool:
                found.append(facts)
                made = facts.made
                assert made is not None
                return (facts.digest, made.generation) != (self.digest, self.generation)

            if image.fetch(self._request(handle), wanted):
                return self._take(found[0], contents(handle))
        return 0, b""

    def post(self, data: bytes) -> None:
        """Post a receipt; NotFetched unless it is accepted."""
        access = Access(ca=self.fleet.ca, certificate=self.certificate, key=self.certificate)
        Transport(access, SECONDS).post(self.fleet.receipts, data)

    def _request(self, handle: int) -> FetchRequest:
        return FetchRequest(
            parent=os.getpid(),
            output=handle,
            list_id=self.fleet.list_id,
            url=self.fleet.url,
            root=self.fleet.root,
            target=self.fleet.list_id,
            metadata=str(self.folder),
            ca=self.fleet.ca,
            certificate=self.certificate,
            key=self.certificate,
            max_bytes=processes.MAX_TARGET_BYTES,
            memory_bytes=processes.FETCH_MEMORY_BYTES,
            seconds=SECONDS,
        )

    def _take(self, facts: Facts, sealed: bytes) -> tuple[int, bytes]:
        """Open the image as a service does before it tests it; return its serial and the receipt."""
        record, now = manifest.record_of(facts), int(time.time())
        path = self.folder / record.image
        path.write_bytes(sealed)
        activate.load(
            self.folder, record, self.fleet.keys, list_id=self.fleet.list_id, demonstration=record.demonstration
        )
        path.unlink()
        self.digest, self.generation = record.digest, record.generation
        said: dict[str, Any] = receipt.receipt(
            record, list_id=self.fleet.list_id, host=self.name, at=now, head=(1, "0" * 64), tested=None, proof=None
        )
        return record.serial, statement.sign(said | {"in_force_since": now}, self.key)


@contextmanager
def memory() -> Iterator[int]:
    """A file in memory for one image."""
    handle = os.memfd_create("image")
    try:
        yield handle
    finally:
        os.close(handle)


class Polling:
    """Polls nodes until it is told to stop. at: for each serial, unix seconds by number of a node; 0: not in force."""

    def __init__(self, nodes: list[Node], counts: Counts, at: list[Any]) -> None:
        self._nodes = nodes
        self._counts = counts
        self._at = at
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._due: queue.Queue[tuple[Node, bytes] | None] = queue.Queue()

    def run(self, stop: Any) -> None:
        """Poll in threads until the event `stop` of the parent."""
        threads = [threading.Thread(target=self._poll, args=(self._nodes[n::THREADS],)) for n in range(THREADS)]
        threads += [threading.Thread(target=self._post) for _ in range(POSTING)]
        for one in threads:
            one.start()
        while not stop.wait(0.5):
            self._counts.cpu_s = time.process_time()
        self._stop.set()
        for _ in range(POSTING):
            self._due.put(None)
        for one in threads:
            one.join()
        self._counts.cpu_s = time.process_time()

    def _poll(self, nodes: list[Node]) -> None:
        now = time.monotonic()
        due = [(now + random.random() * node.fleet.poll, node.number, node) for node in nodes]
        heapq.heapify(due)
        while due:
            at, _, node = due[0]
            if self._stop.wait(max(0.0, at - time.monotonic())):
                return
            late = max(0.0, time.monotonic() - at)
            serial, data, failed = 0, b"", 0
            try:
                serial, data = node.poll()
            except Failed:
                failed = 1
            with self._lock:
                self._counts.polls += 1
                self._counts.failed += failed
                self._counts.late_s += late
                self._counts.images += bool(data)
            if data:
                self._at[serial - 1][node.number] = time.time()
                self._due.put((node, data))
            heapq.heapreplace(due, (time.monotonic() + poll.pause_of(node.fleet.source), node.number, node))

    def _post(self) -> None:
        while (one := self._due.get()) is not None:
            node, data = one
            while not self._stop.is_set():
                try:
                    node.post(data)
                    break
                except NotFetched:
                    with self._lock:
                        self._counts.failed += 1
                    self._stop.wait(outbox.FIRST_PAUSE_S)
            else:
                return
            with self._lock:
                self._counts.receipts += 1


def run(nodes: list[tuple[str, int, bytes, str, str]], fleet: Fleet, counts: Counts, at: list[Any], stop: Any) -> None:
    """Be a process with these nodes: name, number, private key, certificate and folder of each."""
    made = [
        Node(name, number, Ed25519PrivateKey.from_private_bytes(key), certificate, Path(folder), fleet)
        for name, number, key, certificate, folder in nodes
    ]
    Polling(made, counts, at).run(stop)
