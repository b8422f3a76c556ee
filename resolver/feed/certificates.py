"""When the certificates end by which lists are fetched: an end nobody saw coming is a feed that falls silent."""

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from resolver.config import Source


def first_end(sources: Iterable[Source]) -> int | None:
    """When the first of the sources' own certificates and authorities' files ends (unix seconds); None without any.

    A file that cannot be read is passed over: the fetch that needs it fails and says so.
    """
    paths = {path for source in sources for path in (source.certificate, source.ca) if path}
    ends = [end for path in paths for end in _ends(Path(path))]
    return min(ends, default=None)


def _ends(path: Path) -> list[int]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [int(one.not_valid_after_utc.timestamp()) for one in found]
