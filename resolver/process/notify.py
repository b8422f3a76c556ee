"""Messages to systemd: readiness, status, the watchdog's pings, and sockets to keep (sd_notify(3)).

Rules:
- A message holds numbers and our own words: never a name, a client or the text of an exception.
- Nothing waits for systemd: a message that cannot be sent at once is lost, and the process goes on.
"""

import socket
import time
from collections.abc import Sequence
from typing import Final

MOST_FDS: Final = 128
"""The descriptors of one message; the kernel takes no more than 253."""


class Notify:
    """Sends systemd at `address` the state of the service; sends nothing if that is ""."""

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""

    def ready(self) -> None:
        """Say that the service is started, or done with a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def main_process(self, pid: int) -> None:
        """Say that another process of the unit is the service from now on; what this one says then is passed over."""
        self._send(f"MAINPID={pid}")

    def keep(self, name: str, descriptors: Sequence[int]) -> None:
        """Have systemd keep sockets for the next process, in place of those that it keeps under this name."""
        if not self._address:
            return
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}")
        for first in range(0, len(descriptors), MOST_FDS):
            # Without FDPOLL=0 systemd would drop a socket that has an error waiting.
            self._send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", descriptors[first : first + MOST_FDS])

    def stopping(self) -> None:
        """Say that no more queries are taken."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Send the watchdog's ping."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show this line in `systemctl status`, unless it is there already."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def _send(self, message: str, descriptors: Sequence[int] = ()) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as one:
                one.connect(self._address)
                socket.send_fds(one, [message.encode()], list(descriptors))
        except OSError:
            # systemd is gone or busy: queries do not wait for it.
            return
