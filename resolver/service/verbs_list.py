"""The desk for lists: what the control socket's verbs about fetching and deciding do in the service.

Rules:
- Who asks is told by the kernel and goes to the audit alone: what counts is a signature.
- A request is checked here; what is told back names lists, serials, persons and keys, never a name of a list.
- What has begun goes on to its end, also where whoever asked has gone: a poll may take longer than they wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from resolver.control import server
from resolver.feed import approve, decide
from resolver.feed.actions import Action
from resolver.feed.poll import Feed
from resolver.feed.processes import UpdateFailed
from resolver.feed.update import ListUpdate

FETCH_S: Final = 40.0
"""How long who asks waits for a poll to end: less than a verb may take."""
VERBS: Final = {
    "approve": Action.APPROVE,
    "approve-set-aside": Action.APPROVE_SET_ASIDE,
    "resume": Action.RESUME,
    "rollback": Action.ROLLBACK,
}


class ListDesk:
    """Answers requests about lists."""

    def __init__(self, feed: Feed, approvers: Path, now: Callable[[], float], *, fetch_s: float = FETCH_S) -> None:
        self._feed = feed
        self._approvers = approvers
        self._now = now
        self._fetch_s = fetch_s
        self._polls: set[asyncio.Task[None]] = set()

    def verbs(self) -> Mapping[str, server.Verb]:
        """Return what can be asked."""
        return {"fetch": self._fetch, **dict.fromkeys(VERBS, self._sign)}

    def _one(self, asked: server.Request) -> ListUpdate | None:
        return next((one for one in self._feed if one.list.id == asked.get("list")), None)

    def _fetch(self, asked: server.Request) -> server.Answer | Awaitable[server.Answer]:
        one = self._one(asked)
        return server.failed("no such list is configured") if one is None else self._polled(one)

    async def _polled(self, one: ListUpdate) -> server.Answer:
        before, failures = one.state, dict(one.failures.counts)
        task = asyncio.create_task(one.poll())
        self._polls.add(task)
        task.add_done_callback(self._polls.discard)
        done, _ = await asyncio.wait([task], timeout=self._fetch_s)
        if not done:
            return server.failed(f"not done within {self._fetch_s:g} s, and goes on: see list status")
        failed = sorted(reason for reason, count in one.failures.counts.items() if count > failures.get(reason, 0))
        record, held = one.state.in_force, one.state.held
        serial = record.serial if record else 0
        if failed:
            return {"outcome": server.REFUSED, "said": f"refused: {', '.join(failed)}; serial {serial} stays"}
        if held is not None:
            found = {"found": "held", "serial": held.record.serial, "reasons": held.reasons}
        elif record is not None and (before.in_force is None or record.identity != before.in_force.identity):
            found = {"found": "in_force", "serial": serial, "reasons": ()}
        else:
            found = {"found": "nothing", "serial": serial, "reasons": ()}
        return {"outcome": server.DONE, **found}

    def _sign(self, asked: server.Request) -> server.Answer | Awaitable[server.Answer]:
        one, serial, signature = self._one(asked), asked.get("serial"), asked.get("signature")
        if one is None:
            return server.failed("no such list is configured")
        if type(serial) is not int or not isinstance(signature, str):
            return server.failed("not a serial and a signature")
        signed = decide.Signed(
            action=VERBS[asked["verb"]], serial=serial, signature=signature.encode(errors="replace"), uid=asked["uid"]
        )
        return self._decided(one, signed)

    async def _decided(self, one: ListUpdate, signed: decide.Signed) -> server.Answer:
        try:
            found = await decide.decide(one, signed, self._approvers, self._now)
        except approve.Refused as refused:
            return {"outcome": server.REFUSED, "said": str(refused)}
        except UpdateFailed as failed:
            return server.failed(f"the signature counts; the list could not be put in force: {failed.reason.value}")
        record = one.state.in_force
        return {
            "outcome": server.DONE,
            "principal": found.principal,
            "key": found.key,
            "missing": found.missing,
            "carried_out": found.done,
            "confirmed": found.confirmed,
            "in_force": record.serial if record else None,
        }
