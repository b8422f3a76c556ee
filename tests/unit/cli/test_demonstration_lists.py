"""The rows about a list's life, where something is wrong; test_demonstration runs the right ones with a service."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resolver.authority import publish
from resolver.cli import demonstration_lists
from resolver.config.config import Control
from resolver.control import requests

NAMES = b"blocked.test\n"
NOW = datetime(2026, 3, 5, tzinfo=UTC).timestamp()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish.init(tmp_path / "authority", threshold=1, keys=1, now=time.time())
    issue = publish.Issue(list_id="demo", data=NAMES, serial=1)
    publish.publish(tmp_path / "authority", issue, now=time.time())
    (tmp_path / "state" / "receipts").mkdir(parents=True)
    return tmp_path


def said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, bool]]:
    monkeypatch.setattr(demonstration_lists, "RECEIPT_S", 0.1)
    control = Control(socket=str(folder / "control"))
    return {row: (came, good) for row, came, good in demonstration_lists.rows(folder, control, NAMES, 0, NOW)}


def test_a_service_that_cannot_be_reached_is_a_row_and_not_a_crash(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "authority" / "metadata" / "timestamp.json").read_bytes()
    rows = said(folder, monkeypatch)
    assert [good for _, good in rows.values()] == [False, False, False, True]
    assert rows["the receipt of the list"] == ("missing", False)
    assert "no service listens there" in rows[demonstration_lists.FORGED][0]
    assert (folder / "authority" / "metadata" / "timestamp.json").read_bytes() != before, "serial 2 is published"


def test_a_service_that_takes_what_was_changed_on_its_way_is_shown_as_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = requests.FetchReply(found="in_force", serial=1, reasons=())
    monkeypatch.setattr(demonstration_lists.client, "call", lambda control, request: taken)
    rows = said(folder, monkeypatch)
    assert rows[demonstration_lists.FORGED] == ("in_force: ", False)
    assert rows["a list with 600 new names"] == ("in_force: ", False)


def test_a_receipt_about_another_list_is_shown_as_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "state" / "receipts" / "demo-1-1.json").write_bytes(b"{}\n")
    came, good = said(folder, monkeypatch)["the receipt of the list"]
    assert not good
    assert "not a receipt" in came


def test_the_report_is_on_the_month_that_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = said(folder, monkeypatch)
    # 28 days: each weekday four times.
    assert rows["the report on February, made up"] == (f"{28 * 560 + 4 * 10 * 21} attempts", True)
