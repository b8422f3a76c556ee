"""The service in the network that deploy/page makes for it, as its unit of systemd would; run by test_page_network.

    python -m tests.peers.own_space FOLDER

Rules:
- The caller makes the host's network and mounts of its own: `ip netns` writes into /run/netns.
- The unit's commands are run as they stand, in order; only the paths below /etc/blocklist-resolver are the folder's.
- The host has one interface, eth0, whose other end is the visitors' home.
- The output is JSON: what a visitor gets, and where the visitor's address is seen while the connection is open.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, honest
from tests.journeys.running import PAGE_V4, PAGE_V6, ROOT
from tests.peers import spaces

PAGE = ROOT / "deploy" / "page"
DNS = "198.51.100.53"
LISTED = "blocked.test"
REQUEST = b"GET / HTTP/1.1\r\nHost: blocked.test\r\n"
"""Not whole yet: the connection stays open."""


def commands(folder: Path) -> list[str]:
    """The unit's, for eth0."""
    text = (PAGE / "blocklist-network@.service").read_text().replace("%i", "eth0")
    return re.findall(r"^ExecStart=(.*)$", text.replace("/etc/blocklist-resolver", str(folder)), re.MULTILINE)


def seen_in(said: str) -> bool:
    """Whether a table of connections holds the visitor, in numbers or as /proc has it."""
    turned = socket.inet_aton(spaces.HOME_V4)[::-1].hex().upper()
    return spaces.HOME_V4 in said or turned in said


def main(folder: Path) -> None:
    """Make the network, serve in it, visit."""
    for name in ("network.ip", "page.nft"):
        shutil.copy(PAGE / name, folder)
    home = spaces.new()
    spaces.join(home, names=("eth0", "home"), ours=(), theirs=("198.51.100.2/24", "2001:db8:5::2/64"))
    with spaces.inside(home):
        spaces.run(f"ip route add {PAGE_V4} via {DNS}; ip -6 route add {PAGE_V6} via 2001:db8:5::53")
    for command in commands(folder):
        spaces.run(command)
    host = os.open("/proc/self/ns/net", os.O_RDONLY)
    own = os.open("/run/netns/blocklist", os.O_RDONLY)
    with spaces.inside(own), in_thread(honest) as upstream:
        site = Site(folder / "site", [upstream.address])
        site.change("listen", dns=[f"{DNS}:53"], allow=[f"{spaces.HOME_V4}/32"])
        site.change("page", listen=[f"{PAGE_V4}:80", f"[{PAGE_V6}]:80"])
        site.publish([LISTED])
        with site.started() as service:
            with spaces.inside(home):
                found: dict[str, object] = {"answer": asked_at(DNS, LISTED)}
                visitor = socket.create_connection((PAGE_V4, 80), timeout=30)
                visitor.sendall(REQUEST)
            found["own"] = seen_in(spaces.run("ss -Htan"))
            with spaces.inside(host):
                found["host"] = seen_in(spaces.run("ss -Htan; cat /proc/net/tcp /proc/net/tcp6"))
                found["others"] = seen_in(as_nobody(f"cat /proc/{service.process.pid}/net/tcp"))
                hidden = "mount -t proc -o hidepid=invisible proc /proc"
                found["others, hidepid"] = seen_in(as_nobody(f"cat /proc/{service.process.pid}/net/tcp", hidden))
            visitor.sendall(b"Accept: text/html\r\n\r\n")
            found["page"] = visitor.recv(65_535).split(b"\r\n")[0].decode()
            visitor.close()
    print(json.dumps(found))


def as_nobody(command: str, before: str = "true") -> str:
    """What another account of the host is told; `before` is root's."""
    script = f"{before}; exec setpriv --reuid=65534 --regid=65534 --clear-groups {command}"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False
    ).stdout


def asked_at(server: str, name: str) -> str:
    """The answer as dig has it."""
    return spaces.run(f"dig +short +timeout=30 @{server} {name} A").strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
