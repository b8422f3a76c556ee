"""GnuPG as a child process: what a file decrypts to, and which pinned key has signed that.

Rules:
- Decryption alone says nothing. Within one integrity-protected encryption there must be one text and one signature,
  good, by a pinned primary key or a subkey of it, neither expired nor revoked; GnuPG's exit status decides nothing.
- Clear text goes into anonymous memory alone, of bounded size; no text of GnuPG is passed on.
- GnuPG reads no configuration of the home, asks nobody for keys or passphrases, and ends with this process: the agent
  runs for this one call and is ended after it, or ends by itself a few seconds after whom it served.
- One process at a time uses a home.
"""

import ctypes
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

MAX_STATUS_BYTES: Final = 2**16
_PR_SET_PDEATHSIG: Final = 1
_PATH: Final = "/usr/bin:/bin:/usr/local/bin"
_END_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.05
_LINE: Final = b"[GNUPG:] "
_WEAK: Final = frozenset((b"1", b"2", b"3"))
"""MD5, SHA-1, RIPEMD-160 (RFC 4880, 9.4)."""

_BAD_SIGNATURES: Final = frozenset((b"BADSIG", b"ERRSIG", b"EXPSIG", b"EXPKEYSIG", b"REVKEYSIG"))
_OPTIONS: Final = (
    "--no-options",
    "--batch",
    "--no-tty",
    "--no-autostart",
    "--disable-dirmngr",
    "--no-auto-key-retrieve",
    "--no-random-seed-file",
    "--pinentry-mode",
    "error",
    "--trust-model",
    "always",
    "--logger-file",
    "/dev/null",
    "--status-fd",
    "2",
)
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Gpg:
    """GnuPG with the home `home`; `rest` is the seconds left, at most `most` bytes come out of a file."""

    def __init__(self, home: str, most: int, rest: Callable[[], float]) -> None:
        self._home = home
        self._most = most
        self._rest = rest

    def pinned(self, keys: bytes) -> frozenset[str]:
        """Fingerprints of the primary keys in `keys`, which the home knows from now on; Failed where there are none."""
        said, _ = self._run(("--with-colons", "--show-keys"), keys)
        found, primary = set(), False
        for line in said.splitlines():
            cells = line.split(b":")
            if cells[0] in (b"pub", b"sub"):
                primary = cells[0] == b"pub"
            elif cells[0] == b"fpr" and primary and len(cells) > 9:
                found.add(cells[9].decode("ascii"))
        if not found:
            raise Failed(Reason.ROOT_UNUSABLE)
        self._run(("--import",), keys)
        return frozenset(found)

    def opened(self, data: bytes, pinned: frozenset[str]) -> bytes:
        """The text that a pinned key has signed and that was encrypted to us; Failed otherwise."""
        with self._alone():
            text, status = self._run(("--decrypt",), data, agent=True)
        if len(text) > self._most:
            raise Failed(Reason.OVERSIZED)
        lines = [line[len(_LINE) :].split() for line in status.splitlines() if line.startswith(_LINE)]
        reason = refusal([line for line in lines if line], pinned)
        if reason is not None:
            raise Failed(reason)
        return text

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the home; whatever agent of it runs is ended before and after."""
        try:
            folder = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            raise Failed(Reason.IDENTITY_UNUSABLE) from None
        try:
            # The lock of a folder goes with its descriptor, which GnuPG does not inherit: no crash leaves it behind.
            while not _locked(folder):
                if self._rest() <= 0:
                    raise Failed(Reason.TIMED_OUT)
                # flock has no wait with an end, and this process has nothing else to do.
                time.sleep(_LOOK_AGAIN_SECONDS)
            self._end_agent()
            try:
                yield
            finally:
                self._end_agent()
        finally:
            os.close(folder)

    def _end_agent(self) -> None:
        command = ["gpgconf", "--homedir", self._home, "--kill", "gpg-agent"]
        self._wait(command, (-1, -1, -1), _END_SECONDS)

    def _run(self, arguments: tuple[str, ...], data: bytes, *, agent: bool = False) -> tuple[bytes, bytes]:
        """What GnuPG writes for `data`, and its status lines."""
        command = ["gpg", "--homedir", self._home, *_OPTIONS, *arguments]
        if agent:
            command = ["gpg-agent", "--homedir", self._home, "--no-options", "--daemon", "--", *command]
        given, made, status = (os.memfd_create(name) for name in ("given", "made", "status"))
        try:
            with open(given, "r+b", closefd=False) as file:
                file.write(data)
                file.flush()
                file.seek(0)
            self._wait(command, (given, made, status), max(self._rest(), 0.0))
            return os.pread(made, self._most + 1, 0), os.pread(status, MAX_STATUS_BYTES, 0)
        finally:
            for handle in (given, made, status):
                os.close(handle)

    def _wait(self, command: list[str], handles: tuple[int, int, int], seconds: float) -> None:
        program = shutil.which(command[0], path=_PATH)
        if program is None:
            raise Failed(Reason.IDENTITY_UNUSABLE)
        given, made, status = (subprocess.DEVNULL if handle < 0 else handle for handle in handles)
        child = subprocess.Popen(  # noqa: S603 - our own words and a path of the configuration
            [program, *command[1:]],
            stdin=given,
            stdout=made,
            stderr=status,
            env={"PATH": _PATH, "LC_ALL": "C"},
            cwd="/",
            preexec_fn=self._bound,  # noqa: PLW1509 - this process has one thread
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(Reason.TIMED_OUT) from None
        finally:
            child.kill()
            child.wait()

    def _bound(self) -> None:
        """In the child: end with the parent, and write no more than is allowed, a byte more tells that it was."""
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        bound = max(self._most, MAX_STATUS_BYTES) + 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound))


def refusal(status: list[list[bytes]], pinned: frozenset[str]) -> Reason | None:
    """Why the status lines of a decryption, each in words, do not make a text ours; None where they do."""
    words = [line[0] for line in status]
    if not words:
        return Reason.IDENTITY_UNUSABLE
    if b"BADSIG" in words:
        return Reason.TAMPERED
    locked = b"NO_SECKEY" in words or [b"ERROR", b"pkdecrypt_failed"] in [line[:2] for line in status]
    if locked and b"DECRYPTION_INFO" not in words:
        return Reason.IDENTITY_UNUSABLE
    if b"BEGIN_DECRYPTION" not in words:
        return Reason.NOT_ENCRYPTED if b"PLAINTEXT" in words else Reason.MALFORMED
    if not _is_whole(status, words):
        return Reason.TAMPERED
    if words.count(b"PLAINTEXT") != 1:
        return Reason.MALFORMED
    valid = [line for line in status if line[0] == b"VALIDSIG"]
    if len(valid) != 1 or words.count(b"NEWSIG") != 1 or not _BAD_SIGNATURES.isdisjoint(words):
        return Reason.NOT_SIGNED
    return None if _counts(valid[0], pinned) and _is_within(words) else Reason.NOT_SIGNED


def _is_whole(status: list[list[bytes]], words: list[bytes]) -> bool:
    """Whether one encryption came to its end and its integrity was protected: by an MDC, or by AEAD."""
    ends = (b"BEGIN_DECRYPTION", b"DECRYPTION_INFO", b"DECRYPTION_OKAY", b"END_DECRYPTION")
    if any(words.count(word) != 1 for word in ends) or b"DECRYPTION_FAILED" in words:
        return False
    info = status[words.index(b"DECRYPTION_INFO")]
    return b"GOODMDC" in words or (len(info) > 3 and info[3] != b"0")


def _is_within(words: list[bytes]) -> bool:
    """Whether text and signature lie inside the encryption: around it, a signature says nothing of the text."""
    steps = (b"BEGIN_DECRYPTION", b"PLAINTEXT", b"NEWSIG", b"VALIDSIG", b"END_DECRYPTION")
    found = [words.index(step) for step in steps]
    return found == sorted(found)


def _counts(valid: list[bytes], pinned: frozenset[str]) -> bool:
    """Whether a VALIDSIG line (its words 8 and 10: hash, primary key) is of a pinned key and a sound hash."""
    return len(valid) == 11 and valid[8] not in _WEAK and valid[10].decode("ascii", "replace") in pinned


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
