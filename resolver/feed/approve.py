"""Counts the signatures of persons: makes what they sign, finds whose signature it is and whether there are enough.

Rules:
- A statement is one line of compact JSON, {"action","list","serial","digest","expiry"} in this order, and a line feed.
  It expires at the end of the next day (UTC), so that the valid statements follow from the clock.
- What is to be signed follows from the state: `approve` names the list held, `approve-set-aside` the list in
  force, `rollback` the serial of the list that comes back and the digest of the list that is taken out. That list
  never returns, so no signature serves twice.
- Approving takes two signatures. A rollback takes one, and another person's confirms it. Two signatures
  count only if persons and keys are different.
- A signature is OpenSSH's (`ssh-keygen -Y sign -n blocklist-resolver`). ssh-keygen alone says whose it is, by a file of
  allowed signers that only its owner can write, with one person a line and no `cert-authority`: the owner of that CA
  would be as many persons as it certifies. The caller's account does not count, not even root's.
"""

import asyncio
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from resolver.config.values import utc_text
from resolver.feed.actions import MAX_SIGNATURE_BYTES, NEEDED, Action
from resolver.feed.processes import memory_file
from resolver.feed.state import Approval, State

NAMESPACE: Final = "blocklist-resolver"
MAX_SIGNERS_BYTES: Final = 2**20
MAX_SAID_BYTES: Final = 65536
VERIFY_S: Final = 10.0
DAY_S: Final = 86400
CONFIRM_S: Final = DAY_S
"""Time in which another person has to confirm a rollback, in seconds."""
_PROGRAMS: Final = "/usr/bin:/bin:/usr/local/bin"
_GOOD: Final = re.compile(rb"Good \S+ signature for .+ with \S+ key (SHA256:\S+)\s*")
_QUOTED: Final = re.compile(rb'"[^"]*"')
_PERSON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,127}")


class Refused(Exception):
    """A signature or decision that does not count; the text says why, for the operator."""


class Subject(NamedTuple):
    """The list that a decision is about."""

    serial: int
    digest: str


class Signer(NamedTuple):
    """A person who has signed.

    principal: the name in the file of allowed signers. key: the key's fingerprint. expiry: of the statement, in unix
    seconds.
    """

    principal: str
    key: str
    expiry: int


def expiries(now: float) -> tuple[int, int]:
    """Return when the statements made today and yesterday expire, in unix seconds; both are valid."""
    midnight = int(now) // DAY_S * DAY_S
    return midnight + 2 * DAY_S, midnight + DAY_S


def statement(action: Action, list_id: str, subject: Subject, expiry: int) -> bytes:
    """Return the bytes to sign."""
    return (
        msgspec.json.encode(
            {
                "action": action.value,
                "list": list_id,
                "serial": subject.serial,
                "digest": subject.digest,
                "expiry": utc_text(expiry),
            }
        )
        + b"\n"
    )


def statements(action: Action, list_id: str, subject: Subject, now: float) -> dict[int, bytes]:
    """Return the statements that are valid now, by their expiry."""
    return {expiry: statement(action, list_id, subject, expiry) for expiry in expiries(now)}


def unconfirmed(state: State) -> Approval | None:
    """Return the rollback that no other person has confirmed yet, if any."""
    if state.in_force is None or state.gone_back_to != state.in_force.identity:
        return None
    found = [one for one in state.approvals if one.action == Action.ROLLBACK and one.serial == state.in_force.serial]
    return found[0] if len(found) == 1 else None


def subject(state: State, action: Action) -> Subject:
    """Return what a statement of `action` names now; Refused if there is nothing to decide."""
    record = state.in_force
    match action:
        case Action.APPROVE:
            if state.held is None:
                raise Refused("nothing is held")
            if any(digest == state.held.record.digest for _, digest in state.quarantined):
                raise Refused("the held list was taken out before: it cannot be approved")
            return Subject(*state.held.record.identity)
        case Action.APPROVE_SET_ASIDE:
            if record is None or not record.set_aside or record.approved:
                raise Refused("no line of the list in force waits for approval")
            return Subject(*record.identity)
        case Action.RESUME:
            raise Refused(
                "no entries are suspended, and nothing suspends any; for lines set aside: list approve ID SERIAL "
                "--set-aside"
            )
        case Action.ROLLBACK:
            waits = unconfirmed(state)
            if waits is not None:
                return Subject(waits.serial, waits.digest)
            if record is None or state.previous is None or state.previous.identity in state.quarantined:
                raise Refused("there is no previous list that could come back")
            return Subject(state.previous.serial, record.digest)
    raise Refused("not decided for a list")


def kept(state: State, now: float) -> State:
    """Return the state without approvals that no longer count: expired, or of a list that is gone.

    Standing approvals are looked at by `standing.kept`.
    """
    rest = tuple(one for one in state.approvals if _counts(state, one, now))
    return state if rest == state.approvals else replace(state, approvals=rest)


def _counts(state: State, one: Approval, now: float) -> bool:
    record = state.in_force
    if one.action == Action.ROLLBACK:
        back = state.previous
        if record is not None and state.gone_back_to == record.identity and one.serial == record.serial:
            return True
        return record is not None and back is not None and (one.serial, one.digest) == (back.serial, record.digest)
    if one.action == Action.REVOKE:
        return state.standing is not None and one.serial == state.standing.terms.number and now < one.expiry
    if one.action == Action.APPROVE:
        record = state.held.record if state.held else None
    elif one.action == Action.APPROVE_SET_ASIDE and record is not None and record.approved:
        return False
    return record is not None and record.identity == (one.serial, one.digest) and now < one.expiry


