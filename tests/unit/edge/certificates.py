"""Certificates of an edge, in files: good ones and bad ones."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NAME = "dns.example.test"
NOW = datetime(2026, 11, 29, tzinfo=UTC)


class Secret:
    """A volume of a Secret as kubelet writes it: a folder for each version, the names are links through `..data`.

    A new version is there at once, by the rename of one link; the folder of the one before is gone right after.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0

    def write(self, **files: bytes) -> None:
        """Put a version in place; an underscore in a name stands for its dot."""
        self._version += 1
        data, before = self.folder / "..data", f"..{self._version - 1}"
        new = self.folder / f"..{self._version}"
        new.mkdir()
        for name, octets in files.items():
            path = new / name.replace("_", ".")
            path.write_bytes(octets)
            path.chmod(0o440)
            if not data.is_symlink():
                (self.folder / path.name).symlink_to(Path("..data", path.name))
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(data)
        if self._version > 1:
            shutil.rmtree(self.folder / before)


class Files:
    """certificate, key: paths. issue: writes a pair of this authority's."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self._written = 0

    def issue(self, *names: str, days: float = 90, begins: float = -1) -> None:
        """Replace both files, as a client of ACME does. days, begins: from NOW."""
        made = self.authority.issue_cert(
            *(names or (NAME,)), not_after=NOW + timedelta(days=days), not_before=NOW + timedelta(days=begins)
        )
        self._replace(self.certificate, b"".join(one.bytes() for one in made.cert_chain_pems))
        self._replace(self.key, made.private_key_pem.bytes())

    def issue_with(self, names: bytes) -> None:
        """Replace both files by a pair whose subject alternative names are these octets."""
        key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW - timedelta(1), NOW + timedelta(90))
            .add_extension(x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, names), critical=False)
            .sign(key, SHA256())
        )
        self._replace(self.certificate, made.public_bytes(Encoding.PEM))
        self._replace(self.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def spoil(self, path: Path, octets: bytes) -> None:
        """Replace one file."""
        self._replace(path, octets)

    def _replace(self, path: Path, octets: bytes) -> None:
        self._written += 1
        new = path.with_suffix(f".{self._written}")
        new.write_bytes(octets)
        new.chmod(0o600)
        new.replace(path)
