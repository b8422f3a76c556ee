"""The whole way of names to a secondary: service, compile process, export process; and nothing of them elsewhere."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import dns.exception
import dns.query
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from tests import canaries
from tests.fakes.enforcer import all_bytes_below
from tests.fakes.primary import SECRET, key_file
from tests.journeys.processes import Site, hang_up
from tests.journeys.running import HOST, ROOT, Service, free_ports, stop

ZONE = "rpz.isp.example"


def transferred(port: int) -> set[str]:
    """The names of the zone as a secondary gets it; none while there is no zone."""
    zone = dns.zone.Zone(ZONE)
    query, _ = dns.xfr.make_query(zone, keyring=dns.tsig.Key("blocklist.", SECRET, "hmac-sha256"))
    try:
        dns.query.inbound_xfr(HOST, zone, query, port=port, timeout=20)
    except (OSError, EOFError, dns.exception.DNSException):
        return set()
    return {str(name) for name in zone.nodes}


def in_step(service: Service) -> None:
    """Wait until the service says that the list is given out as it is in force."""
    service.until("/metrics", lambda body: service.metric("export_in_step", body) == 1)


def wait_for(holds: Callable[[], bool]) -> None:
    """Look five times: an address gets six whole transfers a minute, and the list may have come between two looks."""
    pause = threading.Event()
    for _ in range(5):
        if holds():
            return
        pause.wait(3)
    raise AssertionError("the secondary does not have the list")


@pytest.mark.processes
def test_names_reach_the_secondary_and_are_nowhere_else(tmp_path: Path) -> None:
    names, (port,) = [f"{canaries.label()}.test" for _ in range(5)], free_ports(1)
    key = key_file(tmp_path, "blocklist")
    site = Site(tmp_path)
    zone = {"name": ZONE, "keys": [str(key)], "secondaries": [f"{HOST}/32"]}
    directory, path = str(tmp_path / "export"), str(tmp_path / "socket")
    site.set("export", socket=path, directory=directory, listen=[f"{HOST}:{port}"], zone=[zone])
    site.publish(names[:3])
    command = [sys.executable, "-m", "resolver", "export", "--config", str(site.write())]
    with open(tmp_path / "export-said", "wb") as said:
        export = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=ROOT)
    try:
        with site.started() as service:
            in_step(service)
            assert set(names[:3]) <= transferred(port)
            serial = site.publish(names)
            hang_up(service)
            service.until_serial(serial)
            in_step(service)
            wait_for(lambda: set(names) <= transferred(port))
            assert service.metric("list_exported") == 1
            assert "LEAVE SEALED STORAGE" in service.said
        assert b'"exported"' in (tmp_path / "state" / "audit.log").read_bytes()
        found = canaries.Canaries(names)
        assert found.found_in(all_bytes_below(tmp_path / "export")) != []
        for folder in ("state", "tmp", "work"):
            assert found.found_in(all_bytes_below(tmp_path / folder)) == [], folder
        for file in ("stdout", "stderr", "export-said"):
            assert found.found_in((tmp_path / file).read_bytes()) == [], file
    finally:
        assert stop(export) == 0, (tmp_path / "export-said").read_text()
