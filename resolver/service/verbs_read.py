"""The verbs of the control socket that read the state folder, for members of the socket's group who may not.

Rules:
- A verb is carried out by the same command line as root's, in a process of its own with the service's account: no
  query waits for it, and there is one way in which a screen is made. One process at a time, with low priority, and
  with a time limit.
- The words are a closed set (requests.READS): no option names a file, and none changes anything.
- A long result is handed over in pages, to the peer that asked for it, for KEPT_S.
"""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resolver.control import requests, server
from resolver.control.requests import HERE

READ_S: Final = 40.0
"""Timeout for a process, in seconds: less than that of a verb."""
KEPT_S: Final = 60.0
MOST_KEPT: Final = 4
PAGE_OCTETS: Final = 2**18
"""JSON takes at most three times as much for the texts of these verbs: a page fits into a reply."""
MOST_OCTETS: Final = 2**26
MOST_SAID: Final = 2000
NICE: Final = 10

Run = Callable[[Sequence[str], int, int], "subprocess.Popen[bytes]"]
"""Starts a process with the words of a command line, stdout and stderr; OSError."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a process printed, in a file in memory."""

    uid: int
    status: int
    err: str
    file: int
    until: float


def run(words: Sequence[str], out: int, err: int) -> "subprocess.Popen[bytes]":
    """Start our own command line."""
    environment = {HERE: "1", "LC_ALL": "C.UTF-8", "PATH": os.defpath}
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        environment["CREDENTIALS_DIRECTORY"] = credentials
    return subprocess.Popen(  # noqa: S603 - our own module, with words of a closed set
        [sys.executable, "-I", "-m", "resolver", *words],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env=environment,
        cwd="/",
    )


class ReadVerbs:
    """Carries out requests that read. path: of the configuration. clock: returns monotonic seconds."""

    def __init__(
        self,
        path: Path,
        *,
        run: Run = run,
        read_s: float = READ_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._run = run
        self._read_s = read_s
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._kept: dict[str, _Kept] = {}

    def verbs(self) -> server.Verbs:
        """Return each request with the method that carries it out."""
        return {requests.Read: self._read, requests.ReadMore: self._more}

    async def _read(self, request: requests.Read, uid: int) -> requests.Reply:
        why = refused(request.words)
        if why:
            return requests.Failed(said=why)
        words = [*request.words, "--config", str(self._path.absolute())]
        if request.words[0] == "evidence":
            words += ["--out", "-"]
        async with self._one_at_a_time:
            try:
                kept = await self._carried_out(words, uid)
            except TimeoutError:
                return requests.Failed(said=f"not done within {self._read_s:g} s; run this as root on the host")
            except OSError as error:
                return requests.Failed(said=f"no process could be started to read: {error.strerror}")
        if os.fstat(kept.file).st_size > MOST_OCTETS:
            os.close(kept.file)
            return requests.Failed(said="more than can be handed over; run this as root on the host")
        return self._page(self._keep(kept), kept, 0)

    async def _carried_out(self, words: Sequence[str], uid: int) -> _Kept:
        out, err = os.memfd_create("read"), os.memfd_create("said")
        try:
            child = self._run(words, out, err)
            try:
                with suppress(OSError):  # it has ended already
                    os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
                async with asyncio.timeout(self._read_s):
                    status = await asyncio.to_thread(child.wait)
            finally:
                child.kill()
                child.wait()
        except BaseException:
            os.close(out)
            raise
        else:
            said = os.pread(err, MOST_SAID, 0).decode(errors="replace")
        finally:
            os.close(err)
        return _Kept(uid=uid, status=status, err=said, file=out, until=self._clock() + KEPT_S)

    def _keep(self, kept: _Kept) -> str:
        """Keep a result for a while, and forget the oldest ones; return what asks for more of it."""
        for token, one in list(self._kept.items()):
            if self._clock() >= one.until or len(self._kept) >= MOST_KEPT:
                os.close(self._kept.pop(token).file)
        token = secrets.token_hex(16)
        self._kept[token] = kept
        return token

    def _more(self, request: requests.ReadMore, uid: int) -> requests.Reply:
        kept = self._kept.get(request.token)
        if kept is None or kept.uid != uid or self._clock() >= kept.until:
            return requests.Failed(said="that result is no longer kept; ask for it again")
        return self._page(request.token, kept, request.start)

    def _page(self, token: str, kept: _Kept, start: int) -> requests.Reply:
        data = os.pread(kept.file, PAGE_OCTETS + 1, start)
        end = len(data)
        if end > PAGE_OCTETS:
            end = PAGE_OCTETS
            while data[end] & 0xC0 == 0x80:  # in the middle of a character
                end -= 1
        last = end == len(data)
        if last:
            os.close(self._kept.pop(token).file)
        return requests.ReadReply(
            status=kept.status,
            out=data[:end].decode(errors="replace"),
            err=kept.err,
            token="" if last else token,
            next=0 if last else start + end,
        )


def refused(words: Sequence[str]) -> str:
    """Return why these words are no verb that a service carries out for others; "" if they are one."""
    verb = next((one for one in requests.READS if tuple(words[: len(one)]) == one), None)
    if verb is None:
        return "not a verb that the service reads for others"
    options = [one for one in words[len(verb) :] if one.startswith("-")]
    if not requests.READS[verb].issuperset(options):
        return "not an option that the service takes for others"
    needed = requests.READS_MARKED.get(verb)
    if needed is None or needed in options:
        return ""
    return f"without {needed} this verb is not one that the service carries out for others"
