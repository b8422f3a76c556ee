"""Judging goes on while another thread holds the GIL, by damaged images too.

The threads of the engine never have the GIL. Here are two such threads, made in C, which call the compiled functions as
the engine does; meanwhile the test waits in C with the GIL held. A function that took it would wait for ever.
"""

import ctypes
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resolver.core import codes
from tests.parity import twin
from tests.unit.core.generations import KEY, entries, image, member, name, query, replies, wire

SOURCE = r"""
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

struct work {
    /* The last argument of each is Cython's own. */
    int (*prepare)(void *generation, void *name, int);
    int (*decide_ready)(void *generation, void *name, uint32_t scope, void *verdict, int qtype, int);
    int (*judge_nogil)(void *generation, void *message, uint32_t scope, void *name, void *verdict, int);
    void *generation, *name, *verdict, *message;
    int expected;
    atomic_int stop, wrong;
    atomic_long done;
    pthread_t thread;
};

static void *run(void *data) {
    struct work *work = data;
    while (!work->stop) {
        int said;
        if (work->message) {
            said = work->judge_nogil(work->generation, work->message, 0xFFFF, work->name, work->verdict, 0);
        } else {
            work->prepare(work->generation, work->name, 0);
            said = work->decide_ready(work->generation, work->name, 0xFFFF, work->verdict, 1, 0);
        }
        work->wrong |= said != work->expected;
        work->done++;
    }
    return 0;
}

int start(struct work *work) { return pthread_create(&work->thread, 0, run, work); }

/* Waits until so many are done, or so many seconds are over; the caller has the GIL all the time. */
long wait_for(struct work *work, long done, long seconds) {
    struct timespec moment = {0, 1000000}, now, begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        nanosleep(&moment, 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (work->done < done && now.tv_sec - begun.tv_sec < seconds);
    return work->done;
}
"""
ENOUGH = 10_000
"""So many judgements with the GIL held. One that needs the GIL would be the last."""
PATIENCE_S = 60

LISTED = entries("sub.test", "!fine.sub.test", "=a.b.exact.test")
REPLY = bytearray(query("www.example", flags=0x8180))
REPLY[7] = 1
REPLY += b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\x0a" + wire("sub.test")


class Work(ctypes.Structure):
    """The struct of the same name in C."""

    _fields_ = [
        *((field, ctypes.c_void_p) for field in (
            "prepare", "decide_ready", "judge_nogil", "generation", "name", "verdict", "message",
        )),
        ("expected", ctypes.c_int),
        ("stop", ctypes.c_int),
        ("wrong", ctypes.c_int),
        ("done", ctypes.c_long),
        ("thread", ctypes.c_ulong),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> ctypes.PyDLL:
    """The C above; its functions are called with the GIL held."""
    folder = tmp_path_factory.mktemp("threads")
    source, made = folder / "threads.c", folder / "threads.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-pthread", str(source), "-o", str(made)], check=True)
    return library(made)


def library(path: Path) -> ctypes.PyDLL:
    found = ctypes.PyDLL(str(path))
    found.start.argtypes = [ctypes.POINTER(Work)]
    found.wait_for.argtypes = [ctypes.POINTER(Work), ctypes.c_long, ctypes.c_long]
    found.wait_for.restype = ctypes.c_long
    return found


def address(function: str) -> int:
    """Where a compiled function of core.policy begins."""
    capsule = ctypes.py_object(twin.compiled("policy").__pyx_capi__[function])
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.argtypes, name_of.restype = [ctypes.py_object], ctypes.c_char_p
    pointer_of.argtypes, pointer_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    found: int = pointer_of(capsule, name_of(capsule))
    return found


class Judge:
    """A thread without the GIL that judges one name, or one reply, again and again."""

    def __init__(self, generation: Any, expected: int, *, reply: bytes = b"") -> None:
        self.verdict = twin.compiled("policy").Verdict()
        self.name = name(twin.compiled, wire("x.sub.test"))
        self.generation, self.message = generation, twin.compiled("message").Message()
        if reply:
            assert twin.compiled("message").read(reply, len(reply), self.message) == 1
        self.work = Work(
            *map(address, ("prepare", "decide_ready", "judge_nogil")), id(generation), id(self.name),
            id(self.verdict), id(self.message) if reply else None, expected,
        )  # fmt: skip


def judging(threads: ctypes.PyDLL, judges: list[Judge]) -> Iterator[Judge]:
    """Start them, wait for each with the GIL held, end them."""
    for one in judges:
        assert threads.start(ctypes.byref(one.work)) == 0
    done = [threads.wait_for(ctypes.byref(one.work), ENOUGH, PATIENCE_S) for one in judges]
    for one in judges:
        one.work.stop = 1
    # Joined without the GIL, so that a judgement that waits for it ends as well.
    for one in judges:
        ctypes.CDLL(None).pthread_join(ctypes.c_ulong(one.work.thread), None)
    assert min(done) >= ENOUGH, done
    yield from judges


def cut() -> Any:
    """A generation whose image has become shorter after it was looked at, beside one that is whole."""
    policy, words = twin.compiled("policy"), twin.compiled("image").view(image(twin.compiled, LISTED))
    damaged = policy.Member(words[:-2], replies(twin.compiled), slot=1)
    return policy.Generation(1, KEY, [member(twin.compiled, LISTED), damaged])


def full() -> Any:
    """A generation whose image has no empty slot: a search in it would not end."""
    policy, octets = twin.compiled("policy"), bytearray(image(twin.compiled, LISTED))
    words = twin.compiled("image").view(octets)
    memoryview(octets)[8 * 24 :] = b"\xff" * (len(octets) - 8 * 24)
    return policy.Generation(1, KEY, [policy.Member(words, replies(twin.compiled), slot=0)])


def whole() -> Any:
    return twin.compiled("policy").Generation(1, KEY, [member(twin.compiled, LISTED)])


@pytest.mark.parametrize("reply", [b"", bytes(REPLY)], ids=["name", "reply"])
@pytest.mark.parametrize(
    ("made", "expected"), [(whole, codes.BLOCK), (cut, codes.ASK), (full, codes.ASK)], ids=["whole", "cut", "full"]
)
def test_it_is_judged_while_the_gil_is_held(threads: ctypes.PyDLL, made: Any, expected: int, reply: bytes) -> None:
    in_force = made()
    for one in judging(threads, [Judge(in_force, expected, reply=reply), Judge(in_force, expected, reply=reply)]):
        assert not one.work.wrong
        assert one.verdict.verdict == expected
        assert one.verdict.errors == (one.work.done if expected == codes.ASK else 0)
