"""Real crashes of compiled code, in processes of their own: what they leave, and what they do not."""

import subprocess
import sys
import threading

import pytest

from resolver import __version__
from resolver.service.host import crash

CANARY = "canary-7f3a"

CRASH = f"""
import ctypes, mmap, os, signal, sys, threading
from resolver.service.host import crash
from resolver.core import question, crash_shape
from resolver.process.limits import leave_no_dump
leave_no_dump()
crash.watch()
numbers = crash_shape.Shape(crash.memory())
asked = question.Question()
name = bytes([{len(CANARY)}]) + b"{CANARY}" + bytes([4]) + b"test" + bytes(1)
edns = bytes.fromhex("00002904d0000000000000")
packet = bytes.fromhex("123401000001000000000001") + name + bytes([0, 28, 0, 1]) + edns
problem = crash_shape.read(numbers, packet, len(packet), False, asked)
assert problem == 0, problem
"""
IN_CORE = "crash_shape.read(numbers, (ctypes.c_ubyte * 64).from_address(16), 64, True, asked)"
TRUNCATED = """
file = os.memfd_create("x")
os.ftruncate(file, 4096)
memory = mmap.mmap(file, 4096)
os.ftruncate(file, 0)
crash_shape.read(numbers, memoryview(memory), 64, True, asked)
"""
IN_A_THREAD = f"""
thread = threading.Thread(target=lambda: {IN_CORE})
thread.start()
thread.join()
"""
# Another thread has read a packet after the one that crashes, and the first thread one before.
OF_ITS_OWN = """
read, crash_now = threading.Event(), threading.Event()
def crashing():
    own = crash_shape.Shape(crash.memory())
    crash_shape.read(own, bytes(5), 5, True, question.Question())
    read.set()
    crash_now.wait()
    ctypes.string_at(0)
def another():
    own = crash_shape.Shape(crash.memory())
    crash_shape.read(own, bytes(7), 7, False, question.Question())
    crash_now.set()
threading.Thread(target=crashing).start()
read.wait()
threading.Thread(target=another).start()
"""
# From Python 3.12 on the interpreter bounds its own recursion in C: with a small stack that bound is never reached.
DEEP = """
import resource
resource.setrlimit(resource.RLIMIT_STACK, (1 << 19, resource.getrlimit(resource.RLIMIT_STACK)[1]))
sys.setrecursionlimit(10**9)
class Endless:
    def __repr__(self): return repr([self])
repr(Endless())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """A process that does `code`."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def crashed(code: str) -> tuple[int, list[str]]:
    """The signal that ended a process that watched and then did `code`, and what it said, line by line."""
    ended = run(CRASH + code)
    assert ended.stdout == ""
    assert CANARY not in ended.stderr
    return -ended.returncode, ended.stderr.splitlines()


SHAPE = "  packet: octets 45, stream 0, reply 0, qtype 28, qclass 1, labels 2, flags 256, edns 1"
SIZE_ALONE = (
    "  packet: octets 64, stream 1, reply 0, qtype unknown, qclass unknown, labels unknown, flags unknown, edns unknown"
)


@pytest.mark.parametrize(
    ("code", "number", "name", "packet"),
    [
        (IN_CORE, 11, "SIGSEGV", SIZE_ALONE),
        (IN_A_THREAD, 11, "SIGSEGV", SIZE_ALONE),
        (TRUNCATED, 7, "SIGBUS", SIZE_ALONE),
        ("ctypes.string_at(0)", 11, "SIGSEGV", SHAPE),
        ("os.abort()", 6, "SIGABRT", SHAPE),
        ("os.kill(os.getpid(), signal.SIGABRT)", 6, "SIGABRT", SHAPE),
        ("os.kill(os.getpid(), signal.SIGFPE)", 8, "SIGFPE", SHAPE),
        ("os.kill(os.getpid(), signal.SIGILL)", 4, "SIGILL", SHAPE),
    ],
)
def test_a_crash_tells_the_signal_and_the_shape_of_the_packet(code: str, number: int, name: str, packet: str) -> None:
    ended_by, said = crashed(code)
    assert ended_by == number
    assert said[:2] == [f"blocklist-resolver {__version__}: ended by {name}", packet]


