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
