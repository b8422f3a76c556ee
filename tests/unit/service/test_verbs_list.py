"""The verbs about fetching and deciding over the control socket: what they take, and what they tell."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from resolver.feed import approve, decide
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.service import verbs_list
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.asyncio


class World:
    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.authority.publish(names(1000), 7)
        self.resolver = Enforcer(self.authority, folder / "state")
        self.resolver.feed.recover()
        self.desk = verbs_list.ListDesk(self.resolver.feed, folder / "signers", self.resolver.now)

    async def ask(self, verb: str, **asked: Any) -> Any:
        answer = self.desk.verbs()[verb]({"verb": verb, "uid": 1000, "list": "demo", **asked})
        return answer if isinstance(answer, dict) else await answer


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_fetch_tells_what_came_of_it(world: World) -> None:
    assert await world.ask("fetch") == {"outcome": "done", "found": "in_force", "serial": 7, "reasons": ()}
    assert (await world.ask("fetch"))["found"] == "nothing"
    world.authority.publish(names(2000), 8)
    assert await world.ask("fetch") == {"outcome": "done", "found": "held", "serial": 8, "reasons": ("growth",)}
    (world.authority.folder / "metadata/timestamp.json").unlink()
    answer = await world.ask("fetch")
    assert answer == {"outcome": "refused", "said": "refused: unreachable; serial 7 stays"}


async def test_a_fetch_that_lasts_goes_on(world: World) -> None:
    desk = verbs_list.ListDesk(world.resolver.feed, Path("/signers"), world.resolver.now, fetch_s=0.0)
    world.desk = desk
    answer = await world.ask("fetch")
    assert (answer["outcome"], "goes on" in answer["said"]) == ("failed", True)
    await asyncio.gather(*desk._polls)
    assert world.resolver.enforced == 7


@pytest.mark.parametrize(
    "asked",
    [
        {"list": "other"},
        {"list": ["demo"]},
        {"serial": "8"},
        {"serial": True, "signature": "x"},
        {"serial": 1.0, "signature": "x"},
        {"signature": None},
        {},
    ],
)
async def test_what_is_no_request_is_told_in_our_own_words(asked: dict[str, Any], world: World) -> None:
    answer = await world.ask("approve", **{"signature": 1, "serial": 1, **asked})
    assert answer["outcome"] == "failed"
    assert (await world.ask("fetch", list="other"))["outcome"] == "failed"


async def test_a_signature_that_is_no_text_is_none(world: World) -> None:
    await world.ask("fetch")
    world.authority.publish(names(2000), 8)
    await world.ask("fetch")
    answer = await world.ask("approve", serial=8, signature="\ud800")
    assert answer == {"outcome": "refused", "said": "not a signature of ssh-keygen -Y sign"}


async def test_what_became_of_a_signature(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[Any] = [
        decide.Decided(principal="anna", key="SHA256:a", missing=1, done=False),
        approve.Refused("signed by no key"),
        UpdateFailed(Reason.SELFTEST),
    ]

    async def decided(one: Any, signed: decide.Signed, *_: object) -> decide.Decided:
        assert (signed.serial, signed.signature, signed.uid) == (8, b"sig", 1000)
        found = outcomes.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(decide, "decide", decided)
    answer = await world.ask("rollback", serial=8, signature="sig")
    assert (answer["outcome"], answer["principal"], answer["missing"]) == ("done", "anna", 1)
    assert await world.ask("resume", serial=8, signature="sig") == {"outcome": "refused", "said": "signed by no key"}
    assert "selftest" in (await world.ask("approve", serial=8, signature="sig"))["said"]
