"""Who may import whom: every import and cimport line of resolver/, held against the table of its README.

Lines are read as text (`.pxd` and `.pyx` are no Python), so that an import inside a function or under
TYPE_CHECKING counts as one at the top.
"""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "resolver"

# A part of the house, and the parts or single modules that it may import.
TABLE: dict[str, set[str]] = {
    "core": {"core"},
    "query": {"query", "core", "config"},
    "feed": {"feed", "core", "config", "authority", "whole"},
    "count": {"count", "core.codes", "config", "quiet_http"},
    "page": {"page", "config", "quiet_http"},
    "authority": {"authority", "core", "feed.read", "config", "whole"},
    "ask": {"core", "config"},
    "values": set(),
    "whole": set(),
    "config": {"values", "core.codes", "config_list"},
    "config_list": {"values"},
    "install": set(),
    "quiet_http": set(),
    "systemd": set(),
    "crash": {"__version__", "_crash"},
    "privileges": {"config", "feed.confine"},
    "tables": {"config", "core", "query", "selftest"},
    "selftest": {"ask", "core", "values"},
    "readings": {"config", "core", "count", "feed", "query", "tables", "__version__"},
    "control": {"config", "core.codes"},
    "changes": {"config"},
    "advice": set(),
    "health": {"advice", "list_health"},
    "list_health": {"advice"},
    "list_facts": {"config", "feed", "list_health"},
    "list_status": {"advice", "config", "feed", "list_facts", "list_health", "lists"},
    "checks": {"config", "feed.guard_lines", "page", "query"},
    "desk": {
        "config",
        "control",
        "core",
        "count",
        "feed",
        "health",
        "list_facts",
        "list_health",
        "tables",
        "__version__",
    },
    "service": {
        "changes",
        "checks",
        "config",
        "control",
        "core",
        "count",
        "counting",
        "crash",
        "custody",
        "desk",
        "feed",
        "health",
        "page",
        "privileges",
        "query",
        "quiet_http",
        "readings",
        "selftest",
        "systemd",
        "tables",
    },
    "demonstration": {"ask", "authority", "config", "__version__"},
    "lists": {"authority", "config", "core", "feed"},
    "counting": {"config", "count", "feed", "readings"},
    "custody": {"config", "control", "core", "feed", "fleet_host", "list_desk", "release_desk", "selftest", "tables"},
    "fleet_host": {"config", "feed"},
    "compile_host": {"config", "control", "custody", "feed", "tables"},
    "release_desk": {"control", "core", "feed", "tables"},
    "release_verbs": {"config", "decision_verbs", "lists", "terminal", "values"},
    "terminal": {"advice", "control"},
    "list_desk": {"control", "feed"},
    "decision_verbs": {"config", "held", "lists", "terminal"},
    "held": {"advice", "config", "feed", "lists"},
    "audit_verbs": {"config", "feed", "terminal"},
    "report_verbs": {"config", "count", "counting", "terminal"},
    "evidence": {"authority.statement", "config", "count", "counting", "evidence", "feed", "whole"},
    "evidence_verbs": {"authority.statement", "config", "count", "evidence", "feed", "terminal", "__version__"},
    "list_verbs": {"audit_verbs", "config", "decision_verbs", "list_status", "lists", "release_verbs", "terminal"},
    "cli": {
        "ask",
        "authority",
        "checks",
        "compile_host",
        "config",
        "control",
        "evidence_verbs",
        "health",
        "list_verbs",
        "lists",
        "report_verbs",
        "service",
        "terminal",
        "values",
        "__version__",
    },
    "__main__": {"cli"},
    "": set(),
}

# config re-exports the values it is made of.
WITH_CONFIG = {"values"}

# What core may use from outside: nothing that has a clock, a socket, a file or a log.
CORE_MAY_USE = {
    "__future__",
    "array",
    "collections",
    "cython",
    "cpython",
    "dataclasses",
    "enum",
    "libc",
    "struct",
    "typing",
}

# The only packages that may be imported from outside Python, and who uses them.
OUTSIDE = {
    "aiohttp": {"count", "page", "quiet_http"},
    "cryptography": {"authority", "feed"},
    "dns": {"feed"},
    "dnslib": {"ask"},
    "idna": {"feed", "lists"},
    "minisign": {"feed"},
    "msgspec": {
        "authority",
        "changes",
        "config",
        "config_list",
        "desk",
        "evidence",
        "feed",
        "health",
        "list_facts",
        "list_health",
        "list_status",
    },
    "prometheus_client": {"count"},
    "publicsuffixlist": {"feed"},
    "rich": {"count", "report_verbs"},
    "securesystemslib": {"authority", "feed"},
    "pyrage": {"authority", "feed"},
    "Cython": {"install"},
    "setuptools": {"install"},
    "tuf": {"authority", "feed"},
    "urllib3": {"feed"},
    "uvloop": {"service"},
}

_FROM = re.compile(r"^\s*from\s+(\.*[\w.]*)\s+c?import\s+(\([^)]*\)|[^\n]*)", re.MULTILINE)
_PLAIN = re.compile(r"^\s*c?import\s+([^\n]+)", re.MULTILINE)
_DYNAMIC = re.compile(r"\b(?:__import__|import_module)\s*\(")
_TEXT = re.compile(r'("""|\'\'\')(?:.|\n)*?\1')


