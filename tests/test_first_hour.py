"""The page of the first hour: its lines are command lines that parse, and name files that exist.

What they do is tried on a booted Debian.
"""

import re
import shlex
from pathlib import Path

import pytest

from resolver.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "deploy/first-hour.md").read_text()
LINES = [re.sub(r" {3,}#.*", "", line) for line in re.findall(r"^ {4}(\S.*)$", PAGE, re.MULTILINE)]
OURS = [line for line in LINES if "blocklist-resolver " in line.removeprefix("runuser -u blocklist-authority -- ")]
TYPED = [line.removeprefix("runuser -u blocklist-authority -- ") for line in OURS]
VERBS = [line for line in TYPED if line.startswith("blocklist-resolver ")]


def test_it_has_the_whole_way_from_install_to_metrics() -> None:
    order = ["apt-get install --yes blocklist-resolver", "authority init", "authority publish", "setup --dry-run"]
    order += ["setup --defaults", "systemctl enable --now blocklist-resolver", "ask blocked.test", "status"]
    order.append("promtool query")
    found = [next(at for at, line in enumerate(LINES) if word in line) for word in order]
    assert found == sorted(found)


@pytest.mark.parametrize("line", VERBS)
def test_a_line_parses(line: str) -> None:
    words = shlex.split(re.sub(r"\$\(.*\)", "0" * 64, line))
    assert callable(main.parser_of(authority=True).parse_args(words[1:]).verb)


def test_what_is_shown_first_is_what_is_written_then() -> None:
    shown, written = (line for line in VERBS if " setup " in line)
    assert shown.replace(" --dry-run", "") == written


def test_the_answers_are_accepted_without_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root.json"
    root.write_text("{}")
    (line, _) = (line for line in VERBS if " setup " in line)
    line = line.partition(" --root ")[0].replace("--dry-run", f"--out {tmp_path / 'out'}")
    words = [*shlex.split(line)[1:], "--root", str(root), "--root-sha256"]
    words.append("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main.main(words) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main.main(["check-config", str(tmp_path / "out/etc/blocklist-resolver/resolver.toml")]) == 0
    warned = [one for one in capsys.readouterr().err.splitlines() if "control.group: no group" not in one]
    assert warned == []


def test_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]+\w", PAGE))
    assert len(named) > 6
    assert [one for one in sorted(named) if not (ROOT / one).exists()] == []
