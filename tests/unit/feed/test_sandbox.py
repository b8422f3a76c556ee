"""What a process that sees names does to itself, seen from outside."""

import os
import subprocess
import sys

import pytest

from resolver.feed import sandbox


def child(code: str) -> subprocess.CompletedProcess[str]:
    start = "import ctypes, os, resource, sys\nfrom resolver.feed import sandbox\n"
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=30, check=False
    )


def test_a_confined_process_leaves_no_core_and_lets_nobody_look() -> None:
    ended = child(
        "sandbox.confine(os.getppid(), 2**31)\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),"
        " resource.getrlimit(resource.RLIMIT_AS)[0] == 2**31)\n"
    )
    assert ended.stdout == "(0, 0) 0 True\n", ended.stderr


def test_the_kernel_ends_a_confined_process_first_where_memory_runs_out() -> None:
    ended = child("sandbox.confine(os.getppid(), 2**31)\nprint(open('/proc/self/oom_score_adj').read())\n")
    assert ended.stdout.split() == ["1000"], ended.stderr


def test_a_process_whose_parent_has_gone_is_not_confined() -> None:
    assert "NotConfined" in child("sandbox.confine(1, 2**31)").stderr


def test_a_process_that_opens_nothing_keeps_what_is_open() -> None:
    ended = child(
        "sandbox.open_nothing()\n"
        "try:\n    open('/dev/null')\nexcept OSError as error:\n    print(error.errno)\n"
        "try:\n    os.pipe()\nexcept OSError as error:\n    print(error.errno)\n"
    )
    assert ended.stdout == "24\n24\n"


def test_only_what_it_was_told_of_stays_open() -> None:
    ended = child(
        "fds = [os.open('/dev/null', os.O_RDONLY) for _ in range(6)]\n"
        "sandbox.confine(os.getppid(), 2**31, fds[1], -1, fds[4])\n"
        "print([n for n, fd in enumerate(fds) if os.path.exists(f'/proc/self/fd/{fd}')])\n"
    )
    assert ended.stdout == "[1, 4]\n", ended.stderr


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("def work(): raise sandbox.Failed('empty')", '{"failed": "empty"}\n'),
        ("def work(): raise MemoryError('a.test')", '{"failed": "out_of_memory"}\n'),
        ("def work(): raise ValueError('a.test')", '{"failed": "internal"}\n'),
        ("def work(): b'a.test\\xff'.decode()", '{"failed": "internal"}\n'),
    ],
)
def test_a_failure_leaves_a_reason_and_nothing_else(work: str, said: str) -> None:
    ended = child(f"{work}\nsys.exit(sandbox.run(work))\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, said, "")


def test_an_abort_leaves_no_core_and_no_word() -> None:
    ended = child("sandbox.confine(os.getppid(), 2**31)\nos.abort()")
    assert ended.returncode == -6
    assert ended.stdout == ended.stderr == ""


def test_work_that_is_done_ends_with_zero() -> None:
    assert child("sys.exit(sandbox.run(lambda: sandbox.say({'done': 1})))").stdout == '{"done": 1}\n'
    assert os.sysconf("SC_PAGE_SIZE") <= sandbox.MAX_REPLY_BYTES
