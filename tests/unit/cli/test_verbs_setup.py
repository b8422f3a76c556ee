"""`setup` on a real terminal and by flags: what is asked, what is refused, what is written, what is printed."""

import hashlib
import os
import pty
import select
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.cli import main, setup_host, verbs_setup
from resolver.config import config
from resolver.feed.seal import KeyUnreadable

PATIENCE_S = 60.0

PEM = b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"

FLAGS = {
    "--listen": "127.0.0.1:5399",
    "--upstream": "192.0.2.99:53",
    "--list-id": "court",
    "--purpose": "court-order",
    "--page-address": "192.0.2.1",
    "--operator": "Example Net",
    "--contact": "help@isp.example",
    "--authority": "Example Court",
    "--law": "Example Act",
    "--flow-records": "none",
    "--expire": "keep",
    "--source": "https://authority.example/lists",
    "--protected": "isp.example",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "from-the-authority.json"
    path.write_bytes(b'{"signed": {}}')
    return path


def hash_of(root: Path) -> str:
    return hashlib.sha256(root.read_bytes()).hexdigest()


def words(root: Path, *more: str, without: str = "", **changed: str) -> list[str]:
    """A command line with every flag that is needed."""
    flags = {**FLAGS, "--root": str(root), "--root-sha256": hash_of(root)}
    flags.update({f"--{name.replace('_', '-')}": value for name, value in changed.items()})
    flags.pop(without, None)
    return ["setup", *(word for pair in flags.items() for word in pair), *more]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


def test_with_every_flag_it_writes_below_a_folder(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main.main(words(root, "--out", str(out), receipts="/srv/receipts")) == 0
    said = capsys.readouterr()
    assert said.err == ""
    file = out / "etc/blocklist-resolver/resolver.toml"
    written = config.load(file)
    assert written.lists[0].id == "court"
    assert written.lists[0].source.root == "/etc/blocklist-resolver/root.json"
    assert config.warnings(written) == ()
    assert (out / "etc/blocklist-resolver/root.json").read_bytes() == root.read_bytes()
    assert "ReadWritePaths=/srv/receipts" in said.out
    assert f"SHA-256 {hash_of(root)}" in said.out
    assert "This was for a look" in said.out
    assert "# The ACL" in file.read_text()
    # A second time nothing is written over.
    assert main.main(words(root, "--out", str(out))) == 2
    assert f"{file} is there already" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main.main(words(root, "--dry-run", "--config", str(tmp_path / "c/resolver.toml"))) == 0
    said = capsys.readouterr().out
    assert f"file {tmp_path}/c/resolver.toml  0640 root:blocklist" in said
    assert 'id = "court"' in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("flag", ["--list-id", "--purpose", "--operator", "--source", "--root", "--root-sha256"])
def test_without_a_terminal_a_missing_answer_is_named(
    root: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words(root, "--dry-run", without=flag)) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"blocklist-resolver: {flag} is missing: ")
    assert len(said.splitlines()) == 1


def test_a_wrong_flag_is_refused_with_the_reason(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words(root, "--dry-run", page_address="isp.example")) == 2
    said = capsys.readouterr().err
    assert "--page-address: expected an address such as 192.0.2.1" in said
    assert main.main(words(root, "--dry-run", operator="")) == 2
    assert "--operator: an answer is needed" in capsys.readouterr().err


def test_a_fault_between_answers_names_its_key(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words(root, "--dry-run", "--fleet-receipts", "/srv/r", "--fleet-nodes", "/srv/n")) == 2
    assert "fleet.publish: must be set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said", "status", "why"),
    [
        (b"{}", "0" * 64, 3, "the file is not the one"),
        (b"{}", "abc", 2, "expected all 64 hex digits"),
        (b"", "0" * 64, 2, "is empty, or larger"),
        (b"x" * (2**20 + 1), "0" * 64, 2, "is empty, or larger"),
        (None, "0" * 64, 2, "cannot be read: No such file"),
    ],
)
def test_a_key_whose_hash_is_not_confirmed_is_not_pinned(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    content: bytes | None, said: str, status: int, why: str,
) -> None:
    command = words(root, "--out", str(tmp_path / "out"), root_sha256=said)
    root.unlink()
    if content is not None:
        root.write_bytes(content)
    assert main.main(command) == status
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_hash_may_be_written_as_people_write_it(root: Path) -> None:
    plain = hash_of(root).upper()
    spaced = " ".join(plain[at : at + 8] for at in range(0, 64, 8))
    assert main.main(words(root, "--dry-run", root_sha256=spaced)) == 0


