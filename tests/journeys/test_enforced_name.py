"""The name that balancers check: blocked while the host enforces every list, counted by none, as any client gets it."""

from pathlib import Path

import pytest

from resolver.service.enforced_name import NAME
from tests.journeys.processes import asked, wait_for
from tests.journeys.running import CORES, HOST, PAGE_V4, PAGE_V6, Core, serve

NOWHERE = [f"{HOST}:9"]


@pytest.mark.parametrize("core", CORES)
def test_it_is_blocked_over_both_transports_and_counted_by_no_list(core: Core, tmp_path: Path) -> None:
    with serve(tmp_path, upstreams=NOWHERE, entries=["listed.test"], core=core) as service:
        wait_for(lambda: asked(service.dns, NAME) == f"{PAGE_V4} EDE 4", "the list is proved")
        for over in ("udp", "tcp"):
            assert asked(service.dns, NAME, over=over) == f"{PAGE_V4} EDE 4"
            assert asked(service.dns, NAME, "AAAA", over=over) == f"{PAGE_V6} EDE 4"
        assert asked(service.dns, "other.selftest.invalid").startswith("NXDOMAIN")
        # What is counted after it is on the same beat or a later one.
        assert asked(service.dns, "listed.test") == f"{PAGE_V4} EDE 4"
        wait_for(lambda: service.metric("blocked_queries_total"), "the beat")
        assert service.metric("blocked_queries_total") == 1
        assert service.metric("blocked_attempts_total") == 1


def test_without_its_list_a_host_does_not_block_it(tmp_path: Path) -> None:
    with serve(tmp_path, upstreams=NOWHERE, entries=None) as service:
        wait_for(lambda: asked(service.dns, "other.example").startswith("SERVFAIL"), "no list is in force")
        assert PAGE_V4 not in asked(service.dns, NAME)
