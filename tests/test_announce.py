"""deploy/anycast/announce.py: when it announces, when it withdraws, who stays; and what BIRD and ExaBGP are told."""

import asyncio
import contextlib
import importlib.util
import re
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ANYCAST = Path(__file__).parents[1] / "deploy" / "anycast"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("announce", ANYCAST / "announce.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


announce = loaded()
GOOD = announce.Finding()
HARD = announce.Finding(hard="not enforced")
SOFT = announce.Finding(soft="drained")
UNSURE = announce.Finding(hard="no answer", sure=False)


class Site:
    """Other hosts, and a clock."""

    def __init__(self) -> None:
        self.stand, self.hold, self.before = True, False, False
        self.now = 0.0
        self.asked = 0
        self.said_when_asked: list[bool] = []
        self.decision: Any = announce.Decision(self.others, clock=lambda: self.now)

    async def others(self) -> Any:
        self.asked += 1
        self.said_when_asked.append(self.decision.stands or self.decision.holds)
        return announce.Others(stands=self.stand, holds=self.hold, before=self.before)

    def take(self, *found: Any) -> tuple[bool, bool]:
        """Whether it is announced, and stands, after these checks."""
        for one in found:
            asyncio.run(self.decision.take(one))
        return self.decision.announced, self.decision.stands

    def up(self) -> "Site":
        assert self.take(*[GOOD] * announce.GOOD) == (True, True)
        return self


def test_it_comes_after_good_checks_in_a_row() -> None:
    one = Site()
    assert one.take(*[GOOD] * (announce.GOOD - 1)) == (False, False)
    assert one.take(HARD, *[GOOD] * (announce.GOOD - 1)) == (False, False), "they have to be in a row"
    assert one.take(GOOD) == (True, True)


def test_it_comes_at_once_if_no_other_host_stands() -> None:
    one = Site()
    one.stand = False
    assert one.take(GOOD) == (True, True)


def test_a_hard_reason_withdraws_at_once_and_the_last_one_too() -> None:
    for others in (True, False):
        one = Site().up()
        one.stand, before = others, one.asked
        assert one.take(HARD) == (False, False)
        assert one.asked == before, "the others do not matter"


def test_a_soft_reason_withdraws_while_another_host_stands_and_brings_back_the_last_one() -> None:
    one = Site().up()
    assert one.take(SOFT) == (False, False)
    one.stand = False
    assert one.take(SOFT) == (True, False), "it is announced, and no other may rely on it"
    one.stand = True
    assert one.take(SOFT) == (False, False)


def test_of_two_hosts_with_soft_reasons_one_stays() -> None:
    """Each asks the other while it says itself that it does not stand."""
    one = Site().up()
    one.said_when_asked.clear()
    one.take(SOFT)
    assert one.said_when_asked == [False]


def test_of_several_that_stay_for_want_of_another_the_first_stays_alone() -> None:
    one = Site().up()
    one.stand = False
    assert one.take(SOFT) == (True, False)
    assert one.decision.holds
    one.hold = True
    assert one.take(SOFT) == (True, False), "one holds whose address comes later"
    one.before = True
    assert one.take(SOFT) == (False, False)
    one.before = False
    assert one.take(SOFT) == (False, False), "what has left stays away while any other holds"
    one.hold = False
    assert one.take(SOFT) == (True, False)
    assert one.take(UNSURE) == (True, False)
    assert not one.decision.holds, "nobody may rely on what may be dead"


def test_a_good_host_relieves_one_that_holds_at_once() -> None:
    one = Site()
    one.stand, one.hold, one.before = False, True, True
    assert one.take(GOOD) == (True, True)


def test_silence_that_has_not_lasted_changes_nothing_but_that_others_may_not_rely_on_it() -> None:
    one = Site().up()
    assert one.take(UNSURE) == (True, False)
    assert one.take(GOOD) == (True, True)
    other = Site()
    assert other.take(UNSURE) == (False, False)


def test_a_host_that_flaps_needs_twice_as_many_good_checks_each_time() -> None:
    one, needed = Site().up(), []
    for _ in range(9):
        one.take(HARD)
        count = 1
        while not one.take(GOOD)[0]:
            count += 1
        needed.append(count)
    assert needed == [10, 20, 40, 80, 160, 320, 640, 640, 640]
    one.take(HARD)
    one.now += announce.MEMORY_S
    assert one.take(*[GOOD] * announce.GOOD) == (True, True), "ten minutes later it is as new"


def test_a_drain_is_no_flap() -> None:
    one = Site().up()
    for _ in range(5):
        one.take(SOFT)
        assert one.take(*[GOOD] * announce.GOOD) == (True, True)


ASKED = {"UDP at 203.0.113.53": 0, "TCP at 203.0.113.53": 0}


def found(drain: Path, *said: dict[str, int | None], real: int | None = 0) -> Any:
    """What the last of these checks finds."""
    check = announce.Check(["203.0.113.53"], 53, "ns.isp.example", drain)
    return [check.finding({**ASKED, **one}, real) for one in said][-1]


UDP, TCP = ASKED
CASES: list[tuple[str, dict[str, int | None], int, str, bool]] = [
    ("all is well", {}, 1, "", True),
    ("NXDOMAIN: it answers and does not enforce", {UDP: 3}, 1, "hard", True),
    ("over one transport is enough", {TCP: 3}, 1, "hard", True),
    ("REFUSED proves nothing", {UDP: 5}, 1, "hard", True),
    ("NXDOMAIN outweighs SERVFAIL", {UDP: 2, TCP: 3}, 1, "hard", True),
    ("silence, once", {UDP: None, TCP: None}, 1, "hard", False),
    ("silence, lasting", {UDP: None, TCP: None}, 3, "hard", True),
    ("SERVFAIL: a list is missing", {UDP: 2, TCP: 2}, 1, "soft", True),
    ("TCP alone is silent, once", {TCP: None}, 1, "soft", False),
    ("TCP alone is silent, lasting", {TCP: None}, 3, "soft", True),
]


@pytest.mark.parametrize(("case", "said", "times", "kind", "sure"), CASES, ids=[one[0] for one in CASES])
def test_what_is_hard_and_what_is_soft(
    case: str, said: dict[str, int | None], times: int, kind: str, sure: bool, tmp_path: Path
) -> None:
    result = found(tmp_path / "drain", *[said] * times)
    assert (bool(result.hard), bool(result.soft)) == (kind == "hard", kind == "soft"), case
    assert result.sure == sure


def test_a_real_query_that_fails_for_a_while_and_a_drain_are_soft(tmp_path: Path) -> None:
    drain = tmp_path / "drain"
    assert found(drain, {}, {}, real=2).good
    assert found(drain, {}, {}, {}, real=2).soft == "a real query is not answered"
    assert found(drain, {}, {}, {}, real=3).good, "a name that does not exist is an answer"
    drain.touch()
    assert found(drain, {}).soft == "drained"


def test_a_reply_counts_only_if_it_is_to_the_query() -> None:
    query = announce.query_of("Enforced.selftest.invalid.")
    reply = query[:2] + b"\x81\x83" + query[4:]
    assert announce.code_of(reply, query) == 3
    assert announce.code_of(reply[:12] + reply[12:].upper(), query) == 3
    assert announce.code_of(bytes([reply[0] ^ 1]) + reply[1:], query) is None
    assert announce.code_of(query, query) is None, "a query is no reply"
    assert announce.code_of(reply[:-1], query) is None
    assert announce.code_of(reply[:13] + b"x" + reply[14:], query) is None


BIRD_SAYS = {
    'enable "service4"': "0011-service4: enabled\n0000 \n",
    'disable "service4"': "0009-service4: disabled\n0000 \n",
    'enable "nothing"': "8003 No protocols match\n",
    'show protocols "up"': "2002-Name Proto\n1002-up BGP --- up 10:00:00.000  Established   \n0000 \n",
    'show protocols "down"': "2002-Name Proto\n1002-down BGP --- start 10:00:00.000  Active  \n0000 \n",
}


@pytest.mark.parametrize(
    ("protocol", "sessions", "does"),
    [
        ("service4", [], True),
        ("service4", ["up"], True),
        ("service4", ["down", "up"], True),
        ("service4", ["down"], False),
        ("nothing", [], False),
    ],
)
def test_bird_is_told_and_believed(protocol: str, sessions: list[str], does: bool, tmp_path: Path) -> None:
    heard: list[str] = []

    def talk(listening: socket.socket) -> None:
        one, _ = listening.accept()
        with one, one.makefile("rw", newline="\n") as stream:
            stream.write("0001 BIRD 2.0.12 ready.\n")
            stream.flush()
            with contextlib.suppress(OSError):
                for line in stream:
                    heard.append(line.strip())
                    stream.write(BIRD_SAYS[line.strip()])
                    stream.flush()

    path = str(tmp_path / "ctl")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        bird = threading.Thread(target=talk, args=(listening,))
        bird.start()
        assert asyncio.run(announce.Bird(path, [protocol], sessions).set(True)) == does
        bird.join()
    assert heard[0] == f'enable "{protocol}"'


def test_without_bird_it_is_not_announced(tmp_path: Path) -> None:
    assert not asyncio.run(announce.Bird(str(tmp_path / "ctl"), ["service4"], []).set(True))


def test_exabgp_is_told_once_of_each_change(capfd: pytest.CaptureFixture[str]) -> None:
    one = announce.ExaBgp(["203.0.113.53/32"])
    for announced in (False, True, True, False):
        assert not asyncio.run(one.set(announced)), "no session is up"
    assert capfd.readouterr().out.splitlines() == [
        "withdraw route 203.0.113.53/32 next-hop self",
        "announce route 203.0.113.53/32 next-hop self",
        "withdraw route 203.0.113.53/32 next-hop self",
    ]


@pytest.mark.parametrize(
    "words",
    [
        "--ask 203.0.113.53",
        "--ask 203.0.113.53 --bird ctl --exabgp --route 203.0.113.53/32",
        "--ask 203.0.113.53 --bird ctl",
        "--ask 203.0.113.53:53 --bird ctl --protocol service4",
        "--bird ctl --protocol service4",
        "--ask 203.0.113.53 --exabgp --route 203.0.113.53/32 --withdraw",
        "--ask 203.0.113.53 --bird ctl --protocol service4 --listen 192.0.2.1:1 --other host:1",
        "--ask 203.0.113.53 --bird ctl --protocol service4 --other 192.0.2.1:1",
    ],
)
def test_a_command_line_that_cannot_be_followed_ends_with_2(words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        announce.parsed(words.split())
    assert ended.value.code == 2


def test_the_shipped_options_are_understood() -> None:
    line = re.search(r"(?m)^ANNOUNCE=(.*)$", (ANYCAST / "announce.env").read_text())
    assert line
    found = announce.parsed(line[1].split())
    bird = (ANYCAST / "bird.conf").read_text()
    for name in (*found.protocol, *found.session):
        assert re.search(rf"(?m)^protocol (static|bgp) {name} {{$", bird), name
    assert all(f"route {one}/" in bird for one in found.ask)
    run = re.search(r"announce\.py (.*);", (ANYCAST / "exabgp.conf").read_text())
    assert run
    assert announce.parsed(run[1].split()).route == ["203.0.113.53/32"]


def test_hosts_hear_from_each_other_whether_they_stand_or_hold() -> None:
    stands, holds, nothing = announce.Others(stands=True), announce.Others(holds=True), announce.Others()
    before = announce.Others(holds=True, before=True)

    async def told() -> list[Any]:
        found = []
        for line, own in (
            (b"stands: every list is enforced\n", "127.0.0.2"),
            (b"holds: drained; no other host stands\n", "127.0.0.2"),
            (b"holds: drained; no other host stands\n", "127.0.0.0"),
            (b"announced: UDP at 203.0.113.53: no answer\n", "127.0.0.2"),
            (b"", "127.0.0.2"),
        ):

            async def say(_: object, writer: asyncio.StreamWriter, line: bytes = line) -> None:
                writer.write(line)
                writer.close()

            async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
                found.append(await announce.seen([(own, 1)], [server.sockets[0].getsockname()]))
        found.append(await announce.seen([("127.0.0.2", 1)], [("127.0.0.1", 1)]))
        found.append(await announce.seen([], []))
        return found

    assert asyncio.run(told()) == [stands, before, holds, nothing, nothing, nothing, nothing]
