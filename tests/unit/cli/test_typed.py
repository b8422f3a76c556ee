"""What people type and paste is read as the name that they mean, or refused with the reason; nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.cli import typed

URL, MAIL, READ = "of the URL: ", "of the mail address: ", "read as "
NAMES = {
    "x.example": "",
    "X.Example.": "",
    "  x.example\t": "",
    '"x.example"': "",
    "\u201cx.example\u201d": "",
    "<https://x.example/p>": URL,
    "https://x.example": URL,
    "https://user:word@x.example:8443/a/b?c=d#e": URL,
    "https://x.example?c": URL,
    "https://x.example/a path with blanks": URL,
    "https:x.example": URL,
    "http:/x.example": URL,
    "//x.example/p": URL,
    "ftp://x.example/": URL,
    "https://x%2Eexample/": URL,
    "view-source:https://x.example/": URL,
    "hxxp://x.example": URL,
    "hXXps://x[.]example/p": URL,
    "h**p://x.example": URL,
    "hxxps[://]x[.]example": URL,
    "hxxps[:]//x(.)example/": URL,
    "x.example/": URL,
    "x.example/p": URL,
    "x.example?q": URL,
    "x.example#part": URL,
    "x.example:443": READ,
    "x.example:": READ,
    "x[.]example": READ,
    "x (dot) example": READ,
    "x[dot]example": READ,
    "x.example,": READ,
    "user@x.example": MAIL,
    "user[at]x[.]example": MAIL,
    "mailto:user@x.example": MAIL,
}
COMMENT, RULE, MARK = "a comment, not a name", "a rule of an ad blocker", "= and ! are marks of a list"
WILDCARD, WORDS, ADDRESS = "a wildcard, not a name", "several words", "an address, not a name"
NO_NAMES = {
    "": "the line is empty",
    " \t": "the line is empty",
    '""': "the line is empty",
    ".": "the root",
    "..": "there is no host in it",
    "https://": "there is no host in it",
    "https:///p": "there is no host in it",
    "# a comment": COMMENT,
    "; a comment": COMMENT,
    "x.example # why": "a name and a comment",
    "x.example // why": "a name and a comment",
    "=x.example": MARK,
    "!x.example": MARK,
    "! x.example": MARK,
    "*.x.example": WILDCARD,
    ".x.example": WILDCARD,
    "||x.example^": RULE,
    "@@||x.example^": RULE,
    "two words.example": WORDS,
    "0.0.0.0 x.example": WORDS,
    "x.example y.example": WORDS,
    "https://x.example y.example": WORDS,
    "192.0.2.1": ADDRESS,
    "192.0.2.1:80": ADDRESS,
    "192.0.2.0/24": ADDRESS,
    "http://192.0.2.1/p": ADDRESS,
    "192[.]0[.]2[.]1": ADDRESS,
    "2001:db8::1": ADDRESS,
    "[2001:db8::1]:443": ADDRESS,
    "https://[2001:db8::1]/": ADDRESS,
    "fe80::1%eth0": ADDRESS,
    "3232235777": ADDRESS,
    "0x7f.1": ADDRESS,
    "x..example": "two dots",
    "a" * 64 + ".example": "longer than",
    ".".join(["a" * 60] * 5): "longer than",
    "foo:bar": "a character that no name",
    "a/b": "a / in it",
    "javascript:alert(1)": "a pattern",
    "x\\.example": "a pattern",
    "\U0001f600.example": "cannot be mapped",
    "a\u2028b.example": WORDS,
}


@pytest.mark.parametrize(("text", "read_as"), NAMES.items(), ids=range(len(NAMES)))
def test_a_name_is_read_out_of_what_is_pasted_and_the_reading_is_shown(text: str, read_as: str) -> None:
    found = typed.read(text)
    assert (found.name.lower(), found.read_as, found.wire.lower()) == ("x.example", read_as, b"\1x\7example\0")
    assert found.shown("said") == (f"{read_as}{found.name}: said" if read_as else "said")


@pytest.mark.parametrize(("text", "why"), NO_NAMES.items(), ids=range(len(NO_NAMES)))
def test_what_is_no_name_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(typed.NotAName, match=why) as refused:
        typed.read(text)
    assert not text.strip('. "\t') or text.strip() not in str(refused.value)


def test_names_of_other_tools_are_left_as_they_are() -> None:
    reverse = ("1.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa")
    for name in ("_443._tcp.x.example", *reverse, "localhost", "a--b.test"):
        assert typed.read(name) == (name, "")
    assert typed.read(".", root=True).wire == b"\0"


def test_names_beyond_ascii_are_mapped() -> None:
    assert typed.wire("Bücher.test") == b"\x0dxn--bcher-kva\x04test\x00"
    assert typed.read("https://bücher.test/seite") == ("xn--bcher-kva.test", URL)


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z.:/@\[\]%*=#! ()-]{1,40}", fullmatch=True))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    try:
        found = typed.read(text)
    except typed.NotAName:
        return
    assert found.wire[-1] == 0
    assert typed.read(found.name) == (found.name, "")


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("a.test", True),
        ("TEST.", True),
        ("x.example.com", True),
        ("example.org", True),
        ("test.isp", False),
        ("attest", False),
        ("myexample.com", False),
        ("", False),
        ("https://x.example/p", True),
        ("https://x.example.isp/p.test", False),
    ],
)
def test_reserved_names_are_no_secret(name: str, reserved: bool) -> None:
    assert typed.is_reserved(name) is reserved
