"""The fetch process of a zone from inside: what it asks, what it takes, and what it refuses."""

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import pytest
from msgspec.structs import replace

from resolver.authority.shapes import MAX_SERIAL
from resolver.feed import processes, source_zone
from resolver.feed.confine import Failed
from resolver.feed.messages import Facts, FetchRequest, Reason
from tests.fakes.primary import KEY, OTHER, ZONE, Primary, Record, key_file, message, signed, soa

RECORDS: list[Record] = [("@", "NS", "ns.example."), ("bad.test", "CNAME", "."), ("*.bad.test", "CNAME", ".")]


@pytest.fixture
def primary() -> Iterator[Primary]:
    with Primary(serial=7, records=list(RECORDS)).serving() as serving:
        yield serving


@pytest.fixture
def request_of(primary: Primary, tmp_path: Path) -> Iterator[FetchRequest]:
    output = processes.memory_file("list")
    yield FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=output,
        url=primary.url,
        root=str(key_file(tmp_path)),
        target="",
        metadata="",
        ca="",
        certificate="",
        key="",
        max_bytes=10_000,
        memory_bytes=2**31,
        seconds=20.0,
    )
    os.close(output)


def fetched(request: FetchRequest, *, go: bool = True) -> tuple[Facts, bytes]:
    """The facts, and what is in the output then."""
    told: list[Facts] = []

    def wanted(facts: Facts) -> bool:
        told.append(facts)
        return go

    done = source_zone.fetch(request, wanted, clock=lambda: int(time.time()))
    assert done is go
    assert len(told) == 1
    return told[0], os.pread(request.output, 10_000, 0)


def failing(request: FetchRequest) -> str:
    with pytest.raises(Failed) as error:
        source_zone.fetch(request, lambda facts: True)
    assert os.pread(request.output, 10, 0) == b""
    return error.value.reason


def known_of(request: FetchRequest, facts: Facts, serial: int = 0) -> FetchRequest:
    """The same request of a host that has this list."""
    return replace(
        request,
        serial=serial or facts.custom.serial,
        issued=facts.custom.issued,
        digest=facts.digest,
        targets_keys=facts.targets_keys,
    )


def test_facts_and_lines_of_a_zone(request_of: FetchRequest) -> None:
    before = int(time.time())
    facts, data = fetched(request_of)
    issued = facts.custom.issued
    assert before <= issued <= time.time()
    assert data == b"\n\n=bad.test\n*.bad.test\n\n"
    assert facts.length == len(data)
    assert (facts.custom.serial, facts.custom.expires, facts.format) == (7, None, "rpz")
    assert facts.fresh_until == issued + 86400
    assert facts.digest == source_zone.digest_of(dns.name.from_text(ZONE), data)


def test_what_is_not_wanted_is_not_written(request_of: FetchRequest) -> None:
    assert fetched(request_of, go=False)[1] == b""


def test_the_digest_is_that_of_the_set_of_lines() -> None:
    zone, other = dns.name.from_text(ZONE), dns.name.from_text("other.example.")
    lines = [b"=a.test", b"*.a.test", b"!=b.test"]
    digests = {source_zone.digest_of(zone, b"\n".join(order) + b"\n\n") for order in itertools.permutations(lines)}
    assert digests == {source_zone.digest_of(zone, b"\n".join([*lines, *lines]))}
    assert source_zone.digest_of(other, b"\n".join(lines)) not in digests
    assert source_zone.digest_of(zone, b"\n".join(lines[:2])) not in digests


def test_the_serial_that_is_known_is_confirmed_without_a_transfer(request_of: FetchRequest, primary: Primary) -> None:
    facts, _ = fetched(request_of, go=False)
    primary.asked.clear()
    again, _ = fetched(known_of(request_of, facts), go=False)
    assert (again.digest, again.custom) == (facts.digest, facts.custom)
    assert primary.asked == ["SOA"]


def test_a_known_list_whose_image_is_lost_is_transferred_again(request_of: FetchRequest, primary: Primary) -> None:
    facts, _ = fetched(request_of, go=False)
    assert fetched(known_of(request_of, facts))[1] == b"\n\n=bad.test\n*.bad.test\n\n"
    primary.records.append(("more.test", "CNAME", "."))
    os.ftruncate(request_of.output, 0)
    assert failing(known_of(request_of, facts)) == Reason.SERIAL_REUSED


def test_a_serial_behind_is_rolled_back(request_of: FetchRequest) -> None:
    facts, _ = fetched(request_of, go=False)
    assert failing(known_of(request_of, facts, serial=8)) == Reason.ROLLED_BACK


def test_the_serials_of_another_key_do_not_count(request_of: FetchRequest) -> None:
    facts, _ = fetched(request_of, go=False)
    known = replace(known_of(request_of, facts, serial=8), targets_keys="0" * 32)
    assert fetched(known)[0].custom.serial == 7


@pytest.mark.parametrize(
    ("known", "soa_serial", "serial"),
    [
        (0, 5, 5),
        (0, 0, 2**32),
        (5, 5, 5),
        (5, 6, 6),
        (6, 5, None),
        (2**32 - 1, 0, 2**32),
        (2**32 + 3, 4, 2**32 + 4),
        (2**32 + 3, 2**32 - 1, None),
        (1, 2**31, 2**31),
        (1, 2**31 + 1, None),
        (MAX_SERIAL, MAX_SERIAL % 2**32, MAX_SERIAL),
        (MAX_SERIAL, (MAX_SERIAL + 1) % 2**32, None),
    ],
)
def test_serials_go_on_where_32_bits_wrap_around(known: int, soa_serial: int, serial: int | None) -> None:
    assert source_zone.serial_after(known, soa_serial) == serial


