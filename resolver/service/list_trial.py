"""Tries a list: fetches, verifies, compiles, tests and guards it as this host would, in a folder that is then removed.

Rules:
- It runs beside a service, or without one, and touches no state: the trial has keys, state, audit log and receipts of
  its own, and nothing is delivered. Of the list's own state it reads a copy, by which the guard compares.
- Names are seen only by the processes that fetch and compile, as always. The folder holds a sealed image under keys
  that go with it; it lies in memory where the system has such a folder.
- Clients are not known here: entries in wide use are found only by the running service.
"""

import asyncio
import secrets
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from resolver.config.config import Config, Fleet, List
from resolver.feed import activate, poll, sandbox
from resolver.feed.places import Places
from resolver.feed.processes import UpdateFailed
from resolver.feed.receipt import Proof
from resolver.feed.seal import load_keys
from resolver.feed.state import Record
from resolver.service.in_force import InForce

IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of mode 0700 with a random name is made in it
_WRITTEN: Final = ("state.json", "floor.json")


@dataclass(frozen=True, slots=True)
class Tried:
    """What would come of a list here.

    record: None if it was refused, or if nothing new came. held: why it would be held. same: the serial that is in
    force or held here already, if the source has no other.
    """

    record: Record | None = None
    held: tuple[str, ...] = ()
    failed: UpdateFailed | None = None
    same: int = 0


def try_list(config: Config, one: List) -> Tried:
    """Try a list of `config`; OSError if its own folder cannot be made."""
    sandbox.leave_no_dump()
    place = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="blocklist-try-", dir=place, ignore_cleanup_errors=True) as folder:
        _copy_state(Places(config.state.directory).list(one.id), Places(folder).list(one.id))
        apart = replace(config.state, directory=folder, keys="")
        # Without seeds and receipts of the lists: a trial plants nothing and sends nothing.
        lists = tuple(replace(each, source=replace(each.source, seed="", receipt="")) for each in config.lists)
        return asyncio.run(_tried(replace(config, state=apart, fleet=Fleet(), lists=lists), one.id))


def _copy_state(source: Path, target: Path) -> None:
    """Copy what is written of the list, without its images; a state that cannot be read is that of a new list."""
    target.mkdir(parents=True, mode=0o700)
    for name in _WRITTEN:
        with suppress(OSError):
            shutil.copyfile(source / name, target / name)


async def _tried(config: Config, list_id: str) -> Tried:
    keys = load_keys(Path(config.state.directory))
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
    try:
        await one.update()
    except UpdateFailed as failed:
        return Tried(failed=failed)
    after = one.state
    if after.held is not None and after.held != held:
        return Tried(after.held.record, after.held.reasons)
    if after.in_force is not None and after.in_force != before:
        same = before is not None and after.in_force.identity == before.identity
        return Tried(after.in_force, same=after.in_force.serial if same else 0)
    known = after.held.record if after.held is not None else after.in_force
    return Tried(same=known.serial if known is not None else 0)


async def _proved(list_id: str, view: memoryview) -> Proof:
    """Return that no socket was asked: there is none."""
    del list_id, view
    return Proof(sockets=0, questions=0, wrong=0, silent=0)


