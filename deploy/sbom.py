"""Write a bill of materials (CycloneDX 1.6, JSON) of what is shipped: of an environment of Python, or of an image.

    python deploy/sbom.py PREFIX --out FILE              # the environment in PREFIX, as the package has it
    python deploy/sbom.py PREFIX --part NAME RELEASE --out FILE    # a part of it that is a package of its own
    python deploy/sbom.py FOLDER --image --out FILE      # the root folder of an image, with Debian's packages

Rules:
- It is read from what lies in the folder, not from what was asked for. Each distribution of Python and each package of
  Debian is a component, with its release and its package URL; a distribution with its licence as it states it.
- Each program and shared object (a file that begins as ELF) is a component within its package, with its path and its
  SHA-256. One that no package lists ends this program: what is not known is not shipped.
- Bills that a distribution brings itself (PEP 770, of what is compiled into it) are named as external references.
- The same folder gives the same octets: SOURCE_DATE_EPOCH is the time, and the serial number follows from the rest.
"""

import argparse
import email.parser
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

OURS: Final = "blocklist-resolver"
SPACE: Final = UUID("8c5a8ff5-0a0c-5a55-9e8f-5d8f0d1c7a9e")
ELF: Final = b"\x7fELF"
DEBIAN: Final = "debian-13"
"""Of which the image is made (container/Containerfile)."""
RECORDS: Final = "var/lib/dpkg/status.d"
"""Where the image has Debian's records: a file for each package, and one of its files' names."""


class Package(NamedTuple):
    """A component, and the paths of its files, relative to the folder; a file that is a link stands there too."""

    component: Component
    files: set[str]


def objects(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path, relative to the folder, and the SHA-256 of each program and shared object, sorted."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(len(ELF)) == ELF:
                file.seek(0)
                yield path.relative_to(folder).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()


def of_python(folder: Path, where: str) -> Iterator[Package]:
    """Yield each distribution of Python in the packages' folders that the pattern `where` finds."""
    places = [str(one) for one in sorted(folder.glob(where))]
    for found in sorted(distributions(path=places), key=lambda one: one.metadata["Name"].lower()):
        files = {
            os.path.relpath(Path(str(found.locate_file(one))).resolve(), folder) for one in found.files or ()
        }
        yield Package(distribution(found, files, folder), files)


def distribution(found: Distribution, files: set[str], folder: Path) -> Component:
    """Return the component of a distribution of Python."""
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    stated = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    url = PackageURL("pypi", None, name, found.version)
    # A whole licence text in the field says no name; the file of it is in the distribution.
    licences = [LicenseFactory().make_from_string(stated)] if stated and "\n" not in stated else []
    return Component(
        type=ComponentType.APPLICATION if name == OURS else ComponentType.LIBRARY,
        name=name,
        version=found.version,
        bom_ref=url.to_string(),
        purl=url,
        licenses=licences,
        external_references=[
            ExternalReference(type=ExternalReferenceType.BOM, url=XsUri(one))
            for one in sorted(files)
            if Path(one).parent.name == "sboms" and (folder / one).is_file()
        ],
    )


def of_debian(folder: Path) -> Iterator[Package]:
    """Yield each package of Debian of which the image has files."""
    for path in sorted((folder / RECORDS).iterdir()):
        if path.suffix == ".md5sums":
            continue
        fields = email.parser.Parser().parsestr(path.read_text())
        name, version = fields["Package"], fields["Version"]
        url = PackageURL("deb", "debian", name, version, {"arch": fields["Architecture"], "distro": DEBIAN})
        component = Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=url,
            bom_ref=url.to_string(),
            properties=[Property(name=f"{OURS}:debian-source", value=fields.get("Source", name))],
        )
        sums = path.with_name(f"{path.name}.md5sums")
        listed = [line.split(None, 1)[1] for line in sums.read_text().splitlines()] if sums.exists() else []
        # A package may list a file below lib/ that a Debian of today has below usr/lib/.
        yield Package(component, {*listed, *(f"usr/{one}" for one in listed)})


def bill(
    folder: Path, packages: list[Package], kind: ComponentType, at: datetime, part: tuple[str, str] | None = None
) -> tuple[str, int]:
    """Return the bill as JSON, and how many objects it has; SystemExit if one of them is of no package.

    part: name and release of what has no distribution of ours in it.
    """
    owners = {file: one.component for one in packages for file in one.files}
    count, strangers = 0, []
    for place, digest in objects(folder):
        owner = owners.get(place)
        if owner is None:
            strangers.append(place)
            continue
        count += 1
        owner.components.add(
            Component(
                type=ComponentType.FILE,
                name=place,
                bom_ref=f"{owner.bom_ref.value}#{place}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            )
        )
    if strangers:
        raise SystemExit(f"no package lists {', '.join(strangers)}")
    parts = [one.component for one in packages]
    name, version = part or (OURS, next(one.version for one in parts if one.name == OURS))
    made = Bom(components=parts, serial_number=SPACE)
    made.metadata.timestamp = at
    made.metadata.component = Component(type=kind, name=name, version=version, bom_ref=f"{name}@{version}")
    made.register_dependency(made.metadata.component, parts)
    made.serial_number = uuid5(SPACE, JsonV1Dot6(made).output_as_string())
    return JsonV1Dot6(made).output_as_string(indent=1) + "\n", count


def main() -> int:
    """Write the bill, and say in one line what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="an environment of Python, or an image's root")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "RELEASE"), help="of a package without the service itself")
    parser.add_argument("--image", action="store_true", help="FOLDER is the root folder of an image")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    at = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    folder = asked.folder.resolve()
    within = "lib/python3.*/site-packages"
    if asked.image:
        packages, kind = [*of_debian(folder), *of_python(folder, f"opt/*/{within}")], ComponentType.CONTAINER
    else:
        packages, kind = [*of_python(folder, within)], ComponentType.APPLICATION
    text, count = bill(folder, packages, kind, at, asked.part)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text)
    print(f"{asked.out}: {count} programs and shared objects of {len(packages)} packages")  # noqa: T201 - for a terminal
    return 0


if __name__ == "__main__":
    sys.exit(main())
