"""What EDNS options want of every kind of answer: cookies, and who is proven by one."""

import random
from collections.abc import Callable
from types import ModuleType

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from resolver.core import codes
from resolver.query.transport import Transport
from tests.unit.core.seats import EPOCH_MS, Seats
from tests.unit.query.parts import CLIENT, EXEMPT, STRANGER, Message, errors, query, reply_of, says, tables

Core = Callable[[str], ModuleType]
A = "open.test. 300 A 198.51.100.7"
SECRET, OTHER = bytes(range(16)), bytes(range(1, 17))
MINE = b"my eight"
LIST = (("listed.test",),)
RATE = 4


def seats(core: Core, reply=None, *, secrets=(SECRET,), rate: int = 0, **more) -> Seats:
    """Seats whose answers have cookies, and one listed name."""
    return Seats(core, tables(1, LIST, rate=rate, **more), reply or says([A]), secrets=secrets)


def asked(name: str, kind: str = "A", cookie: bytes = MINE, **more) -> Message:
    """A query with a cookie."""
    made = query(name, kind, **more)
    made.use_edns(0, 0, more.get("payload", 1232), options=[dns.edns.GenericOption(10, cookie)])
    return made


def cookie_of(message: Message) -> bytes | None:
    """The whole cookie of an answer; it is there once at most."""
    found = [one for one in message.options if int(one.otype) == 10]
    assert len(found) <= 1
    return found[0].to_wire() if found else None


def learnt(one: Seats, client: bytes = CLIENT, cookie: bytes = MINE) -> bytes:
    """The cookie that a client gets."""
    found = cookie_of(one.ask(asked("listed.test", cookie=cookie), client))
    assert found is not None
    return found


