"""Verbs that a service carries out for members of its group: a closed set of words, pages, one process at a time."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from resolver.control import requests
from resolver.control.requests import Failed, Read, ReadMore, ReadReply
from resolver.service import verbs_read
from resolver.service.verbs_read import PAGE_OCTETS, ReadVerbs

PATH = Path("/etc/x.toml")


class Started:
    """Notes the words, and starts a process that prints what a test wants."""

    def __init__(self, script: str = "print('said')") -> None:
        self.script = script
        self.words: list[list[str]] = []

    def __call__(self, words: Sequence[str], out: int, err: int) -> "subprocess.Popen[bytes]":
        self.words.append(list(words))
        return subprocess.Popen([sys.executable, "-I", "-S", "-c", self.script], stdout=out, stderr=err)


async def read(verbs: ReadVerbs, *words: str, uid: int = 7) -> requests.Reply:
    reply = verbs.verbs()[Read](Read(words=words), uid)
    assert not isinstance(reply, requests.Reply)
    return await reply


@pytest.mark.asyncio
async def test_a_verb_is_carried_out_with_the_configuration_of_the_service() -> None:
    started = Started("import sys; print('seven'); print('why', file=sys.stderr); sys.exit(3)")
    verbs = ReadVerbs(PATH, run=started)
    assert await read(verbs, "list", "held", "demo", "--json") == ReadReply(status=3, out="seven\n", err="why\n")
    assert await read(verbs, "evidence", "--month", "2026-11", "--so-far") == ReadReply(
        status=3, out="seven\n", err="why\n"
    )
    assert started.words == [
        ["list", "held", "demo", "--json", "--config", "/etc/x.toml"],
        ["evidence", "--month", "2026-11", "--so-far", "--config", "/etc/x.toml", "--out", "-"],
    ]


REFUSED = [
    (),
    ("run",),
    ("list",),
    ("list", "approve", "demo", "8"),
    ("list", "release", "3"),
    ("list", "release", "3", "--end"),
    ("list", "release", "3", "--statement", "--end"),
    ("list", "status", "--config"),
    ("list", "status", "--conf"),
    ("list", "receipt", "--key", "--out"),
    ("report", "--prometheus"),
    ("report", "--out"),
    ("evidence", "--month", "2026-10"),
    ("evidence", "--month", "2026-10", "--correct", "x"),
    ("evidence", "--so-far", "--out"),
]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
@pytest.mark.asyncio
async def test_what_names_a_file_or_changes_something_is_no_verb_for_others(words: tuple[str, ...]) -> None:
    started = Started()
    reply = await read(ReadVerbs(PATH, run=started), *words)
    assert isinstance(reply, Failed)
    assert started.words == []


@pytest.mark.parametrize("word", ["/etc/passwd", "a b", "", "x" * 129, "--out=/x", "$(x)", "é"])
def test_a_word_that_could_be_a_path_is_no_request(word: str) -> None:
    line = requests.line_of(Read(words=("list", "held", word)))
    with pytest.raises(requests.Malformed):
        requests.request_of(line)


@pytest.mark.asyncio
async def test_a_long_result_comes_in_pages_to_the_peer_that_asked() -> None:
    # Two octets a letter: a page never ends within one.
    size = PAGE_OCTETS + 11
    verbs = ReadVerbs(PATH, run=Started(f"import sys; sys.stdout.buffer.write(('x' + 'é' * {size}).encode())"))
    reply = await read(verbs, "list", "audit")
    assert isinstance(reply, ReadReply)
    parts = [reply.out]
    assert isinstance(verbs.verbs()[ReadMore](ReadMore(token=reply.token, start=reply.next), 8), Failed), "another uid"
    assert isinstance(verbs.verbs()[ReadMore](ReadMore(token="0" * 32, start=0), 7), Failed)
    while reply.token:
        reply = verbs.verbs()[ReadMore](ReadMore(token=reply.token, start=reply.next), 7)
        assert isinstance(reply, ReadReply)
        assert len(requests.line_of(reply)) < requests.MAX_REPLY_OCTETS
        parts.append(reply.out)
    assert "".join(parts) == "x" + "é" * size
    assert len(parts) == 3


@pytest.mark.asyncio
async def test_results_that_nobody_fetches_are_forgotten() -> None:
    now = [0.0]
    verbs = ReadVerbs(PATH, run=Started(f"print('x' * {PAGE_OCTETS + 1})"), clock=lambda: now[0])
    files = len(os.listdir("/proc/self/fd"))
    replies = [await read(verbs, "list", "audit") for _ in range(verbs_read.MOST_KEPT + 2)]
    assert len(os.listdir("/proc/self/fd")) == files + verbs_read.MOST_KEPT
    last = replies[-1]
    assert isinstance(last, ReadReply)
    now[0] = verbs_read.KEPT_S
    assert isinstance(verbs.verbs()[ReadMore](ReadMore(token=last.token, start=last.next), 7), Failed)
    await read(ReadVerbs(PATH, run=Started()), "list", "audit")


@pytest.mark.asyncio
async def test_a_process_that_hangs_is_ended_and_one_that_cannot_start_is_told() -> None:
    hangs = ReadVerbs(PATH, run=Started("import time; time.sleep(60)"), read_s=0.2)
    reply = await read(hangs, "list", "status")
    assert isinstance(reply, Failed)
    assert reply.said.startswith("not done within 0.2 s")

    def fails(words: Sequence[str], out: int, err: int) -> "subprocess.Popen[bytes]":
        raise OSError(11, "Resource temporarily unavailable")

    reply = await read(ReadVerbs(PATH, run=fails), "list", "status")
    assert reply == Failed(said="no process could be started to read: Resource temporarily unavailable")


@pytest.mark.asyncio
async def test_one_process_at_a_time() -> None:
    running: list[subprocess.Popen[bytes]] = []

    def watched(words: Sequence[str], out: int, err: int) -> "subprocess.Popen[bytes]":
        assert all(one.returncode is not None for one in running), "the one before has ended"
        running.append(Started()(words, out, err))
        return running[-1]

    verbs = ReadVerbs(PATH, run=watched)
    await asyncio.gather(*(read(verbs, "list", "status") for _ in range(3)))
    assert len(running) == 3


def test_our_own_command_line_is_started(tmp_path: Path) -> None:
    out = os.memfd_create("out")
    child = verbs_read.run(["list", "status", "--config", str(tmp_path / "absent.toml")], out, out)
    assert child.wait() == 2
    assert b"absent.toml" in os.pread(out, 1000, 0)
    os.close(out)
