"""What a process does to itself, seen from outside."""

import subprocess
import sys

import pytest

from resolver.process import limits


def child(code: str) -> str:
    start = "import ctypes, resource\nfrom resolver.process import limits\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout + done.stderr


def test_it_leaves_no_core_and_lets_nobody_look() -> None:
    said = "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert child(f"limits.leave_no_dump()\n{said}") == "(0, 0) 0\n"


def test_its_programs_gain_no_privileges() -> None:
    said = "print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))"
    assert child(f"{said}\nlimits.gain_no_privileges()\n{said}").split()[-1] == "1"


def test_a_lower_limit_of_memory_stays() -> None:
    said = "print(resource.getrlimit(resource.RLIMIT_AS)[0])"
    assert child(f"limits.bound_memory(2**31)\n{said}\nlimits.bound_memory(2**32)\n{said}") == f"{2**31}\n" * 2


def test_what_the_kernel_refuses_ends_the_start() -> None:
    with pytest.raises(limits.NotConfined):
        limits.control(-1, 0)
