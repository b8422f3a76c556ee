"""Tries a list: fetches, verifies, compiles, tests and guards it as this host would, in a folder that is then removed.

Rules:
- It runs beside a service, or without one, and touches no state: the trial has state, audit log and receipts of its
  own, and nothing is delivered. Of the list's own state it reads a copy, by which the guard compares.
- It takes this host's keys if they can be read here, and makes none: a compile host's image is sealed with them, and
  only digests under one key can be compared. Else the trial has keys that go with it, no list of kind image can be
  tried, and shared names are not counted.
- Names are seen only by the processes that fetch and compile, as always. The folder holds a sealed image; it lies in
  memory where the system has such a folder. What lists share is counted by digests, and no more than the count leaves.
- Clients are not known here: entries in wide use are found only by the running service.
"""

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as replace_of
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from resolver.config.config import Config, Fleet, List
from resolver.core import image
from resolver.feed import activate, poll, state
from resolver.feed.enforced import Nothing
from resolver.feed.places import Places
from resolver.feed.processes import UpdateFailed
from resolver.feed.receipt import Proof
from resolver.feed.seal import Keys, KeyUnusable, load_keys
from resolver.feed.state import Record
from resolver.feed.store import StateUnreadable, Store
from resolver.process.limits import leave_no_dump
from resolver.service.in_force import InForce

IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of mode 0700 with a random name is made in it
_WRITTEN: Final = ("state.json", "floor.json")


@dataclass(frozen=True, slots=True)
class Tried:
    """What would come of a list here.

    record: None if it was refused, or if nothing new came. held: why it would be held. same: the serial that is in
    force or held here already, if the source has no other. shared: how many of its names each list in force here has
    too, in configured order, -1 if the image of that one cannot be used; None if the keys cannot be read here.
    complaint: what is wrong with a compile host's statements, though its list comes in force.
    """

    record: Record | None = None
    held: tuple[str, ...] = ()
    failed: UpdateFailed | None = None
    same: int = 0
    shared: dict[str, int] | None = None
    complaint: UpdateFailed | None = None


def try_list(config: Config, one: List) -> Tried:
    """Try a list of `config`; OSError if its own folder cannot be made, KeyUnusable if the host's keys are needed and
    cannot be read here."""
    leave_no_dump()
    try:
        keys = poll.keys_of(config, make=False)
    except KeyUnusable:
        if one.source.kind == "image":
            raise
        keys = None
    place = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="blocklist-try-", dir=place, ignore_cleanup_errors=True) as folder:
        _copy_state(one, Places(config.state.directory).list(one.id), Places(folder).list(one.id))
        apart = replace(config.state, directory=folder, keys="")
        # Without seeds and receipts of the lists: a trial plants nothing and sends nothing.
        lists = tuple(replace(each, source=replace(each.source, seed="", receipt="")) for each in config.lists)
        trial = replace(config, state=apart, fleet=Fleet(), lists=lists)
        tried = asyncio.run(_tried(trial, one.id, keys))
        if keys is None or tried.record is None or tried.record.withdrawn:
            return tried
        folder_of = Store(Places(folder).list(one.id)).folder
        try:
            view = activate.load(folder_of, tried.record, keys, list_id=one.id, demonstration=one.demonstration)
        except activate.ImageUnusable:
            return tried  # in force here already under its own image: nothing new was compiled
        return replace_of(tried, shared=dict(_shared(config, keys, view)))


def _shared(config: Config, keys: Keys, view: memoryview) -> Iterator[tuple[str, int]]:
    """Yield the id of each list in force here, and how many names of an image (a view of u64) it has too."""
    ours = image.digests(view, image.header(view).slots)
    for each in config.lists:
        try:
            found = poll.saved_state(config, each.id).in_force
            if found is None or state.is_lifted(found, each.limit, each.expire, time.time()):
                continue
            theirs = poll.saved_image(config, each.id, keys)
        except (OSError, StateUnreadable, activate.ImageUnusable):
            yield each.id, -1
            continue
        if theirs is not None:
            # The synthetic name, too, is a digest of each image, but a different one.
            yield each.id, sum(1 for low, high, _ in ours if image.find(theirs, low, high))


def _copy_state(one: List, source: Path, target: Path) -> None:
    """Copy what is written of the list, without its images; a state that cannot be read is that of a new list.

    The numbers of a compile host's statements only go forward: the newest one is copied too.
    """
    target.mkdir(parents=True, mode=0o700)
    for name in _WRITTEN:
        with suppress(OSError):
            shutil.copyfile(source / name, target / name)
    if one.source.kind == "image":
        with suppress(OSError, shutil.Error):
            shutil.copytree(source / "metadata", target / "metadata")


async def _tried(config: Config, list_id: str, of_host: Keys | None) -> Tried:
    # No copy of a zone is kept for a trial, whatever the host's own keys would allow.
    keys = load_keys(Path(config.state.directory)) if of_host is None else replace_of(of_host, apart=False)
    in_force = InForce(config, keys.digest, secrets.token_bytes(16), lambda _: None)
    hooks = activate.Hooks(
        judge=in_force.judge_of,
        put_in_force=lambda list_id, view, record: None,
        lift=lambda list_id: None,
        take_out=lambda list_id: None,
        prove=_proved,
        follow=lambda list_id, released: None,
        widely_asked=lambda share: (),
    )
    one = poll.Feed(config, keys, hooks)[list_id]
    one.journal.store.prepare()
    one.journal.read()
    before, held = one.state.in_force, one.state.held
    if held is not None:
        # Held here already: with other settings it may pass, so that it is compiled again.
        held = replace(held, record=replace(held.record, digest_key=""))
        one.journal.state = replace(one.state, held=held)
    complaint = None
    try:
        await one.update()
    except UpdateFailed as failed:
        # A compile host's image comes in force, also if its statements are no longer fresh.
        if one.list.source.kind != "image" or isinstance(one.enforced, Nothing):
            return Tried(failed=failed)
        complaint = failed
    after = one.state
    if after.held is not None and after.held != held:
        return Tried(after.held.record, after.held.reasons)
    if after.in_force is not None and after.in_force != before:
        same = before is not None and after.in_force.identity == before.identity
        return Tried(after.in_force, same=after.in_force.serial if same else 0, complaint=complaint)
    known = after.held.record if after.held is not None else after.in_force
    return Tried(same=known.serial if known is not None else 0)


async def _proved(list_id: str, view: memoryview) -> Proof:
    """Return that no socket was asked: there is none."""
    del list_id, view
    return Proof(sockets=0, questions=0, wrong=0, silent=0)


