"""Keeps edges running in a container, as systemd does elsewhere: starts them, watches them, and starts them again.

Runs as a process of its own (`python -I -m resolver.edge.keep COUNT`): one line of JSON comes in on stdin
(edge.request). Each edge gets the same line with its own number, from 1.

Rules:
- It outlives its edges. In a pod every container has to run, or the pod is not ready, and what answers UDP in another
  container of it gets no queries: so an edge that cannot start, or crashes, ends no container.
- An edge that ends is started again after FIRST_PAUSE_S. Until one has been ready the pause doubles, up to
  LAST_PAUSE_S: an edge without a certificate waits for it.
- To an edge it is what systemd is (sd_notify(3)): one that is not ready within START_S, or then gives no sign of life
  for SILENT_S, is killed, and started again. Only processes of its own account are heard.
- SIGHUP goes to every edge that is ready: one that starts would end by it, and reads the files by itself. SIGTERM and
  SIGINT end every edge, and then this process, with 0; an edge that stays for STOP_S is killed.
- It reads nothing that a client has sent, and logs numbers alone.
"""

import logging
import os
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Final

import msgspec

from resolver.edge.request import MODULE, EdgeRequest

FIRST_PAUSE_S: Final = 1.0
LAST_PAUSE_S: Final = 10.0
START_S: Final = 90.0
SILENT_S: Final = 30.0
STOP_S: Final = 15.0
TURN_S: Final = 5.0

_READY: Final = b"READY=1"
_OCTETS: Final = 4096
_PEER: Final = struct.Struct("3i")
_SPACE: Final = socket.CMSG_SPACE(_PEER.size)

_log: Final = logging.getLogger("resolver.edge")


class Kept:
    """One edge. number: its own, from 1. pid: of its process, 0 if none runs. door: where it says how it is.

    due_at: when it may be started (monotonic).
    """

    def __init__(self, request: EdgeRequest) -> None:
        self.number = request.number
        self.pid = 0
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.door.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.door.bind("")  # an address of the kernel's choice: no folder is needed
        self._line = msgspec.json.encode(request) + b"\n"
        self._ready = False
        self._heard_at = 0.0
        self.due_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._said = ""

    def start(self, now: float) -> None:
        """Start its process if it is due."""
        if self.pid or now < self.due_at:
            return
        handle = os.memfd_create("request")
        try:
            os.write(handle, self._line)
            os.lseek(handle, 0, os.SEEK_SET)
            address = "@" + self.door.getsockname()[1:].decode()
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-m", MODULE],
                {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(SILENT_S * 1e6))},
                file_actions=[(os.POSIX_SPAWN_DUP2, handle, 0)],
            )
        except OSError as error:  # no process or memory is left; a later turn may find some
            self._again(f"cannot be started: {error.strerror or type(error).__name__}", now)
        finally:
            os.close(handle)
        self._ready, self._heard_at = False, now

    def hear(self, now: float) -> None:
        """Take what its process says."""
        while True:
            try:
                said, control, _, _ = self.door.recvmsg(_OCTETS, _SPACE)
            except BlockingIOError:
                return
            if not any(_PEER.unpack(data[: _PEER.size])[1] == os.geteuid() for _, _, data in control):
                continue
            self._heard_at = now
            if _READY in said:
                self._ready, self._pause_s, self._said = True, FIRST_PAUSE_S, ""

    def look(self, now: float) -> None:
        """Kill its process if it has been silent for too long."""
        if self.pid and now - self._heard_at > (SILENT_S if self._ready else START_S):
            _log.error("edge %d: no sign of life for %d s: it is started again", self.number, now - self._heard_at)
            self.send(signal.SIGKILL)
            self._heard_at = now

    def ended(self, status: int, now: float) -> None:
        """Note that its process has ended, with this exit status (of a signal: minus its number)."""
        self.pid = 0
        self._again(f"ended by signal {-status}" if status < 0 else f"ended with {status}", now)

    def _again(self, why: str, now: float) -> None:
        self.due_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
        if why != self._said:
            self._said = why
            _log.error("edge %d: %s; it is started again, at least every %g s", self.number, why, LAST_PAUSE_S)

    def reload(self) -> None:
        """Have its process read certificate and key again."""
        self.hear(time.monotonic())  # it may have said just now that it is ready
        if self._ready:
            self.send(signal.SIGHUP)

    def send(self, number: int) -> None:
        """Send its process a signal, if it runs."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Keeper:
    """The edges of one request, numbered from 1 to `count`."""

    def __init__(self, request: EdgeRequest, count: int) -> None:
        self._edges = [Kept(msgspec.structs.replace(request, number=one)) for one in range(1, count + 1)]
        self._ending = False
        self._selector = selectors.DefaultSelector()
        for one in self._edges:
            self._selector.register(one.door, selectors.EVENT_READ, one)

    def run(self) -> None:
        """Keep them running until SIGTERM or SIGINT."""
        woken, wakes = socket.socketpair()
        for end in (woken, wakes):
            end.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # with the wake-up each turn begins when one has ended
        signal.signal(signal.SIGHUP, self._reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        while not self._ending:
            now = time.monotonic()
            for one in self._edges:
                one.start(now)
                one.look(now)
            self._turn(woken, FIRST_PAUSE_S if not all(one.pid for one in self._edges) else TURN_S)
        self._send(signal.SIGTERM)
        began = time.monotonic()
        while any(one.pid for one in self._edges):
            left = began + STOP_S - time.monotonic()
            if left <= 0:
                self._send(signal.SIGKILL)
            self._turn(woken, max(left, FIRST_PAUSE_S))

    def _reload(self, *_: object) -> None:
        for one in self._edges:
            one.reload()

    def _end(self, *_: object) -> None:
        self._ending = True

    def _send(self, number: int) -> None:
        for one in self._edges:
            one.send(number)

    def _turn(self, woken: socket.socket, most_s: float) -> None:
        """Wait for `most_s` at most, and take what has come and who has ended."""
        for key, _ in self._selector.select(most_s):
            if key.data is None:
                with suppress(BlockingIOError):
                    woken.recv(_OCTETS)
            else:
                key.data.hear(time.monotonic())
        by_pid = {one.pid: one for one in self._edges if one.pid}
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                # As the first process of a container it is the parent of every orphan, too.
                one = by_pid.get(found[0])
                if one is not None and self._ending:
                    one.pid = 0
                elif one is not None:
                    one.ended(os.waitstatus_to_exitcode(found[1]), time.monotonic())


def main() -> int:
    """Keep the edges of the one request of this process; return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    Keeper(msgspec.json.decode(sys.stdin.buffer.readline(), type=EdgeRequest), int(sys.argv[1])).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
