"""The names of sockets, what systemd is given of them, and which are closed."""

import socket
from collections.abc import Sequence

from resolver.service import sockets
from resolver.service.host.systemd import Notify


class Told(Notify):
    """Notes what systemd would keep."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Sequence[int]] = {}

    def keep(self, name: str, descriptors: Sequence[int]) -> None:
        self.kept[name] = descriptors


def test_systemd_is_given_what_it_does_not_have() -> None:
    datagrams = socket.SOCK_DGRAM
    with socket.socket(type=datagrams) as unit, socket.socket(type=datagrams) as ours, socket.socket() as tcp:
        told = Told()
        named = sockets.named([unit, ours], [tcp], {})
        assert named == [("dns.0", unit), ("dns.0", ours), ("dns.0", tcp)]
        sockets.keep(told, named, [unit])
        assert told.kept == {"dns.0": [ours.fileno(), tcp.fileno()]}


def test_what_is_kept_for_one_use_and_not_wanted_is_closed() -> None:
    with socket.socket() as first, socket.socket() as second, socket.socket() as page:
        given = [("dns.0", first), ("dns.0", second), ("page.0", page)]
        found = sockets.kept(given, "dns")
        assert found == [first, second]
        sockets.close_others(found, [second])
        assert (first.fileno(), second.fileno() < 0, page.fileno() < 0) == (-1, False, False)
