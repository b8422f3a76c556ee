"""Messages of a zone transfer to lines: what each record means, and what is no transfer."""

import dns.message
import dns.name
import dns.rrset
import pytest

from resolver.core import transfer
from tests.fakes.primary import ZONE, Record, message, soa

ORIGIN = dns.name.from_text(ZONE).to_wire() or b""


def walked(*messages: bytes, origin: bytes = ORIGIN) -> tuple[int, list[str], transfer.Transfer]:
    """The problem, the lines, and the transfer after these messages."""
    found, lines = transfer.Transfer(origin), b""
    for wire in messages:
        if transfer.walk(wire, len(wire), found) == transfer.SOUND:
            lines += found.lines()
    return found.problem, lines.decode("ascii").split("\n")[:-1], found


def wire(*records: Record) -> bytes:
    return message(records).to_wire(max_size=65535)


def line_of(owner: str, kind: str, data: str) -> str:
    problem, lines, _ = walked(wire(soa(1), (owner, kind, data), soa(1)))
    assert problem == transfer.SOUND
    assert (lines[0], lines[2]) == ("", "")
    return lines[1]


@pytest.mark.parametrize(
    ("owner", "kind", "data", "line"),
    [
        ("bad.test", "CNAME", ".", "=bad.test"),
        ("bad.test", "CNAME", "*.", "=bad.test"),
        ("bad.test", "CNAME", "rpz-drop.", "=bad.test"),
        ("bad.test", "CNAME", "garden.example.", "=bad.test"),
        ("bad.test", "CNAME", "*.garden.example.", "=bad.test"),
        ("bad.test", "A", "192.0.2.1", "=bad.test"),
        ("bad.test", "AAAA", "2001:db8::1", "=bad.test"),
        ("bad.test", "TXT", "text", "=bad.test"),
        ("bad.test", "TYPE65280", r"\# 1 00", "=bad.test"),
        ("BAD.Test", "CNAME", ".", "=bad.test"),
        ("*.bad.test", "CNAME", ".", "*.bad.test"),
        ("*.bad.test", "A", "192.0.2.1", "*.bad.test"),
        ("good.test", "CNAME", "rpz-passthru.", "!=good.test"),
        ("good.test", "CNAME", "RPZ-PassThru.", "!=good.test"),
        ("*.good.test", "CNAME", "rpz-passthru.", "!*.good.test"),
        ("good.test", "CNAME", "Good.test.", "!=good.test"),
        ("good.test", "CNAME", "good.test.rpz.example.", "=good.test"),
        ("x.good.test", "CNAME", "good.test.", "=x.good.test"),
        ("*.good.test", "CNAME", "*.good.test.", "?action"),
        ("bad.test", "CNAME", "rpz-tcp-only.", "?action"),
        ("bad.test", "CNAME", "rpz-new.", "?action"),
        ("bad.test", "CNAME", "rpz-drop.example.", "=bad.test"),
        ("bad.test", "CNAME", "rpz.", "=bad.test"),
        ("bad.test", "DNAME", "garden.example.", "?action"),
        ("32.1.2.0.192.rpz-ip", "CNAME", ".", "?trigger"),
        ("32.1.2.0.192.rpz-ip", "CNAME", "rpz-passthru.", "?trigger"),
        ("24.0.2.0.192.RPZ-client-ip", "CNAME", ".", "?trigger"),
        ("32.1.2.0.192.rpz-nsip", "CNAME", ".", "?trigger"),
        ("ns.test.rpz-nsdname", "CNAME", ".", "?trigger"),
        ("*.ns.test.rpz-nsdname", "A", "192.0.2.1", "?trigger"),
        ("x.rpz-new", "CNAME", ".", "?trigger"),
        ("rpz-ip.test", "CNAME", ".", "=rpz-ip.test"),
        ("*", "CNAME", ".", "*.."),
        ("*", "CNAME", "*.", "*.."),
        ("a.*.test", "CNAME", ".", r"=a.\.test"),
        (r"a\.b.test", "CNAME", ".", r"=a\b.test"),
        (r"a\010b.test", "CNAME", ".", r"=a\b.test"),
        (r"\033\061a.test", "CNAME", ".", r"=\\a.test"),
        ("@", "NS", "ns.example.", ""),
        ("@", "TXT", "what stands at the apex", ""),
        ("@", "CNAME", ".", ""),
        ("x.test", "NS", "ns.example.", ""),
        ("x.test", "DS", "1 8 2 " + "00" * 32, ""),
        ("@", "ZONEMD", "1 1 1 " + "00" * 48, ""),
        ("x.test", "NSEC", "y.test. A", ""),
        ("x.test", "RRSIG", "A 8 2 60 20300101000000 20200101000000 1 example. AAAA", ""),
    ],
)
def test_what_a_record_says(owner: str, kind: str, data: str, line: str) -> None:
    assert line_of(owner, kind, data) == line


