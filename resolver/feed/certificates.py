"""When the certificates end by which lists are fetched: an end nobody saw coming is a feed that falls silent."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from resolver.config.config import Source


class End(NamedTuple):
    """When the first certificate of a source's file ends (unix seconds); key: `certificate` or `ca`, as configured."""

    key: str
    path: str
    at: int


def ends(source: Source) -> tuple[End, ...]:
    """When what a source is fetched by ends. A file that cannot be read is passed over: the fetch that needs it fails
    and says so."""
    named = (("certificate", source.certificate), ("ca", source.ca))
    found = ((key, path, _ends(Path(path))) for key, path in named if path)
    return tuple(End(key, path, min(at)) for key, path, at in found if at)


def first_end(sources: Iterable[Source]) -> int | None:
    """When the first of the sources' own certificates and authorities' files ends (unix seconds); None without any."""
    return min((end.at for source in sources for end in ends(source)), default=None)


def _ends(path: Path) -> list[int]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [int(one.not_valid_after_utc.timestamp()) for one in found]
