"""A file with a minisign signature over its life, fetched and compiled by processes: renewed, refused, replaced."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import minisign
import pytest

from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.asyncio


def later(days: int) -> str:
    """A date so many days from now, as a trusted comment has it."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Office:
    """An authority's key, and the folder that it publishes in."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.list = folder / "list"
        self.pinned = folder / "key.pub"
        self.keys = minisign.KeyPair.generate()
        self.pinned.write_bytes(bytes(self.keys.public_key) + b"\n")

    def publish(self, data: bytes, says: str) -> None:
        """Put a list and its signature in place."""
        signature = self.keys.secret_key.sign(data, trusted_comment=says, prehash=True)
        self.list.write_bytes(data)
        self.list.with_name("list.minisig").write_bytes(bytes(signature) + b"\n")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(tmp_path / "office")
    made.publish(b"bad.test\nworse.test\n", f"serial=7 not-after={later(9)}")
    return made


@pytest.fixture
def resolver(office: Office, tmp_path: Path) -> Enforcer:
    source = f'kind = "file"\nurl = "{office.list.as_uri()}"\nroot = "{office.pinned}"'
    made = Enforcer(None, tmp_path / "state", source=source)
    made.feed.recover()
    return made


async def test_a_file_comes_in_force_is_renewed_and_never_goes_back(office: Office, resolver: Enforcer) -> None:
    await resolver.list.poll()
    assert (resolver.enforced, resolver.blocks("x.worse.test"), resolver.failures) == (7, True, {})
    office.publish(b"bad.test\nworse.test\n", f"serial=7 not-after={later(20)}")
    await resolver.list.poll()
    record = resolver.list.state.in_force
    assert record is not None
    assert record.expires is not None
    assert record.expires > (datetime.now(UTC) + timedelta(days=19)).timestamp()
    office.publish(b"bad.test\n", f"serial=8 not-after={later(9)}")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.blocks("bad.test"), resolver.blocks("worse.test")) == (8, True, False)
    resolver.restarted()
    office.publish(b"bad.test\nworse.test\n", f"serial=7 not-after={later(9)}")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (8, {"rolled_back": 1})


async def test_a_file_that_somebody_else_has_touched_changes_nothing(office: Office, resolver: Enforcer) -> None:
    await resolver.list.poll()
    office.publish(b"bad.test\nthird.test\n", f"serial=8 not-after={later(9)}")
    office.list.write_bytes(b"third.test\n")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (7, {"tampered": 1})
    office.keys = minisign.KeyPair.generate()
    office.publish(b"third.test\n", f"serial=8 not-after={later(9)}")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (7, {"tampered": 2})
    assert resolver.blocks("bad.test")
    assert not resolver.blocks("third.test")


async def test_a_zones_master_file_comes_in_force_and_its_serial_is_that_of_the_signature(
    office: Office, tmp_path: Path
) -> None:
    source = f'kind = "file"\nformat = "rpz"\nurl = "{office.list.as_uri()}"\nroot = "{office.pinned}"'
    resolver = Enforcer(None, tmp_path / "state-rpz", source=source)
    resolver.feed.recover()
    zone = "$TTL 60\n@ SOA ns.example. mail.example. {} 3600 600 86400 60\n@ NS ns.example.\n{}"
    records = "bad.test CNAME .\n*.bad.test CNAME .\nworse.test. CNAME .\n" + "".join(
        f"n{at}.test CNAME .\n" for at in range(99)
    )
    office.publish(zone.format(8, records).encode(), f"serial=8 not-after={later(9)}")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.blocks("x.bad.test"), resolver.failures) == (8, True, {})
    assert not resolver.blocks("worse.test")
    record = resolver.list.state.in_force
    assert record is not None
    assert record.refused_lines == {"out_of_zone": (6,)}
    office.publish(zone.format(99, records).encode(), f"serial=9 not-after={later(9)}")
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (8, {"malformed": 1})
