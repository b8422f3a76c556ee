"""What is to be signed, which signatures count, and what is asked of ssh-keygen."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.feed import approve
from resolver.feed.actions import MAX_SIGNATURE_BYTES, Action
from resolver.feed.approve import Refused, Signer, Subject
from resolver.feed.processes import memory_file
from resolver.feed.state import Held, State
from tests.unit.feed.test_state import record

DAY = 86400
NOON = 20_000 * DAY + DAY // 2
SEVEN, EIGHT = record(7, "7", set_aside={"protected": 1}), record(8, "8", generation=8)
HELD = State(in_force=SEVEN, held=Held(record=EIGHT, reasons=("growth",), since=1))
SIGNATURE = b"-----BEGIN SSH SIGNATURE-----\n"


def signer(principal: str, key: str = "", expiry: int = NOON + DAY) -> Signer:
    return Signer(principal, key or f"SHA256:{principal}", expiry)


def test_the_bytes_to_sign() -> None:
    assert approve.statement(Action.APPROVE, "demo", Subject(8, "ab"), approve.expiries(NOON)[0]) == (
        b'{"action":"approve","list":"demo","serial":8,"digest":"ab","expiry":"2024-10-06T00:00:00Z"}\n'
    )


@pytest.mark.parametrize("second", [0, 1, DAY // 2, DAY - 1])
def test_a_statement_holds_for_one_to_two_days_from_when_it_is_made(second: int) -> None:
    made = 20_000 * DAY + second
    expiry = approve.expiries(made)[0]
    assert DAY < expiry - made <= 2 * DAY
    for later in (made, made + DAY, expiry - 1):
        assert expiry in approve.expiries(later)
    assert expiry not in approve.expiries(expiry)
    assert all(one > made for one in approve.expiries(made))


def test_what_a_decision_is_about_follows_from_the_state() -> None:
    assert approve.subject(HELD, Action.APPROVE) == EIGHT.identity
    assert approve.subject(HELD, Action.APPROVE_SET_ASIDE) == SEVEN.identity
    two = State(in_force=EIGHT, previous=SEVEN)
    assert approve.subject(two, Action.ROLLBACK) == (7, EIGHT.digest)


@pytest.mark.parametrize(
    ("state", "action", "why"),
    [
        (State(), Action.APPROVE, "nothing is held"),
        (replace(HELD, quarantined=((6, EIGHT.digest),)), Action.APPROVE, "cannot be approved"),
        (State(), Action.APPROVE_SET_ASIDE, "no line"),
        (State(in_force=EIGHT), Action.APPROVE_SET_ASIDE, "no line"),
        (State(in_force=replace(SEVEN, approved=True)), Action.APPROVE_SET_ASIDE, "no line"),
        (HELD, Action.RESUME, "nothing suspends any; for lines set aside: list approve ID SERIAL --set-aside"),
        (HELD, Action.ROLLBACK, "no previous"),
        (State(in_force=EIGHT, previous=SEVEN, quarantined=(SEVEN.identity,)), Action.ROLLBACK, "no previous"),
        (HELD, Action.RELEASE, "not decided for a list"),
    ],
)
def test_what_cannot_be_decided(state: State, action: Action, why: str) -> None:
    with pytest.raises(Refused, match=why):
        approve.subject(state, action)


def test_two_count_only_from_different_persons_and_keys() -> None:
    about = approve.subject(HELD, Action.APPROVE)
    one = approve.add(HELD, Action.APPROVE, about, signer("anna"), NOON)
    assert approve.missing(one, Action.APPROVE, about) == 1
    for again, why in (
        (signer("anna"), "counts already"),
        (signer("anna", "SHA256:other"), "with another key"),
        (signer("ben", "SHA256:anna"), "under another name"),
    ):
        with pytest.raises(Refused, match=why):
            approve.add(one, Action.APPROVE, about, again, NOON)
    both = approve.add(one, Action.APPROVE, about, signer("ben"), NOON)
    assert approve.missing(both, Action.APPROVE, about) == 0
    # Whoever has signed may call again where a crash kept the decision from being carried out.
    assert approve.add(both, Action.APPROVE, about, signer("anna"), NOON) == both


def test_an_approval_counts_for_one_list_one_action_and_until_it_expires() -> None:
    about = approve.subject(HELD, Action.APPROVE)
    one = approve.add(HELD, Action.APPROVE, about, signer("anna"), NOON)
    assert approve.kept(one, NOON) is one
    assert approve.kept(one, NOON + DAY).approvals == ()
    nine = replace(one, held=Held(record=record(9, "9"), reasons=("growth",), since=1))
    assert approve.kept(nine, NOON).approvals == ()
    assert approve.kept(replace(one, held=None), NOON).approvals == ()
    assert approve.missing(one, Action.APPROVE, Subject(9, "9" * 64)) == 2
    assert approve.missing(one, Action.RESUME, about) == 2
    aside = approve.add(HELD, Action.APPROVE_SET_ASIDE, Subject(*SEVEN.identity), signer("anna"), NOON)
    assert approve.kept(aside, NOON) is aside
    assert approve.kept(replace(aside, in_force=replace(SEVEN, approved=True)), NOON).approvals == ()


def test_a_rollback_waits_for_another_person_until_a_new_list_is_in_force() -> None:
    about = Subject(7, EIGHT.digest)
    before = State(in_force=EIGHT, previous=SEVEN)
    signed = approve.kept(approve.add(before, Action.ROLLBACK, about, signer("anna"), NOON), NOON)
    assert approve.unconfirmed(signed) is None
    back = approve.kept(replace(signed, in_force=SEVEN, previous=None, gone_back_to=SEVEN.identity), NOON + 9 * DAY)
    waits = approve.unconfirmed(back)
    assert waits is not None
    assert waits.principal == "anna"
    assert approve.subject(back, Action.ROLLBACK) == about
    with pytest.raises(Refused, match="counts already"):
        approve.add(back, Action.ROLLBACK, about, signer("anna"), NOON)
    confirmed = approve.add(back, Action.ROLLBACK, about, signer("ben"), NOON)
    assert approve.unconfirmed(confirmed) is None
    assert approve.kept(replace(confirmed, in_force=record(9, "9"), gone_back_to=None), NOON).approvals == ()


@pytest.mark.parametrize("signature", [b"", b"name0.test", SIGNATURE + b"x" * MAX_SIGNATURE_BYTES])
@pytest.mark.asyncio
async def test_what_is_no_signature_reaches_no_program(signature: bytes, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not a signature"):
        await approve.signer_of(signature, {}, tmp_path / "signers")


@pytest.mark.asyncio
async def test_allowed_signers_that_others_could_have_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/bin/true")
    path = tmp_path / "signers"
    with pytest.raises(Refused, match="No such file"):
        await approve.signer_of(SIGNATURE, {}, path)
    path.write_text("")
    path.chmod(0o620)
    with pytest.raises(Refused, match="written by others"):
        await approve.signer_of(SIGNATURE, {}, path)
    path.chmod(0o600)
    os.chmod(tmp_path, 0o777)
    with pytest.raises(Refused, match=r"the folder .* can be written by others"):
        await approve.signer_of(SIGNATURE, {}, path)
    os.chmod(tmp_path, 0o700)
    path.write_bytes(b"#" * (approve.MAX_SIGNERS_BYTES + 1))
    with pytest.raises(Refused, match="too large"):
        await approve.signer_of(SIGNATURE, {}, path)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(Refused, match="not a file"):
        await approve.signer_of(SIGNATURE, {}, path)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("anna cert-authority ssh-ed25519 AAAA", True),
        ('anna\tnamespaces="a b",CERT-Authority ssh-ed25519 AAAA', True),
        ('"anna,ben"  cert-authority,namespaces="blocklist-resolver" ssh-ed25519 AAAA', True),
        ("# anna cert-authority ssh-ed25519 AAAA", False),
        ('anna namespaces="cert-authority" ssh-ed25519 AAAA', False),
        ("cert-authority ssh-ed25519 AAAA", False),
    ],
)
async def test_nobody_is_several_persons_by_a_ca_of_his_own(
    line: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/bin/true")
    path = tmp_path / "signers"
    path.write_text(f"ben ssh-ed25519 AAAA\n{line}\n")
    with pytest.raises(Refused, match="cert-authority" if refused else "one person"):
        await approve.signer_of(SIGNATURE, {}, path)


@pytest.mark.asyncio
async def test_only_what_verifies_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "signers"
    path.write_text("")
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/ssh-keygen")
    answers: list[tuple[int, bytes, bytes]] = []

    async def run(program: str, step: str, *_: object, **__: object) -> tuple[int, bytes, bytes]:
        return answers.pop(0)

    monkeypatch.setattr(approve, "_run", run)
    good = b'Good "blocklist-resolver" signature for anna with ED25519 key SHA256:abc\n'
    for given, why in (
        ([(255, b"", b"key has expired")], "not valid now"),
        ([(255, b"", b"No principal matched")], "no key of"),
        ([(0, b"anna\nben\n", b"")], "one person"),
        ([(0, b"*@isp.example\n", b"")], "one person"),
        ([(0, b"anna\n", b""), (255, b"", b"incorrect signature"), (255, b"", b"")], "not of the statement"),
        ([(0, b"anna\n", b""), (255, b"", b"key is not permitted for use in signature namespace")], "namespace"),
        ([(0, b"anna\n", b""), (1, good, b""), (0, b"Could not", b"")], "not of the statement"),
    ):
        answers[:] = given
        with pytest.raises(Refused, match=why):
            await approve.signer_of(SIGNATURE, {1: b"a", 2: b"b"}, path)
    answers[:] = [(0, b"anna\n", b""), (255, b"", b"incorrect"), (0, good, b"")]
    assert await approve.signer_of(SIGNATURE, {1: b"a", 2: b"b"}, path) == ("anna", "SHA256:abc", 2)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(Refused, match="install openssh-client"):
        await approve.signer_of(SIGNATURE, {}, path)


@pytest.mark.asyncio
async def test_a_program_that_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "silent"
    program.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    program.chmod(0o700)
    monkeypatch.setattr(approve, "VERIFY_S", 0.05)
    files = memory_file("one"), memory_file("two")
    with pytest.raises(Refused, match="no answer"):
        await approve._run(str(program), "verify", files)
    for handle in files:
        os.close(handle)
