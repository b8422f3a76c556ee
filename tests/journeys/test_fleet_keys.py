"""The keys of a fleet, as deploy/README.md has it: made by its lines."""

from pathlib import Path

from tests.journeys import readme


def test_keys_are_made_by_the_lines_that_are_printed(tmp_path: Path) -> None:
    done = readme.typed(readme.block("umask 077; openssl rand"), tmp_path, {})
    assert done.returncode == 0
    assert {path.name: (path.stat().st_size, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "digest.key": (16, 0o600),
        "seal.key": (32, 0o600),
    }
    shown = done.stdout.split()
    assert [len(one) for one in shown] == [16, 16]
    assert shown[0] != shown[1]
