"""The plain twin is plain to its last import, and so is the service that tests.plain starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.parity import twin

ROOT = Path(__file__).parents[2]
COMPILED = sorted(path.stem for path in twin.CORE.glob("*.pxd"))


@pytest.mark.parametrize("name", COMPILED)
def test_both_builds_are_what_they_are_called(name: str) -> None:
    assert str(twin.compiled(name).__file__).endswith(".so")
    assert str(twin.load(name).__file__) == str(twin.CORE / f"{name}.py")


def test_what_the_twin_imports_is_of_the_twin() -> None:
    policy = twin.load("policy")
    imported = (policy.search, policy.unfold, policy.digest, policy.blocked)
    assert {one.__module__ for one in imported} == {"plain_core.image", "plain_core.name", "plain_core.reply"}
    assert twin.load("question").Name is twin.load("name").Name
    assert twin.load("question").Name is not twin.compiled("name").Name


def test_the_launcher_runs_the_service_on_the_plain_core() -> None:
    asked = (
        "import sys, tests.plain\n"
        "tests.plain.put_first()\n"
        "import resolver.core.policy, resolver.core.question\n"
        "assert not any(str(getattr(one, '__file__', '')).endswith('.so') for name, one in sys.modules.items()\n"
        "               if name.startswith('resolver.core'))\n"
        "print(resolver.core.policy.__file__)\n"
    )
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(twin.CORE / "policy.py")


def test_the_launcher_takes_the_same_arguments() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.plain", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    plain = subprocess.run(
        [sys.executable, "-m", "resolver", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout == plain.stdout


def test_the_launcher_refuses_a_core_that_is_loaded_already() -> None:
    asked = "import resolver.core.name, tests.plain\ntests.plain.put_first()\n"
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "loaded already" in said.stderr
