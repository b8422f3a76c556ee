"""Lists that Debian's minisign has signed, from the file to in force; and all that must not pass."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.fakes.enforcer import Enforcer
from tests.fakes.https import Server

pytestmark = pytest.mark.asyncio


def later(days: float) -> str:
    """A time from now, as a trusted comment says it."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Office:
    """The authority's keys and the folder it publishes in."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.list = folder / "list.txt"
        self.pinned = folder.parent / "pinned.pub"
        self.new_key("one")
        shutil.copy(folder / "one.pub", self.pinned)

    def new_key(self, name: str) -> None:
        self.key = self.folder / f"{name}.key"
        minisign("-G", "-W", "-p", str(self.folder / f"{name}.pub"), "-s", str(self.key))

    def publish(self, data: str, comment: str, *more: str) -> None:
        self.list.write_text(data)
        minisign("-S", "-s", str(self.key), "-m", str(self.list), "-t", comment, *more)

    def source(self, url: str = "") -> str:
        return f'kind = "file"\nurl = "{url or self.list.as_uri()}"\nroot = "{self.pinned}"'


def minisign(*arguments: str) -> None:
    subprocess.run(["minisign", *arguments], check=True, capture_output=True)


def begun(folder: Path, source: str) -> Enforcer:
    enforcer = Enforcer(None, folder, source=source)
    enforcer.feed.recover()
    return enforcer


@pytest.fixture
def office(program: Callable[[str], str], tmp_path: Path) -> Office:
    program("minisign")
    return Office(tmp_path / "office")


@pytest.fixture
def enforcer(office: Office, tmp_path: Path) -> Enforcer:
    return begun(tmp_path / "state", office.source())


async def test_a_list_comes_into_force_and_never_goes_back(office: Office, enforcer: Enforcer) -> None:
    office.publish("a.test\n", f"serial=1 not-after={later(9)}")
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.blocks("a.test"), enforcer.failures) == (1, True, {})
    office.publish("b.test\n", f"serial=2 not-after={later(9)} issued={later(-1)}")
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.blocks("a.test"), enforcer.blocks("b.test")) == (2, False, True)
    office.publish("a.test\n", f"serial=1 not-after={later(9)}")
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (2, {"rolled_back": 1})


async def test_a_later_end_is_a_renewal(office: Office, enforcer: Enforcer) -> None:
    office.publish("a.test\n", f"serial=1 not-after={later(2)}")
    await enforcer.list.poll()
    first = enforcer.feed.facts()[0].hard_limit_at
    office.publish("a.test\n", f"serial=1 not-after={later(5)}")
    await enforcer.list.poll()
    assert enforcer.feed.facts()[0].hard_limit_at - first in range(3 * 86400 - 60, 3 * 86400 + 60)
    assert enforcer.failures == {}


async def test_what_does_not_pass(office: Office, enforcer: Enforcer) -> None:
    good = f"serial=2 not-after={later(9)}"
    office.publish("a.test\n", f"serial=1 not-after={later(9)}")
    await enforcer.list.poll()

    async def told(what: str) -> tuple[str, set[str]]:
        before = dict(enforcer.failures)
        await enforcer.list.poll()
        assert enforcer.enforced == 1
        return what, {key for key, count in enforcer.failures.items() if count != before.get(key, 0)}

    office.publish("b.test\n", good, "-l")
    assert await told("the older form") == ("the older form", {"malformed"})
    office.publish("b.test\n", "serial=2")
    assert await told("no end") == ("no end", {"malformed"})
    office.publish("b.test\n", f"serial=2 not-after={later(-1)}")
    assert await told("past its end") == ("past its end", {"expired"})
    office.publish("b.test\n", f"serial=1 not-after={later(9)}")
    assert await told("the same serial") == ("the same serial", {"serial_reused"})
    office.publish("b.test\n", good + " list=other")
    assert await told("another list") == ("another list", {"wrong_list"})
    office.publish("", good)
    assert await told("an empty list") == ("an empty list", {"empty"})
    office.publish("b.test\nc.test\n", good)
    office.list.write_text("b.test\n")
    assert await told("half a list") == ("half a list", {"tampered"})
    office.list.write_text("<!doctype html>\n")
    assert await told("an HTML page") == ("an HTML page", {"tampered"})
    signature = office.list.with_name("list.txt.minisig")
    signature.write_text("<!doctype html>\n")
    assert await told("an HTML page as signature") == ("an HTML page as signature", {"malformed"})
    signature.unlink()
    assert await told("not signed") == ("not signed", {"not_signed"})
    office.new_key("thief")
    office.publish("b.test\n", good)
    assert await told("somebody else") == ("somebody else", {"tampered"})


async def test_a_key_that_was_stolen_is_replaced(office: Office, enforcer: Enforcer) -> None:
    office.publish("a.test\n", f"serial={10**9} not-after={later(9)}")
    await enforcer.list.poll()
    office.new_key("two")
    shutil.copy(office.folder / "two.pub", office.pinned)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (10**9, {"tampered": 1})
    office.publish("b.test\n", f"serial=3 not-after={later(9)}")
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.blocks("b.test")) == (3, True)
    assert b"floor_reset" in (enforcer.folder / "audit.log").read_bytes()


async def test_a_withdrawal_is_held(office: Office, enforcer: Enforcer) -> None:
    office.publish("a.test\n", f"serial=1 not-after={later(9)}")
    await enforcer.list.poll()
    office.publish("anything at all\n", f"serial=2 not-after={later(9)} withdrawn")
    await enforcer.list.poll()
    held = enforcer.list.state.held
    assert held is not None
    assert (held.reasons, enforcer.enforced, enforcer.failures) == (("withdrawn",), 1, {})


async def test_over_https_with_a_client_certificate(office: Office, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pem = tmp_path / "client.pem"
    ca.issue_cert("isp.test").private_key_and_cert_chain_pem.write_to_path(str(pem))
    office.publish("a.test\n", f"serial=1 not-after={later(9)}")
    with Server(office.folder, ca, clients=True, name="127.0.0.1") as server:
        source = office.source(f"{server.url}/list.txt") + f'\nca = "{tmp_path / "ca.pem"}"'
        without = begun(tmp_path / "without", source)
        await without.list.poll()
        assert (without.enforced, without.failures) == ("no list", {"unreachable": 1})
        enforcer = begun(tmp_path / "state", f'{source}\ncertificate = "{pem}"\nkey = "{pem}"')
        await enforcer.list.poll()
        assert (enforcer.enforced, enforcer.failures) == (1, {})
