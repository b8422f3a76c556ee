"""The manual pages and completions say what the command line and deploy/resolver.toml say, in a form that is clean."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from resolver.cli import examples, main
from resolver.config import explained

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("make_man", ROOT / "deploy" / "man" / "make.py")
assert _SPEC is not None
assert _SPEC.loader is not None
make = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make)

ESCAPES = {"\\-": "-", "\\(aq": "'", "\\(ga": "`", "\\(ha": "^", "\\(ti": "~", "\\e": "\\"}
PAGES = ("man/man8/blocklist-resolver.8", "man/man5/resolver.toml.5")


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1795586400")
        make.write(folder)
    return folder


def plain(roff: str) -> str:
    """The words of a page, without what roff needs around them."""
    found = re.sub(r"\\f[BIR]|\\&", "", roff)
    for escape, character in ESCAPES.items():
        found = found.replace(escape, character)
    return found


def test_every_verb_has_its_place_with_options_and_examples(share: Path) -> None:
    page = plain((share / PAGES[0]).read_text())
    verbs = dict(examples.verbs(main.parser_of(authority=True)))
    assert re.findall(r"^\.SS (.*)$", page, re.MULTILINE) == list(verbs)
    for words, verb in verbs.items():
        _, _, rest = page.partition(f"\n.SS {words}\n")
        place = re.split(r"^\.S[HS] ", rest, maxsplit=1, flags=re.MULTILINE)[0]
        for action in examples.shown(verb):
            assert f"\n{(*action.option_strings, action.metavar or action.dest)[0]}" in place, words
        for line in examples.SAID[words].examples:
            assert f"blocklist-resolver {line}" in place


def test_the_exit_statuses_are_those_of_the_help(share: Path) -> None:
    page = plain((share / PAGES[0]).read_text()).partition(".SH EXIT STATUS\n")[2].partition(".SH ")[0]
    assert re.findall(r"^\.TP\n(\d)\n(.*)\.$", page, re.MULTILINE) == [
        ("0", "done"),
        ("1", "failed while running"),
        ("2", "usage or configuration"),
        ("3", "refused"),
        ("4", "not possible on this host now"),
    ]


def test_every_option_of_the_configuration_is_explained(share: Path) -> None:
    page = plain((share / PAGES[1]).read_text())
    for table in explained.tables(explained.text()):
        name = f"[[{table.name}]]" if table.is_array else f"[{table.name}]"
        _, found, rest = page.partition(f"\n.SH {name}\n")
        assert found, name
        place = rest.partition("\n.SH ")[0]
        for option in table.options:
            assert re.search(rf"^{option.key} (= |\(required\))", place, re.MULTILINE), option.key
            assert " ".join(option.said.split()) in " ".join(place.split())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_line_that_roff_would_take_for_a_request_of_its_own(share: Path, page: str) -> None:
    requests = {line.split()[0] for line in (share / page).read_text().splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".TP", ".TQ", ".PP", ".nf", ".fi", ".RS", ".RE"}


def test_the_same_source_makes_the_same_octets(share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795586400")
    make.write(tmp_path)
    for name in make.MADE:
        assert (tmp_path / name).read_bytes() == (share / name).read_bytes()
    assert "2026-11-25" in (tmp_path / PAGES[0]).read_text()


def test_bash_completes_verbs_steps_options_and_files(share: Path, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "resolver.toml").touch()
    script = share / "bash-completion/completions/blocklist-resolver"
    typed = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        _shtab_blocklist_resolver blocklist-resolver "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            [bash, "-c", typed, "bash", script, "blocklist-resolver", *words],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert completed("check-c") == ["check-config"]
    assert completed("list", "appr") == ["approve"]
    assert completed("check-config", "--sch") == ["--schema"]
    assert completed("run", "--config", "res") == ["resolver.toml"]
