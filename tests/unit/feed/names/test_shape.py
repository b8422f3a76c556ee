"""What a file looks like, by its form alone."""

import gzip
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.feed.names.shape import SAMPLE, looks_like
from resolver.feed.reasons import Shape


def archive(name: str) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as made:
        made.writestr(zipfile.ZipInfo(name), "a.test")
    return into.getvalue()


def lines(form: str) -> bytes:
    return "".join(form.format(f"n{at}.test") + "\n" for at in range(30)).encode()


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (lines("0.0.0.0 {}"), Shape.HOSTS),
        (lines("127.0.0.1\t{} other.test # why"), Shape.HOSTS),
        (lines("::1 {}"), Shape.HOSTS),
        (lines("||{}^"), Shape.ADBLOCK),
        (lines("||{}^$third-party"), Shape.ADBLOCK),
        (b"[Adblock Plus 2.0]\n! Title\n" + lines("{}"), Shape.ADBLOCK),
        (lines("{}##.banner"), Shape.ADBLOCK),
        (lines("address=/{}/#"), Shape.DNSMASQ),
        (lines("server=/{}/"), Shape.DNSMASQ),
        (b"server:\n" + lines('  local-zone: "{}" always_nxdomain'), Shape.UNBOUND),
        (b"$TTL 60\n@ SOA a. b. 1 1 1 1 1\n" + lines("{} CNAME ."), Shape.RPZ),
        (lines("*.{} IN CNAME ."), Shape.RPZ),
        (b"1;1700000000\n" + lines("http://{0}/;{0};;"), Shape.CSV),
        (lines("https://{}/a/b?c"), Shape.URLS),
        (lines("*.{}"), Shape.WILDCARDS),
        (lines("{}"), Shape.PLAIN),
        (lines("{},2026-01-01,malware"), Shape.COMMAS),
        (lines("^(.*\\.)?{}$"), Shape.REGEX),
        (b"192.0.2.1\n2001:db8::/32\n", Shape.ADDRESSES),
        (b"<!DOCTYPE html>\n<title>404</title>", Shape.HTML),
        (b"<?xml version='1.0'?><a/>", Shape.XML),
        (b'{"names": ["a.test"]}', Shape.JSON),
        (b'["a.test"]', Shape.JSON),
        (gzip.compress(b"a.test", mtime=0), Shape.GZIP),
        (archive("xl/workbook.xml"), Shape.XLSX),
        (archive("list.txt"), Shape.ZIP),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), Shape.XLS),
        (lines("{}").decode().encode("utf-16"), Shape.UTF16),
        (lines("{}").decode().encode("utf-16-le"), Shape.UTF16),
        ("# b\u00fccher\na.test\n".encode("latin-1"), Shape.LATIN1),
        (b"\x01\x02\xff\x03", Shape.BINARY),
        (b"-----BEGIN PGP MESSAGE-----\n", Shape.OPENPGP),
        (b"age-encryption.org/v1\n", Shape.AGE),
        (b"%PDF-1.4\n", Shape.PDF),
        (b"", None),
        (b"# a.test\n; b\n", None),
        (b"hello there\nwhat is this\n", None),
    ],
)
def test_what_a_file_looks_like(data: bytes, shape: Shape | None) -> None:
    assert looks_like(data) == shape


def test_a_few_odd_lines_do_not_change_what_it_looks_like() -> None:
    assert looks_like(lines("0.0.0.0 {}") + b"what is this\n" * 9) is Shape.HOSTS


def test_a_sample_may_end_within_a_character() -> None:
    assert looks_like(b"# " + b"x" * (SAMPLE - 3) + "\u00fc\n".encode() + lines("{}")) is None


@given(st.binary(max_size=200))
def test_any_bytes_look_like_something_or_nothing(data: bytes) -> None:
    assert looks_like(data) in {None, *Shape}
