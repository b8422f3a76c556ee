"""Reads the released names from the state folder, for commands that run without the service.

Rules:
- The result is what the service enforces: releases of this host and of the lists' compile hosts, each until its end.
- An image that is not sealed with our keys is skipped, as in the service.
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
    """A released name: number of the release, its end (unix seconds), view of its image."""

    number: int
    until: int
    view: memoryview


def of_host(folder: Path, keys: Keys, now: float) -> Iterator[Free]:
    """Yield the names released on this host; release.ReleasesUnreadable or OSError if `folder` cannot be read."""
    for one in release.read(folder).releases:
        if now < one.until:
            with suppress(SealBroken, image.ImageMalformed, FileNotFoundError):
                sealed = (folder / f"{one.number}.image").read_bytes()
                yield Free(one.number, one.until, release.opened(one, sealed, keys))


def of_compile_hosts(lists: Iterable[tuple[List, Store]], keys: Keys, now: float) -> Iterator[Free]:
    """Yield the names released by the compile hosts of these lists."""
    for one, store in lists:
        if one.source.kind == "image":
            said = manifest.released(store.metadata, Path(one.source.root), keys.digest_id) or ()
            for number, until, sealed in said:
                if now < until:
                    with suppress(SealBroken, image.ImageMalformed):
                        yield Free(number, until, image.view(unseal(sealed, keys.seal)))
