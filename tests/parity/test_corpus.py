"""Each message of corpus/ in both builds: what is wrong with it is found, and what it costs is bounded."""

import time

import pytest

from resolver.core import codes
from tests.parity import cases, make_corpus, wires

# What core.question says of each query.
QUERIES = {
    "cookie-alone": codes.COOKIE_ALONE,
    "cookie-alone-and-octets-after-the-end": codes.BAD_COUNT,
    "cookie-alone-of-version-1": codes.BAD_COUNT,
    "cookie-alone-too-short": codes.BAD_COUNT,
    "count-of-additional-too-high": codes.BAD_RECORD,
    "count-of-additional-too-low": codes.BAD_RECORD,
    "count-of-answers-65535": codes.BAD_RECORD,
    "count-of-questions-65535": codes.BAD_COUNT,
    "eleven-octets": codes.SILENT_SHORT,
    "empty": codes.SILENT_SHORT,
    "header-alone": codes.BAD_NAME,
    "is-a-response": codes.SILENT_RESPONSE,
    "label-64-octets": codes.BAD_NAME,
    "label-past-the-end": codes.BAD_NAME,
    "label-type-10": codes.BAD_NAME,
    "name-128-labels": codes.BAD_NAME,
    "name-256-octets": codes.BAD_NAME,
    "name-without-end": codes.BAD_NAME,
    "no-question": codes.BAD_COUNT,
    "octets-after-the-end": codes.BAD_RECORD,
    "opcode-15": codes.BAD_OPCODE,
    "opcode-notify": codes.BAD_OPCODE,
    "opt-at-a-pointer-to-a-root": codes.BAD_OPT,
    "opt-cookie-cut": codes.BAD_RECORD,
    **{f"opt-cookie-of-{size}-octets": codes.BAD_OPT for size in (0, 7, 9, 15, 41)},
    "opt-in-answer": codes.BAD_OPT,
    "opt-in-authority": codes.BAD_OPT,
    "opt-not-at-the-root": codes.BAD_OPT,
    "opt-option-cut": codes.BAD_OPT,
    "opt-option-too-long": codes.BAD_OPT,
    "opt-twice": codes.BAD_OPT,
    "opt-version-1": codes.BAD_VERSION,
    "pointer-cut": codes.BAD_NAME,
    "pointer-forward": codes.BAD_NAME,
    "pointer-into-header": codes.BAD_NAME,
    "pointer-to-itself": codes.BAD_NAME,
    "pointer-to-own-label": codes.BAD_NAME,
    "qtype-axfr": codes.NOT_SERVED,
    "qtype-ixfr": codes.NOT_SERVED,
    "qtype-maila": codes.NOT_SERVED,
    "qtype-opt": codes.BAD_TYPE,
    "qtype-tkey": codes.BAD_TYPE,
    "qtype-tsig": codes.BAD_TYPE,
    "question-cut-after-name": codes.BAD_NAME,
    "question-cut-in-class": codes.BAD_NAME,
    "record-cut-in-header": codes.BAD_RECORD,
    "record-data-past-the-end": codes.BAD_RECORD,
    "right-127-labels": codes.WELL_FORMED,
    **{f"right-cookie-of-{size}-octets": codes.WELL_FORMED for size in (8, 16, 24, 40)},
    "right-edns": codes.WELL_FORMED,
    "right-ends-in-record-of-other-type": codes.WELL_FORMED,
    "right-labels-of-any-octet": codes.WELL_FORMED,
    "right-listed-odd-case": codes.WELL_FORMED,
    "right-longest-name": codes.WELL_FORMED,
    "right-padding": codes.WELL_FORMED,
    "right-plain": codes.WELL_FORMED,
    "right-root": codes.WELL_FORMED,
    "right-second-cookie-of-no-octets": codes.WELL_FORMED,
    "signed-sig0": codes.NOT_SERVED,
    "signed-tsig": codes.NOT_SERVED,
    "two-questions": codes.BAD_COUNT,
}

