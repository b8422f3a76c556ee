"""An upstream that leads back to us, through a forwarder that we do not know of."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message

from tests.journeys.processes import REAL, asked, honest, series, wait_for
from tests.journeys.running import HOST
from tests.journeys.test_upstreams import BLOCKED, ask_all, served


@contextmanager
def relay(port: list[int]) -> Iterator[str]:
    """A forwarder that asks us: every datagram goes to our port, and the reply goes back."""
    over = threading.Event()
    with socket.socket(type=socket.SOCK_DGRAM) as front:
        front.bind((HOST, 0))
        front.settimeout(0.05)

        def carry() -> None:
            backs: dict[int, tuple[bytes, tuple[str, int]]] = {}
            with socket.socket(type=socket.SOCK_DGRAM) as back:
                back.bind((HOST, 0))
                back.setblocking(False)
                number = 0
                while not over.is_set():
                    with contextlib.suppress(OSError):
                        data, peer = front.recvfrom(65535)
                        if port:
                            number = (number + 1) & 0xFFFF
                            backs[number] = data[:2], peer
                            back.sendto(number.to_bytes(2, "big") + data[2:], (HOST, port[0]))
                        else:
                            front.sendto(honest(dns.message.from_wire(data)).to_wire(), peer)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            reply = back.recv(65535)
                            identity, peer = backs.pop(int.from_bytes(reply[:2], "big"))
                            front.sendto(identity + reply[2:], peer)

        thread = threading.Thread(target=carry)
        thread.start()
        try:
            yield f"{HOST}:{front.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def test_an_upstream_that_leads_back_to_us_is_found_and_taken_out(tmp_path: Path) -> None:
    port: list[int] = []
    with relay(port) as loop, served(tmp_path, loop) as service:
        port.append(service.dns)
        ask_all(service, "loop", 100, 100)
        wait_for(lambda: series(service, "upstream_up", upstream=loop) == 0, "it to be taken out", 10)
        wait_for(
            lambda: series(service, "upstream_failures_total", upstream=loop, reason="loop") >= 1, "the next beat", 5
        )
        assert service.said.count(f"upstream {loop} leads back to us") == 1
        assert asked(service.dns, "x.listed.test") == BLOCKED
        port.clear()
        wait_for(lambda: asked(service.dns, f"{time.monotonic_ns()}.test") == REAL, "it to be back", 20)
