"""NOTIFY: from whom it is taken, how it is answered, and how often it has a list polled."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.tsig
import pytest

from resolver.config import config
from resolver.feed import notify
from tests.fakes.primary import KEY, OTHER, ZONE, key_file
from tests.unit.query.parts import until

PRIMARY = b"\0" * 10 + b"\xff\xff" + socket.inet_aton("192.0.2.1")
PRIMARY_6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
OTHERS = b"\0" * 10 + b"\xff\xff" + socket.inet_aton("192.0.2.2")


def lists(folder: Path, *urls: str) -> tuple[config.List, ...]:
    """Lists of these zones, named list0 and so on, and one that is no zone."""
    root = key_file(folder)
    return (
        *(
            config.List(id=f"list{number}", source=config.Source(kind="zone", url=url, root=str(root)))
            for number, url in enumerate(urls)
        ),
        config.List(id="file", source=config.Source(kind="tuf", url="file:///x", root="/x", target="x")),
    )


@pytest.fixture
def polled() -> list[str]:
    return []


@pytest.fixture
def notices(tmp_path: Path, polled: list[str]) -> notify.Notices:
    urls = ("dns://192.0.2.1/RPZ.example", "tls://[2001:db8::1]/other.example", "dns://192.0.2.1:5353/third.example")
    return notify.Notices(lists(tmp_path, *urls), (), polled.append)


def notice(zone: str = ZONE, key: dns.tsig.Key | None = None, kind: str = "SOA") -> dns.message.Message:
    made = dns.message.make_query(zone, kind, flags=dns.flags.AA)
    made.set_opcode(dns.opcode.NOTIFY)
    if key is not None:
        made.use_tsig(key)
    return made


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_the_primarys_notice_is_answered_and_polls_its_list(notices: notify.Notices, polled: list[str]) -> None:
    asked = notice()
    answer = dns.message.from_wire(notices.take(asked.to_wire(), PRIMARY) or b"")
    assert (answer.id, answer.opcode(), answer.flags, answer.rcode()) == (
        asked.id,
        dns.opcode.NOTIFY,
        dns.flags.QR | dns.flags.AA | 0x2000,
        0,
    )
    assert answer.question == asked.question
    assert not answer.had_tsig
    await turns()
    assert polled == ["list0"]


def test_it_tells_whose_notices_are_expected(notices: notify.Notices) -> None:
    assert [notices.expects(one) for one in (PRIMARY, PRIMARY_6, OTHERS)] == [True, True, False]


@pytest.mark.asyncio
async def test_lists_of_one_primary_are_told_apart_by_their_zone(notices: notify.Notices, polled: list[str]) -> None:
    assert notices.take(notice("THIRD.example.").to_wire(), PRIMARY)
    assert notices.take(notice("other.example.").to_wire(), PRIMARY_6)
    await turns()
    assert polled == ["list2", "list1"]


@pytest.mark.asyncio
async def test_a_signed_notice_gets_a_signed_answer(notices: notify.Notices, polled: list[str]) -> None:
    asked = notice(key=KEY)
    said = notices.take(asked.to_wire(), PRIMARY) or b""
    answer = dns.message.from_wire(said, keyring={KEY.name: KEY}, request_mac=asked.mac)
    assert answer.had_tsig
    await turns()
    assert polled == ["list0"]


@pytest.mark.asyncio
async def test_nobody_else_is_heard(notices: notify.Notices, polled: list[str]) -> None:
    response = notice()
    response.flags |= dns.flags.QR
    two = notice()
    two.question.extend(notice("third.example.").question)
    for packet, client in (
        (notice().to_wire(), OTHERS),
        (notice().to_wire(), PRIMARY_6),
        (notice("unknown.example.").to_wire(), PRIMARY),
        (notice("other.example.").to_wire(), PRIMARY),
        (notice(kind="A").to_wire(), PRIMARY),
        (notice(key=OTHER).to_wire(), PRIMARY),
        (response.to_wire(), PRIMARY),
        (two.to_wire(), PRIMARY),
        (dns.message.make_query(ZONE, "SOA").to_wire(), PRIMARY),
        (notice().to_wire()[:-1], PRIMARY),
        (notice().to_wire() + b"\0", PRIMARY),
        (notice().to_wire()[:12], PRIMARY),
        (notice().to_wire() + bytes(notify.MAX_NOTICE_OCTETS), PRIMARY),
    ):
        assert notices.take(packet, client) is None
    await turns()
    assert polled == []


@pytest.mark.asyncio
async def test_a_signed_notice_without_a_key_of_ours_is_not_heard(
    notices: notify.Notices, polled: list[str], tmp_path: Path
) -> None:
    key_file(tmp_path).unlink()
    assert notices.take(notice(key=KEY).to_wire(), PRIMARY) is None
    assert notices.take(notice().to_wire(), PRIMARY)


class Loop:
    """A loop whose clock stands still."""

    def __init__(self) -> None:
        self.now = 50.0
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        self.waiting.append((when, call))


def test_many_notices_are_one_poll_now_and_one_a_second_later(
    notices: notify.Notices, polled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop()
    monkeypatch.setattr(notify.asyncio, "get_running_loop", lambda: loop)
    for _ in range(10):
        assert notices.take(notice().to_wire(), PRIMARY)
    assert [when for when, _ in loop.waiting] == [50.0]
    loop.waiting.pop()[1]()
    assert polled == ["list0"]
    loop.now = 50.2
    for _ in range(10):
        assert notices.take(notice().to_wire(), PRIMARY)
    assert [when for when, _ in loop.waiting] == [51.0]
    loop.waiting.pop()[1]()
    assert polled == ["list0", "list0"]


@pytest.mark.asyncio
async def test_a_primary_that_is_named_by_a_host_is_looked_up(
    tmp_path: Path, polled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def addresses(host: str, resolvers: tuple[str, ...], seconds: float) -> tuple[str, ...]:
        assert (host, resolvers) == ("primary.example", ("192.0.2.53:53",))
        loop.call_soon_threadsafe(asked.set)
        return ("192.0.2.1", "2001:db8::1")

    monkeypatch.setattr(notify.lookup, "addresses", addresses)
    one = notify.Notices(lists(tmp_path, "dns://primary.example/rpz.example"), ("192.0.2.53:53",), polled.append)
    assert one.take(notice().to_wire(), PRIMARY) is None
    task = asyncio.ensure_future(one.run())
    await asked.wait()
    async with asyncio.timeout(120):
        await until(lambda: one.take(notice().to_wire(), PRIMARY_6) is not None)
    assert one.take(notice().to_wire(), PRIMARY)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_without_zones_nothing_is_taken(tmp_path: Path, polled: list[str]) -> None:
    one = notify.Notices(lists(tmp_path), (), polled.append)
    assert one.take(notice().to_wire(), PRIMARY) is None


def swollen() -> bytes:
    """A NOTIFY for our zone of 1,500 octets, each of whose names is 120 labels long and written as two octets."""
    packet = bytearray(notice().to_wire())
    target = (0xC000 | len(packet)).to_bytes(2, "big")
    record = b"\0\x05\0\x01\0\0\0\0\0\x02" + target
    packet += b"\x01a" * 120 + b"\0" + record
    packet[7] = 1
    while len(packet) < 1500:
        packet += target + record
        packet[6:8] = (int.from_bytes(packet[6:8], "big") + 1).to_bytes(2, "big")
    return bytes(packet)


@pytest.mark.asyncio
async def test_what_costs_more_than_a_notice_is_not_read(
    notices: notify.Notices, polled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = swollen()
    short = whole[: notify.MAX_NOTICE_OCTETS]
    more = [bytearray(notice().to_wire()) for _ in range(4)]
    for changed, (at, count) in zip(more, ((5, 2), (7, 2), (9, 1), (11, 3)), strict=True):
        changed[at] = count
    assert dns.message.from_wire(whole).opcode() == dns.opcode.NOTIFY, "well formed, and slow to read"
    read: list[bytes] = []
    monkeypatch.setattr(dns.message, "from_wire", lambda packet, **_: read.append(packet))
    for packet in (whole, short, *map(bytes, more), notice("a.example.").to_wire(), notice().to_wire()[:14], b""):
        assert notices.take(packet, PRIMARY) is None
    await turns()
    assert (read, polled) == ([], [])


def test_a_flood_in_the_primarys_name_is_not_read(notices: notify.Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop()
    read: list[bytes] = []
    monkeypatch.setattr("asyncio.get_running_loop", lambda: loop)
    monkeypatch.setattr(dns.message, "from_wire", lambda packet, **_: read.append(packet))
    for _ in range(100):
        assert notices.take(notice(key=OTHER).to_wire(), PRIMARY) is None
    assert len(read) == notify.MOST_READ_A_SECOND
    assert notices.take(notice().to_wire(), PRIMARY), "what is not signed need not be read"
    assert notices.take(notice("third.example.", OTHER).to_wire(), PRIMARY) is None
    assert len(read) == notify.MOST_READ_A_SECOND + 1, "each list by itself"
    loop.now += 1
    assert notices.take(notice(key=OTHER).to_wire(), PRIMARY) is None
    assert len(read) == notify.MOST_READ_A_SECOND + 2