# What core.message and core.policy say of each reply, where blocked.example and all below it is listed.
REPLIES = {
    "64k-chained-pointers-of-long-names": "too much",
    "64k-chained-pointers": "too much",
    "64k-records-of-eleven-octets": "pass, some left out",
    "cname-target-empty": "broken",
    "cname-target-past-its-data": "broken",
    "cname-target-points-to-itself": "broken",
    "count-of-answers-65535": "broken",
    "count-of-answers-too-high": "broken",
    "count-of-answers-too-low": "pass, octets after it",
    "cut-in-record": "broken",
    "listed-address-in-authority": "block",
    "listed-after-many-pointers": "block",
    "listed-cname-off-the-chain": "pass, some left out",
    "listed-cname-target-compressed": "block",
    "listed-cname-target-octets-after": "broken",
    "listed-cname-target-second": "block",
    "listed-cname-target": "block",
    "listed-dname-target": "block",
    "listed-https-target": "block",
    "listed-owner-in-additional": "additional dropped",
    "listed-owner-off-the-chain": "pass, some left out",
    "listed-svcb-alias": "block",
    "more-names-than-are-judged": "ask",
    "octets-after-the-end": "pass, octets after it",
    "opt-in-answer": "broken",
    "opt-not-at-the-root": "broken",
    "opt-option-too-long": "broken",
    "opt-twice": "broken",
    "owner-points-forward": "broken",
    "owner-points-into-header": "broken",
    "owner-points-to-itself": "broken",
    "right-address": "pass",
    "right-cname-elsewhere": "pass",
    "right-listed-in-authority-only": "pass",
    "right-listed-in-text": "pass",
    "right-negative": "pass",
    "right-opt-not-last": "pass",
    "svcb-of-one-octet": "broken",
    "two-questions": "broken",
}
VERDICTS = {codes.ASK: "ask", codes.PASS: "pass", codes.BLOCK: "block"}
LISTS = wires.Lists(((make_corpus.LISTED, b"\3\0", 1),), ((False,) * 3,), ((0, True, (), ()),), ())


def octets_of(kind: str, name: str) -> bytes:
    return (make_corpus.FOLDER / f"{kind}-{name}.bin").read_bytes()


def problem_of(core: cases.Core, packet: bytes) -> int:
    problem: int = core("question").parse(packet, len(packet), core("question").Question())
    return problem


def said_of(core: cases.Core, octets: bytes) -> str:
    """What both readers of a reply say."""
    policy, message = core("policy"), core("message").Message()
    if not core("message").read(octets, len(octets), message):
        return "broken"
    scrub, chain, out, more = core("scrub"), core("scrub").Chain(), memoryview(bytearray(65535)), ""
    if message.trailing:
        more = ", octets after it"
    found = scrub.look(message, chain)
    if found == scrub.TOO_MUCH:
        return "too much"
    if found == scrub.NEEDED:
        length = scrub.write(message, chain, out)
        assert core("message").read(out, length, message)
        more = ", some left out"
    name, verdict = core("name").Name(), policy.Verdict()
    said = policy.judge(wires.generation(core, LISTS), message, 1, name, verdict)
    assert verdict.errors == 0
    return "additional dropped" if message.drop_additional else VERDICTS[said] + more


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_query(name: str) -> None:
    assert cases.both(problem_of, octets_of("query", name)) == QUERIES[name]


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_reply(name: str) -> None:
    assert cases.both(said_of, octets_of("reply", name)) == REPLIES[name]


def test_no_message_is_left_out_and_each_is_as_it_is_made() -> None:
    made = {f"query-{name}": octets for name, octets in make_corpus.queries()}
    made |= {f"reply-{name}": octets for name, octets in make_corpus.replies()}
    assert {path.stem: path.read_bytes() for path in make_corpus.FOLDER.glob("*.bin")} == made
    assert made.keys() == {f"query-{name}" for name in QUERIES} | {f"reply-{name}" for name in REPLIES}


@pytest.mark.parametrize("kind", ["query", "reply"])
def test_what_passes_is_called_right(kind: str) -> None:
    table = QUERIES if kind == "query" else REPLIES
    sound = codes.WELL_FORMED if kind == "query" else "pass"
    assert all((said == sound) == name.startswith("right-") for name, said in table.items())


@pytest.mark.parametrize("name", sorted(name for name in REPLIES if name.startswith("64k-")))
def test_64_kb_cost_a_few_milliseconds_at_most(name: str) -> None:
    octets = octets_of("reply", name)
    assert len(octets) > 65000
    core = cases.BUILDS[0]
    policy, message, verdict = core("policy"), core("message").Message(), core("policy").Verdict()
    generation, folded, chain = wires.generation(core, LISTS), core("name").Name(), core("scrub").Chain()
    out = memoryview(bytearray(65535))
    best = 1.0
    for _ in range(50):
        start = time.perf_counter()
        core("message").read(octets, len(octets), message)
        found = core("scrub").look(message, chain)
        if found == core("scrub").NEEDED:
            core("message").read(out, core("scrub").write(message, chain, out), message)
        if found != core("scrub").TOO_MUCH:
            policy.judge(generation, message, 1, folded, verdict)
        best = min(best, time.perf_counter() - start)
    # About a millisecond on an idle machine; work that grows with the square of the records is above 100.
    assert best < 0.005
    print(f"{name}: {best * 1e6:.0f} us")
