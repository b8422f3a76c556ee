"""Which lines wait for approval, and why; the shipped list."""

import itertools
import re

import pytest

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, SET_ASIDE
from resolver.feed.names import read, suffixes
from resolver.feed.names.guard_lines import INFRASTRUCTURE, Protected
from resolver.feed.operator_names import ascii_name, names_in

PSL = read.suffixes()
SHIPPED = INFRASTRUCTURE.read_text("ascii")
GUARD = Protected(("ISP.test.", "b\u00fccher.test"), SHIPPED, "# rank,name\n1,www.popular.test\n", PSL)
WHOLE = BLOCK_SELF | BLOCK_BELOW


def read_lines(text: str, *, demonstration: bool = True) -> read.Entries:
    return read.read(text.encode(), PSL, demonstration=demonstration, max_entries=99_999, protected=GUARD)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("isp.test", "protected"),
        ("IsP.TeSt.", "protected"),
        ("mail.isp.test", "protected"),
        ("a.b.c.isp.test", "protected"),
        ("=isp.test", "protected"),
        ("xn--bcher-kva.test", "protected"),
        ("B\u00dcCHER.test", "protected"),
        ("popular.test", "popular"),
        ("www.popular.test", "popular"),
        ("other.popular.test", None),
        ("a.www.popular.test", None),
        ("xisp.test", None),
        ("!isp.test", None),
        ("!=isp.test", None),
    ],
)
def test_a_line_of_a_demonstration_list(line: str, reason: str | None) -> None:
    found = read_lines(f"one.test\n{line}\ntwo.test\n")
    assert found.set_aside == ({reason: 1} if reason else {})
    assert found.set_aside_lines == ({reason: (2,)} if reason else {})
    assert (found.lines, found.refused) == (3, {})


DISGUISES = (
    "\ufeff%s",
    "%s.",
    "%s..",
    ".%s",
    "%s\u3002",
    "\u00ad%s",
    "i\u200bsp.test",
    "is\u200dp.test",
    "isp\uff0etest",
    "isp\uff61test",
    "isp\u3002test",
    "\uff29\uff33\uff30\uff0e\uff34\uff25\uff33\uff34",
    "i\u017fp.test",
    "%s\0",
    "\0%s",
    "i\0sp.test",
    "%s\x85",
    "%s\u2028",
    "%s\u00a0",
    "%s\x0b",
    "\t%s\t",
    "  %s  # a comment",
    "%s\t#a comment",
    "%s#no comment",
    "%s\r",
    "%s\r\r",
    "*.%s",
    "*%s",
    "=*.%s",
    "www.*.%s",
    "= %s",
    " =%s",
    "==%s",
    "%s=",
    "%s:53",
    "%s/",
    "//%s",
    "[%s]",
    "a@%s",
    "%s other.test",
    "%s,other.test",
    "xn--isp-.%s",
    "xn--.%s",
    "xn--99999999999.%s",
    "XN--BCHER-KVA.%s",
    "_443._https.%s",
    "B\u00dcCHER.test",
    "B\u0055\u0308CHER.test",
    "b\u00fccher\u3002te\u00adst",
    "Xn--BchEr-kVa.TEST.",
)


def test_a_protected_name_is_never_in_force_however_it_is_written() -> None:
    for written, marker, end in itertools.product(DISGUISES, ("", "="), ("\n", "\r\n", "")):
        line = marker + written.replace("%s", "isp.test") + end
        found = read_lines(f"one.test\n{line}")
        bits = memoryview(found.flags).cast("H").tolist()
        assert sum(found.set_aside.values()) + sum(found.refused.values()) == 1, repr(line)
        assert [bit for bit in bits if not bit & SET_ASIDE] == [WHOLE], repr(line)


