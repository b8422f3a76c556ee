"""Reads when the certificates of the sources expire: one that expires unnoticed silences its feed."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from resolver.config.config import Source


class End(NamedTuple):
    """When the earliest certificate in a source's file expires (unix seconds); key: `certificate` or `ca`."""

    key: str
    path: str
    at: int


def ends(source: Source) -> tuple[End, ...]:
    """Return when the certificates of a source expire.

    A file that cannot be read is skipped: the fetch that needs it fails, and reports it.
    """
    named = (("certificate", source.certificate), ("ca", source.ca))
    found = ((key, path, _ends(Path(path))) for key, path in named if path)
    return tuple(End(key, path, min(at)) for key, path, at in found if at)


def first_end(sources: Iterable[Source]) -> int | None:
    """Return when the first certificate of the sources expires (unix seconds); None if they have none."""
    return min((end.at for source in sources for end in ends(source)), default=None)


def _ends(path: Path) -> list[int]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [int(one.not_valid_after_utc.timestamp()) for one in found]
