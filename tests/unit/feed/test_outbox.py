"""Signed statements on their way: written first, offered until they are there, kept as long as they must be."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.config.config import Source
from resolver.feed.outbox import Outbox
from resolver.feed.transport import NotFetched
from resolver.signed import statement

KEY = Ed25519PrivateKey.generate()
SAID = {"kind": "receipt", "list": "demo"}


class Taker:
    """Takes what is posted, unless it is to fail."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.fails = False
        self.came = threading.Event()

    def send(self, source: Source, data: bytes) -> None:
        if self.fails:
            raise NotFetched(503)
        self.taken.append(data)
        self.came.set()


def outbox(folder: Path, receipt: str, taker: Taker | None = None, now: float = 0.0) -> Outbox:
    source = Source(kind="tuf", url="file:///srv/authority", root="/srv/root.json", receipt=receipt)
    send = (taker or Taker()).send
    made = Outbox(folder / "receipts", lambda: KEY, "host", {"demo": source}, keep_s=100, send=send, now=lambda: now)
    made.prepare()
    return made


def test_a_statement_is_written_for_its_owner_alone_before_it_is_offered(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    made = outbox(tmp_path, str(tmp_path / "there"))
    path = made.put("demo-7-1", "demo", SAID)
    assert statement.verified(path.read_bytes(), statement.public_of(KEY)) == SAID
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "receipts").stat().st_mode & 0o777 == 0o700
    assert made.has("demo-7-1")
    assert made.written_at("demo-7-1") == int(path.stat().st_mtime)
    assert made.written_at("demo-8-1") == 0
    assert made.waiting("demo") == 1
    os.utime(path.with_suffix(".due"), (1200.5, 1200.5))
    assert made.due("demo") == (1, 1200)
    assert made.due("other") == (0, 0)
    assert list((tmp_path / "there").iterdir()) == []


def test_a_folder_gets_the_file_whole_and_under_the_hosts_name(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    made = outbox(tmp_path, str(tmp_path / "there"))
    path = made.put("demo-7-1", "demo", SAID)
    assert made.deliver()
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["host-demo-7-1.json"]
    assert (tmp_path / "there" / "host-demo-7-1.json").read_bytes() == path.read_bytes()
    assert made.waiting("demo") == 0
    assert path.exists(), "it is kept here too"


def test_what_is_not_taken_stays_due_over_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = outbox(tmp_path, str(tmp_path / "there"))
    made.put("demo-7-1", "demo", SAID)
    assert not made.deliver()
    assert "could not be delivered" in caplog.text
    again = outbox(tmp_path, str(tmp_path / "there"))
    (tmp_path / "there").mkdir()
    assert again.waiting("demo") == 1
    assert again.deliver()
    assert again.waiting("demo") == 0


def test_a_url_is_posted_to_and_the_oldest_goes_first(tmp_path: Path) -> None:
    taker = Taker()
    made = outbox(tmp_path, "https://authority.test/receipts", taker)
    for age, name in ((10, "demo-8-2"), (20, "demo-7-1")):
        due = made.put(name, "demo", {"name": name}).with_suffix(".due")
        os.utime(due, (1000 - age, 1000 - age))
    taker.fails = True
    assert not made.deliver()
    assert made.waiting("demo") == 2
    taker.fails = False
    assert made.deliver()
    said = [statement.verified(data, statement.public_of(KEY)) for data in taker.taken]
    assert said == [{"name": "demo-7-1"}, {"name": "demo-8-2"}]


def test_without_anybody_who_waits_it_is_kept_here_alone(tmp_path: Path) -> None:
    made = outbox(tmp_path, "")
    made.put("demo-7-1", "demo", SAID)
    made.put("other", "unknown", SAID)
    assert made.waiting("demo") == 0
    assert made.deliver()


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    made = outbox(tmp_path, "")
    paths = [made.put("demo-7-1", "demo", SAID).name for _ in range(3)]
    assert paths == ["demo-7-1.json", "demo-7-1-2.json", "demo-7-1-3.json"]


def test_what_was_kept_long_enough_goes_unless_it_is_due(tmp_path: Path) -> None:
    made = outbox(tmp_path, str(tmp_path / "there"), now=1000)
    old, due, young = (made.put(name, "demo", SAID) for name in ("old", "due", "young"))
    old.with_suffix(".due").unlink()
    young.with_suffix(".due").unlink()
    os.utime(old, (800, 800))
    os.utime(due, (800, 800))
    os.utime(young, (950, 950))
    made.deliver()
    assert [one.exists() for one in (old, due, young)] == [False, True, True]


def test_what_a_crash_left_half_written_is_dropped(tmp_path: Path) -> None:
    made = outbox(tmp_path, str(tmp_path / "there"))
    (tmp_path / "receipts" / "x.part").write_bytes(b"{")
    (tmp_path / "receipts" / "demo-7-1.due").write_text("demo")
    made.prepare()
    assert list((tmp_path / "receipts").iterdir()) == []


@pytest.mark.asyncio
async def test_it_delivers_when_it_is_woken(tmp_path: Path) -> None:
    taker = Taker()
    made = outbox(tmp_path, "https://authority.test/receipts", taker)
    work = asyncio.create_task(made.run())
    made.put("demo-7-1", "demo", SAID)
    made.wake()
    assert await asyncio.to_thread(taker.came.wait, 10)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert work.cancelled()


def test_a_folder_that_cannot_be_used_ends_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "receipts").touch()
    made = outbox(tmp_path, "")
    assert f"receipts cannot be written ({tmp_path}/receipts: File exists)" in caplog.text
    assert (made.has("demo-7-1"), made.due("demo")) == (False, (0, 0))
    with pytest.raises(OSError, match="File exists"):
        made.put("demo-7-1", "demo", SAID)
    (tmp_path / "receipts").unlink()
    assert made.put("demo-7-1", "demo", SAID).exists()


def test_how_many_are_undelivered_is_known_without_a_look_at_the_disk(tmp_path: Path) -> None:
    taker = Taker()
    made = outbox(tmp_path, "https://authority.test/receipts", taker)
    assert made.undelivered == {}
    for name in ("demo-7-1", "demo-8-2"):
        made.put(name, "demo", SAID)
    taker.fails = True
    assert not made.deliver()
    assert made.undelivered == {"demo": 2}
    assert outbox(tmp_path, "https://authority.test/receipts").undelivered == {"demo": 2}, "over a restart too"
    taker.fails = False
    assert made.deliver()
    assert made.undelivered == {}
