"""AppArmor's lines for Unbound with our policy inside: Debian's parser takes them in Debian's profile for Unbound, and
what the module opens is granted.

Rules:
- No kernel is asked: the parser compiles, and which paths a profile grants is worked out here from its flattened rules.
- A rule with a variable is passed over: at worst a path looks refused that is granted.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[[str], str]
PROFILE = "usr.sbin.unbound"
OURS = Path(__file__).parents[2] / "deploy" / "unbound" / PROFILE
PYTHON = "/usr/lib/blocklist-resolver/lib/python3.11/site-packages"
COPY = "/var/lib/unbound/blocklist-core-x1y2z3"

OPENED = {
    f"{PYTHON}/resolver/plugin/__pycache__/unbound.cpython-311.pyc": "r",
    f"{PYTHON}/resolver/core/": "r",
    f"{PYTHON}/resolver/core/policy.cpython-311-x86_64-linux-gnu.so": "rm",
    "/run/blocklist-resolver-plugin/": "r",
    "/run/blocklist-resolver-plugin/policy": "r",
    "/run/blocklist-resolver-plugin/0a1b2c.image": "r",
    "/run/blocklist-resolver-plugin/blocks": "w",
    f"{COPY}/policy.cpython-311-x86_64-linux-gnu.so": "rwm",
    f"{COPY}/": "rw",
    "/etc/unbound/blocklist.py": "r",
    "/etc/unbound/blocklist.key": "r",
    "/usr/lib/python3/dist-packages/unboundmodule.py": "r",
    "/usr/lib/python3/dist-packages/_unboundmodule.so": "rm",
    "/usr/lib/python3.11/": "r",
    "/usr/lib/python3.11/__pycache__/os.cpython-311.pyc": "r",
    "/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so": "rm",
}
"""What the module and Unbound's Python open, by their code, where deploy/unbound/README.md puts them."""

REFUSED = {
    "/var/lib/blocklist-resolver/digest.key": "r",
    "/etc/blocklist-resolver/resolver.toml": "r",
    "/run/blocklist-resolver-plugin/policy": "w",
    "/run/blocklist-resolver/control": "w",
    f"{PYTHON}/resolver/plugin/unbound.py": "w",
}


@pytest.fixture
def base(tmp_path: Path, program: Program) -> Path:
    """Debian's folder of profiles, with our lines where deploy/unbound/README.md appends them."""
    program("apparmor_parser")
    shutil.copytree("/etc/apparmor.d", tmp_path / "base", symlinks=True)
    with (tmp_path / "base" / "local" / PROFILE).open("a") as local:
        local.write(OURS.read_text())
    return tmp_path / "base"


def parsed(program: Program, base: Path, how: str) -> str:
    """What the parser says of the profile: `--preprocess` flattens it, `--skip-kernel-load` compiles it."""
    command = [program("apparmor_parser"), how, "--skip-cache", "--base", base, base / PROFILE]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def pattern(glob: str) -> re.Pattern[str]:
    """A path of a profile as a regular expression (apparmor.d(5), "Globbing")."""
    parts = re.findall(r"\*\*|\*|\?|\[[^]]*\]|[{},]|\\.|.", glob)
    one = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    made = [one.get(part, part if part[0] in "[\\" else re.escape(part)) for part in parts]
    for at, part in enumerate(parts):
        # A whole component has a character at least.
        if part[0] == "*" and parts[at - 1] == "/" and parts[at + 1 : at + 2] in ([], ["/"]):
            made[at] = made[at].replace("*", "+")
    return re.compile("".join(made))


def granted(rules: str, path: str) -> set[str]:
    """The letters that a flattened profile grants for a path, as its owner."""
    found, denied = set[str](), set[str]()
    for line in rules.splitlines():
        rule = re.fullmatch(r"\s*((?:audit |deny |owner )*)(/\S*)\s+([a-zA-Z]+),.*", line)
        if rule and pattern(rule[2]).fullmatch(path):
            (denied if "deny" in rule[1] else found).update(rule[3])
    return found - denied


def test_the_parser_takes_our_lines_and_no_other(base: Path, program: Program) -> None:
    assert parsed(program, base, "--skip-kernel-load") == ""
    with (base / "local" / PROFILE).open("a") as local:
        local.write("  /run/blocklist-resolver-plugin/ reads,\n")
    with pytest.raises(subprocess.CalledProcessError):
        parsed(program, base, "--skip-kernel-load")


def test_what_the_module_opens_is_granted_by_our_lines_and_no_more(base: Path, program: Program) -> None:
    with_ours = parsed(program, base, "--preprocess")
    (base / "local" / PROFILE).write_text("")
    without = parsed(program, base, "--preprocess")
    assert [path for path, wanted in OPENED.items() if not granted(with_ours, path) >= set(wanted)] == []
    assert [path for path, wanted in REFUSED.items() if granted(with_ours, path) >= set(wanted)] == []
    # Each of our lines is needed: without it something is refused. What is below /usr/lib Debian's base grants as well.
    lines = [line for line in OURS.read_text().splitlines() if re.match(r"  (owner )?/(run|var)/", line)]
    assert len(lines) == 4
    for line in lines:
        others = "\n".join([without, *(other for other in lines if other != line)])
        assert any(not granted(others, path) >= set(OPENED[path]) for path in OPENED), line