def waiting(state: State, action: Action, about: Subject) -> tuple[Approval, ...]:
    """Return the approvals that count for a decision that is not carried out yet."""
    return tuple(
        one for one in state.approvals if (one.action, one.serial, one.digest) == (action, *about)
    )


def add(state: State, action: Action, about: Subject, signer: Signer, now: float) -> State:
    """Return the state with one more approval; the same state if this signature counts already and none is missing.

    Raise Refused if it adds nothing: the person or the key has signed already.
    """
    for one in state.approvals:
        if (one.action, one.serial, one.digest) != (action, *about):
            continue
        same = (one.principal, one.key) == (signer.principal, signer.key)
        if same and missing(state, action, about) == 0 and unconfirmed(state) is not one:
            return state
        distinct((one,), signer)
    new = Approval(
        action=action.value,
        serial=about.serial,
        digest=about.digest,
        principal=signer.principal,
        key=signer.key,
        at=int(now),
        expiry=signer.expiry,
    )
    return replace(state, approvals=(*state.approvals, new))


def distinct(signed: Iterable[Approval], signer: Signer) -> None:
    """Raise Refused if this person or this key has signed already."""
    for one in signed:
        if (one.principal, one.key) == (signer.principal, signer.key):
            raise Refused(f"the signature of {signer.principal} counts already: another person's is needed")
        if one.principal == signer.principal:
            raise Refused(f"{signer.principal} has signed already with another key: another person's is needed")
        if one.key == signer.key:
            raise Refused("this key has signed already under another name: another person's own is needed")


def missing(state: State, action: Action, about: Subject) -> int:
    """Return how many signatures are still needed."""
    return max(0, NEEDED[action] - len(waiting(state, action, about)))


# Whose signature it is.


async def signer_of(signature: bytes, held: Mapping[int, bytes], approvers: Path) -> Signer:
    """Return who has signed one of the statements (`held`, by their expiry); Refused if no allowed signer has."""
    if len(signature) > MAX_SIGNATURE_BYTES or not signature.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise Refused("not a signature of ssh-keygen -Y sign")
    program = shutil.which("ssh-keygen", path=_PROGRAMS)
    if program is None:
        raise Refused("ssh-keygen, which verifies signatures, was not found: install openssh-client")
    signers = await asyncio.to_thread(_signers, approvers)
    files = memory_file("signature", signature), memory_file("signers", signers)
    try:
        found, said, why = await _run(program, "find-principals", files)
        if found:
            words = why.decode(errors="replace")
            if "expired" in words or "not yet valid" in words:
                raise Refused("the signer's key is not valid now: see its valid-before in control.approvers")
            raise Refused("signed by no key of control.approvers")
        persons = said.decode(errors="replace").split("\n")[:-1]
        if len(persons) != 1 or not _PERSON.fullmatch(persons[0]):
            raise Refused("the signer's line of control.approvers must name one person, without * and ?")
        for expiry, data in held.items():
            found, said, why = await _run(
                program, "verify", files, "-n", NAMESPACE, "-I", persons[0], data=data
            )
            good = _GOOD.fullmatch(said)
            if not found and good:
                return Signer(persons[0], good[1].decode(), expiry)
            if b"namespace" in why:
                raise Refused(f"the signature, or its signer's line, is not for the namespace {NAMESPACE}")
    finally:
        for handle in files:
            os.close(handle)
    raise Refused("the signature is not of the statement to sign now, or has expired: sign what --statement prints")


def _signers(path: Path) -> bytes:
    """Return the file of allowed signers; Refused if others than its owner can write it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise Refused(f"control.approvers: {path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        for found, what in ((os.fstat(handle), f"{path}"), (os.stat(path.parent), f"the folder {path.parent}")):
            shared = found.st_mode & 0o022 and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX)
            if shared or found.st_uid not in (0, os.geteuid()):
                raise Refused(f"control.approvers: {what} can be written by others: chown root, chmod go-w")
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Refused(f"control.approvers: {path}: not a file")
        data = file.read(MAX_SIGNERS_BYTES + 1)
    if len(data) > MAX_SIGNERS_BYTES:
        raise Refused(f"control.approvers: {path}: too large")
    if any(_names_authority(line) for line in data.splitlines()):
        why = "the owner of that CA could sign as two persons; give each person's own key"
        raise Refused(f"control.approvers: {path}: a line has the option cert-authority: {why}")
    return data


def _names_authority(line: bytes) -> bool:
    """Return whether a line of allowed signers trusts every key that its key certifies."""
    _, _, rest = _QUOTED.sub(b"x", line).replace(b"\t", b" ").strip().partition(b" ")
    return not line.startswith(b"#") and b"cert-authority" in re.split(rb"[\s,]+", rest.lower())


async def _run(
    program: str, step: str, files: tuple[int, int], *words: str, data: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Run ssh-keygen with signature and signers as descriptors; return its status, stdout and stderr."""
    signature, signers = (f"/proc/self/fd/{handle}" for handle in files)
    # A file, not a pipe: if the program ends without reading it, no write fails.
    typed = memory_file("statement", data)
    try:
        child = await _started(program, step, signature, signers, *words, typed=typed, files=files)
    finally:
        os.close(typed)
    try:
        async with asyncio.timeout(VERIFY_S):
            said, why = await child.communicate()
    except TimeoutError:
        raise Refused(f"ssh-keygen gave no answer in {VERIFY_S:g} s") from None
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return child.returncode or 0, said[:MAX_SAID_BYTES], why[:MAX_SAID_BYTES]


async def _started(
    program: str, step: str, signature: str, signers: str, *words: str, typed: int, files: tuple[int, int]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        program,
        "-Y",
        step,
        "-s",
        signature,
        "-f",
        signers,
        *words,
        stdin=typed,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=files,
        env={},
        cwd="/",
    )
