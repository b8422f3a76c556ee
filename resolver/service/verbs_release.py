"""The desk for releases: what the control socket's verbs about a wrongful block do in the service.

Rules:
- A name comes as octets in hexadecimal and leaves for the digest of its image only: nothing repeats it.
- What is released is what a list in force blocks; a line that is only set aside blocks nothing.
- Who asks is told by the kernel, and kept with the release; what confirms one is a signature.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from resolver.control import server
from resolver.core.name import Name, unfold
from resolver.feed import approve
from resolver.feed.poll import Feed
from resolver.feed.release import Covered, NotReleased, Releases
from resolver.service.in_force import InForce, Listed

MAX_NAME_OCTETS = 255


class ReleaseDesk:
    """Answers requests about releases."""

    def __init__(
        self, releases: Releases, feed: Feed, in_force: InForce, approvers: Path, now: Callable[[], float]
    ) -> None:
        self._approvers = approvers
        self._now = now
        self._releases = releases
        self._feed = feed
        self._in_force = in_force

    def verbs(self) -> Mapping[str, server.Verb]:
        """Return what can be asked."""
        return {"release": self._release, "end-release": self._end, "confirm-release": self._confirm}

    def _release(self, asked: server.Request) -> server.Answer:
        wire = _name_of(asked.get("name"))
        reason, for_s = asked.get("reason"), asked.get("for_s")
        if not wire or not isinstance(reason, str) or not isinstance(for_s, int | float):
            return server.failed("not a domain name")
        covered = [self._covered(one) for one in self._in_force.listed(wire)]
        try:
            one = self._releases.add(wire, covered, uid=asked["uid"], reason=reason, for_s=for_s)
        except NotReleased as error:
            return {"outcome": server.REFUSED, "said": str(error)}
        return {"outcome": server.DONE, "release": one.told()}

    def _end(self, asked: server.Request) -> server.Answer:
        number = asked.get("number")
        if type(number) is not int:
            return server.failed("not a release's number")
        try:
            one = self._releases.end(number, f"by uid {asked['uid']}")
        except NotReleased as error:
            return {"outcome": server.REFUSED, "said": str(error)}
        return {"outcome": server.DONE, "release": one.told()}

    async def _confirm(self, asked: server.Request) -> server.Answer:
        number, signature = asked.get("number"), asked.get("signature")
        if type(number) is not int or not isinstance(signature, str):
            return server.failed("not a release's number and a signature")
        try:
            held = self._releases.of(number).statements(self._now())
            signer = await approve.signer_of(signature.encode(errors="replace"), held, self._approvers)
            one = self._releases.confirm(number, signer.principal, signer.key)
        except (approve.Refused, NotReleased) as error:
            return {"outcome": server.REFUSED, "said": str(error)}
        return {"outcome": server.DONE, "release": one.told()}

    def _covered(self, one: Listed) -> Covered:
        feed = self._feed[one.list_id]
        record = feed.state.in_force
        if record is None:
            return Covered(list=one.list_id, serial=0, digest="")
        line = feed.store.line(record, one.slot, one.slots)
        return Covered(list=one.list_id, serial=record.serial, digest=record.digest, line=line)


def _name_of(text: object) -> bytes | None:
    """Return the lower-cased name in wire format that `text` writes in hexadecimal; None where it is none."""
    if not isinstance(text, str) or len(text) > 2 * MAX_NAME_OCTETS:
        return None
    try:
        wire = bytes.fromhex(text)
    except ValueError:
        return None
    # No length octet of a label is a letter's.
    return wire.lower() if len(wire) > 1 and unfold(wire, 0, len(wire), Name()) == len(wire) else None
