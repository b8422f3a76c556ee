"""What is released on this host, read from what is written: for whoever looks without the service.

Rules:
- It is what the service enforces: the releases of this host, and those that a list's compile host says, each until its
  own end.
- What is not sealed with our keys is passed over, as the service does.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resolver.config.config import List
from resolver.core import image
from resolver.feed import manifest, release
from resolver.feed.seal import Keys, SealBroken, unseal
from resolver.feed.store import Store


@dataclass(frozen=True, slots=True)
class Free:
    """One name that is released: the number of the release, when it ends (unix seconds), the view of its image."""

    number: int
    until: int
    view: memoryview


def of_host(folder: Path, keys: Keys, now: float) -> Iterator[Free]:
    """What this host has released; release.ReleasesUnreadable and OSError where `folder` cannot be read."""
    for one in release.read(folder).releases:
        if now < one.until:
            with suppress(SealBroken, image.ImageMalformed, FileNotFoundError):
                sealed = (folder / f"{one.number}.image").read_bytes()
                yield Free(one.number, one.until, release.opened(one, sealed, keys))


def of_compile_hosts(lists: Iterable[tuple[List, Store]], keys: Keys, now: float) -> Iterator[Free]:
    """What the hosts have released that compile these lists."""
    for one, store in lists:
        if one.source.kind == "image":
            said = manifest.released(store.metadata, Path(one.source.root), keys.digest_id) or ()
            for number, until, sealed in said:
                if now < until:
                    with suppress(SealBroken, image.ImageMalformed):
                        yield Free(number, until, image.view(unseal(sealed, keys.seal)))
