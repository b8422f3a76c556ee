"""A visitor's request: its head read strictly, the choice of a language and a coding, and a model in other words."""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core.visit import MAX_FIELDS, MAX_LENGTH, MAX_PARTS
from resolver.quiet_http.connection import MAX_HEAD
from tests.parity import twin
from tests.unit.core import model_visit
from tests.unit.core.model_visit import Said

Core = Callable[[str], ModuleType]
AVAILABLE = ("de", "en-simple", "en", "fr", "ar")
BUILDS = (twin.compiled("visit"), twin.load("visit"))
LINE = b"GET / HTTP/1.1\r\n"
PLAIN = ("GET", "/", False, "", "")


def said(visits: ModuleType, octets: bytes) -> tuple[str, str, bool, str, str] | None:
    """Method, path, whether it asks for a document, languages and codings of a head; None if it is malformed."""
    visit = visits.Visit()
    if not visits.read(visit, octets):
        return None
    method = "GET" if visit.get else "HEAD" if visit.head else ""
    sizes = [min(size, MAX_LENGTH) for size in visit.sizes]
    lists = [bytes(visit.octets[at : at + size]) for at, size in zip((0, MAX_LENGTH), sizes, strict=True)]
    path = octets[visit.path : visit.path_end].decode("ascii")
    # mypy: five values, of which it cannot count the last two.
    return method, path, bool(visit.document), *(one.decode("latin-1") for one in lists)  # type: ignore[return-value]


def of_model(octets: bytes) -> tuple[str, str, bool, str, str] | None:
    """The same by the model."""
    found = model_visit.read(octets)
    if found is None:
        return None
    method = found.method if found.method in ("GET", "HEAD") else ""
    lists = found.languages[:MAX_LENGTH], found.encodings[:MAX_LENGTH]
    return method, found.path, "text/html" in found.accept, *lists


def with_fields(visits: ModuleType, *fields: bytes) -> Any:
    """A visit that has read a head with these fields."""
    visit = visits.Visit()
    assert visits.read(visit, LINE + b"".join(field + b"\r\n" for field in fields) + b"\r\n")
    return visit


def language(visits: ModuleType, header: str, default: str = "en", available: tuple[str, ...] = AVAILABLE) -> str:
    """The language that a header prefers."""
    visit = with_fields(visits, b"Accept-Language: " + header.encode("latin-1"))
    return available[visits.language(visit, visits.Tags(available, default))]


def takes_gzip(visits: ModuleType, header: str) -> bool:
    """Whether a header accepts gzip."""
    return bool(visits.takes_gzip(with_fields(visits, b"Accept-Encoding: " + header.encode("latin-1"))))


def plain(**changed: Any) -> tuple[str, str, bool, str, str]:
    """What a head says that says no more than these."""
    keys = ("method", "path", "document", "languages", "encodings")
    return tuple({**dict(zip(keys, PLAIN, strict=True)), **changed}.values())


WELL_FORMED = {
    "no fields": (LINE + b"\r\n", PLAIN),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a.test\n\n", PLAIN),
    "an empty line before it": (b"\r\n" + LINE + b"\r\n", PLAIN),
    "another minor version": (b"GET / HTTP/1.0\r\n\r\n", PLAIN),
    "a query": (b"GET /a?b=/c HTTP/1.1\r\n\r\n", plain(path="/a")),
    "a fragment": (b"GET /a#b?c HTTP/1.1\r\n\r\n", plain(path="/a")),
    "a whole address": (b"GET http://a.test:80/b?c HTTP/1.1\r\n\r\n", plain(path="/b")),
    "a whole address without a path": (b"GET http://a.test HTTP/1.1\r\n\r\n", plain(path="")),
    "an authority": (b"CONNECT a.test:443 HTTP/1.1\r\n\r\n", plain(method="", path="a.test:443")),
    "no scheme": (b"GET 1://a/b HTTP/1.1\r\n\r\n", plain(path="1://a/b")),
    "all servers": (b"OPTIONS * HTTP/1.1\r\n\r\n", plain(method="", path="*")),
    "the head alone": (b"HEAD / HTTP/1.1\r\n\r\n", plain(method="HEAD")),
    "a method in lower case": (b"get / HTTP/1.1\r\n\r\n", plain(method="")),
    "what a browser accepts": (
        LINE + b"Accept: text/HTML\r\naccept-language:\tde, en;q=0.5\r\nACCEPT-ENCODING: gzip \r\nHost: a\r\n\r\n",
        ("GET", "/", True, "de, en;q=0.5", "gzip"),
    ),
    "a field twice": (LINE + b"Accept-Language: de\nAccept-Language: EN\n\n", plain(languages="de, en")),
    "an empty field, and another": (LINE + b"Accept-Language:\nAccept-Language: de\n\n", plain(languages=", de")),
    "octets above ASCII": (LINE + b"Accept-Language: \xff\r\n\r\n", plain(languages="\xff")),
    "most fields": (LINE + b"X: y\r\n" * MAX_FIELDS + b"\r\n", PLAIN),
}
MALFORMED = {
    "nothing": b"",
    "another protocol": b"\x16\x03\x01\x02\0",
    "no version": b"GET /\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\n\r\n",
    "a version cut short": b"GET / HTTP/1.",
    "a method that is no token": b"G(T / HTTP/1.1\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n\r\n",
    "a NUL in the target": b"GET /\0 HTTP/1.1\r\n\r\n",
    "a target above ASCII": b"GET /\xff HTTP/1.1\r\n\r\n",
    "a field without a colon": LINE + b"Accept\r\n\r\n",
    "a space before the colon": LINE + b"Accept : a\r\n\r\n",
    "a space before the name": LINE + b" Accept: a\r\n\r\n",
    "a continued line": LINE + b"Accept: a\r\n b: c\r\n\r\n",
    "a NUL in a field": LINE + b"Accept: \0\r\n\r\n",
    "a bare carriage return": LINE + b"Accept: a\rb: c\r\n\r\n",
    "no name": LINE + b": a\r\n\r\n",
    "two hosts": LINE + b"Host: a.test\r\nhost: b.test\r\n\r\n",
    "too many fields": LINE + b"X: y\r\n" * (MAX_FIELDS + 1) + b"\r\n",
    "something after the head": LINE + b"\r\nGET / HTTP/1.1\r\n\r\n",
    "no end": LINE + b"Accept: a\r\n",
}


