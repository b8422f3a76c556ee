"""Services that root starts and that are another account's afterwards."""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.processes import Site
from tests.journeys.running import HOST, ROOT

NOBODY = pwd.getpwnam("nobody")
LISTED = "blocked.test"


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every account may go through; the test is skipped where another account cannot run this Python."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another account")
    as_nobody = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")
    look = (sys.executable, "-c", "import sys, resolver.service.service; print(sys.base_prefix, resolver.__file__)")
    ours = subprocess.run(look, cwd=ROOT, capture_output=True, check=True).stdout
    if subprocess.run([*as_nobody, *look], cwd=ROOT, capture_output=True, check=False).stdout != ours:
        pytest.skip("this Python or this folder is closed to other accounts")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def site_of(folder: Path, user: str = "nobody") -> Site:
    """A site whose state, authority and control socket are the account's; one entry is listed."""
    site = Site(folder)
    site.sections["listen"].update(user=user, dns=[f"{HOST}:{site.dns}"], allow=["127.0.0.0/8"])
    site.sections["control"] = {"socket": str(folder / "run" / "control"), "group": ""}
    for name in ("state", "run"):
        (folder / name).mkdir(mode=0o700)
    site.publish([LISTED])
    for path in (folder / "run", folder / "state", folder / "authority", *(folder / "authority").rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return site
