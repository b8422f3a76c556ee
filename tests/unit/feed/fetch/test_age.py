"""Identities and what they open."""

from pathlib import Path

import pyrage
import pytest

from resolver.feed.fetch import age


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "identity.txt"
    path.touch(mode=0o600)
    return path


def key() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def test_any_of_several_identities_opens(file: Path) -> None:
    old, new = key(), key()
    file.write_text(f"# created: today\r\n# public key: {old.to_public()}\n{old}\n\n{new}\n")
    identities = age.identities_of(file)
    for one in (old, new):
        assert age.opened(pyrage.encrypt(b"a.test\n", [one.to_public()]), identities) == b"a.test\n"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "AGE-SECRET-KEY-1\n", "age1\n", "\xe4\n", "=\0\n"])
def test_a_file_without_an_identity(text: str, file: Path) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(age.IdentityUnusable):
        age.identities_of(file)


def test_one_damaged_line_is_told_and_not_passed_over(file: Path) -> None:
    file.write_text(f"{key()}\n{str(key())[:-1]}\n")
    with pytest.raises(age.IdentityUnusable):
        age.identities_of(file)


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o440, True), (0o620, False), (0o604, False), (0o601, False)]
)
def test_who_may_read_it(mode: int, good: bool, file: Path) -> None:
    file.write_text(str(key()))
    file.chmod(mode)
    if good:
        assert len(age.identities_of(file)) == 1
    else:
        with pytest.raises(age.IdentityUnusable):
            age.identities_of(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(age.IdentityUnusable):
            age.identities_of(path)


def test_what_is_not_for_us_or_not_whole_is_not_opened() -> None:
    mine, other = key(), key()
    sealed = pyrage.encrypt(b"a.test\n" * 10_000, [mine.to_public()])
    with pytest.raises(age.NotOpened):
        age.opened(sealed, [other])
    flipped = sealed[:-9] + bytes([sealed[-9] ^ 1]) + sealed[-8:]
    for damaged in (b"", b"a.test\n", sealed[:-1], sealed[:200], sealed + b"\0", flipped):
        with pytest.raises(age.NotOpened):
            age.opened(damaged, [mine])
    with pytest.raises(age.NotOpened):
        age.opened(pyrage.passphrase.encrypt(b"a.test\n", "word"), [mine])
