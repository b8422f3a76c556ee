"""Firefox with DNS over HTTPS by an administrator's policy: blocked and open names arrive by DoH, and only by it; over
IPv6 and HTTP/3 too, of which it is told.

The pictures are among the temporary files of the run: the blocked page, and the settings as the user sees them.
"""

import itertools
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.journeys.edges import PATH
from tests.peers import marionette
from tests.peers.hosts import wait_for
from tests.peers.marionette import Firefox
from tests.peers.offered import (
    ADDRESS,
    ADDRESS_V6,
    BLOCKED,
    NAME,
    OPEN,
    OPEN_TEXT,
    Offered,
    in_own_files,
    offered,
)

pytestmark = pytest.mark.timeout(300)  # A visit takes 15 seconds; a busy machine takes what it takes.

Program = Callable[[str], str]
URL = f"https://{NAME}{PATH}"
HEADING = "This address is blocked"
DISTRIBUTION = "/usr/share/firefox-esr/distribution"
TRR_ONLY = 3
"""network.trr.mode: DNS over HTTPS, and no way round it."""
NUMBERS = itertools.count()
MANY = 20
"""More packets, or queries, than a connection takes that is given up."""
PATIENCE_S = 120.0
PICTURE_OCTETS = 20_000
"""More than the picture of an empty page has."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offered]:
    with offered(tmp_path_factory.mktemp("offered"), http3=True) as found:
        yield found


def visited(browser: Firefox, lab: Offered) -> dict[str, int]:
    """Visit a name that has never been asked and does not exist; what has arrived by then."""
    with suppress(AssertionError):  # which Marionette says of it
        browser.open(f"http://{next(NUMBERS)}.never.test/")
    return lab.arrived()


@contextmanager
def firefox(
    program: Program, lab: Offered, folder: Path, *, trusting: bool, address: str = ADDRESS, **preferences: object
) -> Iterator[Firefox]:
    """A Firefox whose policy names our resolver; it knows the resolver's address, and has no other resolver."""
    policies: dict[str, object] = {
        "DNSOverHTTPS": {"Enabled": True, "ProviderURL": URL, "Fallback": False, "Locked": True},
    }
    if trusting:
        policies["Certificates"] = {"Install": [str(lab.place.ca)]}
    texts = {
        f"{DISTRIBUTION}/policies.json": json.dumps({"policies": policies}),
        "/etc/hosts": f"127.0.0.1 localhost\n{address} {NAME}\n",
        "/etc/resolv.conf": "",
    }
    files = {}
    for target, text in texts.items():
        files[target] = folder / Path(target).name
        files[target].write_text(text)
    wrapper = folder / "firefox"
    command = shlex.join(in_own_files([DISTRIBUTION], files, program("firefox-esr")))
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    with marionette.firefox(str(wrapper), folder / "profile", preferences) as browser:
        browser.resize(900, 700)
        yield browser


def test_blocked_and_open_names_arrive_by_doh_alone(lab: Offered, program: Program, tmp_path: Path) -> None:
    before = lab.received()
    with firefox(program, lab, tmp_path, trusting=True) as browser:
        said = "const p = Services.prefs; return [p.getIntPref(arguments[0]), p.prefIsLocked(arguments[0])]"
        assert browser.script(said, "network.trr.mode") == [TRR_ONLY, True]
        browser.open(f"http://{BLOCKED}/")
        assert browser.read("document.title") == HEADING
        browser.picture(tmp_path / "blocked.png")
        browser.open(f"http://{OPEN}/")
        assert OPEN_TEXT in browser.read("document.body.innerText")
        wait_for(lambda: lab.received()["doh"] >= before["doh"] + 2, "the counts are published")
        assert lab.received() == {**before, "doh": lab.received()["doh"]}
        browser.open("about:preferences#privacy")
        settings = "document.getElementById('dohBox')"
        wait_for(lambda: browser.read(f"Boolean({settings})"), "the settings of DNS over HTTPS are shown")
        browser.read(f"{settings}.scrollIntoView()")
        browser.picture(tmp_path / "settings.png")
    for name in ("blocked.png", "settings.png"):
        assert (tmp_path / name).stat().st_size > PICTURE_OCTETS


def test_it_goes_on_over_http3_once_it_is_told(lab: Offered, program: Program, tmp_path: Path) -> None:
    """Over IPv6. By itself it does so where the certificate's authority is one of its own, and not one installed."""
    before, arrived = lab.received(), lab.arrived()
    known = {"network.http.http3.disable_when_third_party_roots_found": False}
    with firefox(program, lab, tmp_path, trusting=True, address=ADDRESS_V6, **known) as browser:
        browser.open(f"http://{OPEN}/")
        told = lab.arrived()
        assert told["tcp"] > arrived["tcp"]
        wait_for(lambda: visited(browser, lab)["udp"] > told["udp"], "it asks over HTTP/3", PATIENCE_S)
        settled = lab.arrived()
        browser.open(f"http://{BLOCKED}/")
        assert browser.read("document.title") == HEADING
        wait_for(lambda: visited(browser, lab)["udp"] > settled["udp"] + MANY, "it stays with HTTP/3", PATIENCE_S)
        wait_for(lambda: lab.received()["doh"] > before["doh"] + MANY, "the counts are published")
    assert lab.received() == {**before, "doh": lab.received()["doh"]}


def test_an_edge_that_is_not_trusted_is_not_asked(lab: Offered, program: Program, tmp_path: Path) -> None:
    before = lab.received()
    with firefox(program, lab, tmp_path, trusting=False) as browser:
        with pytest.raises(AssertionError, match="dnsNotFound"):
            browser.open(f"http://{OPEN}/")
        browser.picture(tmp_path / "refused.png")
    assert lab.received() == before
