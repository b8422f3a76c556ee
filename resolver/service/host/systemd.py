"""The protocol with systemd: sockets that it hands over or keeps, readiness, status, and the watchdog's pings.

Rules:
- The variables are read once, at the start, and removed from the environment, so that no child takes them for its own.
- A message holds numbers and our own words: never a name, a client or the text of an exception.
- Sockets that the service has bound are given to systemd's store, each under a name of `KEPT`, and come back after a
  restart or a crash: what arrives meanwhile waits in them. Those of a socket unit have other names.
- Nothing waits for systemd: a message that cannot be sent at once is lost, and the service goes on.
- The watchdog sees what a restart mends: a loop that hangs, or queries that get no answer. A feed that fails, an
  upstream that is down or a missing list is shown by metrics and status, and never restarts the service.
"""

import asyncio
import logging
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from resolver.core.image import SELFTEST_ZONE
from resolver.process.notify import MOST_FDS as MOST_FDS
from resolver.process.notify import Notify as Notify

FIRST_FD: Final = 3
PINGS_A_PERIOD: Final = 3
ASK_S: Final = 5.0

KEPT: Final = ("dns.0", "page.0", "metrics.0")
"""The names of sockets for the next process: their use, and a number for each of several at one address."""

# Of the discard prefix (RFC 6666): no client has this address, so none shares its limit.
ASKER: Final = bytes.fromhex("0100") + bytes(14)
# RD=0, and below .invalid: REFUSED if that address is no client, else judged and answered here; never forwarded.
QUESTION: Final = b"\x5a\x5a\0\0\0\1\0\0\0\0\0\0" + b"\x08watchdog" + SELFTEST_ZONE + b"\0\1\0\1"


_log: Final = logging.getLogger("resolver")


Kept: TypeAlias = tuple[str, socket.socket]
"""A socket that an earlier process has bound, and its name of KEPT."""


class SocketsUnusable(Exception):
    """A descriptor that was handed over cannot be used; says why."""


@dataclass(frozen=True, slots=True)
class Handed:
    """The address to notify ("" for none), the watchdog's period in seconds (0 for none), the sockets.

    sockets: of a socket unit. kept: bound by an earlier process of the service.
    """

    address: str = ""
    watchdog_s: float = 0.0
    sockets: tuple[socket.socket, ...] = ()
    kept: tuple[Kept, ...] = ()


def take(environment: MutableMapping[str, str], pid: int) -> Handed:
    """Take what was handed to process `pid` out of the environment; SocketsUnusable if a descriptor cannot be used."""
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    said = {name: environment.pop(name, "") for name in names}
    address = said["NOTIFY_SOCKET"]
    period, count = said["WATCHDOG_USEC"], said["LISTEN_FDS"]
    watched = period.isdecimal() and said["WATCHDOG_PID"] in ("", str(pid))
    sockets: list[socket.socket] = []
    kept: list[Kept] = []
    if count and said["LISTEN_PID"] == str(pid):
        if not count.isdecimal():
            raise SocketsUnusable("LISTEN_FDS is no number")
        fd_names = said["LISTEN_FDNAMES"].split(":")
        for number in range(int(count)):
            one, name = taken(FIRST_FD + number), fd_names[number] if number < len(fd_names) else ""
            if name in KEPT:
                kept.append((name, one))
            else:
                sockets.append(one)
    return Handed(
        address if address[:1] in ("/", "@") else "",
        int(period) / 1e6 if watched else 0.0,
        tuple(sockets),
        tuple(kept),
    )


def taken(descriptor: int) -> socket.socket:
    """Return the socket with this descriptor: non-blocking, and closed in every child; SocketsUnusable."""
    try:
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)
    except OSError:
        raise SocketsUnusable(f"descriptor {descriptor} is no socket") from None
    if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type not in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        one.close()
        raise SocketsUnusable(f"descriptor {descriptor} is neither UDP nor TCP")
    if _is_connected(one):
        one.close()
        raise SocketsUnusable(f"descriptor {descriptor} is connected to one peer: no Accept=yes in the socket unit")
    one.setblocking(False)
    return one


def _is_connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:
        return False
    return True


def answers(answer: Callable[[bytes, bytes], object]) -> bool:
    """Ask once as a client would; return whether a reply came, or the limiter's silence (None).

    answer: (query, client in 16 octets) to what becomes of it.
    """
    reply = answer(QUESTION, ASKER)
    if reply is None:
        return True
    return isinstance(reply, bytes) and reply[:2] == QUESTION[:2] and bool(reply[2] & 0x80)


async def watch(
    notify: Notify,
    period_s: float,
    alive: Callable[[], bool],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Ping three times in `period_s` while `alive` returns true; an exception in it withholds the ping."""
    while True:
        try:
            if alive():
                notify.alive()
            else:
                _log.error("own query unanswered; watchdog ping withheld")
        except Exception as error:  # noqa: BLE001 - whatever fails on a query's way fails for clients too: no ping
            _log.error("own query failed (%s); watchdog ping withheld", type(error).__name__)
        await sleep(period_s / PINGS_A_PERIOD)


@dataclass(frozen=True, slots=True)
class Unit:
    """The service's unit as systemd has loaded it. strict: all of the disk is read-only for it but the paths `open`."""

    user: str
    strict: bool
    open: tuple[str, ...]


def unit(name: str = "blocklist-resolver.service") -> Unit | None:
    """Return the unit of this name; None if systemd does not run here, or does not know it."""
    wanted = ("LoadState", "User", "ProtectSystem", "ReadWritePaths")
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own program, with our own words
            ["/usr/bin/systemctl", "show", name, *(f"--property={one}" for one in wanted)],
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode or said.get("LoadState") != "loaded":
        return None
    paths = tuple(one.lstrip("-+") for one in said.get("ReadWritePaths", "").split())
    return Unit(said.get("User", ""), said.get("ProtectSystem") == "strict", paths)
