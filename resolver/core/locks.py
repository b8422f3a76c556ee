# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Locks the tables that several threads change, for a few steps at a time.

Rules:
- A table is in shards, each with its lock: a word, in a cache line of its own. Who changes a shard holds its lock,
  with the GIL or without.
- With a lock held nothing raises, waits or calls Python. An error in code without the GIL waits for the GIL, and who
  has that may be waiting for the lock. So ranges are checked and digests made before; the indexes used within come
  from the table's own size.
- Who needs several locks of a table takes them in ascending order of their shards, each once.
- A lock is held for a number of steps that has a bound. A thread that finds it held turns in place, and lets others run
  now and then: its holder may be a thread that the kernel has stopped.
- The plain build has no thread in core beside the one with the GIL, and none of these functions does anything.
"""

import cython


class Locks:
    """The locks of `shards` shards, a power of two; of a shard only its lowest bits count."""

    def __init__(self, shards):
        if shards < 1 or shards & (shards - 1):
            raise ValueError("shards: not a power of two")
        # A line for each: else threads of different shards would take the same line from each other.
        self.words = memoryview(bytearray(64 * shards)).cast("Q")
        self.mask = shards - 1


if not cython.compiled:

    def hold(locks, shard):
        """Take the lock of a shard; wait until it is free."""

    def try_to_hold(locks, shard):
        """Take the lock of a shard if it is free; return whether it was."""
        return 1

    def release(locks, shard):
        """Give the lock of a shard back."""

    def count_in(counted, period):
        """Count one in the low half of counted[0], whose high half is the period; a later one begins at 0. Returns 0.

        It needs no lock.
        """
        counted[0] = period << 32 | 1 if counted[0] >> 32 < period else counted[0] + 1
        return 0

    def fence_before_writes():
        """Let other threads see what was written before, before they see anything that is written later."""

    def fence_after_reads():
        """Read what follows after everything that was read before."""
