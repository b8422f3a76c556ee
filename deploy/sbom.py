"""Write the bill of materials of an environment of Python, as CycloneDX 1.6: `python deploy/sbom.py PREFIX --out FILE`.

Rules:
- Each distribution is a component, with its release, its licence as it states it, and its package URL; each shared
  object below PREFIX is a component within its distribution, with its path and its SHA-256.
- A shared object that no distribution lists ends this program: what is not known is not shipped.
- Bills that a distribution brings itself (PEP 770, of what is compiled into it) are named as external references.
- The same environment gives the same octets: SOURCE_DATE_EPOCH is the time, and the serial number follows from the
  rest.
"""

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

OURS: Final = "blocklist-resolver"
SPACE: Final = UUID("8c5a8ff5-0a0c-5a55-9e8f-5d8f0d1c7a9e")
SHARED_OBJECT: Final = re.compile(r"\.so(\.\d+)*$")


def shared_objects(prefix: Path) -> list[Path]:
    """Return each shared object below `prefix` that is a file, sorted."""
    named = (one for one in prefix.rglob("*") if SHARED_OBJECT.search(one.name))
    return sorted(one for one in named if one.is_file() and not one.is_symlink())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listed(found: Distribution) -> Iterator[Path]:
    """Yield the files that a distribution lists, as absolute paths."""
    for one in found.files or ():
        yield Path(str(found.locate_file(one))).resolve()


def component(found: Distribution, objects: Sequence[Path], prefix: Path) -> Component:
    """Return the component of a distribution, with those of its shared objects."""
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    stated = found.metadata["License-Expression"] or found.metadata["License"] or ""
    url = PackageURL("pypi", None, name, found.version)
    # A whole licence text in the field says no name; the file of it is in the distribution.
    licences = [LicenseFactory().make_from_string(stated)] if stated and "\n" not in stated else []
    bills = [
        ExternalReference(type=ExternalReferenceType.BOM, url=XsUri(path.relative_to(prefix).as_posix()))
        for path in sorted(listed(found))
        if path.parent.name == "sboms" and path.is_file()
    ]
    return Component(
        type=ComponentType.APPLICATION if name == OURS else ComponentType.LIBRARY,
        name=name,
        version=found.version,
        bom_ref=url.to_string(),
        purl=url,
        licenses=licences,
        external_references=bills,
        components=[
            Component(
                type=ComponentType.FILE,
                name=path.relative_to(prefix).as_posix(),
                bom_ref=f"{url.to_string()}#{path.relative_to(prefix).as_posix()}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest(path))],
            )
            for path in objects
        ],
    )


def bill(prefix: Path, version: str, at: datetime) -> str:
    """Return the bill of the environment in `prefix`, as JSON; SystemExit if it has an object of no distribution."""
    prefix = prefix.resolve()
    packages = [str(one) for one in sorted(prefix.glob("lib/python3.*/site-packages"))]
    found = sorted(distributions(path=packages), key=lambda one: one.metadata["Name"].lower())
    objects = shared_objects(prefix)
    parts, known = [], set()
    for one in found:
        files = set(listed(one))
        own = [path for path in objects if path in files]
        known.update(own)
        parts.append(component(one, own, prefix))
    if strangers := [str(path) for path in objects if path not in known]:
        raise SystemExit(f"no distribution lists {', '.join(strangers)}")
    made = Bom(components=parts, serial_number=SPACE)
    made.metadata.timestamp = at
    made.metadata.component = Component(
        type=ComponentType.APPLICATION, name=OURS, version=version, bom_ref=f"{OURS}@{version}"
    )
    made.register_dependency(made.metadata.component, parts)
    made.serial_number = uuid5(SPACE, JsonV1Dot6(made).output_as_string())
    return JsonV1Dot6(made).output_as_string(indent=1) + "\n"


def main() -> int:
    """Write the bill, and say in one line what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("prefix", type=Path, metavar="PREFIX", help="the environment of Python")
    parser.add_argument("--version", required=True, help="the release of blocklist-resolver in it")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    at = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    asked.out.write_text(bill(asked.prefix, asked.version, at))
    print(f"{asked.out}: {len(shared_objects(asked.prefix))} shared objects")  # noqa: T201 - it speaks to a terminal
    return 0


if __name__ == "__main__":
    sys.exit(main())
