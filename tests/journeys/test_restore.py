"""A state folder is lost and restored, by the lines that deploy/README.md prints."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.journeys import readme

BOTH = "S=/var/lib/blocklist-resolver; E=/etc/blocklist-resolver; B=/srv/backup/"
FILES = {"audit.log": "a", "host.key": "b", "lists/demo/floor.json": "c", "evidence/2026-10.json": "d"}


def test_what_was_backed_up_is_there_again_and_what_must_not_come_back_is_not(tmp_path: Path) -> None:
    state, configuration, backup = (tmp_path / name for name in ("state", "etc", "backup"))
    instead = {
        "S=/var/lib/blocklist-resolver;": f"S={state};",
        "E=/etc/blocklist-resolver;": f"E={configuration};",
        "B=/srv/backup/$(date -u +%Y%m%dT%H%M%SZ)": f"B={backup}",
        "B=/srv/backup/20261129T020000Z": f"B={backup}",
        "blocklist-resolver list audit --head --config $E/resolver.toml": "echo 57 hash",
    }
    for name, text in {**FILES, "national/agreement.json": "e", ".audit.log.x.part": "half"}.items():
        (state / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (state / name).write_text(text)
        (state / name).chmod(0o600)
    configuration.mkdir()
    (configuration / "resolver.toml").write_text("[listen]\n")
    with closing(sqlite3.connect(state / "ledger.sqlite")) as database:
        # As a service has it: open, and what was written last is not in the main file yet.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE counts (number)")
        database.execute("INSERT INTO counts VALUES (7)")
        database.commit()
        assert readme.typed(readme.block(f"{BOTH}$("), tmp_path, instead).returncode == 0
    assert backup.stat().st_mode & 0o077 == 0
    assert sorted(os.listdir(backup)) == ["audit.head", "etc.tar", "ledger.sqlite", "state.tar"]

    shutil.rmtree(state)
    shutil.rmtree(configuration)
    assert readme.typed(readme.block(f"{BOTH}2026"), tmp_path, instead).returncode == 0
    found = {path.relative_to(state).as_posix(): path for path in state.rglob("*") if path.is_file()}
    assert set(found) == {*FILES, "ledger.sqlite"}
    assert {name: found[name].read_text() for name in FILES} == FILES
    assert {path.stat().st_mode & 0o777 for path in found.values()} == {0o600}
    assert state.stat().st_mode & 0o077 == 0
    assert (configuration / "resolver.toml").read_text() == "[listen]\n"
    with closing(sqlite3.connect(state / "ledger.sqlite")) as database:
        assert database.execute("SELECT number FROM counts").fetchall() == [(7,)]
