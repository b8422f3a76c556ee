"""Writes the base of kustomize, and a component that adds the edge to it, from the chart.

    python deploy/kustomize/render.py [--out FOLDER]        (needs: pip install helm-python-sdk PyYAML)

Rules:
- The base is what the chart makes of deploy/helm/blocklist-resolver/ci/small.yaml; base and component together are what
  it makes of that file and edge.yaml.
- One file a manifest, named KIND-NAME.yaml; any other YAML file in the folder is removed. Overlays change the base.
- The component is patches (RFC 6902) that add and replace: what an overlay has added to the base stays.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm  # type: ignore[import-not-found] # only where a base is written
import yaml

HERE = Path(__file__).resolve().parent
CHART = HERE.parent / "helm" / "blocklist-resolver"
HEAD = "# Written by deploy/kustomize/render.py from the chart: change it by an overlay.\n"
CHECKSUM = "checksum/edge"
"""Only Helm keeps it true."""

Manifest = dict[str, Any]


class Written(yaml.SafeDumper):
    """YAML in which a text of several lines is one."""


def _text(to: yaml.SafeDumper, said: str) -> yaml.Node:
    return to.represent_scalar("tag:yaml.org,2002:str", said, style="|" if "\n" in said else None)


Written.add_representer(str, _text)


def values_of(*names: str) -> Manifest:
    """Return what value files say together: the tables of each, key by key."""
    found: Manifest = {}
    for name in names:
        for key, value in yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text()).items():
            found[key] = {**found.get(key, {}), **value}
    return found


def manifests(values: Manifest) -> dict[str, Manifest]:
    """Return the chart's manifests as kustomize has them, by file name."""
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="blocklist", namespace="blocklist")
    found = {}
    for one in (one for name, text in texts.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text)):
        if not one:
            continue
        within = [one["metadata"]]
        if "template" in one.get("spec", {}):
            within.append(one["spec"]["template"]["metadata"])
        for metadata in within:
            metadata["labels"].pop("helm.sh/chart", None)
            metadata["labels"]["app.kubernetes.io/managed-by"] = "kustomize"
            metadata.get("annotations", {}).pop(CHECKSUM, None)
            if not metadata.get("annotations", True):
                del metadata["annotations"]
        found[f"{one['kind'].lower()}-{one['metadata']['name']}.yaml"] = one
    return found


def steps(before: Any, after: Any, path: str = "") -> Iterator[Manifest]:
    """Yield the operations of RFC 6902 from one value to another."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() <= after.keys():
        for key, value in after.items():
            here = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in before:
                yield from steps(before[key], value, here)
            else:
                yield {"op": "add", "path": here, "value": value}
    elif isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=False)):
            yield from steps(old, new, f"{path}/{number}")
        yield from ({"op": "add", "path": f"{path}/-", "value": value} for value in after[len(before) :])
    elif before != after:
        yield {"op": "replace", "path": path, "value": after}


def write(folder: Path, files: dict[str, Any], kustomization: Manifest) -> None:
    """Write a folder of kustomize."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.yaml"):
        path.unlink()
    for name, content in {**files, "kustomization.yaml": kustomization}.items():
        (folder / name).write_text(HEAD + yaml.dump(content, Dumper=Written, sort_keys=False, width=120))


def main(words: list[str]) -> int:
    """Write the base and the component."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    out = parser.parse_args(words).out
    base, more = manifests(values_of("small")), manifests(values_of("small", "edge"))
    if base.keys() != more.keys():
        raise SystemExit("render: the edge has manifests of its own, which a component of patches cannot have")
    api = "kustomize.config.k8s.io"
    write(out / "base", base, {"apiVersion": f"{api}/v1beta1", "kind": "Kustomization", "resources": sorted(base)})
    changed = {name: found for name, one in base.items() if (found := list(steps(one, more[name])))}
    patches = [
        {"path": name, "target": {"kind": base[name]["kind"], "name": base[name]["metadata"]["name"]}}
        for name in sorted(changed)
    ]
    write(out / "edge", changed, {"apiVersion": f"{api}/v1alpha1", "kind": "Component", "patches": patches})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
