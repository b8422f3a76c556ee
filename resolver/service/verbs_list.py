"""The verbs of the control socket that fetch a list and decide about it.

Rules:
- The kernel names the caller, and only the audit log has it: what counts is a signature.
- Replies name lists, serials, persons and keys, never a name of a list.
- A poll or a decision that has begun goes on to its end, even if the caller has gone: it may take longer than a caller
  waits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from resolver.control import requests, server
from resolver.feed import approve, decide
from resolver.feed.details import Detail, no_step
from resolver.feed.poll import Feed
from resolver.feed.processes import UpdateFailed
from resolver.feed.state import taken_out
from resolver.feed.update import ListUpdate
from resolver.service.explain import Walk, what_to_do

FETCH_S: Final = 40.0
"""Timeout for a poll, in seconds: less than that of a verb."""
_NO_LIST: Final = requests.Failed(said="no such list is configured")


class ListVerbs:
    """Carries out requests that concern one list."""

    def __init__(self, feed: Feed, approvers: Path, now: Callable[[], float], *, fetch_s: float = FETCH_S) -> None:
        self._feed = feed
        self._approvers = approvers
        self._now = now
        self._fetch_s = fetch_s
        self._polls: set[asyncio.Task[None]] = set()

    def verbs(self) -> server.Verbs:
        """Return each request with the method that carries it out."""
        return {
            requests.Fetch: self._fetch,
            requests.Explain: self._explain,
            requests.Stand: self._stand,
            **dict.fromkeys(requests.DECISIONS.values(), self._decide),
        }

    def _list(self, list_id: str) -> ListUpdate | None:
        return next((one for one in self._feed if one.list.id == list_id), None)

    def _fetch(self, request: requests.Fetch, _uid: int) -> requests.Reply | Awaitable[requests.Reply]:
        one = self._list(request.list)
        return _NO_LIST if one is None else self._polled(one)

    def _explain(self, request: requests.Explain, _uid: int) -> requests.Reply | Awaitable[requests.Reply]:
        one = self._list(request.list)
        return _NO_LIST if one is None else self._explained(one)

    async def _explained(self, one: ListUpdate) -> requests.Reply:
        walk = Walk(one.list)
        reply = await self._polled(one, walk.step)
        steps = walk.steps()
        if isinstance(reply, requests.FetchReply):
            return requests.ExplainReply(steps=steps, fetched=reply)
        if isinstance(reply, requests.Refused):
            return requests.ExplainReply(steps=steps, refused=reply.said, do=what_to_do(one.failures.last[0]))
        said = reply.said if isinstance(reply, requests.Failed) else ""
        return requests.ExplainReply(steps=steps, refused=said, do="look at the last step; it goes on")

    async def _polled(self, one: ListUpdate, step: Callable[[Detail], None] = no_step) -> requests.Reply:
        before = one.state
        task = asyncio.create_task(one.poll(step))
        self._polls.add(task)
        task.add_done_callback(self._polls.discard)
        done, _ = await asyncio.wait([task], timeout=self._fetch_s)
        if not done:
            return requests.Failed(said=f"not done within {self._fetch_s:g} s; the poll goes on, see: list status")
        record, held = one.state.in_force, one.state.held
        serial = record.serial if record else 0
        if one.failures.last:
            return requests.Refused(said=f"refused: {'; '.join(dict.fromkeys(one.failures.last))}; {one.kept}")
        if held is not None:
            return requests.FetchReply(
                found="held", serial=held.record.serial, reasons=held.reasons, passed_over=one.shown.passed_over
            )
        new = record is not None and (before.in_force is None or record.identity != before.in_force.identity)
        out = taken_out(one.state)
        return requests.FetchReply(
            found="in_force" if new else "nothing",
            serial=serial,
            reasons=(),
            taken_out=out[0] if out else 0,
            passed_over=one.shown.passed_over,
            again_at=one.early.again_at,
        )

    def _decide(self, request: requests.Decide, uid: int) -> requests.Reply | Awaitable[requests.Reply]:
        one = self._list(request.list)
        if one is None:
            return _NO_LIST
        signature = request.signature.encode()
        signed = decide.Signed(action=request.action, serial=request.serial, signature=signature, uid=uid)
        return self._decided(one, decide.decide(one, signed, self._approvers, self._now))

    def _stand(self, request: requests.Stand, uid: int) -> requests.Reply | Awaitable[requests.Reply]:
        one = self._list(request.list)
        if one is None:
            return _NO_LIST
        signed = decide.SignedTerms(
            growth_to=request.growth_to,
            refused_to=request.refused_to,
            until=request.until,
            signature=request.signature.encode(),
            uid=uid,
        )
        return self._decided(one, decide.stand(one, signed, self._approvers, self._now))

    async def _decided(self, one: ListUpdate, work: Awaitable[decide.Decided]) -> requests.Reply:
        try:
            found = await work
        except approve.Refused as refused:
            return requests.Refused(said=str(refused))
        except UpdateFailed as failed:
            why = f"the signature counts; the list could not be put in force: {failed.reason.value}"
            return requests.Failed(said=why)
        record = one.state.in_force
        return requests.DecideReply(
            principal=found.principal,
            key=found.key,
            missing=found.missing,
            carried_out=found.done,
            confirmed=found.confirmed,
            number=found.number,
            in_force=record.serial if record else None,
        )
