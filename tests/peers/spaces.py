"""Networks of a test's own: a host with the page, and a home, joined by one cable.

Rules:
- A thread is in one network at a time: what it opens and starts there stays there. No name is given to a network, so
  that nothing of it is left in /run.
- Whoever makes them is root in a network of his own already (`unshare --net --mount`), which is the host's.
"""

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
HOME_V4, HOME_V6 = "198.51.100.2", "2001:db8:5::2"
GATE_V4, GATE_V6 = "198.51.100.1", "2001:db8:5::1"
"""The home, and the host's end of the cable."""

_libc = ctypes.CDLL(None, use_errno=True)


def run(command: str, text: str = "") -> str:
    """Run a line of the shell in the thread's network and return its output; it must succeed."""
    done = subprocess.run(["sh", "-ec", command], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _current() -> int:
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)


def _enter(space: int) -> None:
    if _libc.setns(space, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def new() -> int:
    """Make an empty network and return its descriptor; the thread stays where it is."""
    here = _current()
    try:
        if _libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        made = _current()
        _enter(here)
    finally:
        os.close(here)
    return made


@contextmanager
def inside(space: int) -> Iterator[None]:
    """What the block opens and starts is in that network."""
    here = _current()
    _enter(space)
    try:
        yield
    finally:
        _enter(here)
        os.close(here)


def join(space: int, *, names: tuple[str, str], ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    """Lay a cable from the thread's network to `space`; `names` of its ends, with the addresses of each."""
    run(f"ip link add {names[0]} type veth peer name {names[1]} netns /proc/{os.getpid()}/fd/{space}")
    _address(names[0], ours)
    with inside(space):
        _address(names[1], theirs)


def _address(link: str, addresses: tuple[str, ...]) -> None:
    run("ip link set lo up")
    for address in addresses:
        run(f"ip addr add {address} dev {link} {'nodad' if ':' in address else ''}")
    run(f"ip link set {link} up")


def home(*, page: tuple[str, ...]) -> int:
    """Make a home whose way to everything is this host, which gets the page's addresses."""
    space = new()
    join(
        space,
        names=("street", "home"),
        ours=(f"{GATE_V4}/24", f"{GATE_V6}/64"),
        theirs=(f"{HOME_V4}/24", f"{HOME_V6}/64"),
    )
    for address in page:
        run(f"ip addr add {address} dev lo {'nodad' if ':' in address else ''}")
    with inside(space):
        run(f"ip route add default via {GATE_V4}; ip -6 route add default via {GATE_V6}")
    return space
