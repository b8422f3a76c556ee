"""Writes the base of kustomize from the chart, with the values of deploy/helm/blocklist-resolver/ci/small.yaml.

    python deploy/kustomize/render.py [--out FOLDER]        (needs: pip install helm-python-sdk PyYAML)

Rules:
- One file a manifest, named KIND-NAME.yaml; any other YAML file in the folder is removed. Overlays change the base.
"""

import argparse
import sys
from pathlib import Path

import helm_python as helm  # type: ignore[import-not-found] # only where a base is written
import yaml

HERE = Path(__file__).resolve().parent
CHART = HERE.parent / "helm" / "blocklist-resolver"
HEAD = "# Written by deploy/kustomize/render.py from the chart: change it by an overlay.\n"


def main(words: list[str]) -> int:
    """Write the base."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "base")
    out = parser.parse_args(words).out
    values = yaml.safe_load((CHART / "ci" / "small.yaml").read_text())
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="blocklist", namespace="blocklist")
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("*.yaml"):
        path.unlink()
    names = []
    for text in texts.values():
        for one in yaml.safe_load_all(text):
            if not one:
                continue
            labels = [one["metadata"]["labels"]]
            if "template" in one.get("spec", {}):
                labels.append(one["spec"]["template"]["metadata"]["labels"])
            for found in labels:
                found.pop("helm.sh/chart", None)
                found["app.kubernetes.io/managed-by"] = "kustomize"
            names.append(f"{one['kind'].lower()}-{one['metadata']['name']}.yaml")
            (out / names[-1]).write_text(HEAD + yaml.safe_dump(one, sort_keys=False, width=120))
    base = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": sorted(names)}
    (out / "kustomization.yaml").write_text(HEAD + yaml.safe_dump(base, sort_keys=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