def batches(*records: Record) -> list[list[Record]]:
    return [[soa(7), *RECORDS], [*records, soa(7)]]


@pytest.mark.parametrize(
    "sent",
    [
        [[soa(7), *RECORDS]],
        [[*RECORDS, soa(7)]],
        batches(("bad.elsewhere.", "CNAME", ".")),
        batches(("x.test", "SOA", "ns.example. mail.example. 7 1 1 1 1")),
        [[soa(7), *RECORDS], [soa(8)]],
        [[soa(7), *RECORDS, soa(7), ("late.test", "CNAME", ".")]],
        [[soa(7)], [], [*RECORDS, soa(7)]],
    ],
    ids=["cut-short", "no-soa", "out-of-zone", "soa-below", "other-soa", "behind-the-end", "empty-message"],
)
def test_a_transfer_that_is_no_zone_is_refused(
    sent: list[list[Record]], request_of: FetchRequest, primary: Primary
) -> None:
    primary.script = lambda query: itertools.chain(signed(query, sent), [b""])
    assert failing(request_of) == Reason.TRANSFER


def test_a_transfer_that_never_ends_is_refused(request_of: FetchRequest, primary: Primary) -> None:
    endless = [[soa(7)], *[[(f"n{number}.test", "CNAME", ".")] * 40 for number in range(400)]]
    primary.script = lambda query: itertools.chain(signed(query, endless, last=False), [b""])
    assert failing(replace(request_of, max_bytes=1000)) == Reason.OVERSIZED
    distinct = [[soa(7)], *[[(f"n{number}.test", "CNAME", ".")] for number in range(1000)]]
    primary.script = lambda query: itertools.chain(signed(query, distinct, last=False), [b""])
    assert failing(replace(request_of, max_bytes=1000)) == Reason.OVERSIZED


def test_a_hundred_messages_may_stand_between_two_signatures(request_of: FetchRequest, primary: Primary) -> None:
    records: list[Record] = [(f"n{number}.test", "CNAME", ".") for number in range(250)]
    sent = [[soa(7)], *[[one] for one in records], [soa(7)]]
    primary.script = lambda query: signed(query, sent, every=100)
    assert fetched(request_of)[1].count(b"=n") == 250
    os.ftruncate(request_of.output, 0)
    primary.script = lambda query: itertools.chain(signed(query, sent, every=101), [b""])
    assert failing(request_of) == Reason.TRANSFER


def test_the_last_message_is_signed(request_of: FetchRequest, primary: Primary) -> None:
    primary.script = lambda query: itertools.chain(signed(query, batches(), every=2, last=False), [b""])
    assert failing(request_of) == Reason.TRANSFER


def test_an_unsigned_transfer_is_refused(request_of: FetchRequest, primary: Primary) -> None:
    primary.script = lambda query: iter([message([soa(7), *RECORDS, soa(7)], query.id, "AXFR").to_wire(), b""])
    assert failing(request_of) == Reason.TRANSFER


def test_a_forged_transfer_is_told_apart(request_of: FetchRequest, primary: Primary) -> None:
    primary.script = lambda query: itertools.chain(signed(query, batches(), key=OTHER), [b""])
    assert failing(request_of) == Reason.TAMPERED


def test_a_message_changed_on_its_way_is_refused(request_of: FetchRequest, primary: Primary) -> None:
    def script(query: dns.message.Message) -> Iterator[bytes]:
        for sent in signed(query, batches(("good.test", "CNAME", "."))):
            yield sent.replace(b"\4good", b"\4evil")
        yield b""

    primary.script = script
    assert failing(request_of) == Reason.TAMPERED


def test_another_id_and_another_question_are_refused(request_of: FetchRequest, primary: Primary) -> None:
    def renumbered(query: dns.message.Message) -> Iterator[bytes]:
        for sent in signed(query, batches()):
            yield bytes([sent[0] ^ 1]) + sent[1:]
        yield b""

    primary.script = renumbered
    assert failing(request_of) == Reason.TRANSFER

    def requestioned(query: dns.message.Message) -> Iterator[bytes]:
        for sent in signed(query, batches()):
            yield sent.replace(b"\3rpz\7example\0\0\xfc", b"\3xyz\7example\0\0\xfc")
        yield b""

    primary.script = requestioned
    assert failing(request_of) == Reason.TRANSFER


def test_no_soa_no_transfer(request_of: FetchRequest, primary: Primary) -> None:
    primary.rcode = 5
    assert failing(request_of) == Reason.TRANSFER
    primary.rcode, primary.sign_soa = 0, False
    assert failing(request_of) == Reason.TRANSFER
    primary.sign_soa, primary.key = True, OTHER
    assert failing(request_of) in (Reason.TRANSFER, Reason.TAMPERED)
    assert "AXFR" not in primary.asked


def test_nobody_there(request_of: FetchRequest, primary: Primary) -> None:
    assert failing(replace(request_of, url="dns://127.0.0.1:1/rpz.example")) == Reason.UNREACHABLE


def test_a_key_that_may_not_be_used(request_of: FetchRequest, tmp_path: Path) -> None:
    for root in (key_file(tmp_path, "old", algorithm="hmac-md5"), tmp_path / "none"):
        assert failing(replace(request_of, root=str(root))) == Reason.ROOT_UNUSABLE
    assert KEY.algorithm.to_text() == "hmac-sha256."


def test_a_url_that_names_no_zone(request_of: FetchRequest) -> None:
    assert failing(replace(request_of, url=f"{request_of.url}..x")) == Reason.UNKNOWN_TARGET
