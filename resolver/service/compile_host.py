"""`compile`: fetch each list once, test it and publish what is in force, on a compile host that serves no DNS.

Rules:
- Lists are handled as in a service, without sockets: the same guard, holds, self-test, state and audit log.
- It never runs beside a service on the same state: the service compiles and publishes by itself.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resolver.config.config import Config, ConfigError
from resolver.config.values import many
from resolver.control import client, requests
from resolver.feed import poll
from resolver.feed.facts import ListFacts
from resolver.feed.reasons import Reason, Whose
from resolver.feed.seal import KeyUnusable
from resolver.feed.update import ListUpdate
from resolver.process.limits import leave_no_dump
from resolver.service.enforcement import Enforcement
from resolver.service.in_force import InForce
from resolver.service.owner import Owner

_LOOK_S: Final = 5.0
"""Timeout for a service on this state to reply, in seconds."""


_RUNS: Final = "a service runs on this state: it compiles and publishes by itself; see `list status`"


class NotCompiled(Exception):
    """Nothing could be done; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Lines that describe the lists; whether one is held or was refused; whether something failed on this host."""

    lines: tuple[str, ...]
    refused: bool
    failed: bool


def compile_once(path: Path, config: Config) -> Compiled:
    """Fetch, test and publish every list of the configuration at `path` once; ConfigError, NotCompiled."""
    if not config.fleet.publish:
        raise ConfigError(str(path), "fleet.publish", "names no folder: nothing would be published")
    if config.control.socket:
        with contextlib.suppress(client.Unreachable):
            client.call(config.control, requests.Status(), timeout_s=_LOOK_S)
            raise NotCompiled(_RUNS)
    leave_no_dump()
    try:
        owner = Owner(config.state.directory)
        try:
            if not owner.take():
                raise NotCompiled(_RUNS)
            enforcement = _published(config)
        finally:
            owner.leave()
    except KeyUnusable as error:
        raise NotCompiled(str(error)) from None
    except OSError as error:
        raise NotCompiled(f"a folder of state or fleet cannot be used: {error.strerror}") from None
    lists = enforcement.facts()
    whose = {Reason(reason).whose for one in lists for reason in one.failures}
    return Compiled(
        tuple(line for one in lists for line in _said(one)),
        refused=bool(whose - {Whose.HOST}) or any(one.held for one in lists),
        failed=Whose.HOST in whose,
    )


def _published(config: Config) -> Enforcement:
    keys = poll.keys_of(config)
    in_force = InForce(config, keys.digest, secrets.token_bytes(16), lambda _: None)
    enforcement = Enforcement(config, keys, in_force, places=tuple, counters=())
    enforcement.recover()
    asyncio.run(_poll_all(enforcement))
    if enforcement.fleet is not None:
        enforcement.fleet.publish()
    enforcement.feed.outbox.deliver()
    return enforcement


async def _poll_all(enforcement: Enforcement) -> None:
    await asyncio.gather(*map(_poll, enforcement.feed))
    if enforcement.export is not None:
        await enforcement.export.say()


async def _poll(one: ListUpdate) -> None:
    """Poll a list, and again at its date if that is a few seconds ahead."""
    await one.poll()
    if one.early.again_at:
        await asyncio.sleep(max(0.0, one.early.again_at - time.time()))
        await one.poll()


def _said(one: ListFacts) -> Iterator[str]:
    if not one.has_list:
        yield f"{one.list_id}: no list is in force, nothing is published"
    elif one.lifted:
        yield f"{one.list_id}: serial {one.serial} is in force and blocks nothing (withdrawn, or past its hard limit)"
    else:
        yield f"{one.list_id}: serial {one.serial} in force and published, {many(one.entries, 'entry', 'entries')}"
    if one.held:
        yield f"  held: serial {one.held_serial} ({', '.join(one.held_for)})"
    if one.failures:
        yield f"  failed: {', '.join(sorted(one.failures))}; what is in force stays"
