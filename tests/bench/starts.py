"""How soon a list is enforced: from a new serial to its being in force, and from a start to the first answer."""

import contextlib
import signal
import threading
import time
from collections.abc import Sequence

import dns.message

from tests.bench.load import Cores
from tests.journeys import running
from tests.peers import servers

_WAIT_S = 240.0


def swap(service: running.Service, listed: Sequence[str]) -> float:
    """Seconds from a new signed serial, asked for at once, to its being in force."""
    serial = service.authority.publish([*listed[1:], "another.aa1.test"])
    start = time.monotonic()
    service.process.send_signal(signal.SIGHUP)
    service.until_serial(serial, seconds=_WAIT_S)
    return time.monotonic() - start


def restart(service: running.Service, name: str, cores: Cores) -> float:
    """Seconds from the start of a second process on the same folder, once the first has ended, to a blocked answer."""
    assert running.stop(service.process) == 0
    start, pause = time.monotonic(), threading.Event()
    process = running.launch(service.folder, service.folder / "resolver.toml", "compiled", cores.serve)
    query = dns.message.make_query(name, "A").to_wire() or b""
    try:
        while process.poll() is None and time.monotonic() - start < _WAIT_S:
            with contextlib.suppress(OSError):
                reply = dns.message.from_wire(servers.ask_over_udp(service.dns, query, seconds=1))
                if any(running.PAGE_V4 in str(record) for record in reply.answer):
                    return time.monotonic() - start
            pause.wait(0.005)
    finally:
        running.stop(process)
    raise AssertionError(f"no blocked answer after a start with the saved image:\n{service.said}")
