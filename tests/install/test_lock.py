"""The locks: every requirement is pinned within its range, by hashes alone, for each Python."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    **{
        f"requirements-{name}.lock": [
            line for line in (ROOT / f"requirements-{name}.in").read_text().splitlines() if not line.startswith("#")
        ]
        for name in ("package", "quic")
    },
}
PYTHONS = ("3.11", "3.12", "3.13")
_PIN = re.compile(r"^(?P<pin>[^\s#-][^\\]*?) \\\n(?P<hashes>(?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)


def pins(lock: str) -> dict[Requirement, list[str]]:
    """Each pin of a lock, with its hashes."""
    found = _PIN.finditer((ROOT / lock).read_text())
    return {Requirement(one["pin"]): re.findall(r"--hash=(\S+)", one["hashes"]) for one in found}


def named(text: str) -> str:
    """A name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def holds(one: Requirement, python: str) -> bool:
    """Whether a requirement counts on Linux with this Python."""
    where = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    return one.marker is None or one.marker.evaluate(where)


@pytest.mark.parametrize("lock", WANTED)
def test_each_line_is_a_pin_with_hashes(lock: str) -> None:
    """No place to fetch from stands there: whoever installs says it, and the hashes hold wherever that is."""
    rest = _PIN.sub("", (ROOT / lock).read_text())
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    for pin, hashes in pins(lock).items():
        assert [one.operator for one in pin.specifier] == ["=="], pin
        assert pin.url is None
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), pin


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", WANTED)
def test_the_lock_agrees_with_the_ranges(lock: str, python: str) -> None:
    locked = {named(pin.name): pin for pin in pins(lock) if holds(pin, python)}
    assert len(locked) > len(WANTED[lock])
    for text in WANTED[lock]:
        wanted = Requirement(text)
        if holds(wanted, python):
            (release,) = locked[named(wanted.name)].specifier
            assert wanted.specifier.contains(release.version), f"{text}: make lock"


def test_the_package_is_built_with_what_an_install_from_source_is_built_with() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(WANTED["requirements-package.lock"])
    assert set(PROJECT["project"]["optional-dependencies"]["manual"]) <= set(WANTED["requirements-package.lock"])


@pytest.mark.parametrize("python", PYTHONS)
def test_the_package_of_quic_has_what_the_extra_says_and_changes_nothing_of_the_service(python: str) -> None:
    """It is installed into the service's environment: what both need has one release there."""
    assert WANTED["requirements-quic.lock"] == PROJECT["project"]["optional-dependencies"]["quic"]
    ours = {named(pin.name): pin.specifier for pin in pins("requirements.lock") if holds(pin, python)}
    added = {named(pin.name): pin.specifier for pin in pins("requirements-quic.lock") if holds(pin, python)}
    shared = ours.keys() & added.keys()
    assert "cryptography" in shared
    assert {name: added[name] for name in shared} == {name: ours[name] for name in shared}
