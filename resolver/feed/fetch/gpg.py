"""Runs GnuPG as a child process: decrypts a file, and verifies that a pinned key has signed the text.

Rules:
- Decryption alone proves nothing. Inside one integrity-protected encryption there must be exactly one text and one good
  signature, by a pinned primary key or one of its subkeys, neither expired nor revoked. GnuPG's exit status is ignored.
- Clear text goes only into anonymous memory of limited size; no message of GnuPG is passed on.
- GnuPG reads no configuration in its home, fetches no keys, asks for no passphrases, and ends with this process. Its
  agent runs for one call and is killed after it; if that fails, it ends by itself a few seconds after its client.
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

from resolver.feed.details import Code, Detail, Place, of_errno
from resolver.feed.fetch.child import step
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

MAX_STATUS_BYTES: Final = 2**16
_PR_SET_PDEATHSIG: Final = 1
_PATH: Final = "/usr/bin:/bin:/usr/local/bin"
_END_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.05
_LINE: Final = b"[GNUPG:] "
_WEAK: Final = frozenset((b"1", b"2", b"3"))
"""MD5, SHA-1, RIPEMD-160 (RFC 4880 section 9.4)."""

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
    """GnuPG with the home folder `home`. most: limit of a clear text, in bytes. rest: returns the seconds left."""

    def __init__(self, home: str, most: int, rest: Callable[[], float]) -> None:
        self._home = home
        self._most = most
        self._rest = rest

    def pinned(self, keys: bytes) -> frozenset[str]:
        """Import `keys` into the home, and return the fingerprints of the primary keys; Failed if there are none."""
        said, _ = self._run(("--with-colons", "--show-keys"), keys)
        found, primary = set(), False
        for line in said.splitlines():
            cells = line.split(b":")
            if cells[0] in (b"pub", b"sub"):
                primary = cells[0] == b"pub"
            elif cells[0] == b"fpr" and primary and len(cells) > 9:
                found.add(cells[9].decode("ascii"))
        if not found:
            raise Failed(Reason.ROOT_UNUSABLE, Detail(code=Code.KEY_NONE, at=Place.ROOT_FILE))
        self._run(("--import",), keys)
        return frozenset(found)

    def opened(self, data: bytes, pinned: frozenset[str]) -> bytes:
        """Decrypt a file and return its text; Failed unless it was encrypted to us and signed by a pinned key."""
        step(Detail(code=Code.STEP_DECRYPT))
        with self._alone():
            text, status = self._run(("--decrypt",), data, agent=True)
        if len(text) > self._most:
            raise Failed(Reason.OVERSIZED, Detail(code=Code.TOO_LONG, at=Place.LIST, numbers=(self._most,)))
        lines = [line[len(_LINE) :].split() for line in status.splitlines() if line.startswith(_LINE)]
        reason = refusal([line for line in lines if line], pinned)
        if reason is not None:
            raise Failed(reason, detail_of(reason, [line for line in lines if line]))
        return text

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the home, and kill its agent before and after."""
        try:
            folder = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Failed(Reason.IDENTITY_UNUSABLE, of_errno(error, Place.IDENTITY)) from None
        try:
            # The lock ends with this descriptor, which GnuPG does not inherit: no crash leaves it behind.
            while not _locked(folder):
                if self._rest() <= 0:
                    raise Failed(Reason.TIMED_OUT)
                # flock has no timeout, and this process has nothing else to do.
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
        """Run GnuPG on `data`; return its output and its status lines."""
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
            raise Failed(Reason.IDENTITY_UNUSABLE, Detail(code=Code.GPG_NONE))
        given, made, status = (subprocess.DEVNULL if handle < 0 else handle for handle in handles)
        child = subprocess.Popen(  # noqa: S603 - fixed arguments and a path of the configuration
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
        """In the child: die with the parent, and limit written files to one byte more than allowed, to detect excess.
        """
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        bound = max(self._most, MAX_STATUS_BYTES) + 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound))


def refusal(status: list[list[bytes]], pinned: frozenset[str]) -> Reason | None:
    """Return why the status lines of a decryption (each split into words) do not prove the text; None if they do."""
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


def detail_of(reason: Reason, status: list[list[bytes]]) -> Detail:
    """Return which of the status lines of a decryption led to a reason of `refusal`."""
    words = {line[0] for line in status}
    match reason:
        case Reason.IDENTITY_UNUSABLE:
            return Detail(code=Code.GPG_NO_KEY if words else Code.GPG_HOME, at=Place.IDENTITY)
        case Reason.NOT_ENCRYPTED:
            return Detail(code=Code.GPG_CLEAR)
        case Reason.TAMPERED:
            return Detail(code=Code.GPG_BAD if b"BADSIG" in words else Code.GPG_DAMAGED)
        case Reason.NOT_SIGNED if any(line[0] == b"VALIDSIG" and line[8:9] and line[8] in _WEAK for line in status):
            return Detail(code=Code.GPG_WEAK)
        case Reason.NOT_SIGNED:
            return Detail(code=next((code for word, code in _SIGNED if word in words), Code.GPG_UNSIGNED))
    return Detail(code=Code.GPG_FORM, at=Place.LIST)


_SIGNED: Final = (
    (b"REVKEYSIG", Code.GPG_REVOKED),
    (b"EXPKEYSIG", Code.GPG_EXPIRED),
    (b"EXPSIG", Code.GPG_EXPIRED),
    (b"ERRSIG", Code.GPG_UNKNOWN),
    (b"VALIDSIG", Code.GPG_UNKNOWN),
)
"""What a status word says of a signature that does not count; what says most comes first."""


def _is_whole(status: list[list[bytes]], words: list[bytes]) -> bool:
    """Return whether exactly one encryption was read to its end, with integrity protected by an MDC or by AEAD."""
    ends = (b"BEGIN_DECRYPTION", b"DECRYPTION_INFO", b"DECRYPTION_OKAY", b"END_DECRYPTION")
    if any(words.count(word) != 1 for word in ends) or b"DECRYPTION_FAILED" in words:
        return False
    info = status[words.index(b"DECRYPTION_INFO")]
    return b"GOODMDC" in words or (len(info) > 3 and info[3] != b"0")


def _is_within(words: list[bytes]) -> bool:
    """Return whether text and signature are inside the encryption: a signature around it does not prove the text."""
    steps = (b"BEGIN_DECRYPTION", b"PLAINTEXT", b"NEWSIG", b"VALIDSIG", b"END_DECRYPTION")
    found = [words.index(step) for step in steps]
    return found == sorted(found)


def _counts(valid: list[bytes], pinned: frozenset[str]) -> bool:
    """Return whether a VALIDSIG line (words 8 and 10: hash, primary key) names a pinned key and a strong hash."""
    return len(valid) == 11 and valid[8] not in _WEAK and valid[10].decode("ascii", "replace") in pinned


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
