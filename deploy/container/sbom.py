"""Writes the bill of materials (CycloneDX 1.6, JSON) of an image's root folder.

    python deploy/container/sbom.py FOLDER --out FILE

Rules:
- It is read from what lies in the folder, not from what was asked for: Debian's records (var/lib/dpkg/status.d), the
  metadata of each Python distribution, and every file that begins as an ELF object, with its SHA-256.
- The same folder gives the same octets: the serial number is made of the components, the date is SOURCE_DATE_EPOCH.
"""

import argparse
import email.parser
import hashlib
import os
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

NAME = "blocklist-resolver"
ELF = b"\x7fELF"
DEBIAN = "debian-13"


def debian_packages(root: Path) -> Iterator[Component]:
    """Yield a component for each Debian package of which the folder has files."""
    for path in sorted((root / "var/lib/dpkg/status.d").iterdir()):
        if path.suffix == ".md5sums":
            continue
        fields = email.parser.Parser().parsestr(path.read_text())
        name, version = fields["Package"], fields["Version"]
        source = fields.get("Source", name)
        url = PackageURL("deb", "debian", name, version, {"arch": fields["Architecture"], "distro": DEBIAN})
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=url,
            bom_ref=url.to_string(),
            properties=[Property(name=f"{NAME}:debian-source", value=source)],
        )


def python_packages(root: Path) -> Iterator[tuple[Component, set[str]]]:
    """Yield each Python distribution with the paths of its files, relative to the folder."""
    folders = sorted(root.glob("opt/*/lib/python3.*/site-packages"))
    found: list[Distribution] = sorted(
        distributions(path=[str(one) for one in folders]), key=lambda one: str(one.metadata["Name"]).lower()
    )
    for one in found:
        name = str(one.metadata["Name"])
        url = PackageURL("pypi", None, name.lower().replace("_", "-"), one.version)
        files = {os.path.relpath(Path(str(file.locate())).resolve(), root.resolve()) for file in one.files or ()}
        component = Component(
            type=ComponentType.APPLICATION if name == NAME else ComponentType.LIBRARY,
            name=name,
            version=one.version,
            purl=url,
            bom_ref=url.to_string(),
        )
        yield component, files


def objects(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the path, relative to the folder, and the SHA-256 of each program and shared object."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(len(ELF)) == ELF:
                file.seek(0)
                yield str(path.relative_to(root)), hashlib.file_digest(file, "sha256").hexdigest()


def owners(root: Path) -> dict[str, str]:
    """Return the Debian package of each path."""
    found = {}
    for path in sorted((root / "var/lib/dpkg/status.d").glob("*.md5sums")):
        for line in path.read_text().splitlines():
            place = line.split(None, 1)[1]
            found[place] = found["usr/" + place] = path.stem
    return found


def bill_of(root: Path) -> Bom:
    """Return the bill of materials of a root folder."""
    debian = list(debian_packages(root))
    python = list(python_packages(root))
    of_debian = owners(root)
    of_python = {place: component.name for component, files in python for place in files}
    files = [
        Component(
            type=ComponentType.FILE,
            name=f"/{place}",
            bom_ref=f"file:/{place}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            properties=[Property(name=f"{NAME}:package", value=of_python.get(place) or of_debian[place])],
        )
        for place, digest in objects(root)
    ]
    version = next(component.version for component, _ in python if component.name == NAME)
    image = Component(type=ComponentType.CONTAINER, name=NAME, version=version, bom_ref=f"image:{NAME}@{version}")
    components = [*debian, *(component for component, _ in python), *files]
    said = "\n".join(f"{one.bom_ref.value} {[h.content for h in one.hashes]}" for one in components)
    bill = Bom(components=components, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, said))
    bill.metadata.timestamp = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    bill.metadata.component = image
    bill.register_dependency(image, components)
    return bill


def main(words: list[str]) -> int:
    """Write the bill of materials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    typed = parser.parse_args(words)
    text = make_outputter(bill_of(typed.folder), OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    typed.out.parent.mkdir(parents=True, exist_ok=True)
    typed.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
