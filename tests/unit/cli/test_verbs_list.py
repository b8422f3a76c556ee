"""The verbs of `list`, as they are typed."""

from pathlib import Path

import pytest

from resolver.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "resolver.toml"
    path.write_text(
        f"""
        [page]
        addresses = ["192.0.2.1"]
        [upstream]
        servers = ["192.0.2.53:53"]
        [state]
        directory = "{tmp_path}/state"
        [[list]]
        id = "demo"
        demonstration = true
        [list.source]
        kind = "tuf"
        url = "file:///srv/authority"
        root = "/srv/root.json"
        """
    )
    return path


def status_of(*words: str) -> int:
    try:
        return main.main(words)
    except SystemExit as left:
        return int(left.code or 0)


def test_status_of_a_host_without_lists(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "status", "--config", str(config)) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "list       demo: NOT IN FORCE, no verified list yet"
    assert rest == ["next: demo is NOT IN FORCE: look at its source, and journalctl -u blocklist-resolver"]


def test_a_name_is_never_taken_from_the_command_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "check", "name.isp", "--config", str(config)) == 2
    assert "name.isp" not in "".join(capsys.readouterr())
    assert status_of("list", "check", "a.test", "--config", str(config)) == 0
    assert capsys.readouterr().out == "not listed\n"


def test_the_hosts_public_key_is_handed_over_once_it_is_made(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from resolver.config import config as read
    from resolver.feed import poll
    from resolver.signed import statement

    assert status_of("list", "receipt", "--key", "--config", str(config)) == 1
    assert "first start" in capsys.readouterr().err
    assert status_of("list", "receipt", "--config", str(config)) == 2
    capsys.readouterr()
    made = poll.host_key_of(read.load(config), make=True)
    assert status_of("list", "receipt", "--key", "--config", str(config)) == 0
    assert statement.pinned_of(capsys.readouterr().out.encode()) == statement.public_of(made)
