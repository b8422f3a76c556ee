"""The verbs about a wrongful block over the control socket: what is released is listed, and nothing repeats a name."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resolver.control import requests
from resolver.core import codes, entries, image
from resolver.feed import approve, audit
from resolver.feed.release import Releases
from resolver.feed.seal import Keys
from resolver.feed.store import Store
from resolver.service.verbs_release import ReleaseVerbs
from tests.unit.query.parts import KEY, image_of, octets_of
from tests.unit.service.test_in_force import in_force, verdict_of

HEADER = {"list_id": "one", "serial": 2, "issued": 1, "expires": 0, "generation": 2, "selftest": b"s" * 26}


class World:
    """Two lists in force, and the desk."""

    def __init__(self, folder: Path) -> None:
        self.in_force, _ = in_force("", 'exempt = ["192.0.2.0/24"]')
        self.in_force.put_in_force("list-0", image_of(["blocked.test", "both.test"]))
        self.in_force.put_in_force("list-1", image_of(["both.test"]))
        self.releases = Releases(
            folder / "releases",
            Keys(KEY, bytes(32)),
            audit.Audit(folder / "audit.log"),
            now=lambda: 1000.0,
            enforce=self.in_force.release,
            report=lambda *_: None,
        )
        self.releases.recover()
        feed: Any = {
            f"list-{n}": SimpleNamespace(
                state=SimpleNamespace(in_force=SimpleNamespace(serial=7 + n, digest="0" * 64, lines="2.lines")),
                store=Store(folder / f"list-{n}"),
            )
            for n in range(2)
        }
        self.verbs = ReleaseVerbs(
            self.releases, feed, self.in_force, folder / "allowed_signers", lambda: 1000.0
        ).verbs()

    def release(self, name: str | bytes) -> Any:
        octets = octets_of(name) if isinstance(name, str) else name
        return self.ask(requests.Release(name=octets.hex(), reason="a school", for_s=86400.0))

    def ask(self, request: requests.Request[Any]) -> Any:
        reply = self.verbs[type(request)](request, 1000)
        assert isinstance(reply, requests.Reply)
        assert b"blocked" not in requests.line_of(reply).replace(b"no list in force blocks it", b"")
        return reply

    def blocks(self, name: str, scope: int = 0xFFFF) -> bool:
        return verdict_of(self.in_force.tables, name, scope)[0] == codes.BLOCK


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_release_ends_the_say_of_all_lists_at_once(world: World) -> None:
    assert world.blocks("a.both.test")
    told = world.release("BoTh.TeSt").release
    assert told["uid"] == 1000
    assert told["lists"] == [
        {"list": "list-0", "serial": 7, "line": None},
        {"list": "list-1", "serial": 8, "line": None},
    ]
    for scope in (0xFFFF, 0b01, 0b10):
        assert not world.blocks("both.test", scope)
        assert not world.blocks("a.both.test", scope)
    assert world.blocks("blocked.test")
    assert world.ask(requests.EndRelease(number=1)).release["number"] == 1
    assert world.blocks("both.test")


def test_a_release_says_the_line_of_its_entry(world: World, tmp_path: Path) -> None:
    (listed, _) = world.in_force.listed(octets_of("www.both.test"))
    store = Store(tmp_path / "list-0")
    store.prepare()
    lines = [0] * listed.slots
    lines[listed.slot] = 1733
    (store.folder / "2.lines").write_bytes(b"".join(line.to_bytes(4, "little") for line in lines))
    told = world.release("www.both.test").release["lists"]
    assert [one["line"] for one in told] == [1733, None]


def test_a_name_below_a_listed_one_is_released_alone(world: World) -> None:
    assert world.release("www.blocked.test").outcome == "done"
    assert world.blocks("blocked.test")
    assert not world.blocks("www.blocked.test")


@pytest.mark.parametrize("name", ["open.test", "test"])
def test_what_is_not_listed_is_refused(world: World, name: str) -> None:
    assert world.release(name) == requests.Refused(said="not listed: no list in force blocks it")


def test_what_is_only_set_aside_is_not_listed(world: World) -> None:
    flags = (codes.BLOCK_SELF | codes.SET_ASIDE).to_bytes(2, "little")
    made = entries.write(octets_of("aside.test"), flags, KEY, **HEADER)
    world.in_force.put_in_force("list-0", image.view(made))
    assert world.release("aside.test") == requests.Refused(said="not listed: no list in force blocks it")
    assert list(world.releases) == []


def test_the_self_test_cannot_be_released(world: World) -> None:
    label = image.header(image_of(["x.test"])).selftest
    assert world.release(bytes([len(label)]) + label + image.SELFTEST_ZONE).outcome == "refused"


@pytest.mark.parametrize("name", [b"", b"\0", b"\1a", b"\xc0\0", b"a" * 255])
def test_what_is_no_name_is_not_released(world: World, name: bytes) -> None:
    assert world.release(name) == requests.Failed(said="not a domain name")
    assert list(world.releases) == []


def test_a_number_that_no_release_has(world: World) -> None:
    assert world.ask(requests.EndRelease(number=1)).outcome == "refused"


@pytest.mark.asyncio
async def test_what_confirms_a_release_is_a_signature(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def signer_of(signature: bytes, held: Any, approvers: Path) -> approve.Signer:
        if signature != b"good":
            raise approve.Refused("signed by no key of control.approvers")
        assert [json.loads(one)["action"] for one in held.values()] == ["release", "release"]
        assert {json.loads(one)["serial"] for one in held.values()} == {1}
        assert {json.loads(one)["digest"] for one in held.values()} == {world.releases.of(1).digest}
        return approve.Signer("officer", "SHA256:x", 5)

    monkeypatch.setattr("resolver.feed.approve.signer_of", signer_of)
    world.release("both.test")

    async def confirm(number: int, signature: str) -> Any:
        request = requests.ConfirmRelease(number=number, signature=signature)
        return await world.verbs[requests.ConfirmRelease](request, 1000)  # type: ignore[misc]  # this one waits

    refused = requests.Refused(said="signed by no key of control.approvers")
    assert await confirm(1, "bad") == refused
    assert (await confirm(2, "good")).outcome == "refused"
    assert (await confirm(1, "good")).release["confirmed_by"] == "officer"
    assert not world.releases.of(1).overdue(1e12)