def imported(text: str, module: str) -> set[str]:
    """Full names that the source `text` of `module` imports or cimports, relative ones resolved."""
    text = re.sub(r"\\\n", " ", _TEXT.sub("''", text))
    found: set[str] = set()
    for origin, names in _FROM.findall(text):
        dots = len(origin) - len(origin.lstrip("."))
        start = origin[dots:]
        if dots:
            start = ".".join([*module.split(".")[:-dots], *filter(None, [start])])
        for name in re.sub(r"#[^\n]*|[()]", "", names).replace("\n", " ").split(","):
            if name.strip():
                found.add(f"{start}.{name.split()[0]}")
    for names in _PLAIN.findall(text):
        for name in names.split("#")[0].split(","):
            found.add(name.split()[0])
    return found


def part_of(name: str) -> str:
    """The part of the house that the full name `resolver.…` belongs to; "" is the package itself."""
    words = name.split(".")[1:]
    known = words[0] if words else ""
    return known if known in TABLE else ""


def forbidden(name: str, part: str) -> bool:
    """Whether the part may not import the full name."""
    first, _, inside = name.partition(".")
    if first == "resolver":
        allowed = TABLE[part] | (WITH_CONFIG if "config" in TABLE[part] else set())
        return not any(f"{inside}.".startswith(f"{one}.") for one in allowed)
    if part in OUTSIDE.get(first, ()):
        return False
    return first not in (CORE_MAY_USE if part == "core" else sys.stdlib_module_names)


def faults(text: str, module: str) -> list[str]:
    """What `module` with this source imports against the rules."""
    found = [name for name in sorted(imported(text, module)) if forbidden(name, part_of(module))]
    if _DYNAMIC.search(_TEXT.sub("''", text)):
        found.append("a name made at run time")
    return found


def sources() -> list[Path]:
    return sorted(path for kind in ("py", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{kind}"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_part_may(path: Path) -> None:
    module = module_of(path)
    if path.name == "__init__.py":
        module += ".__init__"
    assert faults(path.read_text(), module) == []


def test_the_table_of_the_readme_is_this_one() -> None:
    readme = (PACKAGE / "README.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|$", readme, re.MULTILINE)
    said = {part: set(re.findall(r"`([\w.]+)`", may)) for part, may in rows}
    assert said == {part: may for part, may in TABLE.items() if part}


def test_every_part_of_the_house_is_in_the_table() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert parts - {"__init__"} <= set(TABLE)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("resolver.query.answer", "from resolver.feed import state"),
        ("resolver.query.answer", "from resolver import feed"),
        ("resolver.query.answer", "import resolver.count.publish as publish"),
        ("resolver.query.answer", "from .. import page"),
        ("resolver.query.answer", "from ..page import serve"),
        ("resolver.query.answer", "def f():\n    from resolver.service import Service\n"),
        ("resolver.query.answer", "if TYPE_CHECKING:\n    from resolver.feed.state import State\n"),
        ("resolver.query.answer", "from resolver import (\n    config,\n    feed,\n)"),
        ("resolver.query.answer", "import os, resolver.feed"),
        ("resolver.query.answer", "feed = importlib.import_module('resolver.feed')"),
        ("resolver.query.answer", "import dnslib"),
        ("resolver.core.store", "import time"),
        ("resolver.core.store", "from asyncio import sleep"),
        ("resolver.core.store", "cimport resolver.query.cache"),
        ("resolver.core.store", "from resolver.engine.udp cimport send"),
        ("resolver.core.store", "from posix.time cimport clock_gettime"),
        ("resolver.count.publish", "from resolver.core import image"),
        ("resolver.count.publish", "from resolver.core.image import find"),
        ("resolver.authority.verbs", "from resolver.feed.state import State"),
        ("resolver.page.serve", "from resolver.core.codes import BLOCK"),
        ("resolver.service", "from resolver.cli import main"),
        ("resolver.config", "import yaml"),
        ("resolver", "from resolver.config import load"),
    ],
)
def test_an_import_against_the_rules_is_found(module: str, text: str) -> None:
    assert faults(text, module) != []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (
            "resolver.query.answer",
            "from resolver.core import policy, reply\nfrom resolver.config import Config",
        ),
        ("resolver.query.answer", "from . import block\nfrom .block import judge"),
        ("resolver.query.answer", '"""from resolver.feed import state"""'),
        ("resolver.query.answer", "from resolver.values import Endpoint"),
        ("resolver.core.store", "from .codes import PASS\nfrom libc.stdint cimport uint64_t\ncimport cython"),
        ("resolver.count.publish", "from resolver.core.codes import COUNTERS"),
        ("resolver.count.publish", "from resolver.core import codes"),
        ("resolver.cli", "from resolver import __version__\nfrom resolver import lists"),
    ],
)
def test_an_import_within_the_rules_is_not(module: str, text: str) -> None:
    assert faults(text, module) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("core/*.p*")), ids=lambda path: path.name)
def test_core_imports_its_siblings_relatively(path: Path) -> None:
    """Else the plain twin, which is the package under another name, runs compiled siblings."""
    assert not re.search(r"^\s*(from|c?import)\s+resolver\b", path.read_text(), re.MULTILINE)
