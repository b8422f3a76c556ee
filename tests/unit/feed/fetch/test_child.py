"""The frame of a fetch process: what it says, when it writes, and why it ends."""

import hashlib
import io
import json
import os
from types import SimpleNamespace

import msgspec
import pytest

from resolver.feed import sandbox
from resolver.feed.details import Code, Detail, Place
from resolver.feed.fetch import child
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.processes import memory_file
from resolver.feed.reasons import Reason
from resolver.feed.transport import NotFetched, TooLarge, TooSlow, Unreadable
from resolver.signed.metadata import Custom

DETAIL = Detail(code=Code.HTTP_STATUS, at=Place.LIST, numbers=(404,))
FACTS = Facts(
    digest="0" * 64,
    length=1,
    custom=Custom(list="demo", serial=7, issued=0, expires=None, withdrawn=False),
    targets_keys="keys",
    root_version=1,
    fresh_until=0,
)


REQUEST = FetchRequest(
    parent=os.getpid(), output=9, list_id="demo", url="", root="", target="", metadata="", ca="",
    certificate="", key="", max_bytes=1, memory_bytes=1, seconds=1.0, copy_output=11,
)  # fmt: skip


@pytest.mark.parametrize(("answer", "done"), [(b"go\n", True), (b"stop\n", False), (b"", False)])
def test_a_request_is_served(answer: bytes, done: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    lines = io.BytesIO(msgspec.json.encode(REQUEST) + b"\n" + answer)
    monkeypatch.setattr(child.sys, "stdin", SimpleNamespace(buffer=lines))
    monkeypatch.setattr(child, "say", told.append)
    confined: list[tuple[int, ...]] = []
    monkeypatch.setattr(child, "confine", lambda *said: confined.append(said))
    masks: list[int] = []
    monkeypatch.setattr(child.os, "umask", masks.append)
    child.work(lambda asked, wanted: child.step(DETAIL) is None and asked == REQUEST and wanted(FACTS))
    assert masks == [0o077]
    assert confined == [(os.getpid(), 1, 9, 11)]
    assert told == [{"step": msgspec.to_builtins(DETAIL)}, {"facts": msgspec.to_builtins(FACTS)}, {"done": done}]
    assert json.dumps(told)


def test_a_list_is_written_whole() -> None:
    handle = memory_file("list")
    data = b"a.test\n" * 100_000
    child.put(handle, data)
    assert os.pread(handle, len(data) + 1, 0) == data
    os.close(handle)


def test_a_descriptor_is_read_from_its_beginning_and_stays_open() -> None:
    handle = memory_file("list")
    child.put(handle, b"a.test\n")
    assert [child.contents(handle) for _ in range(2)] == [b"a.test\n"] * 2
    os.close(handle)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotFetched(404, DETAIL), Reason.UNREACHABLE),
        (TooSlow(), Reason.UNREACHABLE),
        (TooLarge(), Reason.OVERSIZED),
        (Unreadable(detail=DETAIL), Reason.UNREADABLE),
    ],
)
def test_why_bytes_are_missing(error: NotFetched, reason: Reason) -> None:
    failed = child.not_fetched(error)
    assert isinstance(failed, sandbox.Failed)
    assert (failed.reason, failed.detail) == (reason, error.detail)


@pytest.mark.parametrize(("form", "read_as"), [("plain", "plain"), ("csv", "csv"), ("rpz", "master")])
def test_the_facts_of_a_signed_file(form: str, read_as: str) -> None:
    request = msgspec.structs.replace(REQUEST, format=form)
    found = child.facts_of_file(request, b"a.test\n", FACTS.custom, "ab" * 32, 5)
    assert (found.length, found.targets_keys, found.pinned) == (7, "ab" * 16, "ab" * 32)
    assert (found.fresh_until, found.format, found.root_version) == (5, read_as, 1)
    assert found.digest == hashlib.sha256(b"a.test\n").hexdigest()