def test_only_root_writes_on_the_host_itself(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main.main(words(root)) == 2
    assert "run it as root, or with --out FOLDER" in capsys.readouterr().err


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose root is a folder: what is written lands there, its accounts are there, its check is content."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(setup_host, "accounts_missing", lambda made: [])
    make = setup_host.make
    monkeypatch.setattr(setup_host, "make", lambda made, out: make(made, tmp_path / "host"))
    monkeypatch.setattr(setup_host, "reloaded", lambda: None)
    monkeypatch.setattr(setup_host, "unreadable", lambda config, account: [])
    monkeypatch.setattr(setup_host, "busy", lambda config: [])
    monkeypatch.setattr(setup_host, "check_config", lambda file, account: (0, f"{file}: ok, 1 list"))
    monkeypatch.setattr(setup_host, "public_key", lambda config, account: PEM)
    return tmp_path / "host"


def test_on_the_host_it_checks_as_the_account_and_prints_what_to_send(
    root: Path, host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_host, "SYSTEMD", tmp_path)
    file = str(tmp_path / "etc/resolver.toml")
    monkeypatch.setattr(verbs_setup, "DEFAULT_CONFIG", Path(file))
    assert main.main(words(root, "--config", file, rehearsal="block-test.isp.example")) == 0
    said = capsys.readouterr().out
    assert "Checked as blocklist-resolver:\n" in said
    assert "its files can be read, its ports can be bound" in said
    assert f"SHA-256 of these lines: {hashlib.sha256(PEM).hexdigest()}" in said
    assert "    -----BEGIN PUBLIC KEY-----\n    MCow\n" in said
    assert "systemctl enable --now blocklist-resolver" in said
    assert "blocklist-resolver ask block-test.isp.example" in said
    assert (host / str(tmp_path).lstrip("/") / "etc/resolver.toml").exists()


def test_what_is_in_the_way_of_a_start_is_exit_4(
    root: Path, host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_key(config: object, account: str) -> bytes:
        raise KeyUnreadable("no")

    monkeypatch.setattr(setup_host, "busy", lambda config: ["listen.dns: 127.0.0.1:53 (UDP): Address already in use"])
    monkeypatch.setattr(setup_host, "public_key", no_key)
    monkeypatch.setattr(setup_host, "SYSTEMD", tmp_path / "absent")
    assert main.main(words(root, "--config", str(tmp_path / "etc/resolver.toml"), demonstration="yes")) == 4
    said = capsys.readouterr().out
    assert "NOT yet: listen.dns: 127.0.0.1:53 (UDP)" in said
    assert "this host's key for receipts cannot be made" in said
    assert f"blocklist-resolver run --config {tmp_path}/etc/resolver.toml" in said
    assert "blocklist-resolver ask blocked.test" in said


def test_a_host_without_the_account_gets_nothing(
    root: Path, host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_host, "accounts_missing", lambda made: ["account blocklist-resolver"])
    assert main.main(words(root, "--config", str(tmp_path / "etc/resolver.toml"))) == 4
    assert "no account blocklist-resolver: " in capsys.readouterr().err
    assert not host.exists()


class Terminal:
    """`setup` on a pseudo-terminal: reads until a prompt, and types."""

    def __init__(self, *words: str) -> None:
        self.shown = ""
        self.master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "resolver", "setup", *words], stdin=slave, stdout=slave, stderr=slave, close_fds=True
        )
        os.close(slave)

    def until(self, text: str) -> str:
        """Everything that was shown up to this text."""
        seen, end = "", time.monotonic() + PATIENCE_S
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.master], [], [], 1.0)[0]:
                self.shown += self._read()
        seen, _, self.shown = self.shown.partition(text)
        return seen + text

    def _read(self) -> str:
        try:
            return os.read(self.master, 65536).decode()
        except OSError:  # the other end is closed
            raise AssertionError(f"ended: {self.shown}") from None

    def type(self, line: str) -> None:
        os.write(self.master, f"{line}\n".encode())

    def end(self) -> tuple[int, str]:
        """Exit status, and what was shown until the end."""
        while select.select([self.master], [], [], PATIENCE_S)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.shown += data.decode()
        status = self._process.wait(PATIENCE_S)
        os.close(self.master)
        return status, self.shown

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def terminal() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.kill()