def test_a_name_counts_once_and_every_record_has_its_line() -> None:
    records: list[Record] = [
        soa(9),
        ("a.test", "A", "192.0.2.1"),
        ("a.test", "A", "192.0.2.2"),
        ("a.test", "TXT", "x"),
        ("b.test", "CNAME", "."),
        ("32.1.2.0.192.rpz-ip", "CNAME", "."),
        ("32.2.2.0.192.rpz-ip", "CNAME", "."),
        soa(9),
    ]
    problem, lines, found = walked(wire(*records))
    assert problem == transfer.SOUND
    assert lines == ["", "=a.test", "", "", "=b.test", "?trigger", "?trigger", ""]
    assert (found.records, bool(found.closed), found.serial) == (8, True, 9)


KEY = bytes(range(16))


def marked(*records: Record, key: bytes = KEY) -> list[str]:
    """The lines of one message, marked."""
    found, said = transfer.Transfer(ORIGIN, key), wire(*records)
    assert transfer.walk(said, len(said), found) == transfer.SOUND
    return found.lines().decode("ascii").split("\n")[:-1]


def test_marked_every_record_has_its_line_and_every_soa() -> None:
    lines = marked(
        soa(9),
        soa(8),
        ("a.test", "A", "192.0.2.1"),
        ("a.test", "A", "192.0.2.2"),
        soa(2**32 - 1),
        ("@", "NS", "x."),
        soa(9),
    )
    texts = [line.rpartition(" ")[0] for line in lines]
    assert texts == ["@00000009", "@00000008", "=a.test", "=a.test", "@ffffffff", "", "@00000009"]
    assert {len(line) - len(text) for line, text in zip(lines, texts, strict=True) if text} == {transfer.MARK_OCTETS}
    assert lines[5] == ""
    assert lines[0] == lines[6]
    assert len(set(lines)) == 6


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("a.test", "CNAME", "B.test."), ("A.test", "CNAME", "b.TEST."), True),
        (("a.test", "MX", "10 x.rpz.example."), ("a.test", "MX", "10 X.rpz.example."), True),
        (("a.test", "MX", "10 x.rpz.example."), ("a.test", "MX", "20 x.rpz.example."), False),
        (("a.test", "PTR", "x.rpz.example."), ("a.test", "PTR", "y.rpz.example."), False),
        (("a.test", "TXT", "text"), ("a.test", "TXT", "Text"), False),
        (("a.test", "TYPE65280", r"\# 4 c0000201"), ("a.test", "A", "192.0.2.1"), False),
        (("32.1.2.0.192.rpz-ip", "CNAME", "."), ("32.2.2.0.192.rpz-ip", "CNAME", "."), False),
        ((r"a\000.test", "CNAME", "."), (r"a\001.test", "CNAME", "."), False),
        (soa(7), soa(7), True),
        (soa(7), ("@", "SOA", "ns.example. mail.example. 7 3600 600 86400 61"), False),
    ],
)
def test_a_mark_tells_records_apart(one: Record, other: Record, same: bool) -> None:
    assert (marked(soa(1), one)[1] == marked(soa(1), other)[1]) is same
    assert marked(soa(1), one)[1] != marked(soa(1), one, key=KEY[::-1])[1]


def test_a_mark_does_not_depend_on_how_names_are_compressed() -> None:
    record: Record = ("a.test", "CNAME", "b.test.rpz.example.")
    said = message([soa(1), record])
    loose = said.to_wire(max_size=65535)
    assert b"\6b\4test" not in loose
    target = dns.name.from_text(record[2]).to_wire() or b""
    head = wire(soa(1))
    spelt = b"\1a\4test" + ORIGIN + b"\0\5\0\1\0\0\0\x3c" + len(target).to_bytes(2, "big") + target
    found = transfer.Transfer(ORIGIN, KEY)
    whole = head[:7] + b"\2" + head[8:] + spelt
    assert transfer.walk(whole, len(whole), found) == transfer.SOUND
    assert found.lines().decode().split("\n")[1] == marked(soa(1), record)[1]


def test_marked_only_the_first_record_is_held_to_the_order() -> None:
    for records, problem in (
        ([("a.test", "CNAME", "."), soa(1)], transfer.NOT_A_SOA),
        ([soa(1), ("x.test", *soa(1)[1:])], transfer.OTHER_SOA),
        ([soa(1), ("a.test.", "CNAME", ".")], transfer.OUT_OF_ZONE),
        ([soa(1), soa(2), soa(1), soa(1)], transfer.SOUND),
    ):
        found, said = transfer.Transfer(ORIGIN, KEY), wire(*records)
        assert transfer.walk(said, len(said), found) == problem
        assert not found.closed


def test_a_key_has_its_length() -> None:
    for key in (b"k", bytes(15), bytes(17)):
        with pytest.raises(ValueError, match="key"):
            transfer.Transfer(ORIGIN, key)


