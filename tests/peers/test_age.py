"""Debian's age on the other side: its keys, what it encrypts, and what it makes of what we have encrypted."""

import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resolver.authority import publish, recipients
from resolver.feed.fetch import age
from tests.fakes.enforcer import Enforcer

DATA = b"a.test\n=b.test\n"


class Site:
    """A resolver's key as age-keygen makes it, and an authority that knows the public half."""

    def __init__(self, program: Callable[[str], str], folder: Path) -> None:
        self.age, keygen = program("age"), program("age-keygen")
        self.identity, self.public = folder / "identity.txt", folder / "public.txt"
        subprocess.run([keygen, "-o", self.identity], check=True, capture_output=True)
        self.public.write_bytes(subprocess.run([keygen, "-y", self.identity], check=True, capture_output=True).stdout)
        self.folder, self.pinned = folder / "authority", folder / "pinned.json"
        publish.init(self.folder, threshold=1, keys=1, now=time.time())
        shutil.copy(self.folder / "root.json", self.pinned)
        self.url = self.folder.as_uri()

    def publish(self, serial: int) -> Path:
        """Publishes for this resolver; returns the ciphertext as it is served."""
        known = recipients.typed([f"isp=@{self.public}"], None)
        issue = publish.Issue(list_id="demo", data=DATA, serial=serial, recipients=known)
        publish.publish(self.folder, issue, now=time.time())
        return next((self.folder / "targets").glob("*.demo-isp"))


@pytest.fixture
def site(program: Callable[[str], str], tmp_path: Path) -> Site:
    return Site(program, tmp_path)


def test_age_opens_what_we_encrypt(site: Site) -> None:
    opened = subprocess.run([site.age, "-d", "-i", site.identity, site.publish(1)], check=True, capture_output=True)
    assert opened.stdout == DATA


@pytest.mark.parametrize("size", [len(DATA), 2**16, 3 * 2**20 + 1])
def test_we_open_what_age_encrypts(size: int, site: Site) -> None:
    data = (DATA * (size // len(DATA) + 1))[:size]
    sealed = subprocess.run(
        [site.age, "-r", site.public.read_text().strip()], input=data, check=True, capture_output=True
    ).stdout
    assert len(sealed) <= len(data) + age.MAX_OVERHEAD_BYTES
    assert age.opened(sealed, age.identities_of(site.identity)) == data


@pytest.mark.asyncio
async def test_a_list_for_a_key_of_age_comes_in_force(site: Site, tmp_path: Path) -> None:
    site.publish(7)
    source = f'target = "demo-isp"\nidentity = "{site.identity}"'
    resolver = Enforcer(site, tmp_path / "state", of_source=source)  # type: ignore[arg-type]  # url and pinned count
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (7, {})
    assert resolver.list.state.in_force.digest == hashlib.sha256(DATA).hexdigest()
