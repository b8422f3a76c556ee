"""`export` as it is typed: it says what is missing, and is replaced by the process that sees names."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resolver.cli import main, verbs_export
from resolver.config import config
from resolver.feed.exported import ExportRequest
from tests.journeys.processes import Site

ZONE = {"name": "rpz.example", "keys": ["/etc/one.key"], "secondaries": ["127.0.0.0/29"], "notify": ["127.0.0.1:53"]}


def site_of(folder: Path, **export: Any) -> Path:
    site = Site(folder)
    if export:
        site.set("export", **export)
    return site.write()


def test_without_a_configured_export_it_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["export", "--config", str(site_of(tmp_path))]) == 2
    assert "names stay in sealed storage" in capsys.readouterr().err


def test_the_request_says_what_the_configuration_says(tmp_path: Path) -> None:
    path = site_of(
        tmp_path,
        socket="/run/x",
        listen=["127.0.0.1:5399"],
        zone=[ZONE],
        table=[{"file": "/srv/list.cdb", "lists": ["demo"]}],
    )
    found = verbs_export.request_of(config.parse(path.read_text(), str(path)))
    (zone,), (table,) = found.zones, found.tables
    assert (zone.name, zone.lists, zone.keys, zone.secondaries) == (
        "rpz.example",
        ("demo",),
        ("/etc/one.key",),
        ("127.0.0.0/29",),
    )
    assert (zone.notify, table.file, table.lists) == ((("127.0.0.1", 53),), "/srv/list.cdb", ("demo",))
    assert (found.state, found.demonstration, found.listen) == (str(tmp_path / "state"), True, (("127.0.0.1", 5399),))


def test_it_is_replaced_by_the_process_with_the_request_on_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site_of(tmp_path, socket="/run/x", listen=["127.0.0.1:5399"], zone=[ZONE])
    seen: list[Any] = []

    def replaced(environment: dict[str, str]) -> None:
        seen.append((environment, os.read(0, 65536)))
        raise OSError(2, "not here")

    monkeypatch.setattr(verbs_export, "replace_this", replaced)
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("SECRET", "one")
    stdin = os.dup(0)
    try:
        assert main.main(["export", "--config", str(path)]) == 1
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
    ((environment, line),) = seen
    assert environment == {"LISTEN_FDS": "1"}
    assert msgspec.json.decode(line, type=ExportRequest).zones[0].name == "rpz.example"