def test_the_longest_lines_have_room() -> None:
    # As many records as a message has room for, each with the longest name: pointers make them short.
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 49]) + "." + ZONE
    said = wire(soa(1), (longest, "A", "192.0.2.1"))
    at = said.index(b"\x3f" + b"a" * 63)
    record = (0xC000 | at).to_bytes(2, "big") + b"\0\1\0\1\0\0\0\x3c\0\0"
    count = (65535 - len(said)) // len(record)
    whole = said[:6] + (2 + count).to_bytes(2, "big") + said[8:] + record * count
    found = transfer.Transfer(ORIGIN, KEY)
    assert transfer.walk(whole, len(whole), found) == transfer.SOUND
    assert (found.records, found.lines().count(b"\n")) == (2 + count, 2 + count)


def test_a_transfer_may_come_in_many_messages() -> None:
    problem, lines, found = walked(wire(soa(9)), wire(("a.test", "CNAME", ".")), wire(soa(9)))
    assert (problem, lines, bool(found.closed)) == (transfer.SOUND, ["", "=a.test", ""], True)


def test_the_root_may_be_an_origin_and_the_longest_name_has_room() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61]) + "."
    said = message([("." if one == "@" else one, kind, data) for one, kind, data in [soa(1), (longest, "CNAME", ".")]])
    problem, lines, _ = walked(said.to_wire(), origin=b"\0")
    assert (problem, lines[1]) == (transfer.SOUND, "=" + longest.removesuffix("."))


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([("a.test", "CNAME", "."), soa(1)], transfer.NOT_A_SOA),
        ([("x.test", *soa(1)[1:])], transfer.OTHER_SOA),
        ([soa(1), ("x.test", *soa(1)[1:])], transfer.OTHER_SOA),
        ([soa(1), soa(2)], transfer.OTHER_SOA),
        ([soa(1), ("@", "SOA", "ns.example. mail.example. 1 3600 600 86400 61")], transfer.OTHER_SOA),
        ([soa(1), ("@", "SOA", "ns.example. mails.example. 1 3600 600 86400 60")], transfer.OTHER_SOA),
        ([soa(1), soa(1), soa(1)], transfer.BEHIND_THE_END),
        ([soa(1), soa(1), ("a.test", "CNAME", ".")], transfer.BEHIND_THE_END),
        ([soa(1), ("a.test.", "CNAME", ".")], transfer.OUT_OF_ZONE),
        ([soa(1), ("xrpz.example.", "CNAME", ".")], transfer.OUT_OF_ZONE),
        ([soa(1), ("example.", "CNAME", ".")], transfer.OUT_OF_ZONE),
    ],
)
def test_what_is_no_transfer(records: list[Record], problem: int) -> None:
    assert walked(wire(*records))[0] == problem
    assert walked(*(wire(one) for one in records))[0] == problem


def test_after_a_problem_nothing_counts() -> None:
    problem, lines, _ = walked(wire(("a.test", "CNAME", ".")), wire(soa(1), soa(1)))
    assert (problem, lines) == (transfer.NOT_A_SOA, [])


def test_another_class_is_refused() -> None:
    said = message([soa(1)])
    said.answer.append(dns.rrset.from_text("a.test.rpz.example.", 60, "CH", "TXT", "x"))
    assert walked(said.to_wire())[0] == transfer.BAD_CLASS


def test_a_message_that_ends_too_early_or_too_late_is_malformed() -> None:
    whole = wire(soa(1), ("a.test", "CNAME", "."), soa(1))
    assert walked(whole)[0] == transfer.SOUND
    for size in range(len(whole)):
        assert walked(whole[:size])[0] == transfer.MALFORMED
    assert walked(whole + b"\0")[0] == transfer.MALFORMED


def test_a_target_that_does_not_fill_its_data_is_malformed() -> None:
    whole = wire(soa(1), ("a.test", "CNAME", "."))
    assert whole.endswith(b"\0\1\0")
    assert walked(whole[:-3] + b"\0\2\0\0")[0] == transfer.MALFORMED


def test_a_signature_is_the_last_record() -> None:
    tsig = b"\0\0\xfa\0\xff\0\0\0\0\0\0"
    plain = wire(soa(1))
    signed = plain[:11] + b"\1" + plain[12:] + tsig
    problem, _, found = walked(signed)
    assert (problem, found.tsig_at) == (transfer.SOUND, len(plain))
    assert walked(plain[:11] + b"\2" + plain[12:] + tsig + tsig)[0] == transfer.MALFORMED
    assert walked(plain[:9] + b"\1\0\0" + plain[12:] + tsig)[0] == transfer.MALFORMED
    assert walked(plain)[2].tsig_at == 0


def test_an_origin_is_a_name() -> None:
    with pytest.raises(ValueError, match="origin"):
        transfer.Transfer(b"\3rpz")
