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

# A room, and the rooms or single modules that it may import besides itself: the README's table.
_ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]*) \|$", re.MULTILINE)
TABLE: dict[str, set[str]] = {
    room: set(re.findall(r"`([\w.]+)`", may)) for room, may in _ROW.findall((PACKAGE / "README.md").read_text())
}
MOST_ROWS = 27
# The two processes that see names, and the only room besides them that may import one of them.
SEE_NAMES = {"feed.fetch", "feed.names"}
READS_ITS_OWN_LIST = "authority"

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
    "Cython": {"build_core"},
    "aiohttp": {"count", "edge", "quiet_http"},
    "aioquic": {"dns_client", "doctor", "edge"},
    "cryptography": {
        "authority",
        "cli",
        "count.national",
        "courier",
        "dns_client",
        "edge",
        "feed",
        "feed.fetch",
        "signed",
    },
    "dns": {"feed", "feed.fetch", "feed.names"},
    "dnslib": {"dns_client"},
    "h2": {"courier", "dns_client", "edge"},
    "idna": {"cli", "feed", "feed.names"},
    "jinja2": {"page"},
    "cpython": {"quiet_http"},
    "libc": {"engine", "quiet_http"},
    "markupsafe": {"page"},
    "minisign": {"feed.fetch"},
    "msgspec": {
        "authority",
        "cli",
        "config",
        "control",
        "count.national",
        "edge",
        "evidence",
        "feed",
        "feed.fetch",
        "feed.names",
        "page",
        "service",
        "signed",
    },
    "prometheus_client": {"count"},
    "publicsuffixlist": {"feed.names"},
    "pylsqpack": {"edge"},
    "pyrage": {"authority", "feed.fetch"},
    "rich": {"cli", "count.report"},
    "securesystemslib": {"authority", "feed.fetch"},
    "setuptools": {"build_core"},
    "tuf": {"authority", "feed.fetch"},
    "urllib3": {"feed.fetch"},
    "uvloop": {"process"},
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


def room_of(name: str) -> str:
    """The room that the full name `resolver.…` belongs to; "" is the package itself and __main__."""
    words = name.split(".")[1:]
    for length in (2, 1):
        if ".".join(words[:length]) in TABLE:
            return ".".join(words[:length])
    return ""


def forbidden(name: str, room: str) -> bool:
    """Whether the room may not import the full name."""
    first, _, inside = name.partition(".")
    if first == "resolver":
        if not room:
            return not inside.startswith("cli.")
        of = room_of(name)
        single = {one for one in TABLE[room] if one not in TABLE}
        return of != room and of not in TABLE[room] and not any(f"{inside}.".startswith(f"{one}.") for one in single)
    if room in OUTSIDE.get(first, ()):
        return False
    return first not in (CORE_MAY_USE if room == "core" else sys.stdlib_module_names)


def faults(text: str, module: str) -> list[str]:
    """What `module` with this source imports against the rules."""
    found = [name for name in sorted(imported(text, module)) if forbidden(name, room_of(module))]
    if _DYNAMIC.search(_TEXT.sub("''", text)):
        found.append("a name made at run time")
    return found


