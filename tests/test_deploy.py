"""What the pages of deploy/ say agrees with what runs: every metric, every reason, every file and heading they name."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from resolver.core import codes
from resolver.count.metrics import METRICS, PREFIX
from resolver.doctor import watch
from resolver.doctor.probes import Examined
from resolver.feed import processes
from resolver.feed.reasons import Reason

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PAGES = {path.name: path.read_text() for path in sorted(DEPLOY.glob("*.md"))}
INSTALL, MONITORING = PAGES["install.md"], PAGES["monitoring.md"]
RULES, ALERTS = (
    [rule for group in yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["groups"] for rule in group["rules"]]
    for name in ("rules.yml", "alerts.yml")
)
RUNBOOKS = "blocklist_runbooks"
EDGE_ACCOUNT = 10056
ROW = re.compile(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (beat|live) \| \S", re.MULTILINE)


def test_the_table_of_metrics_is_the_closed_one() -> None:
    said = [(name, tuple(filter(None, labels.split(","))), leaves) for name, labels, leaves in ROW.findall(MONITORING)]
    assert sorted(said) == sorted((one.name, one.label_names, one.leaves) for one in METRICS)
    assert len(said) == len(set(said))


def test_every_alarm_has_its_place_to_read_on_and_every_place_its_alarm() -> None:
    page, _, rest = MONITORING.partition("\n## When an alarm goes off\n")[2].partition("\n## ")
    assert rest
    places = dict(re.findall(r"^### (\w+)\n\n([A-Z][^#]{80,})", page, re.MULTILINE))
    assert list(places) == re.findall(r"^### (.*)$", page, re.MULTILINE) == [one["alert"] for one in ALERTS]
    installed = "/usr/share/doc/blocklist-resolver"
    assert f"install -D -m 644 -t {installed} deploy/*.md" in INSTALL
    for one in ALERTS:
        # The anchor that a heading of one word gets.
        # Where the page is is said once, in prometheus.yml.
        assert one["annotations"]["runbook_url"] == f"{{{{ $externalLabels.{RUNBOOKS} }}}}#{one['alert'].lower()}"
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert prometheus["global"]["external_labels"][RUNBOOKS].startswith("https://")
    assert RUNBOOKS in MONITORING


def test_series_that_the_rules_record_are_there() -> None:
    recorded = " ".join(one["record"] for one in RULES)
    told = MONITORING.partition("\n## Prometheus")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `…?([\w:]+)`", told, re.MULTILINE)
    assert named
    for name in named:
        assert name in recorded, name


def test_a_rule_names_metrics_that_are_there() -> None:
    """Those of the exporter's table, or what another rule records."""
    recorded = {one["record"] for one in RULES}
    # A counter on the beat has a series beside its total that says when it began.
    began = {
        one.name.removesuffix("_total") + "_created" for one in METRICS if (one.kind, one.leaves) == ("counter", "beat")
    }
    exported = {PREFIX + name for name in {one.name for one in METRICS} | began}
    shown = watch.metrics(Examined(server="", expected=None, results=(), queries=0, seconds=0.0), 0.0)
    watched = set(re.findall(r"^# TYPE (\w+) ", shown, re.MULTILINE))
    for rule in RULES + ALERTS:
        found = set(re.findall(r"[\w:]*blocklist_(?:resolver|doctor)_[\w:]+", rule["expr"]))
        assert found, rule
        assert found <= recorded | exported | watched, rule


def test_reasons_that_are_named_are_there() -> None:
    assert {"tampered", "rolled_back", "mixed", "state_unreadable", "image_unusable"} <= set(Reason)
    assert {"upstream", "overload", "not_ready", "malformed_reply", "internal"} == set(codes.FAILED_REASONS)
    assert "rate_limit" in codes.DROP_REASONS


