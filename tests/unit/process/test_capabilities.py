"""The capability for ports below 1024: made effective to bind if it is permitted, and given up with all others."""

import os
import subprocess
import sys

import pytest

ONLY = "0000000000000400"
NONE = "0" * 16

KEPT = """
from resolver.process import capabilities

capabilities._libc.capset = lambda *_: -1
print(capabilities.give_up())
"""

CODE = """
import ctypes, socket
from resolver.process import capabilities


def shown(*names):
    lines = open("/proc/self/status").read().splitlines()
    print(*(line.split()[1] for line in lines if line.split(":")[0] in names))


header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert capabilities._libc.capset(header, (ctypes.c_uint32 * 6)(0, {permitted}, 0, 0, 0, 0)) == 0
capabilities.make_binding_effective()
shown("CapPrm", "CapEff")
with socket.socket() as one:
    try:
        one.bind(("127.0.0.1", 1))
        print("bound")
    except PermissionError:
        print("not bound")
print(capabilities.give_up())
shown("CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process a capability")
@pytest.mark.parametrize(("permitted", "held", "bound"), [(1 << 10, ONLY, "bound"), (0, NONE, "not bound")])
def test_what_is_permitted_is_made_effective_and_then_given_up(permitted: int, held: str, bound: str) -> None:
    capability = ("--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service")
    account = ("unshare", "--net", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *capability)
    code = CODE.replace("{permitted}", str(permitted))
    done = subprocess.run([*account, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    after = f"{NONE} {NONE} {NONE} {NONE} 1"
    told = "True"
    assert (done.stdout.splitlines(), done.stderr) == ([f"{held} {held}", bound, told, after], "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process a capability")
@pytest.mark.parametrize(("given", "gone"), [("+net_bind_service", "False"), ("-all", "True")])
def test_what_the_kernel_does_not_take_back_is_noticed(given: str, gone: str) -> None:
    """As under a filter that refuses capset."""
    capability = (f"--inh-caps={given}", f"--ambient-caps={given}")
    account = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *capability)
    done = subprocess.run([*account, sys.executable, "-c", KEPT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{gone}\n", "")