def sources() -> list[Path]:
    return sorted(path for kind in ("py", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{kind}"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_each_module_imports_only_what_its_room_may() -> None:
    found = {}
    for path in sources():
        module = module_of(path) + (".__init__" if path.name == "__init__.py" else "")
        found[module] = faults(path.read_text(), module)
    assert {module: names for module, names in found.items() if names} == {}


def test_the_table_is_short_and_every_room_has_a_row() -> None:
    assert 0 < len(TABLE) <= MOST_ROWS
    folders = {
        path.parent.relative_to(PACKAGE).as_posix().replace("/", ".") for path in PACKAGE.glob("*/**/__init__.py")
    }
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert set(TABLE) == folders | modules


def used(room: str, may: str) -> bool:
    """Whether a module of the room imports from what its row names."""
    for path in sources():
        module = module_of(path) + (".__init__" if path.name == "__init__.py" else "")
        if room_of(module) == room:
            for name in imported(path.read_text(), module):
                inside = name.partition(".")[2]
                if name.startswith("resolver.") and (room_of(name) == may or f"{inside}.".startswith(f"{may}.")):
                    return True
    return False


def test_no_row_names_what_its_room_does_not_import() -> None:
    assert [(room, may) for room, row in TABLE.items() for may in sorted(row) if not used(room, may)] == []


def test_only_the_authority_may_import_what_sees_names() -> None:
    assert {room for room, may in TABLE.items() if may & SEE_NAMES} == {READS_ITS_OWN_LIST}


def circles() -> set[str]:
    """Modules on a circle of imports, those of types included."""
    arrows = {}
    for path in sources():
        if path.suffix == ".py" and path.name != "__init__.py":
            names = imported(path.read_text(), module_of(path))
            arrows[module_of(path)] = {one for one in names} | {one.rpartition(".")[0] for one in names}
    left = {module: to & set(arrows) - {module} for module, to in arrows.items()}
    # Take away what imports nothing that is left, and what nothing that is left imports: circles stay.
    while True:
        imported_still = set().union(*left.values())
        kept = {module: to & set(left) for module, to in left.items() if to & set(left) and module in imported_still}
        if kept == left:
            return set(left)
        left = kept


def test_no_module_is_on_a_circle() -> None:
    assert circles() == set()


def test_no_room_looks_up() -> None:
    """The table has no circle: there is an order in which each room imports only rooms before it."""
    left = {room: {room_of(f"resolver.{one}") for one in may} - {room, ""} for room, may in TABLE.items()}
    while left:
        ready = {room for room, may in left.items() if not may & set(left)}
        assert ready, f"a circle among {sorted(left)}"
        for room in ready:
            del left[room]


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
        ("resolver.query.answer", "from resolver import (\n    core,\n    feed,\n)"),
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
        ("resolver.authority.publish", "from resolver.feed.state import State"),
        ("resolver.service.readings", "from resolver.feed.names.read import Refusal"),
        ("resolver.feed.update", "from resolver.feed.fetch import tuf"),
        ("resolver.core.store", "from resolver.config import config"),
        ("resolver.page.serve", "from resolver.core.codes import BLOCK"),
        ("resolver.service.service", "from resolver.cli import main"),
        ("resolver.config.config", "import yaml"),
        ("resolver", "from resolver.config.config import load"),
    ],
)
def test_an_import_against_the_rules_is_found(module: str, text: str) -> None:
    assert faults(text, module) != []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (
            "resolver.query.answer",
            "from resolver.core import policy, reply\nfrom resolver.config.values import Endpoint",
        ),
        ("resolver.query.answer", "from . import block\nfrom .block import judge"),
        ("resolver.query.answer", '"""from resolver.feed import state"""'),
        ("resolver.query.answer", "from resolver.config.values import Endpoint"),
        ("resolver.core.store", "from .codes import PASS\nfrom libc.stdint cimport uint64_t\ncimport cython"),
        ("resolver.count.publish", "from resolver.core.codes import COUNTERS"),
        ("resolver.count.publish", "from resolver.core import codes"),
        ("resolver.cli.main", "from resolver import __version__\nfrom resolver.feed import state"),
    ],
)
def test_an_import_within_the_rules_is_not(module: str, text: str) -> None:
    assert faults(text, module) == []


def test_core_imports_its_siblings_relatively() -> None:
    """Else the plain twin, which is the package under another name, runs compiled siblings."""
    by_full_name = re.compile(r"^\s*(from|c?import)\s+resolver\b", re.MULTILINE)
    assert [path.name for path in PACKAGE.glob("core/*.p*") if by_full_name.search(path.read_text())] == []