@pytest.mark.parametrize("written", ["i\u0441p.test", "\u0456sp.test", "xn--isp-.test", "isp-.test", "isp.test.test"])
def test_what_only_looks_like_it_is_another_name(written: str) -> None:
    """Of mixed scripts, of a false A-label, of a longer name: nobody who asks for the protected one asks for it."""
    found = read_lines(f"{written}\n")
    assert (found.lines, found.set_aside) == (1, {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("github.io", "private_suffix"),
        ("GitHub.IO", "private_suffix"),
        ("one.github.io", None),
        ("cloudfront.net", "private_suffix"),
        ("b-cdn.net", "infrastructure"),
        ("shop.b-cdn.net", None),
        ("d1.cloudfront.net", None),
        ("resolver.dns.google", "infrastructure"),
        ("digicert.com", "infrastructure"),
        ("ocsp.digicert.com", "infrastructure"),
    ],
)
def test_a_line_of_a_production_list(line: str, reason: str | None) -> None:
    found = read_lines(f"one.domain-of-nobody\n{line}\n", demonstration=False)
    assert found.set_aside == ({reason: 1} if reason else {})


def test_what_nobody_may_list_is_refused_and_the_rest_read() -> None:
    found = read_lines("co.uk\ngithub.io\ncom\n.\ngithub.io/path\none.domain-of-nobody\n", demonstration=False)
    assert found.refused == {"icann_suffix": 1, "tld": 1, "root": 1, "url": 1}
    assert found.set_aside_lines == {"private_suffix": (2,)}
    assert found.lines == 2


def test_the_bit_is_at_the_line_and_at_no_other() -> None:
    found = read_lines("".join(f"n{number}.test\n" for number in range(1000)) + "isp.test\n=mail.isp.test\n")
    bits = memoryview(found.flags).cast("H").tolist()
    assert sorted(bits)[-2:] == [BLOCK_SELF | SET_ASIDE, WHOLE | SET_ASIDE]
    assert bits.count(WHOLE) == 1000
    assert found.set_aside_lines == {"protected": (1001, 1002)}


def test_a_wildcard_of_the_private_section() -> None:
    text = (
        "// ===BEGIN ICANN DOMAINS===\ncom\n// ===END ICANN DOMAINS===\n"
        "// ===BEGIN PRIVATE DOMAINS===\n*.hosts.test\n!own.hosts.test\n// ===END PRIVATE DOMAINS===\n"
    )
    psl = suffixes.parse(text)
    guard = Protected((), "", "", psl)
    found = read.read(
        b"a.hosts.test\nb.a.hosts.test\nown.hosts.test\nhosts.test\n",
        psl,
        demonstration=True,
        max_entries=9,
        protected=guard,
    )
    assert found.set_aside_lines == {"private_suffix": (1, 4)}


def test_the_shipped_list() -> None:
    groups = [block.splitlines() for block in SHIPPED.strip().split("\n\n")][1:]
    names = [line for group in groups for line in group if line[0] != "#"]
    assert names == names_in(SHIPPED)
    for group in groups:
        comments = [line for line in group if line[0] == "#"]
        told = group[len(comments) :]
        assert group[: len(comments)] == comments
        assert told
        assert told == sorted(told)
        source = " ".join(comments).partition(" Source: ")[2]
        assert re.search(r"[a-z]\.(?:com|org|net|goog)[/);]", source), f"{told[0]}: which document tells it?"
    assert len({name.removeprefix("=") for name in names}) == len(names)
    assert 50 <= len(names) <= 200
    for name in names:
        plain = ascii_name(name.removeprefix("="))
        above = [plain.split(b".", number)[number].decode() for number in range(1, plain.count(b".") + 1)]
        assert not set(above) & set(names), f"{name} is protected by what is above it"
        assert not PSL.holds(plain)
        assert read.read(plain, PSL, demonstration=False, max_entries=1).lines == 1


@pytest.mark.parametrize(
    "name",
    ["akamaiedge.net", "amazonaws.com", "azurefd.net", "cloudfront.net", "edgekey.net", "fastly.net", "google.com"],
)
def test_clouds_and_delivery_networks_are_set_aside_whoever_tells_of_them(name: str) -> None:
    assert GUARD.reason(name.encode()) in ("private_suffix", "infrastructure")
