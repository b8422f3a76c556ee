"""The authority's verbs on a command line: exit status, and one line that says what came of it."""

import argparse
import hashlib
import shutil
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.authority.repository import Repository
from resolver.cli import verbs_authority
from resolver.signed import statement


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    verbs_authority.add_verbs(parser.add_subparsers(required=True))
    return verbs_authority.run(parser.parse_args(list(map(str, words))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "list").write_bytes(b"a.test\nb.test\n")
    assert run("init", tmp_path / "authority", "--threshold", 1, "--keys", 2) == 0
    return tmp_path / "authority"


def published(folder: Path, serial: int, *more: object) -> int:
    return run("publish", folder, "--id", "demo", "--list", folder.parent / "list", "--serial", serial, *more)


def test_a_life_of_a_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert published(folder, 1, "--expires", "14d", "--expect-entries", 2) == 0
    assert run("refresh", folder) == 0
    assert run("refresh", folder, "--expires", "12h") == 0
    assert run("rotate", folder, "--role", "targets") == 0
    assert run("withdraw", folder, "--id", "demo", "--serial", 2) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines() == [
        "demo: serial 1, 2 entries: published",
        f"{folder}: fresh for 172800 s",
        f"{folder}: fresh for 43200 s",
        "targets: new keys: published",
        "demo: serial 2, withdrawn: published",
    ]


def test_a_comment_in_another_formats_way_unblocks_nothing_unseen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "list").write_bytes(b"!bad1.test\nbad1.test\nbad2.test\n!bad3.test\nbad3.test\n")
    capsys.readouterr()
    assert published(folder, 1) == 3
    assert "1 name blocked, 2 exceptions (line 1, 4)" in capsys.readouterr().err
    assert published(folder, 1, "--expect-exceptions", 2) == 0
    assert capsys.readouterr().out == "demo: serial 1, 3 entries (1 name blocked, 2 exceptions): published\n"


def test_signatures_are_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list").write_bytes(b"a.test\n")
    folder = tmp_path / "authority"
    run("init", folder, "--threshold", 2)
    (folder / "keys/targets-2.pem").rename(tmp_path / "second.pem")
    assert published(folder, 1) == 0
    assert "pending, 1 more signature needed" in capsys.readouterr().out
    (tmp_path / "other").write_bytes(b"b.test\n")
    signing = ["sign", folder, "--key", tmp_path / "second.pem", "--list"]
    assert run(*signing, tmp_path / "other") == 3
    said = f"demo: serial 1, SHA-256 {hashlib.sha256(b'a.test' + bytes([10])).hexdigest()}"
    assert capsys.readouterr().err == f"blocklist-resolver: refused: {said}: not the list of --list\n"
    assert run(*signing, tmp_path / "list") == 0
    assert capsys.readouterr().out == f"{folder}: {said}: published\n"


def test_a_receipt_is_held_against_what_was_signed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert published(folder, 1) == 0
    path = folder.parent / "list"
    key = Ed25519PrivateKey.generate()
    now = int(time.time())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    said = {"kind": "receipt", "list": "demo", "serial": 1, "digest": digest, "host": "a.example", "at": now + 9}
    said["issued"] = Repository(folder).current_targets().signed.targets["demo"].custom["issued"]
    (folder.parent / "receipt").write_bytes(statement.sign(said, key))
    (folder.parent / "host.pem").write_bytes(statement.pem_of(statement.public_of(key)))
    words = ["verify", folder, "--list", path, "--receipt", folder.parent / "receipt", "--host-key"]
    capsys.readouterr()
    assert run(*words, folder.parent / "host.pem") == 0
    assert capsys.readouterr().out.startswith("a.example: list demo, serial 1, ")
    assert run(*words, folder.parent / "receipt") == 1
    assert "--host-key: not a public key" in capsys.readouterr().err
    path.write_bytes(b"b.test\n")
    assert run(*words, folder.parent / "host.pem") == 3
    assert "another file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["init", "{}"], 3, "already"),
        (["publish", "{}", "--id", "demo", "--list", "{}/none", "--serial", "1"], 1, "No such file"),
        (
            ["publish", "{}", "--id", "demo", "--list", "{}/../bad", "--serial", "1"],
            3,
            "1 icann suffix (line 1)",
        ),
        (["withdraw", "{}", "--id", "demo", "--serial", "1"], 3, "no such list"),
        (["sign", "{}", "--key", "{}/keys/root-1.pem"], 1, "nothing waits"),
        (["refresh", "{}/none"], 1, "no such folder"),
    ],
)
def test_what_does_not_work_is_one_line(
    words: list[str], status: int, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "bad").write_bytes(b"co.uk\na.test\n")
    capsys.readouterr()
    assert run(*(word.format(folder) for word in words)) == status
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.startswith("blocklist-resolver: ")
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["publish", "x"],
        ["refresh", "x", "--expires", "2w"],
        ["rotate", "x", "--role", "other"],
        ["destroy", "x"],
    ],
)
def test_wrong_words_are_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_a_restored_authority_is_told_at_publish(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert published(folder, 2) == 0
    shutil.copytree(folder, folder.parent / "backup")
    assert published(folder, 3, "--served", folder) == 0
    shutil.copytree(folder, folder.parent / "served")
    shutil.rmtree(folder)
    (folder.parent / "backup").rename(folder)
    capsys.readouterr()
    assert published(folder, 4, "--served", folder.parent / "served") == 3
    assert "demo serial 3" in capsys.readouterr().err
    assert run("withdraw", folder, "--id", "demo", "--serial", 4, "--served", folder.parent / "served") == 3
    assert published(folder, 4, "--receipts", folder.parent / "none") == 1
    assert published(folder, 4, "--clock-was-ahead") == 0
    assert run("refresh", folder, "--clock-was-ahead") == 0
