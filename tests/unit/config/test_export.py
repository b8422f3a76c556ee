"""`[export]`: off by default, refused where it would give out what it must not, and told loudly."""

from pathlib import Path
from typing import Any

import pytest

from resolver.config import config, export
from tests.journeys.processes import list_of, toml

ZONE = {"name": "rpz.isp.example", "keys": ["/etc/one.key"], "secondaries": ["192.0.2.20/32"]}
EXPORT = {"socket": "/run/blocklist-export.sock", "listen": ["192.0.2.10:53"], "zone": [ZONE]}


def parsed(said: dict[str, Any], *lists: dict[str, Any]) -> config.Config:
    sections = {"page": {"addresses": ["192.0.2.1"], "operator": "o", "contact": "c", "authority": "a", "law": "l"}}
    every = list(lists) or [list_of(Path("/srv/authority"))]
    return config.parse(toml({**sections, "export": said} if said else sections, every), "f")


def test_it_is_off_by_default_and_then_says_nothing() -> None:
    found = parsed({})
    assert export.exported(found.export, found.lists) == ()
    assert not any("SEALED" in line for line in config.warnings(found))


def test_what_leaves_sealed_storage_is_named_aloud() -> None:
    one, other = list_of(Path("/srv/one")), list_of(Path("/srv/two"), "two", exempt=["192.0.2.7/32"])
    found = parsed(EXPORT, one, other)
    assert export.exported(found.export, found.lists) == ("demo", "two")
    said = [line for line in config.warnings(found) if "export" in line or "[export]" in line]
    assert "THE NAMES of demo, two LEAVE SEALED STORAGE" in said[0]
    assert "list two: exempt has no effect" in said[1]
    chosen = parsed({**EXPORT, "zone": [{**ZONE, "lists": ["two"]}]}, one, other)
    assert export.exported(chosen.export, chosen.lists) == ("two",)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"socket": ""}, "export.socket"),
        ({"socket": "run/x"}, "export.socket"),
        ({"zone": []}, "export.zone"),
        ({"listen": []}, "export.listen"),
        ({"directory": "folder"}, "export.directory"),
        ({"directory": "/var/lib/blocklist-resolver/export"}, "export.directory"),
        ({"directory": "/var/lib"}, "export.directory"),
        ({"listen_tls": ["192.0.2.10:853"]}, "export.certificate"),
        ({"zone": [ZONE, ZONE]}, "export.zone[1].name"),
        ({"zone": [{**ZONE, "secondaries": ["0.0.0.0/0"]}]}, "export.zone[0].secondaries[0]"),
        ({"zone": [{**ZONE, "secondaries": []}]}, "export.zone[0].secondaries"),
        ({"zone": [{**ZONE, "keys": []}]}, "export.zone[0].keys"),
        ({"zone": [{**ZONE, "lists": ["none"]}]}, "export.zone[0].lists[0]"),
        ({"zone": [{**ZONE, "profile": "knot6"}]}, "export.zone[0].page"),
        ({"zone": [{**ZONE, "page": "blocked.isp.example"}]}, "export.zone[0].page"),
        ({"zone": [{**ZONE, "notify": ["192.0.2.20:0"]}]}, "export.zone[0].notify[0]"),
        ({"table": [{"file": "list.cdb"}]}, "export.table[0].file"),
        ({"table": [{"file": "/srv/list.cdb"}] * 2}, "export.table[1].file"),
    ],
)
def test_a_fault_is_named_by_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(config.ConfigError) as fault:
        parsed({**EXPORT, **change})
    assert fault.value.key == key


def test_only_a_list_that_is_compiled_here_and_applies_to_all_is_exported() -> None:
    node = list_of(Path("/srv/one"))
    node["source"]["kind"] = "image"
    for one, words in ((node, "compile host"), (list_of(Path("/srv/one"), clients=["192.0.2.0/24"]), "its clients")):
        with pytest.raises(config.ConfigError, match=words):
            parsed(EXPORT, one)
    two = [list_of(Path("/srv/one")), list_of(Path("/srv/two"), "two", answer="nodata")]
    with pytest.raises(config.ConfigError, match="different answers"):
        parsed({**EXPORT, "table": [{"file": "/srv/list.cdb"}]}, *two)