def test_a_thread_that_crashes_tells_its_own_packet() -> None:
    ended_by, said = crashed(OF_ITS_OWN)
    assert ended_by == 11
    assert said[1].startswith("  packet: octets 5, stream 1, reply 0, "), said[1]


def test_each_thread_has_numbers_of_its_own() -> None:
    def fill(number: int) -> None:
        first, second = crash.memory(), crash.memory()
        first[0] = number
        found.append((second, number))
        together.wait()

    found: list[tuple[memoryview, int]] = []
    together = threading.Barrier(20)
    threads = [threading.Thread(target=fill, args=(number,)) for number in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(number for _, number in found) == list(range(20))
    assert all(numbers[0] == number for numbers, number in found)


def test_a_thread_too_many_is_told() -> None:
    code = """
import threading
from resolver.service.host import crash
held = threading.Event()
said = []
def ask():
    try:
        crash.memory()
    except RuntimeError as error:
        said.append(str(error))
    asked.release()
    held.wait()
asked = threading.Semaphore(0)
for _ in range(257):
    threading.Thread(target=ask).start()
    asked.acquire()
held.set()
print(said)
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "['too many threads']\n", "")


def test_the_stack_is_objects_functions_and_offsets_with_their_build_ids() -> None:
    _, said = crashed(IN_CORE)
    stack = [line.split() for line in said if line.startswith("  #")]
    assert [words[0] for words in stack] == [f"#{number}" for number in range(len(stack))]
    assert stack[0][1].startswith("question.")
    assert "question__parse+0x" in stack[0][2]
    assert any(words[1].startswith("crash_shape.") and "shape_read+0x" in words[2] for words in stack)
    ids = {line.split()[3].rstrip(":"): line.split()[4] for line in said if line.startswith("  build id of ")}
    for words in (stack[0], stack[2]):
        assert len(bytes.fromhex(ids[words[1]])) == 20
    assert {words[1] for words in stack} >= set(ids)


def test_the_place_is_the_one_that_binutils_would_find() -> None:
    from resolver.core import question

    _, said = crashed(IN_CORE)
    _, object_name, function, _, place = next(line.split() for line in said if line.startswith("  #0"))
    name, _, offset = function.partition("+")
    file = str(question.__file__)
    assert file.endswith(object_name)
    listed = subprocess.run(["nm", file], capture_output=True, text=True, check=True).stdout.split()
    start = int(listed[listed.index(name) - 2], 16)
    assert start + int(offset, 16) == int(place, 16)


def test_a_stack_that_overflows_has_another_to_tell_it_on() -> None:
    ended_by, said = crashed(DEEP)
    assert ended_by == 11
    assert said[:2] == [f"blocklist-resolver {__version__}: ended by SIGSEGV", SHAPE]
    assert sum(line.startswith("  #") for line in said) > 50


def test_pythons_own_stack_follows() -> None:
    _, said = crashed(IN_CORE)
    assert any(line.startswith("Fatal Python error: ") for line in said)
    assert any(line.startswith('  File "<string>", line ') for line in said)


def test_what_has_the_number_of_a_closed_stderr_gets_no_report() -> None:
    code = """
import os, sys
from resolver.service.host import crash
sys.stderr = None
reader, writer = os.pipe()
os.dup2(writer, 2)
crash.watch()
if os.fork() == 0:
    os.abort()
os.wait()
os.close(writer)
os.close(2)
print(os.read(reader, 99))
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "b''\n", "")


def test_one_watch_a_process() -> None:
    ended = run(CRASH + "try:\n    crash.watch()\nexcept RuntimeError as error:\n    print(error)\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "watched already\n", "")


def test_the_memory_is_one_and_nothing_is_known_at_first() -> None:
    ended = run("from resolver.service.host import crash\nprint(crash.memory().tolist())")
    assert ended.stdout == f"{[-1] * 8}\n"
    assert len(crash.memory()) == 8
