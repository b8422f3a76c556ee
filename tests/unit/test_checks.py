"""What of a configuration shows only on this host and in the parts."""

from pathlib import Path

import pytest

from resolver.checks import check
from resolver.config import ConfigError, parse
from resolver.query import forward

FILE = """
[listen]
dns = ["127.0.0.1:5300"]
[upstream]
servers = ["192.0.2.53:53", "127.0.0.1:5301"]
[page]
addresses = ["192.0.2.1"]
[[list]]
id = "demo"
demonstration = true
source = { kind = "tuf", url = "file:///srv/a", root = "/srv/root.json" }
"""
PATH = Path("/etc/resolver.toml")


def checked(old: str = "", new: str = "") -> bytes | None:
    assert old in FILE
    page = check(PATH, parse(FILE.replace(old, new), str(PATH)))
    return page.body if page else None


def test_what_is_well_gives_the_page_or_none() -> None:
    assert b"Another" in (checked("[page]", '[page]\noperator = "Another"') or b"")
    assert checked("[page]", "[page]\nlisten = []") is None


def test_a_page_that_cannot_be_made_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^/etc/resolver\.toml: page: the texts make a page of more than"):
        checked("[page]", f'[page]\noperator = "{"x" * 40_000}"')


def test_an_upstream_that_is_this_host_is_named_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    # That an address is this host's only the host knows; 192.0.2.53 stands for one here.
    monkeypatch.setattr(forward, "_is_ours", lambda host: host == "192.0.2.53")
    with pytest.raises(ConfigError, match=r"^/etc/resolver\.toml: upstream\.servers\[0\]: is this host"):
        checked('"127.0.0.1:5300"', '"0.0.0.0:53"')
    assert checked('"127.0.0.1:5300"', '"0.0.0.0:54"')
