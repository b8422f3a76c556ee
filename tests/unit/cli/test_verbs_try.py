"""What `list try` says of each outcome."""

from dataclasses import replace as changed
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.cli import verbs_try
from resolver.cli.main import main
from resolver.config.config import Config
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.service import list_trial
from resolver.service.list_trial import Tried
from tests.unit.feed.test_state import record
from tests.unit.service.test_newcomers import LIST, config

RECORD = record(entries=31, exceptions=1, refused={"address": 2}, refused_lines={"address": (3, 9)})
GOOD = Tried(RECORD)


def said(tried: Tried, folder: Path) -> list[str]:
    one: Config = config(folder, "first")
    return list(verbs_try.lines(one, one.lists[0], tried))


def test_counts_lines_and_the_verdict_are_told(tmp_path: Path) -> None:
    first, serial, *rest = said(GOOD, tmp_path)
    assert first == "first: tried from file:///srv/authority; nothing was changed, and nothing of it is kept"
    assert serial.startswith(f"serial {RECORD.serial}")
    assert rest == [
        "31 entries, of them 1 exception",
        "refused lines: 2 address (line 3, 9)",
        "set aside until approved: none",
        "would be IN FORCE: it verifies, passes its self-test and the guard",
        "not tried: entries that clients use widely; only the running service knows them",
    ]


@pytest.mark.parametrize(
    ("tried", "line"),
    [
        (changed(GOOD, held=("first_size",)), "would be HELD: first_size: two signatures"),
        (changed(GOOD, same=7), "would be IN FORCE: this serial is in force here already"),
        (Tried(same=7), "nothing new: serial 7 is in force or held here already"),
        (Tried(failed=UpdateFailed(Reason.UNREACHABLE)), "would be REFUSED: unreachable"),
        (Tried(replace(RECORD, withdrawn=True)), "it is withdrawn: nothing would be blocked by it"),
        (changed(GOOD, shared={"other": 1}), "shared with list other in force: 1 name"),
        (changed(GOOD, shared={"first": 30}), "shared with the serial of this list that is in force: 30 names"),
        (changed(GOOD, shared={"other": -1}), "shared with list other in force: not counted: its image cannot be used"),
        (changed(GOOD, same=7), "not counted: names that lists in force have too, which needs this host's keys: run"),
        (
            changed(GOOD, complaint=UpdateFailed(Reason.FROZEN)),
            "in force all the same, each poll would count a failure: frozen",
        ),
    ],
)
def test_each_outcome_has_its_line(tried: Tried, line: str, tmp_path: Path) -> None:
    assert any(one.startswith(line) for one in said(tried, tmp_path))


def test_what_names_get_meanwhile_is_told_where_it_does_not_come_in_force(tmp_path: Path) -> None:
    assert "get SERVFAIL" in said(changed(GOOD, held=("first_size",)), tmp_path)[-1]
    assert not any("SERVFAIL" in line for line in said(GOOD, tmp_path))


def test_the_exit_status_is_3_if_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file = tmp_path / "resolver.toml", tmp_path / "new.toml"
    path.write_text('[upstream]\nservers = ["127.0.0.1:9"]\n[page]\naddresses = ["192.0.2.1"]\nlisten = []\n' +
                    f'[state]\ndirectory = "{tmp_path}"\n' + LIST.format(id="first", more=""))
    file.write_text(LIST.format(id="second", more=""))
    tried: list[str] = []

    def outcome(_: Config, one: object) -> Tried:
        tried.append(one.id)  # type: ignore[attr-defined]  # a list
        return GOOD if len(tried) == 1 else Tried(failed=UpdateFailed(Reason.UNREACHABLE))

    monkeypatch.setattr(list_trial, "try_list", outcome)
    assert main(["list", "try", "first", "--config", str(path)]) == 0
    assert main(["list", "try", str(file), "--config", str(path)]) == 3
    assert tried == ["first", "second"]
    assert main(["list", "try", "third", "--config", str(path)]) == 2
    assert "no list has this id" in capsys.readouterr().err
