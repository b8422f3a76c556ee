"""A zone whose copy is kept: when it is used, when it is written, and when it goes."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.canaries import Canaries, label
from tests.fakes.enforcer import all_bytes_below
from tests.fakes.primary import Primary, key_file, signed, soa
from tests.fakes.zoned import Zoned, blocks

pytestmark = pytest.mark.asyncio

NAMES = [f"{label()}.test" for _ in range(4)]
ALL = "expect_entries = [1, 10]\nshrink = 1.0\ngrowth = 10.0\nrefused = 1.0"


@pytest.fixture
def primary() -> Iterator[Primary]:
    with Primary(serial=7, records=blocks(*NAMES[:2])).serving() as serving:
        yield serving


def started(primary: Primary, folder: Path, settings: str = ALL, *, incremental: bool = True) -> Zoned:
    """A host whose keys lie apart from its state."""
    keys = folder / "keys"
    if not keys.exists():
        keys.mkdir()
        for name, size in (("digest.key", 16), ("seal.key", 32)):
            (keys / name).write_bytes(bytes(range(size)))
            (keys / name).chmod(0o600)
    of_state = f'keys = "{keys}"'
    found = Zoned(primary, folder / "state", key_file(folder), settings, of_state=of_state, incremental=incremental)
    found.feed.recover()
    return found


def copies(resolver: Zoned) -> list[str]:
    """The names of the copies that are kept, and of files half written."""
    folder = resolver.list.store.folder
    return sorted(path.name for pattern in ("*.copy", "*.part") for path in folder.glob(pattern))


async def asked(resolver: Zoned) -> list[str]:
    """What a poll asks for."""
    resolver.primary.asked.clear()
    await resolver.list.poll()
    return list(resolver.primary.asked)


async def test_differences_are_asked_for_and_whatever_is_wrong_costs_a_whole_transfer(
    primary: Primary, tmp_path: Path
) -> None:
    resolver = started(primary, tmp_path)
    assert await asked(resolver) == ["SOA", "AXFR"]
    assert copies(resolver) == ["1.copy"]
    assert await asked(resolver) == ["SOA"]
    primary.publish(8, blocks(*NAMES))
    primary.publish(9, blocks(NAMES[0], NAMES[2]))
    resolver.restarted()
    assert await asked(resolver) == ["SOA", "IXFR"]
    assert [resolver.blocks(f"x.{name}") for name in NAMES] == [True, False, True, False]
    path = resolver.list.store.folder / "2.copy"
    assert (copies(resolver), path.stat().st_mode & 0o777) == ([path.name], 0o600)
    path.write_bytes(path.read_bytes()[:-1])
    primary.publish(10, blocks(NAMES[3]))
    assert await asked(resolver) == ["SOA", "AXFR"]
    primary.publish(11, blocks(*NAMES))
    wrong = [soa(11), soa(10), *blocks(NAMES[0]), soa(11), soa(11)]
    primary.difference = lambda query: signed(query, [wrong])
    assert await asked(resolver) == ["SOA", "IXFR", "AXFR"]
    assert (resolver.events[-1], resolver.failures, copies(resolver)) == (11, {}, ["4.copy"])
    assert [resolver.blocks(name) for name in NAMES] == [True] * 4
    assert Canaries(NAMES).found_in(all_bytes_below(tmp_path)) == []


async def test_what_is_held_is_gone_on_from_and_what_is_not_taken_is_not_kept(primary: Primary, tmp_path: Path) -> None:
    resolver = started(primary, tmp_path, "expect_entries = [1, 10]\nrefused = 0.0")
    await resolver.list.poll()
    primary.publish(8, [*blocks(NAMES[0]), ("32.1.2.0.192.rpz-ip", "CNAME", ".")])
    assert await asked(resolver) == ["SOA", "IXFR"]
    assert resolver.list.state.held is not None
    assert copies(resolver) == ["1.copy", "2.copy"]
    primary.publish(9, blocks(NAMES[2], NAMES[3]))
    assert await asked(resolver) == ["SOA", "IXFR"]
    assert (resolver.enforced, copies(resolver)) == (9, ["3.copy"])
    resolver.wrong = 1
    primary.publish(10, blocks(*NAMES[1:]))
    assert await asked(resolver) == ["SOA", "IXFR"]
    # It was taken back at once: the next one is a whole transfer.
    assert (resolver.enforced, copies(resolver)) == (9, [])


async def test_no_copy_is_kept_beside_the_keys_that_open_it(
    primary: Primary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = Zoned(primary, tmp_path / "state", key_file(tmp_path), incremental=True)
    with caplog.at_level(logging.WARNING, "resolver.feed"):
        resolver.feed.recover()
    assert "source.incremental has no effect" in caplog.text
    await resolver.list.poll()
    assert (resolver.enforced, copies(resolver)) == (7, [])


async def test_a_copy_goes_with_its_list_its_source_and_the_setting(primary: Primary, tmp_path: Path) -> None:
    resolver = started(primary, tmp_path)
    await resolver.list.poll()
    folder, config = resolver.list.store.folder, resolver.config
    one = config.lists[0]
    data = (folder / "1.copy").read_bytes()
    for changed in (
        replace(one, source=replace(one.source, incremental=False)),
        replace(one, source=replace(one.source, url=f"{one.source.url}x")),
        replace(one, id="another"),
    ):
        (folder / "1.copy").write_bytes(data)
        resolver.config = config
        resolver.restarted()
        assert copies(resolver) == ["1.copy"]
        resolver.config = replace(config, lists=(changed,))
        resolver.feed = resolver.started()
        resolver.feed.recover()
        assert list(folder.glob("*.copy")) == []
        assert list(folder.glob("*.image"))