def test_on_a_terminal_each_question_is_asked_and_a_wrong_answer_is_asked_again(
    root: Path, tmp_path: Path, terminal: list[Terminal]
) -> None:
    out = tmp_path / "out"
    typing = Terminal("--out", str(out))
    terminal.append(typing)
    conversation = [
        ("listen [127.0.0.1:53 [::1]:53] > ", "127.0.0.1", "Not accepted: expected ADDRESS:PORT"),
        ("listen [127.0.0.1:53 [::1]:53] > ", "127.0.0.1:5399, [::1]:5399", ""),
        ("allow [127.0.0.0/8 ::1/128] > ", "", ""),
        ("upstream > ", "127.0.0.1:5399", "Not accepted: is one of listen.dns"),
        ("upstream > ", "192.0.2.99:53", ""),
        ("list-id > ", "", "An answer is needed"),
        ("list-id > ", "police", ""),
        ("demonstration [no] > ", "", ""),
        ("purpose > ", "child-abuse", ""),
        ("page-address > ", "192.0.2.1 2001:db8::1", ""),
        ("page-listen [192.0.2.1:80 [2001:db8::1]:80] > ", "", ""),
        ("operator > ", "Example Net", ""),
        ("contact > ", "help@isp.example", ""),
        ("authority > ", "Example Police", ""),
        ("law > ", "Example Act", ""),
        ("flow-records > ", "none", ""),
        ("offer > ", "young;Example Helpline;https://help.example", ""),
        ("offer > ", "", ""),
        ("expire > ", "keep", ""),
        ("kind [tuf] > ", "", ""),
        ("source > ", "https://authority.example/lists", ""),
        ("root > ", str(root), f"SHA-256 {hash_of(root)}"),
        ("the hash that they said > ", hash_of(root), ""),
        ("protected > ", "isp.example", ""),
        ("rehearsal > ", "block-test.isp.example", ""),
        ("region > ", "", ""),
        ("receipts > ", "", ""),
        ("metrics [127.0.0.1:9153] > ", "", ""),
        ("Write this? yes or no [yes] > ", "", ""),
    ]
    for prompt, typed, reply in conversation:
        typing.until(prompt)
        typing.type(typed)
        if reply:
            typing.until(reply)
    status, said = typing.end()
    assert status == 0, said
    written = tomllib.loads((out / "etc/blocklist-resolver/resolver.toml").read_text())
    assert written["list"][0]["id"] == "police"
    assert written["page"]["help"] == [{"kind": "young", "text": "Example Helpline", "url": "https://help.example"}]
    assert written["listen"]["dns"] == ["127.0.0.1:5399", "[::1]:5399"]
    assert "allow" not in written["listen"]


def test_on_a_terminal_flags_and_defaults_are_not_asked_and_no_writes_nothing(
    root: Path, tmp_path: Path, terminal: list[Terminal]
) -> None:
    out = tmp_path / "out"
    typing = Terminal(*words(root, "--defaults", "--out", str(out), without="--law")[1:])
    terminal.append(typing)
    assert "--listen" not in typing.until("law > ")
    typing.type("Example Act")
    typing.until("Write this? yes or no [yes] > ")
    typing.type("no")
    status, said = typing.end()
    assert (status, out.exists()) == (3, False), said
    assert "nothing was written" in said


def test_the_end_of_the_input_ends_it(tmp_path: Path, terminal: list[Terminal]) -> None:
    typing = Terminal("--out", str(tmp_path / "out"))
    terminal.append(typing)
    typing.until("listen [127.0.0.1:53 [::1]:53] > ")
    os.write(typing.master, b"\x04")
    status, said = typing.end()
    assert status == 2
    assert "the input ended before the last answer" in said


def test_the_verb_is_the_one_of_the_parser() -> None:
    parsed = main.parser_of(authority=False, setup=True).parse_args(["setup", "--listen", "127.0.0.1:53"])
    assert parsed.verb.__module__ == verbs_setup.__name__
    assert getattr(parsed, "listen.dns") == ["127.0.0.1:53"]
