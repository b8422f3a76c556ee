"""A wrongful block is lifted by one command, over a restart too, and its name stays nowhere."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, asked, honest, list_of, operate
from tests.journeys.running import PAGE_V4

BLOCKED = f"{PAGE_V4} EDE 4"
NAME = "canary-7f3a.test"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> Site:
    site = Site(tmp_path, [upstream.address])
    hears = tmp_path / "authority-hears"
    hears.mkdir()
    one = list_of(site.authority.folder)
    one["source"]["receipt"] = str(hears)
    site.lists[:] = [one]
    site.publish([NAME, "bad.test"])
    return site


class Watch(threading.Thread):
    """Reads every process's arguments until told to end; `seen` is whether the name was among them."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ends = threading.Event()
        self.seen = False

    def run(self) -> None:
        while not self.ends.wait(0.01):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.seen = self.seen or b"canary-7f3a" in path.read_bytes()


def test_a_release_lasts_over_a_restart_ends_by_hand_and_leaves_no_name(site: Site) -> None:
    watch = Watch()
    watch.start()
    with site.started():
        assert [asked(site.dns, name) for name in (NAME, f"www.{NAME}", "bad.test")] == [BLOCKED] * 3
        open_chain = asked(site.dns, "open.test", "DS")
        assert asked(site.dns, "bad.test", "DS") == asked(site.dns, "bad.test", "DNSKEY") != open_chain
        done = operate(site, "list", "release", "-", "--reason", "a school", typed=f"{NAME}\n")
        assert done.returncode == 0
        assert "list demo, serial 1" in done.stdout
        assert [asked(site.dns, name) for name in (NAME, f"www.{NAME}", "bad.test")] == [REAL, REAL, BLOCKED]
        # A validator behind us needs these for every name below, and gets them while something is released.
        for kind in ("DS", "DNSKEY"):
            assert (asked(site.dns, "bad.test", kind), asked(site.dns, "open.test", kind)) == (open_chain, open_chain)
        for typed, reason in (("open.test", "a school"), ("bad.test", "see www.else.example")):
            refused = operate(site, "list", "release", "-", "--reason", reason, typed=f"{typed}\n")
            assert refused.returncode == 3
            assert "open" not in refused.stderr
        assert operate(site, "list", "releases").stdout.startswith("release 1: list demo, serial 1")
    with site.started():
        assert asked(site.dns, NAME) == REAL
        assert operate(site, "list", "release", "1", "--end").returncode == 0
        assert asked(site.dns, NAME) == BLOCKED
    watch.ends.set()
    watch.join()
    assert not watch.seen
    written = [path for path in site.folder.rglob("*") if path.is_file() and "authority" not in path.parts]
    assert b"canary-7f3a" not in b"".join(path.read_bytes() for path in written)
    assert any(b'\\"kind\\":\\"release\\"' in path.read_bytes() for path in written if "authority-hears" in path.parts)
