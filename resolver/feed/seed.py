"""Plants a seed: the first list of a host, before its source has one, as a compile host has published it.

Rules:
- A host takes a seed only if no list was ever in force: a seed is never a way back to an older list.
- The image must be sealed with this host's seal key, made with its digest key, and be the one that the manifest beside
  it names. For a source of kind `image`, the pinned key must have signed the manifest.
- The seed must be of this list, within its hard limit, not below `minimum_serial`, and no withdrawal.
- It is tested and put in force like any list, and is the floor from then on.
"""

import hashlib
from pathlib import Path

from resolver.feed import dropped, manifest, state
from resolver.feed.candidate import Candidate
from resolver.feed.manifest import MAX_IMAGE_BYTES, Manifest, ManifestBroken
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.seal import Keys
from resolver.feed.update import ListUpdate
from resolver.signed import statement


def plant(one: ListUpdate, keys: Keys, now: float) -> None:
    """Put the seed of a list in force; UpdateFailed or OSError if that fails."""
    source, path = one.list.source, Path(one.list.source.seed)
    try:
        data = dropped.read(path, statement.MAX_STATEMENT_BYTES, follow=True)
    except OSError:
        raise UpdateFailed(Reason.UNREACHABLE) from None
    said, pinned = _said(data, Path(source.root) if source.kind == "image" else None)
    record = manifest.record_of(said, pinned if source.kind == "image" else None)
    if said.custom.list != one.list.id or record.withdrawn:
        raise UpdateFailed(Reason.WRONG_LIST)
    if record.serial < source.minimum_serial:
        raise UpdateFailed(Reason.ROLLED_BACK)
    if now < record.issued:
        raise UpdateFailed(Reason.CLOCK_BEHIND)
    if now >= state.hard_limit_at(record, one.list.limit):
        raise UpdateFailed(Reason.EXPIRED)
    if record.digest_key != keys.digest_id:
        raise UpdateFailed(Reason.IMAGE_UNUSABLE)
    try:
        sealed = dropped.read(path.parent / f"{said.image}.image", MAX_IMAGE_BYTES, follow=True)
    except OSError:
        raise UpdateFailed(Reason.UNREACHABLE) from None
    if hashlib.sha256(sealed).hexdigest() != said.image:
        raise UpdateFailed(Reason.IMAGE_UNUSABLE)
    one.store.keep_image(sealed, record.image)
    one.shown.fresh_until = said.fresh_until
    one.activation.take_in(Candidate(record=record))


def _said(data: bytes, root: Path | None) -> tuple[Manifest, bytes]:
    """Return the manifest, and the raw key that has signed it: the key in `root` if there is one."""
    try:
        pinned = statement.claimed(data)[1] if root is None else statement.pinned_of(root.read_bytes())
        return manifest.read(data, pinned, Manifest), pinned
    except OSError:
        raise UpdateFailed(Reason.ROOT_UNUSABLE) from None
    except (ManifestBroken, statement.StatementBroken):
        raise UpdateFailed(Reason.TAMPERED) from None
