"""The core without sockets: microseconds from the bytes of a query for a listed name to those of its answer."""

import time
from collections.abc import Callable, Sequence
from types import ModuleType

from tests.bench import names
from tests.parity import twin

KEY = bytes(range(16))
QUERIES = 1000
OUT_OCTETS = 4096


def _image(listed: Sequence[str]) -> bytes:
    entries, codes = twin.compiled("entries"), twin.compiled("codes")
    wire = [names.wire(name) for name in listed]
    flags = (codes.BLOCK_SELF | codes.BLOCK_BELOW).to_bytes(2, "little") * len(wire)
    made = entries.write(
        b"".join(wire), flags, KEY, list_id="demo", serial=1, issued=1, expires=0, generation=1, selftest=b"a" * 26,
        previous=None,
    )  # fmt: skip
    return bytes(made)


def _query(name: str) -> bytes:
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" + names.wire(name) + (
        b"\x00\x01\x00\x01" + b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
    )  # fmt: skip


def _asker(module: Callable[[str], ModuleType], data: bytes) -> Callable[[Sequence[bytes]], int]:
    """A function that answers queries with one build, and returns how many were blocked."""
    image, policy, question, reply, codes = map(module, ("image", "policy", "question", "reply", "codes"))
    replies = reply.Replies(codes.ANSWER_PAGE, statute=True, v4=(bytes([192, 0, 2, 1]),))
    member = policy.Member(image.view(data), replies, slot=0)
    generation = policy.Generation(1, KEY, [member])
    asked, verdict, out = question.Question(), policy.Verdict(), memoryview(bytearray(OUT_OCTETS))
    parse, decide, answer, limit_of, block = (
        question.parse, policy.decide, policy.answer, reply.limit_of, codes.BLOCK,
    )  # fmt: skip

    def ask(queries: Sequence[bytes]) -> int:
        blocked = 0
        for query in queries:
            parse(query, len(query), asked)
            if decide(generation, asked.name, 1, verdict) == block:
                blocked += answer(generation, verdict, out, query, asked, limit_of(asked, 512, 1232)) > 0
        return blocked

    return ask


def measure(listed: Sequence[str], seconds: float) -> dict[str, float]:
    """Microseconds of CPU a blocked query, by build."""
    data, queries = _image(listed), [_query(name) for name in listed[:QUERIES]]
    found = {}
    for build, module in (("compiled", twin.compiled), ("plain", twin.load)):
        ask, done, start = _asker(module, data), 0, time.process_time()
        while time.process_time() - start < seconds:
            assert ask(queries) == len(queries)
            done += len(queries)
        found[build] = (time.process_time() - start) / done * 1e6
    return found