def anchors(text: str) -> set[str]:
    """What a link to a heading of this page ends in."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES)
def test_files_and_headings_that_are_named_are_there(page: str) -> None:
    for name in re.findall(r"(?<![\w/-])deploy/[\w./@-]+[a-z]", PAGES[page]):
        assert (ROOT / name).exists(), name
    for name, heading in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", PAGES[page]):
        path = DEPLOY / (name or page)
        assert path.exists(), name
        assert not heading or heading in anchors(path.read_text()), f"{name}#{heading}"


def test_the_index_has_every_page_once_or_more() -> None:
    named = set(re.findall(r"\]\((\w[\w-]*\.md)", PAGES["README.md"]))
    assert named == set(PAGES) - {"README.md"}


def test_the_unit_and_the_text_tell_of_the_same_paths() -> None:
    unit = (DEPLOY / "systemd" / "blocklist-resolver.service").read_text()
    for word in ("/opt/blocklist-resolver/bin/blocklist-resolver", "/etc/blocklist-resolver/resolver.toml"):
        assert word in unit
        assert word in INSTALL
    for key in ("digest", "seal"):
        assert f"blocklist-resolver.{key}.key" in unit
    assert "WatchdogSec=60" in unit
    assert "LimitNOFILE=65536" in unit


def test_the_limits_on_memory_are_those_it_states_and_leave_room_for_a_swap() -> None:
    unit = (DEPLOY / "systemd" / "blocklist-resolver.service").read_text()
    limits = dict(re.findall(r"^(Memory(?:High|Max))=(\d+[MG])$", unit, re.MULTILINE))
    octets = {name: int(size[:-1]) * {"M": 2**20, "G": 2**30}[size[-1]] for name, size in limits.items()}
    for name, size in limits.items():
        assert f"`{name}={size}`" in INSTALL
    # Above MemoryHigh the kernel slows down all of the unit, queries too: a fetch at its bound stays below it.
    assert processes.FETCH_MEMORY_BYTES + 2**30 <= octets["MemoryHigh"] < octets["MemoryMax"]


def test_one_of_several_services_differs_from_the_only_one_in_what_is_its_own() -> None:
    """The template is the plain unit with the instance's name wherever two services must not share something."""
    plain, several = (
        [line for line in (DEPLOY / "systemd" / name).read_text().splitlines() if not line.startswith("#")]
        for name in ("blocklist-resolver.service", "blocklist-resolver@.service")
    )
    own = {
        "resolver.toml": "%i.toml",
        "StateDirectory=blocklist-resolver": "StateDirectory=blocklist-resolver-%i",
        "RuntimeDirectory=blocklist-resolver": "RuntimeDirectory=blocklist-resolver-%i",
        "key:blocklist-resolver.": "key:blocklist-resolver-%i.",
        "authority's blocklist": "authority's blocklist (%i)",
    }
    assert len(plain) == len(several)
    changed = [(one, other) for one, other in zip(plain, several, strict=True) if one != other]
    for one, other in changed:
        [(said, instead)] = [(key, value) for key, value in own.items() if key in one]
        assert one.replace(said, instead) == other
    assert len(changed) == len(own) + 3, "two commands name the configuration, there are two keys, two folders in /run"


def test_compose_and_the_commands_for_podman_say_the_same() -> None:
    """Two containers: what each may do and sees, and the command of the edge. tests/peers/test_image.py runs both."""
    found = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())
    service, edge = found["services"]["resolver"], found["services"]["edge"]
    for one in (service, edge):
        assert (one["read_only"], one["cap_drop"], one["cap_add"]) == (True, ["ALL"], ["NET_BIND_SERVICE"])
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["mem_limit"]
        assert one["healthcheck"]["test"][:4] == ["CMD", "blocklist-resolver", "ask", "localhost"]
    assert edge["user"] == f"{EDGE_ACCOUNT}:{EDGE_ACCOUNT}"
    assert service["group_add"] == [str(EDGE_ACCOUNT)]
    assert edge["command"] == ["edge", "--config", "/etc/blocklist-resolver/resolver.toml", "--keep", "1"]
    assert {one.split(":")[1]: one.endswith(":ro") for one in edge["volumes"]} == {
        "/etc/blocklist-resolver": True,
        "/etc/blocklist-edge": True,
        "/run/blocklist-resolver-edge": True,
    }
    assert "edge:/run/blocklist-resolver-edge" in service["volumes"]
    assert "depends_on" not in service | edge
    said = (DEPLOY / "container" / "README.md").read_text()
    typed = re.findall(r"^    (podman run (?:.*\\\n)*.*)$", said, re.MULTILINE)
    commands = [shlex.split(one.replace("\\\n", " ")) for one in typed]
    options = ("--read-only", "--cap-drop", "--cap-add", "net_bind_service", "no-new-privileges")
    assert [set(options) <= set(one) for one in commands] == [True, True]
    volumes = {one.replace("blocklist-edge:/run", "edge:/run") for one in commands[1] if ":/" in one}
    assert set(edge["volumes"]) == volumes
    assert commands[1][-5:] == edge["command"]
    assert commands[1][commands[1].index("--user") + 1] == edge["user"]
    assert f"--group-add {EDGE_ACCOUNT} --volume blocklist-edge:/run/blocklist-resolver-edge`" in said


def test_no_c_that_was_generated_here_goes_into_an_image() -> None:
    """It may be older than its source: what git ignores is left out of the build, too."""
    ignored = {line for line in (ROOT / ".gitignore").read_text().splitlines() if line.endswith(".c")}
    left_out = {line for line in (DEPLOY / "container" / "ignore").read_text().splitlines() if line.endswith(".c")}
    assert {f"/{line}" for line in left_out} == ignored
    assert len(ignored) > 3
