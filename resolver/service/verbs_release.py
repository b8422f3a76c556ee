"""The verbs of the control socket that release a wrongly blocked name.

Rules:
- A name comes in wire format and leaves only as the digest of its image: nothing repeats it. If names are exported, it
  goes to the export process at that moment, too.
- Only a name that a list in force blocks can be released; a line that is set aside blocks nothing.
- The kernel names the caller, who is kept with the release; a signature confirms it.
"""

from collections.abc import Callable
from pathlib import Path

from resolver.control import requests, server
from resolver.core.name import Name, unfold
from resolver.feed import approve
from resolver.feed.poll import Feed
from resolver.feed.release import Covered, NotReleased, Releases
from resolver.service.in_force import InForce, Listed


class ReleaseVerbs:
    """Carries out requests that concern releases.

    released: gets the number, the name and the end of each new release, if secondaries have to know it.
    """

    def __init__(
        self,
        releases: Releases,
        feed: Feed,
        in_force: InForce,
        approvers: Path,
        now: Callable[[], float],
        *,
        released: Callable[[int, bytes, int], None] | None = None,
    ) -> None:
        self._released = released
        self._approvers = approvers
        self._now = now
        self._releases = releases
        self._feed = feed
        self._in_force = in_force

    def verbs(self) -> server.Verbs:
        """Return each request with the method that carries it out."""
        return {
            requests.Release: self._release,
            requests.EndRelease: self._end,
            requests.ConfirmRelease: self._confirm,
        }

    def _release(self, request: requests.Release, uid: int) -> requests.Reply:
        # Lower-cased octet for octet: the length octet of a label is never a letter's.
        wire = bytes.fromhex(request.name).lower()
        if len(wire) < 2 or unfold(wire, 0, len(wire), Name()) != len(wire):
            return requests.Failed(said="not a domain name")
        covered = [self._covered(one) for one in self._in_force.listed(wire)]
        try:
            one = self._releases.add(wire, covered, uid=uid, reason=request.reason, for_s=request.for_s)
        except NotReleased as error:
            return requests.Refused(said=str(error))
        if self._released is not None:
            self._released(one.number, wire, one.until)
        return requests.ReleaseReply(release=one.to_json())

    def _end(self, request: requests.EndRelease, uid: int) -> requests.Reply:
        try:
            one = self._releases.end(request.number, f"by uid {uid}")
        except NotReleased as error:
            return requests.Refused(said=str(error))
        return requests.ReleaseReply(release=one.to_json())

    async def _confirm(self, request: requests.ConfirmRelease, _uid: int) -> requests.Reply:
        try:
            held = self._releases.of(request.number).statements(self._now())
            signer = await approve.signer_of(request.signature.encode(), held, self._approvers)
            one = self._releases.confirm(request.number, signer.principal, signer.key)
        except (approve.Refused, NotReleased) as error:
            return requests.Refused(said=str(error))
        return requests.ReleaseReply(release=one.to_json())

    def _covered(self, one: Listed) -> Covered:
        feed = self._feed[one.list_id]
        record = feed.state.in_force
        if record is None:
            return Covered(list=one.list_id, serial=0, digest="")
        line = feed.store.line(record, one.slot, one.slots)
        return Covered(list=one.list_id, serial=record.serial, digest=record.digest, line=line)
