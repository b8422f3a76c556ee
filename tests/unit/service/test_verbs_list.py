"""The verbs about fetching and deciding over the control socket: what they take, and what they tell."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resolver.control import requests
from resolver.feed import approve, decide
from resolver.feed.actions import Action
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.service.verbs_list import ListVerbs
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer
from tests.unit.query.parts import until

pytestmark = pytest.mark.asyncio


class World:
    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.authority.publish(names(1000), 7)
        self.resolver = Enforcer(self.authority, folder / "state")
        self.resolver.feed.recover()
        self.verbs = ListVerbs(self.resolver.feed, folder / "signers", self.resolver.now)

    async def ask(self, request: requests.Request[Any]) -> Any:
        reply = self.verbs.verbs()[type(request)](request, 1000)
        return reply if isinstance(reply, requests.Reply) else await reply

    async def fetch(self) -> Any:
        return await self.ask(requests.Fetch(list="demo"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_fetch_tells_its_result(world: World) -> None:
    assert await world.fetch() == requests.FetchReply(found="in_force", serial=7, reasons=())
    assert (await world.fetch()).found == "nothing"
    world.authority.publish(names(2000), 8)
    assert await world.fetch() == requests.FetchReply(found="held", serial=8, reasons=("growth",))
    (world.authority.folder / "metadata/timestamp.json").unlink()
    missing = f"unreachable: {world.authority.folder}/metadata/timestamp.json does not exist"
    assert await world.fetch() == requests.Refused(said=f"refused: {missing}; serial 7 stays")


async def test_an_explained_fetch_walks_each_step(world: World) -> None:
    folder = f"{world.authority.folder}/metadata"
    reply = await world.ask(requests.Explain(list="demo"))
    assert reply.fetched == requests.FetchReply(found="in_force", serial=7, reasons=())
    said = [step for step, seconds in reply.steps if seconds >= 0]
    assert any(step.startswith(f"reading {folder}/timestamp.json: ") and step.endswith(" octets") for step in said)
    assert any(step.startswith(f"verifying {folder}/timestamp.json: version ") for step in said)
    assert any(step.startswith("compiling the list: ") for step in said)
    assert said[-1] == "guard, self-test, putting it in force"
    (world.authority.folder / "metadata/timestamp.json").unlink()
    reply = await world.ask(requests.Explain(list="demo"))
    assert reply.refused == f"refused: unreachable: {folder}/timestamp.json does not exist; serial 7 stays"
    assert reply.steps[-1][0] == f"reading {folder}/timestamp.json"
    assert reply.do.startswith("try the same from this host")
    assert await world.ask(requests.Explain(list="other")) == requests.Failed(said="no such list is configured")
    assert "name0" not in str(reply)


async def test_an_explained_fetch_that_lasts_shows_its_steps_so_far(world: World) -> None:
    world.verbs = ListVerbs(world.resolver.feed, Path("/signers"), world.resolver.now, fetch_s=0.0)
    reply = await world.ask(requests.Explain(list="demo"))
    assert "goes on" in reply.refused
    assert "last step" in reply.do
    await until(lambda: world.resolver.enforced == 7)


async def test_a_fetch_that_lasts_goes_on(world: World) -> None:
    world.verbs = ListVerbs(world.resolver.feed, Path("/signers"), world.resolver.now, fetch_s=0.0)
    reply = await world.fetch()
    assert isinstance(reply, requests.Failed)
    assert "goes on" in reply.said
    await until(lambda: world.resolver.enforced == 7)


async def test_a_list_that_is_not_configured(world: World) -> None:
    failed = requests.Failed(said="no such list is configured")
    assert await world.ask(requests.Fetch(list="other")) == failed
    assert await world.ask(requests.Approve(list="other", serial=8, signature="sig")) == failed


async def test_a_signature_that_is_none(world: World) -> None:
    await world.fetch()
    world.authority.publish(names(2000), 8)
    await world.fetch()
    reply = await world.ask(requests.Approve(list="demo", serial=8, signature="sig"))
    assert reply == requests.Refused(said="not a signature of ssh-keygen -Y sign")


async def test_a_signature_under_a_standing_approval(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = requests.Stand(list="demo", signature="sig", until=1_800_003_600, growth_to=5000, refused_to=9)
    asked: list[decide.SignedTerms] = []

    async def stand(one: Any, signed: decide.SignedTerms, *_: object) -> decide.Decided:
        asked.append(signed)
        return decide.Decided(principal="anna", key="SHA256:a", missing=0, done=True, number=3)

    with monkeypatch.context() as patch:
        patch.setattr(decide, "stand", stand)
        assert await world.ask(request) == requests.DecideReply(
            principal="anna", key="SHA256:a", missing=0, carried_out=True, confirmed=False, in_force=None, number=3
        )
    assert asked == [
        decide.SignedTerms(growth_to=5000, refused_to=9, until=1_800_003_600, signature=b"sig", uid=1000)
    ]
    assert await world.ask(replace(request, list="other")) == requests.Failed(said="no such list is configured")
    assert "no list is in force" in (await world.ask(request)).said


async def test_what_became_of_a_signature(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    actions: list[Action] = []
    outcomes: list[Any] = [
        decide.Decided(principal="anna", key="SHA256:a", missing=1, done=False),
        approve.Refused("signed by no key"),
        UpdateFailed(Reason.SELFTEST),
    ]

    async def decided(one: Any, signed: decide.Signed, *_: object) -> decide.Decided:
        assert (signed.serial, signed.signature, signed.uid) == (8, b"sig", 1000)
        actions.append(signed.action)
        found = outcomes.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(decide, "decide", decided)
    signed = {"list": "demo", "serial": 8, "signature": "sig"}
    assert await world.ask(requests.Rollback(**signed)) == requests.DecideReply(
        principal="anna", key="SHA256:a", missing=1, carried_out=False, confirmed=False, in_force=None
    )
    assert await world.ask(requests.Resume(**signed)) == requests.Refused(said="signed by no key")
    failed = await world.ask(requests.Approve(**signed))
    assert isinstance(failed, requests.Failed)
    assert "selftest" in failed.said
    assert actions == [Action.ROLLBACK, Action.RESUME, Action.APPROVE]
