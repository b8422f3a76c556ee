"""Compiled modules in an interpreter that is started again: each time from files of their own, which are gone then."""

import subprocess
import sys
from pathlib import Path

from tests.journeys.running import ROOT

_LOADED = """
import os, sys
from pathlib import Path
from resolver.plugin.core_again import LOADS, loadable
os.environ[LOADS] = sys.argv[2]
with loadable(Path(sys.argv[1])) as copied:
    from resolver.core import codes, policy
print(copied, os.environ[LOADS], Path(policy.__file__).parent.parent == Path(sys.argv[1]), codes.BLOCK)
"""


def loaded(folder: Path, before: int) -> str:
    command = [sys.executable, "-c", _LOADED, str(folder), str(before)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


def test_the_first_time_core_is_loaded_as_it_is_installed_and_later_from_a_copy(tmp_path: Path) -> None:
    """tests/peers/test_plugin_unbound.py reloads a real Unbound."""
    assert loaded(tmp_path, 0) == "False 1 False 2"
    assert loaded(tmp_path, 1) == "True 2 True 2"
    assert list(tmp_path.iterdir()) == []