WAYS = {
    "blocked": lambda: asked("listed.test"),
    "blocked, no data": lambda: asked("listed.test", "TXT"),
    "fresh and kept": lambda: asked("open.test"),
    "local": lambda: asked("localhost"),
    "any": lambda: asked("open.test", "ANY"),
    "RD=0": lambda: asked("open.test", flags=""),
    "another class": lambda: asked("open.test", rdclass=3),
    "a bad type": lambda: asked("open.test", "OPT"),
    "a bad version": lambda: asked("open.test"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_answer_has_the_cookie_of_its_own_client(core: Core, way: str) -> None:
    one, found = seats(core), []
    for client, mine in ((CLIENT, MINE), (CLIENT, MINE), (EXEMPT, b"another!")):
        made = WAYS[way]()
        made.use_edns(0, 0, 1232, options=[dns.edns.GenericOption(10, mine)])
        octets = bytearray(made.to_wire())
        if way == "a bad version":
            octets[octets.index(b"\0\0\x29") + 6] = 1
        answer = one.send(bytes(octets), client)
        assert answer is not None
        cookie = cookie_of(dns.message.from_wire(answer))
        assert cookie is not None
        assert (cookie[:8], len(cookie)) == (mine, 24)
        found.append(cookie)
    assert found[0] == found[1] != found[2]
    assert one.count("cookies_total", "new") == 3
    assert one.lane.errors == 0
    if way == "fresh and kept":
        assert len(one.upstream) == 1


def test_a_failure_and_a_stranger_s_refusal_have_it_too(core: Core) -> None:
    one = seats(core, says(rcode=2))
    failed = one.ask(asked("open.test"))
    assert (failed.rcode(), len(cookie_of(failed) or b"")) == (dns.rcode.SERVFAIL, 24)
    good = learnt(one)
    made = asked("open.test", cookie=good).to_wire()
    octets = one.send(made, STRANGER)
    assert octets is not None
    refused = dns.message.from_wire(octets)
    # No larger than the query: the cookie has the room of the one that came, and the extended error has none.
    assert (refused.rcode(), errors(refused), len(octets)) == (dns.rcode.REFUSED, [], len(made))
    assert (cookie_of(refused) or b"")[:8] == MINE
    small = one.send(asked("open.test").to_wire(), STRANGER)
    assert small is not None
    assert cookie_of(dns.message.from_wire(small)) is None
    assert len(small) <= len(asked("open.test").to_wire())


def test_nothing_of_it_goes_upstream(core: Core) -> None:
    one = seats(core)
    one.ask(asked("open.test"))
    (sent,) = one.upstream
    assert MINE not in sent
    assert dns.message.from_wire(sent).options == ()


def test_a_cookie_of_an_upstream_reaches_nobody(core: Core) -> None:
    def reply(message: Message) -> Message:
        made = reply_of(message, [A])
        made.use_edns(0, 0, 1232, options=[dns.edns.GenericOption(10, b"upstream" * 3)])
        return made

    one = seats(core, reply)
    for _ in range(2):
        assert cookie_of(one.ask(query("open.test"))) is None
        assert (cookie_of(one.ask(asked("open.test"))) or b"")[:8] == MINE


@pytest.mark.parametrize("name", ["listed.test", "open.test", "localhost", "www.listed.test"])
def test_an_answer_without_a_cookie_is_what_it_is_without_secrets(core: Core, name: str) -> None:
    with_them, without = seats(core), seats(core, secrets=())
    for edns in (False, True):
        for kind in ("A", "TXT"):
            octets = query(name, kind, edns=edns).to_wire()
            for _ in range(2):
                assert with_them.send(octets) == without.send(octets)
    assert [with_them.count("cookies_total", kind) for kind in codes.COOKIE_KINDS] == [0, 0, 0]


def test_without_secrets_a_cookie_is_not_answered(core: Core) -> None:
    one = seats(core, secrets=())
    assert cookie_of(one.ask(asked("listed.test"))) is None
    assert one.count("cookies_total", "new") == 0


def test_a_good_cookie_comes_back_and_a_bad_one_is_replaced(core: Core) -> None:
    one = seats(core)
    good = learnt(one)
    assert learnt(one, cookie=good) == good
    bad = good[:-1] + bytes([good[-1] ^ 1])
    assert learnt(one, cookie=bad) == good
    assert learnt(one, EXEMPT, cookie=good) != good
    assert [one.count("cookies_total", kind) for kind in codes.COOKIE_KINDS] == [1, 1, 2]
    one.now += 1800
    renewed = learnt(one, cookie=good)
    assert renewed != good
    assert int.from_bytes(renewed[12:16]) == (EPOCH_MS[0] + one.now_ms) // 1000
    one.secrets = (OTHER, SECRET)
    one.swap(tables(1, LIST))
    assert learnt(one, cookie=renewed) != renewed
    assert one.count("cookies_total", "good") == 3


@pytest.mark.parametrize("octets", [*range(8), *range(9, 16), 41])
def test_a_malformed_cookie_is_formerr(core: Core, octets: int) -> None:
    one = seats(core)
    assert one.ask(asked("listed.test", cookie=bytes(octets))).rcode() == dns.rcode.FORMERR


def test_only_the_first_cookie_counts(core: Core) -> None:
    one = seats(core)
    made = query("listed.test")
    made.use_edns(0, 0, 1232, options=[dns.edns.GenericOption(10, each) for each in (MINE, b"second!!", b"bad")])
    assert (cookie_of(one.ask(made)) or b"")[:8] == MINE


def alone(cookie: bytes = b"", *, questions: int = 0) -> bytes:
    """A query without a question, with an OPT."""
    option = b"\0\x0a" + len(cookie).to_bytes(2, "big") + cookie if cookie else b""
    head = b"\xab\xcd\1\0" + questions.to_bytes(2, "big") + b"\0\0\0\0\0\1"
    return head + b"\0\0\x29\x04\xd0\0\0\0\0" + len(option).to_bytes(2, "big") + option


def test_a_query_without_a_question_gets_a_cookie(core: Core) -> None:
    one = seats(core)
    found = one.send(alone(MINE))
    assert found is not None
    answer = dns.message.from_wire(found)
    good = cookie_of(answer) or b""
    assert (answer.id, answer.rcode(), answer.question, good[:8]) == (0xABCD, dns.rcode.NOERROR, [], MINE)
    again = dns.message.from_wire(one.send(alone(good)) or b"")
    assert (again.rcode(), cookie_of(again)) == (dns.rcode.NOERROR, good)
    bad = dns.message.from_wire(one.send(alone(good[:-1] + b"?")) or b"")
    assert (bad.rcode(), cookie_of(bad)) == (dns.rcode.BADCOOKIE, good)
    assert [one.count("answers_total", rcode) for rcode in ("NOERROR", "BADCOOKIE", "other")] == [2, 1, 0]
    assert one.upstream == []


def test_a_query_without_a_question_or_a_cookie_is_formerr(core: Core) -> None:
    one = seats(core)
    for octets in (alone(), alone(MINE, questions=2), alone(b"short"), alone(MINE) + b"?", alone(MINE)[:-1]):
        answer = one.send(octets)
        # The header alone, as for every query without one question.
        assert answer == b"\xab\xcd\x81\x81" + bytes(8)
    off = seats(core, secrets=())
    assert dns.message.from_wire(off.send(alone(MINE)) or b"").rcode() == dns.rcode.FORMERR


def flood(one: Seats, count: int, client: bytes = CLIENT, cookie: bytes | None = None) -> list[bytes | None]:
    """The answers to so many queries of one client, none of them with a good cookie unless it is given."""
    return [
        one.send((query("listed.test") if cookie is None else asked("listed.test", cookie=cookie)).to_wire(), client)
        for _ in range(count)
    ]


def test_a_client_with_a_good_cookie_is_not_slipped_and_a_flood_does_not_touch_it(core: Core) -> None:
    one = seats(core, rate=RATE)
    good = learnt(one)
    forged = flood(one, 50)
    assert forged.count(None) > 20
    slipped = [dns.message.from_wire(each) for each in forged if each is not None]
    assert sum(1 for each in slipped if each.flags & dns.flags.TC) > 20
    for _ in range(RATE):
        answer = one.ask(asked("listed.test", cookie=good))
        assert (answer.rcode(), bool(answer.flags & dns.flags.TC), len(answer.answer)) == (0, False, 1)
        flood(one, 20)


def test_above_its_limit_a_proven_client_is_refused_as_over_tcp(core: Core) -> None:
    one = seats(core, rate=RATE)
    good = learnt(one)
    codes_of = [one.ask(asked("listed.test", cookie=good)).rcode() for _ in range(RATE + 3)]
    assert codes_of == [dns.rcode.NOERROR] * RATE + [dns.rcode.REFUSED] * 3
    # One bucket for all that is proven; the other one is untouched.
    over_tcp = one.send(query("listed.test").to_wire(), CLIENT, Transport.TCP)
    assert dns.message.from_wire(over_tcp or b"").rcode() == dns.rcode.REFUSED
    assert one.ask(query("listed.test")).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize("bad", [b"", bytes(16), b"\1" * 8])
def test_above_the_limit_a_cookie_that_is_not_good_gets_badcookie_instead_of_tc(core: Core, bad: bytes) -> None:
    one = seats(core, rate=RATE)
    found = flood(one, 20 + RATE, cookie=MINE + bad)[RATE:]
    answers = [dns.message.from_wire(each) for each in found if each is not None]
    assert (len(answers), found.count(None)) == (10, 10)
    for answer in answers:
        assert (answer.rcode(), bool(answer.flags & dns.flags.TC), answer.answer) == (dns.rcode.BADCOOKIE, False, [])
    assert (one.count("answers_total", "BADCOOKIE"), one.count("answers_total", "other")) == (10, 0)
    # The new cookie is good at once.
    good = cookie_of(answers[0]) or b""
    assert one.ask(asked("listed.test", cookie=good)).rcode() == dns.rcode.NOERROR


def test_a_cookie_of_another_address_proves_nothing(core: Core) -> None:
    one = seats(core, rate=RATE)
    stolen = learnt(one, EXEMPT)
    found = flood(one, 20 + RATE, cookie=stolen)[RATE:]
    assert found.count(None) == 10


def test_a_cookie_takes_its_place_before_records_do(core: Core) -> None:
    strings = " ".join(['"' + "x" * 199 + '"'] * 2)
    for octets in range(20, 90):
        text = f"open.test. 300 TXT {strings} " + '"' + "y" * octets + '"'
        one = seats(core, says([text]))
        plain = query("open.test", "TXT", payload=512)
        made = asked("open.test", "TXT", payload=512)
        made.use_edns(0, 0, 512, options=[dns.edns.GenericOption(10, MINE)])
        bare = one.ask(plain)
        whole = one.send(made.to_wire())
        assert whole is not None
        assert len(whole) <= 512
        answer = dns.message.from_wire(whole)
        assert len(cookie_of(answer) or b"") == 24
        fits = not bare.flags & dns.flags.TC and len(one.send(plain.to_wire()) or b"") + 28 <= 512
        assert bool(answer.flags & dns.flags.TC) != fits
        assert bool(answer.answer) == fits


def test_a_batch_answers_as_one_by_one_does(core: Core) -> None:
    chance = random.Random(7)
    one, other = seats(core, rate=RATE), seats(core, rate=RATE)
    good = learnt(one)
    assert learnt(other) == good
    queries = []
    for number in range(64):
        made = [query("listed.test"), asked("listed.test"), asked("listed.test", cookie=good), asked("open.test")]
        packet = bytearray(chance.choice(made).to_wire())
        packet[:2] = number.to_bytes(2, "big")
        queries.append((bytes(packet), chance.choice((CLIENT, EXEMPT)), chance.choice((Transport.UDP, Transport.TCP))))
    assert one.batch(queries) == other.one_by_one(queries)
    assert list(one.counters) == list(other.counters)


ENCRYPTED = (Transport.DOT, Transport.DOH, Transport.DOQ)


def padding_of(octets: bytes) -> int | None:
    """The octets of padding in an answer, None without the option; it is the last one, of zeros, in the last record."""
    answer = dns.message.from_wire(octets)
    options = [(int(one.otype), one.to_wire() or b"") for one in answer.options]
    found = [octets for code, octets in options if code == 12]
    if not found:
        return None
    assert options[-1] == (12, bytes(len(found[0])))
    assert octets.endswith(b"\0\x0c" + len(found[0]).to_bytes(2, "big") + found[0])
    return len(found[0])


@pytest.mark.parametrize("over", list(Transport))
@pytest.mark.parametrize("way", WAYS)
def test_over_an_encrypted_transport_every_answer_to_an_opt_is_padded(core: Core, way: str, over: Transport) -> None:
    one = seats(core)
    for cookie in ([], [dns.edns.GenericOption(10, MINE)]):
        for padding in ([], [dns.edns.GenericOption(12, bytes(30))]):
            made = WAYS[way]()
            made.use_edns(0, 0, 1232, options=[*cookie, *padding])
            octets = bytearray(made.to_wire())
            if way == "a bad version":
                octets[octets.index(b"\0\0\x29") + 6] = 1
            answer = one.send(bytes(octets), CLIENT, over)
            assert answer is not None
            if over in ENCRYPTED:
                assert len(answer) == 468
                assert padding_of(answer) is not None
            else:
                assert padding_of(answer) is None
            assert (cookie_of(dns.message.from_wire(answer)) is None) == (not cookie)
    assert one.lane.errors == 0


def test_a_blocked_answer_has_the_size_of_every_other(core: Core) -> None:
    def many(message: Message) -> Message:
        return reply_of(message, [f"open.test. 300 A 198.51.100.{number}" for number in range(20)])

    sizes = set()
    for one in (seats(core), seats(core, many), seats(core, says(rcode=3)), seats(core, says(rcode=2))):
        for name, kind in (("listed.test", "A"), ("listed.test", "AAAA"), ("listed.test", "MX"), ("open.test", "A")):
            sizes.add(len(one.send(query(name, kind).to_wire(), CLIENT, Transport.DOT) or b""))
    assert sizes == {468}


def test_without_an_opt_nothing_can_be_padded(core: Core) -> None:
    one = seats(core)
    octets = query("listed.test", edns=False).to_wire()
    assert one.send(octets, CLIENT, Transport.DOT) == one.send(octets, CLIENT, Transport.TCP)


@pytest.mark.parametrize("octets", [400, 440, *range(441, 480), 900, 2000])
def test_the_next_multiple_is_taken_also_where_the_option_just_does_not_fit(core: Core, octets: int) -> None:
    # 51 octets are those of the message around the text.
    chunks = [min(255, octets - 51 - at) for at in range(0, octets - 51, 256)]
    text = " ".join('"' + "x" * max(0, size - 1) + '"' for size in chunks)
    one = seats(core, says([f"open.test. 300 TXT {text}"]))
    bare = one.send(query("open.test", "TXT").to_wire(), CLIENT, Transport.TCP)
    padded = one.send(query("open.test", "TXT").to_wire(), CLIENT, Transport.DOH)
    assert bare is not None
    assert padded is not None
    assert len(padded) == -(-(len(bare) + 4) // 468) * 468
    assert dns.message.from_wire(padded).answer == dns.message.from_wire(bare).answer


def test_the_limit_of_a_message_bounds_the_padding(core: Core) -> None:
    question = core("question").Question()
    packet = query("open.test").to_wire()
    core("question").parse(packet, len(packet), question)
    question.padding = 468
    out = bytearray(1000)
    bare = 12 + len(packet[12:])
    for limit in range(bare, bare + 480):
        size = core("reply").empty(out, packet, question, 0, codes.EDE_NONE, 0, limit)
        fits = limit >= bare + 4
        assert size == (min(limit, 468) if fits else bare)
        assert padding_of(bytes(out[:size])) == (size - bare - 4 if fits else None)
