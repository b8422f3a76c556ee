"""What has happened to others, by malice or by mistake: an old file, half a file, a page in its place, a mix-up."""

import logging
import shutil
import time
from pathlib import Path

import pytest

from resolver.authority import publish
from resolver.authority.repository import Refused
from tests.fakes.authority import DAY, Authority, names
from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.asyncio

PAGE = b"<!DOCTYPE html>\n<html>\n<head><title>503 Service Unavailable</title></head>\n<h1>503</h1>\n</html>\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def resolver_of(authority: Authority, tmp_path: Path, **settings: object) -> Enforcer:
    resolver = Enforcer(authority, tmp_path / "state", **settings)  # type: ignore[arg-type]  # the fields of Enforcer
    resolver.feed.recover()
    return resolver


async def running(authority: Authority, tmp_path: Path) -> Enforcer:
    """A resolver with serial 7 of 20 names in force."""
    authority.publish(names(20), 7)
    resolver = resolver_of(authority, tmp_path)
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (7, {})
    return resolver


async def refused(resolver: Enforcer, reason: str, stays: int | str = 7) -> None:
    """One more poll that ends for this reason and changes nothing."""
    before, events = dict(resolver.failures), list(resolver.events)
    await resolver.list.poll()
    assert resolver.failures == {**before, reason: before.get(reason, 0) + 1}
    assert (resolver.enforced, resolver.events) == (stays, events)


async def test_an_old_test_file_is_signed_once_more(authority: Authority, tmp_path: Path) -> None:
    authority.publish(names(5, "trial"), 1)
    resolver = await running(authority, tmp_path)
    authority.publish(names(5, "trial"), 1)
    await refused(resolver, "rolled_back")
    authority.publish(names(5, "trial"), 7)
    await refused(resolver, "serial_reused")


async def test_the_repository_is_restored_from_an_old_backup(authority: Authority, tmp_path: Path) -> None:
    authority.publish(names(5, "trial"), 1)
    backup = authority.copy()
    resolver = await running(authority, tmp_path)
    for path in (authority.folder / "metadata").iterdir():
        path.unlink()
    authority.put_back(backup)
    await refused(resolver, "rolled_back")
    # Its memory of the metadata is lost, its floor is not.
    shutil.rmtree(resolver.list.store.metadata)
    await refused(resolver, "rolled_back")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
async def test_half_a_list_arrives(share: float, authority: Authority, tmp_path: Path) -> None:
    resolver = await running(authority, tmp_path)
    authority.publish(names(30), 8)
    for path in (authority.folder / "targets").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
    await refused(resolver, "tampered")


async def test_half_a_timestamp_arrives(authority: Authority, tmp_path: Path) -> None:
    resolver = await running(authority, tmp_path)
    path = authority.folder / "metadata/timestamp.json"
    path.write_bytes(path.read_bytes()[:200])
    await refused(resolver, "malformed")


@pytest.mark.parametrize(
    ("what", "reason"), [("metadata/timestamp.json", "malformed"), ("targets", "tampered")]
)
async def test_a_page_of_an_error_comes_instead(
    what: str, reason: str, authority: Authority, tmp_path: Path
) -> None:
    resolver = await running(authority, tmp_path)
    authority.publish(names(40), 8)
    place = authority.folder / what
    for path in place.iterdir() if place.is_dir() else [place]:
        path.write_bytes(PAGE)
    await refused(resolver, reason)


async def test_a_page_of_an_error_is_signed_as_the_list(authority: Authority, tmp_path: Path) -> None:
    """An exporter that has failed, and nobody has looked: our own tool refuses to sign it, others may not."""
    resolver = await running(authority, tmp_path)
    authority.publish(PAGE, 8)
    await refused(resolver, "empty")
    publish.init(tmp_path / "ours", threshold=1, keys=1, now=time.time())
    with pytest.raises(Refused, match=r"no line of 5 is an entry: .* it looks like an HTML page"):
        publish.publish(tmp_path / "ours", publish.Issue(list_id="demo", data=PAGE, serial=8), now=time.time())


async def test_a_demonstration_list_is_offered_to_a_resolver_of_production(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority.publish(names(20), 7)
    resolver = resolver_of(authority, tmp_path, demonstration=False)
    with caplog.at_level(logging.INFO):
        await refused(resolver, "empty", "no list")
    assert "name0" not in caplog.text


async def test_a_list_of_production_is_offered_to_a_demonstration(authority: Authority, tmp_path: Path) -> None:
    resolver = await running(authority, tmp_path)
    authority.publish(b"a.co.uk\nb.co.uk\n", 8)
    await refused(resolver, "empty")


async def test_a_few_lines_of_the_other_kind_hold_the_list(authority: Authority, tmp_path: Path) -> None:
    resolver = await running(authority, tmp_path)
    authority.publish(names(20) + b"a.co.uk\nb.co.uk\nc.co.uk\nd.co.uk\n", 8)
    await resolver.list.poll()
    assert resolver.enforced == 7
    assert resolver.list.state.held.reasons == ("refused_share",)


# A host that is set up while the authority's freshness has run out.


async def test_a_new_host_takes_the_list_that_its_neighbours_keep(authority: Authority, tmp_path: Path) -> None:
    authority.publish(names(20), 7)
    authority.serve_timestamp(expires_in=-DAY)
    resolver = resolver_of(authority, tmp_path)
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (7, {})
    assert resolver.list.shown.fresh_until < time.time()
    # From here on it is held to what every running host is held to.
    await refused(resolver, "frozen")
    authority.publish(names(30), 8)
    authority.serve_timestamp(expires_in=-DAY)
    await refused(resolver, "frozen")
    resolver.restarted()
    await refused(resolver, "frozen")


async def test_a_new_host_is_given_an_old_list_to_begin_with(authority: Authority, tmp_path: Path) -> None:
    authority.publish(names(20), 6)
    authority.serve_timestamp(expires_in=-DAY)
    resolver = resolver_of(authority, tmp_path, of_source="minimum_serial = 7")
    await refused(resolver, "rolled_back", "no list")


@pytest.mark.parametrize(("expire", "enforced"), [("keep", 7), ("lift", "lifted")])
@pytest.mark.parametrize("ended", ["its own", "the operator's"])
async def test_a_new_host_treats_a_list_past_its_limit_as_the_operator_says(
    ended: str, expire: str, enforced: int | str, authority: Authority, tmp_path: Path
) -> None:
    issued = int(time.time()) - (15 * DAY if ended == "the operator's" else 2 * DAY)
    authority.publish(names(20), 7, issued=issued, expires=issued + DAY if ended == "its own" else None)
    authority.serve_timestamp(expires_in=-DAY)
    resolver = resolver_of(authority, tmp_path, settings=f'expire = "{expire}"')
    await resolver.list.poll()
    assert (resolver.enforced, resolver.failures) == (enforced, {})
    assert resolver.blocks("name0.test") is (expire == "keep")


async def test_what_is_written_is_for_its_owner_alone(authority: Authority, tmp_path: Path) -> None:
    resolver = await running(authority, tmp_path)
    authority.publish(names(30), 8)
    await resolver.list.poll()
    paths = [path for path in (tmp_path / "state").rglob("*") if not path.is_symlink()]
    assert len(paths) > 10
    assert [path for path in paths if path.stat().st_mode & 0o077 and path.parent.name != "root_history"] == []
