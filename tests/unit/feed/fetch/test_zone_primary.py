"""A primary's answers over one connection, as they are taken; what becomes of them is in test_source_zone."""

import time
from collections.abc import Iterator

import dns.name
import pytest

from resolver.feed.fetch.zone_difference import Answer
from resolver.feed.fetch.zone_primary import Primary
from resolver.feed.fetch.zone_stream import Connection
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed
from resolver.feed.transport import Access
from resolver.feed.tsig import NotVerified
from tests.fakes import primary as fakes
from tests.fakes.primary import KEY, ZONE, Record, signed, soa

MARKS = bytes(range(16))
RECORDS: list[Record] = [("bad.test", "CNAME", "."), ("local.test", "A", "192.0.2.1"), ("local.test", "A", "192.0.2.2")]


@pytest.fixture
def serving() -> Iterator[fakes.Primary]:
    with fakes.Primary(serial=2**32 - 1, records=list(RECORDS)).serving() as serving:
        yield serving


@pytest.fixture
def primary(serving: fakes.Primary) -> Iterator[Primary]:
    connection = Connection(serving.url, Access(), 10.0)
    yield Primary(connection, dns.name.from_text(ZONE), KEY, time.time)
    connection.close()


def test_one_connection_serves_all_three(primary: Primary, serving: fakes.Primary) -> None:
    assert primary.soa().serial == 2**32 - 1
    assert primary.zone(1000) == (2**32 - 1, b"\n=bad.test\n=local.test\n\n\n")
    whole = Answer()
    primary.marked(whole, MARKS, 1000)
    assert [entry.split(b" ")[0] for entry in whole.result()] == [b"=bad.test", b"=local.test", b"=local.test"]
    serving.publish(3, RECORDS[:2])
    changed = Answer(whole.result(), whole.serial)
    primary.marked(changed, MARKS, 1000, since=whole.serial)
    assert (changed.serial, len(changed.result())) == (3, 2)
    assert serving.asked == ["SOA", "AXFR", "AXFR", "IXFR"]


def test_what_is_asked_for_names_our_serial(primary: Primary, serving: fakes.Primary) -> None:
    said: list[int] = []

    def script(query: fakes.dns.message.Message) -> Iterator[bytes]:
        said.append(query.authority[0][0].serial)
        return signed(query, [[soa(7)]])

    serving.difference = script
    answer = Answer([], 7)
    primary.marked(answer, MARKS, 1000, since=7)
    assert (said, answer.closed, answer.is_whole) == ([7], True, False)


def test_marks_do_not_count_for_the_bound(primary: Primary, serving: fakes.Primary) -> None:
    serving.records = [(f"name-{number}.test", "CNAME", ".") for number in range(200)]
    size = len(primary.zone(10_000)[1])
    primary.marked(Answer(), MARKS, size + 40)
    with pytest.raises(Failed) as error:
        primary.marked(Answer(), MARKS, size - 10)
    assert error.value.reason == Reason.OVERSIZED


def test_a_forged_message_is_told_as_one_whatever_it_says(primary: Primary, serving: fakes.Primary) -> None:
    def forged(query: fakes.dns.message.Message) -> Iterator[bytes]:
        for one in signed(query, [[soa(9), soa(8)]]):
            yield one.replace(b"mail", b"male")
        yield b""

    serving.difference = forged
    with pytest.raises(NotVerified) as error:
        primary.marked(Answer([], 7), MARKS, 1000, since=7)
    assert error.value.forged
