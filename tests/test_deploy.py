"""What deploy/README.md says agrees with what runs: every metric, every reason, every file that it names."""

import re
from pathlib import Path

import pytest

from resolver.core import codes
from resolver.count.metrics import METRICS
from resolver.feed.messages import Reason

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text()
ROW = re.compile(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (beat|live) \| \S", re.MULTILINE)


def test_the_table_of_metrics_is_the_closed_one() -> None:
    said = [(name, tuple(filter(None, labels.split(","))), leaves) for name, labels, leaves in ROW.findall(README)]
    assert sorted(said) == sorted((one.name, one.label_names, one.leaves) for one in METRICS)
    assert len(said) == len(set(said))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:sum\()?(?:rate\(|increase\()?(\w+)[\s{\[)]", README))))
def test_an_alarm_names_metrics_that_are_there(name: str) -> None:
    known = {one.name for one in METRICS}
    assert name in known or not re.search(r"_(total|seconds|up|held|success)$", name)


def test_reasons_that_are_named_are_there() -> None:
    assert {"tampered", "rolled_back", "mixed", "state_unreadable", "image_unusable"} <= set(Reason)
    assert {"upstream", "overload", "not_ready", "malformed_reply", "internal"} == set(codes.FAILED_REASONS)
    assert "rate_limit" in codes.DROP_REASONS


def test_files_that_are_named_are_there() -> None:
    named = re.findall(r"deploy/[\w./-]+[a-z]", README)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (DEPLOY / name).exists(), name


def test_the_unit_and_the_text_tell_of_the_same_paths() -> None:
    unit = (DEPLOY / "systemd" / "blocklist-resolver.service").read_text()
    for word in ("/opt/blocklist-resolver/bin/blocklist-resolver", "/etc/blocklist-resolver/resolver.toml"):
        assert word in unit
        assert word in README
    for key in ("digest", "seal"):
        assert f"blocklist-resolver.{key}.key" in unit
    assert "WatchdogSec=60" in unit
    assert "LimitNOFILE=65536" in unit
