"""Who has the state folder: one process, to its end."""

import subprocess
import sys
from pathlib import Path

from resolver.service.owner import Owner

HOLDS = """
import sys
from resolver.service.owner import Owner
owner = Owner(sys.argv[1])
print(owner.take(), flush=True)
sys.stdin.read()
"""


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    folder = str(tmp_path / "above" / "state")
    first, second = Owner(folder), Owner(folder)
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert first.take()
    assert not second.take()
    first.leave()
    assert second.take()
    second.leave()


def test_a_process_that_is_killed_owns_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout
    assert other.stdout.readline() == b"True\n"
    owner = Owner(str(tmp_path))
    assert not owner.take()
    other.kill()
    other.communicate()
    assert owner.take()
    owner.leave()
