# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Holds what functions of core write down on the way.

Rules:
- Tables that several threads share (buckets, tallies, kept answers) hold nothing of a single call: that is in the
  caller's Scratch. A thread has its own, so no thread overwrites what another is reading.
- What a function leaves for the next one stands until the same Scratch is given to a function that writes it: `prefix`
  and `who` by core.admit for core.sketch, `key` by core.store for the caller.
"""


class Scratch:
    """Octets and numbers for one thread.

    prefix: of the client admitted last; who: its digest under the buckets' key. text, words: what is digested, the same
    memory as octets and as numbers; out: its digest. tags, capped: of a client in core.tally, and their slots. key: the
    digest of the question that core.store was asked about last.
    """

    def __init__(self):
        self.prefix = memoryview(bytearray(16))
        self.who = memoryview(bytearray(16)).cast("Q")
        text = memoryview(bytearray(264))
        self.text = text
        self.words = text.cast("Q")
        self.tags = memoryview(bytearray(24)).cast("Q")
        self.capped = memoryview(bytearray(24)).cast("Q")
        self.out = memoryview(bytearray(16)).cast("Q")
        self.key = memoryview(bytearray(16)).cast("Q")
