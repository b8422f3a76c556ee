"""Bytes of a url: bounded, in time, and never redirected."""

from pathlib import Path

import pytest

from resolver.feed.transport import Access, NotFetched, TooLarge, TooSlow, Transport


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a list").write_bytes(b"a.test\n")
    transport = Transport(Access(), 20.0)
    assert transport.read((tmp_path / "a list").as_uri(), 7) == b"a.test\n"


def test_a_byte_too_many_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.test\n")
    with pytest.raises(TooLarge):
        Transport(Access(), 20.0).read((tmp_path / "list").as_uri(), 6)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFetched) as error:
        Transport(Access(), 20.0).read((tmp_path / "list").as_uri(), 6)
    assert error.value.status == 404
    with pytest.raises(NotFetched) as error:
        Transport(Access(), 20.0).read(tmp_path.as_uri(), 6)
    assert error.value.status == 0


def test_time_ends_it(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.test\n")
    ticks = iter([0.0, 20.0, 20.1])
    transport = Transport(Access(), 20.0, clock=lambda: next(ticks))
    assert transport.read((tmp_path / "list").as_uri(), 7)
    with pytest.raises(TooSlow):
        transport.read((tmp_path / "list").as_uri(), 7)