@pytest.mark.parametrize(("octets", "expected"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_what_a_head_says(core: Core, octets: bytes, expected: tuple[str, str, bool, str, str]) -> None:
    assert said(core("visit"), octets) == expected == of_model(octets)


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_says_nothing(core: Core, octets: bytes) -> None:
    assert said(core("visit"), octets) is None
    assert model_visit.read(octets) is None


def test_the_costliest_heads_cost_little() -> None:
    visits, room = twin.compiled("visit"), MAX_HEAD - len(LINE) - 2
    for part in (b"a", b"a:", b":", b" ", b"\n", b"a: b\n", b"\r", b"Accept:,", b"a:\r", b"Accept-Language:a,\n"):
        octets = LINE + part * (room // len(part)) + b"\r\n"
        began = time.process_time()
        for _ in range(20):
            visit = visits.Visit()
            visits.read(visit, octets)
            visits.language(visit, visits.Tags(AVAILABLE, "en"))
        assert (time.process_time() - began) / 20 < 0.02, part


def test_what_is_forgotten_is_not_in_memory(core: Core) -> None:
    visits = core("visit")
    visit = with_fields(visits, b"Accept: text/html", b"Accept-Language: canary, de;q=0.7", b"Accept-Encoding: gzip")
    assert visits.language(visit, visits.Tags(AVAILABLE, "en")) == 0
    assert visits.takes_gzip(visit)
    assert b"canary" in bytes(visit.octets)
    visits.forget(visit)
    assert not any(visit.octets)
    assert not any((*visit.sizes, *visit.begins, *visit.ends, *visit.weights))
    assert (visit.get, visit.head, visit.document, visit.path, visit.path_end) == (0, 0, 0, 0, 0)
    assert visits.read(visit, LINE + b"Accept-Language: fr\r\n\r\n")
    assert visits.language(visit, visits.Tags(AVAILABLE, "en")) == AVAILABLE.index("fr")


def test_the_default_is_one_of_the_languages(core: Core) -> None:
    with pytest.raises(ValueError, match="not in"):
        core("visit").Tags(AVAILABLE, "nl")


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("FR", "fr"),
        ("de-CH", "de"),
        ("de-Latn-CH-1996", "de"),
        ("da, en-gb;q=0.8, de;q=0.7", "en"),
        ("en;q=0.5, ar ; q=0.9", "ar"),
        ("fr;q=0.3,de;q=0.3", "fr"),
        ("nl, tlh", "en"),
        ("nl, *", "en"),
        ("nl, *;q=0.1, de;q=0.05", "en"),
        ("en;q=0, *", "de"),
        ("en;q=0", "en"),
        ("fr;q=0, fr-CA", "en"),
        ("en-simple, en;q=0.9", "en-simple"),
        ("en-simple-x-wide", "en-simple"),
        ("ar-x-a", "ar"),
        ("fr;q=1.000, de;q=0.999", "fr"),
        ("fr;q=1.5, de;q=0.1", "de"),
        ("fr;q=, de;q=0.1", "de"),
        ("fr;level=1, de;q=0.1", "de"),
        (",,, fr ,", "fr"),
        ("fran\xe7ais, de", "de"),
        ("../../etc/passwd", "en"),
        ("-, --, fr-", "fr"),
    ],
)
def test_the_range_with_the_greatest_weight_that_fits_decides(core: Core, header: str, tag: str) -> None:
    assert language(core("visit"), header) == tag == model_visit.language(header, AVAILABLE, "en")


def test_only_the_beginning_of_a_list_is_looked_at(core: Core) -> None:
    visits, many = core("visit"), ",".join(["xx"] * MAX_PARTS)
    assert language(visits, f"{many},fr") == "en"
    assert language(visits, f"fr,{many}") == "fr"
    long = "x" * MAX_LENGTH
    assert language(visits, f"{long},fr") == "en"
    assert language(visits, f"fr,{long}") == "fr"
    cut = "a-" * (MAX_LENGTH // 2 - 2) + ",fr-CA"
    assert language(visits, cut) == "en", "half a word is no choice"


@given(st.permutations(AVAILABLE), st.lists(st.integers(1, 999), min_size=5, max_size=5, unique=True))
def test_order_does_not_count_where_weights_differ(tags: list[str], shares: list[int]) -> None:
    header = ", ".join(f"{tag};q=0.{share:03}" for tag, share in zip(tags, shares, strict=True))
    for visits in BUILDS:
        assert language(visits, header) == tags[shares.index(max(shares))]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP, br", True),
        ("gzip, deflate, br, zstd", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0, gzip", True),
        ("identity, br", False),
        ("*;q=0", False),
    ],
)
def test_gzip_is_sent_to_those_who_accept_it(core: Core, header: str, taken: bool) -> None:
    assert takes_gzip(core("visit"), header) is taken is model_visit.takes_gzip(header)


words = st.text(alphabet="aerdfinx-*;=q0.19, \t\"'\xe9", max_size=40)
lists = words | st.lists(words, max_size=50).map(",".join) | st.lists(st.sampled_from(AVAILABLE)).map(", ".join)
weighted = st.lists(
    st.tuples(st.sampled_from(["de", "en", "fr-CA", "*", "en-simple", "x-gzip", "gzip", "a-b-c-de", "-", "ar-x-y"]),
              st.sampled_from(["", ";q=0", ";q=0.", ";q=1", ";q=1.000", ";Q=0.5", " ; q=0.501 ", ";q=2", ";q=1.1"])),
    max_size=40,
).map(lambda parts: ",".join(tag + weight for tag, weight in parts))  # fmt: skip


@given(st.lists(lists | weighted, max_size=3), st.sampled_from(AVAILABLE))
def test_any_lists_give_what_the_model_gives(headers: list[str], default: str) -> None:
    together = ", ".join(header.lower().strip(" \t") for header in headers)
    for visits in BUILDS:
        fields = [header.encode("latin-1") for header in headers]
        visit = with_fields(visits, *(b"Accept-Language:" + field for field in fields))
        found = AVAILABLE[visits.language(visit, visits.Tags(AVAILABLE, default))]
        assert found == model_visit.language(together, AVAILABLE, default)
        visit = with_fields(visits, *(b"Accept-Encoding:" + field for field in fields))
        assert bool(visits.takes_gzip(visit)) == model_visit.takes_gzip(together)


# Pieces of heads, so that many are nearly well formed.
PIECES = [
    *(b"GET", b"HEAD", b"get", b"P!", b" ", b"  ", b"/", b"*", b"http://", b"a+b://h", b"?q", b"#f", b"a.test:80"),
    *(b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"\r\n", b"\n", b"\r", b"\n\n", b"\r\n\r\n", b":", b"\0", b"\t"),
    *(b"Host:", b"hOst: a", b"Accept:", b"accept: TEXT/html", b"text/htm", b"Accept-Language: de", b"ACCEPT-LANGUAGE:"),
    *(b"Accept-Encoding: gzip", b"accept-encoding:", b"X: y", b"Accept-Language : de", b"\xff", b"\x0b", b","),
    b"X: y\r\n" * 99,
]  # fmt: skip
pieces = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join)
field = st.sampled_from([one for one in PIECES if b":" in one]) | st.binary(max_size=12)
nearly = st.tuples(
    st.sampled_from([b"", b"\n", b"\r\n"]),
    st.sampled_from([b"GET", b"HEAD", b"PUT"]),
    st.sampled_from([b"/", b"*", b"/a?b", b"http://a/b#c", b"h:/b", b"+x://y", b"a://", b"a:/", b"a:"]) | st.binary(),
    st.lists(st.tuples(field, st.binary(max_size=6), st.sampled_from([b"\n", b"\r\n"])), max_size=6),
).map(
    lambda parts: (
        parts[0] + parts[1] + b" " + parts[2] + b" HTTP/1.1\r\n" + b"".join(map(b"".join, parts[3])) + b"\r\n"
    )
)


@given(pieces | nearly | st.binary(max_size=60))
def test_any_octets_are_read_as_the_model_reads_them(octets: bytes) -> None:
    for visits in BUILDS:
        assert said(visits, octets) == of_model(octets)


def test_the_model_knows_what_it_says() -> None:
    assert model_visit.read(LINE + b"Accept: a\r\n\r\n") == Said("GET", "/", "a", "", "")
