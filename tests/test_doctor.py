"""The doctor as one file on a bare Python; its document and picture say what its catalogue and its JSON say."""

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from resolver.doctor import catalogue, command
from tests.journeys.running import HOST, free_ports

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "doctor"
DOCUMENT = ROOT / "deploy" / "doctor.md"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"doctor_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("doctor") / "doctor.pyz"
    loaded("make").write(path)
    return path


def bare(pyz: Path, *words: str) -> list[str]:
    """The command line that runs the file on a Python without its site, its environment and any path of ours."""
    return ["/usr/bin/env", "-i", str(Path(sys.executable).resolve()), "-I", "-S", str(pyz), *words]


def test_it_is_one_file_with_nothing_else_of_ours_and_the_same_octets_each_time(pyz: Path, tmp_path: Path) -> None:
    names = zipfile.ZipFile(pyz).namelist()
    assert {"__main__.py", "resolver/__init__.py", "resolver/doctor/doctor.schema.json"} < set(names)
    ours = re.compile(r"__main__\.py|resolver/(__init__|doctor/\w+)\.py|resolver/doctor/doctor\.schema\.json")
    assert all(ours.fullmatch(one) for one in names)
    loaded("make").write(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == pyz.read_bytes()
    assert os.access(pyz, os.X_OK)


def test_it_runs_on_a_bare_python_in_an_empty_folder(pyz: Path, tmp_path: Path) -> None:
    """One process of it serves the zone, another probes that: nobody enforces there, and all of it is found."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (port,) = free_ports(1)
    serve = bare(pyz, "--serve-zone", f"{HOST}:{port}")
    serving = subprocess.Popen(serve, cwd=empty, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline() == f"serving doctor.test. at {HOST}:{port}, over UDP and TCP\n"
        found = subprocess.run(
            bare(pyz, "--server", f"{HOST}:{port}", "--product", "bind", "--dot", f"{HOST}:1", "--doh", f"{HOST}:1"),
            cwd=empty, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (found.returncode, found.stderr) == (3, "")
        assert re.search(r"^A {40,}leaks +A of the listed name in ANSWER$", found.stdout, re.MULTILINE)
        assert re.search(r"^open names beside it +enforced +they come as they are$", found.stdout, re.MULTILINE)
        assert "BIND      response-policy { zone \"POLICY\"; } break-dnssec yes;" in found.stdout
    finally:
        serving.send_signal(signal.SIGTERM)
        _, errors = serving.communicate()
    assert (serving.returncode, errors) == (0, "")
    schema = subprocess.run(bare(pyz, "--json-schema"), cwd=empty, capture_output=True, text=True, check=True)
    assert schema.stdout.startswith("{")
    assert list(empty.iterdir()) == []


def test_the_document_has_the_catalogue() -> None:
    document, text = loaded("document"), DOCUMENT.read_text()
    assert document.written(text) == text, "python3 deploy/doctor/document.py writes it"
    assert all(f"| `{one.id}` | {one.what} |" in text for one in catalogue.PROBES)


def test_the_commands_of_the_document_are_ones(capsys: pytest.CaptureFixture[str]) -> None:
    text = DOCUMENT.read_text().replace("\\\n", " ")
    lines = re.findall(r"^ +(?:python3 doctor\.pyz|blocklist-resolver doctor) (.*)$", text, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        # The resolver's address is one of documentation: what is typed is read, and nothing is asked.
        words = [*shlex.split(line.partition(" <")[0]), "--wait", "0"]
        assert command.main(words) == 2
        assert "--wait: from" in capsys.readouterr().err
    options = set(re.findall(r"--[a-z][a-z-]+", text))
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert options <= set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))


def test_the_picture_is_that_of_its_json(tmp_path: Path) -> None:
    loaded("picture").main(FOLDER / "bind-default.json", tmp_path / "again.svg")
    drawn = (tmp_path / "again.svg").read_text()
    assert drawn == (FOLDER / "bind-default.svg").read_text()
    assert drawn.count(">leaks</text>") >= 5
    assert "deploy/doctor/bind-default.svg" in (ROOT / "README.md").read_text()
