"""The text of a detail: words of ours, numbers within bounds, and what the operator has configured."""

import errno

import pytest
from msgspec.structs import replace

from resolver.config.lists import List, Source
from resolver.feed import detail_text
from resolver.feed.details import Code, Detail, Kind, Place, Unusable
from resolver.feed.reasons import Refusal, Shape

SOURCE = Source(kind="tuf", url="https://authority.example:8443/court", root="/etc/root.json")
ONE = List(id="court", source=SOURCE)


def of(url: str, **more: str) -> List:
    return replace(ONE, source=replace(SOURCE, url=url, **more))


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        (
            Detail(code=Code.HTTP_STATUS, at=Place.SNAPSHOT, numbers=(503,), version=12),
            "https://authority.example:8443/court/metadata/12.snapshot.json: HTTP status 503 Service Unavailable",
        ),
        (
            Detail(code=Code.NOT_CONNECTED, at=Place.HOST, numbers=(errno.ECONNREFUSED, 2, 2)),
            "authority.example:8443: Connection refused (2 of 2 addresses tried)",
        ),
        (
            Detail(code=Code.TLS_VERDICT, at=Place.HOST, numbers=(10,)),
            "TLS: the certificate of authority.example:8443 has expired",
        ),
        (
            Detail(code=Code.TLS_VERDICT, at=Place.HOST, numbers=(66,)),
            "TLS: the certificate of authority.example:8443 does not verify (OpenSSL verdict 66)",
        ),
        (
            Detail(code=Code.LOOK_UP_FAILED, at=Place.HOST, numbers=(2,)),
            "the look-up of authority.example:8443 failed: an upstream answered SERVFAIL",
        ),
        (Detail(code=Code.FILE, at=Place.ROOT_FILE, numbers=(errno.EACCES,)), "/etc/root.json: Permission denied"),
        (None, ""),
        (
            Detail(
                code=Code.UNUSABLE,
                unusable=Unusable(
                    reason="empty",
                    refused={Refusal.SEVERAL_WORDS: 35, Refusal.TLD: 1},
                    refused_lines={Refusal.SEVERAL_WORDS: (2, 4, 6, 8, 10, 12), Refusal.TLD: (3,)},
                    shape=Shape.HOSTS,
                ),
            ),
            "no line of 36 is an entry: 35 several words (line 2, 4, 6, 8, 10, ...); 1 tld (line 3); it looks like a "
            "hosts file: blocklist-resolver authority convert --from hosts",
        ),
        (
            Detail(code=Code.UNUSABLE, unusable=Unusable(reason="empty", exceptions=True)),
            "it holds only exceptions: to end the list, its authority withdraws it",
        ),
        (
            Detail(code=Code.SOA_SERIAL, at=Place.LIST, numbers=(99, 9)),
            "the SOA in the list below https://authority.example:8443/court/targets has serial 99, its signature 9",
        ),
    ],
)
def test_a_text_is_made_of_our_words_and_the_configuration(detail: Detail | None, text: str) -> None:
    assert detail_text.text(detail, ONE) == text


@pytest.mark.parametrize(
    ("code", "numbers"),
    [
        (Code.FILE, (0,)),
        (Code.FILE, (99_999,)),
        (Code.FILE, ()),
        (Code.FILE, (2, 2)),
        (Code.HTTP_STATUS, (99,)),
        (Code.HTTP_STATUS, (7_012_345,)),
        (Code.TLS_VERDICT, (0,)),
        (Code.LOOK_UP_FAILED, (2**40,)),
        (Code.FOUND_OCTETS, (2**33,)),
        (Code.FOUND_TLS, (7, 0)),
        (Code.FOUND_TLS, (13, 2**60)),
    ],
)
def test_a_number_out_of_its_bounds_drops_the_text(code: Code, numbers: tuple[int, ...]) -> None:
    assert detail_text.text(Detail(code=code, at=Place.LIST, numbers=numbers), ONE) == ""


@pytest.mark.parametrize(
    ("one", "at", "said"),
    [
        (ONE, Place.ROOT, "https://authority.example:8443/court/metadata/root.json"),
        (ONE, Place.LIST, "the list below https://authority.example:8443/court/targets"),
        (ONE, Place.CA, "the system's store of CAs"),
        (of("file:///srv/a%20list", kind="file"), Place.LIST, "/srv/a list"),
        (of("file:///srv/list", kind="file"), Place.SIGNATURE, "/srv/list.minisig"),
        (of("file:///srv/fleet/", kind="image"), Place.MANIFEST, "/srv/fleet/court.json"),
        (of("file:///srv/fleet", kind="image", target="c"), Place.MANIFEST, "/srv/fleet/c.json"),
        (of("file:///srv/fleet", kind="image"), Place.RELEASES, "/srv/fleet/releases.json"),
        (of("file:///srv/fleet", kind="image"), Place.IMAGE, "the image that /srv/fleet/court.json names"),
        (of("tls://primary.example/rpz.example", kind="zone"), Place.HOST, "primary.example"),
        (of("dns://[2001:db8::1]:53/rpz.example", kind="zone"), Place.LIST, "dns://[2001:db8::1]:53/rpz.example"),
        (ONE, Place.NOWHERE, "https://authority.example:8443/court"),
    ],
)
def test_a_place_is_what_the_operator_has_configured(one: List, at: Place, said: str) -> None:
    assert detail_text.place(Detail(code=Code.FILE, at=at), one) == said


def test_a_text_is_printable_and_bounded() -> None:
    one = of("file:///srv/" + "x" * 400, kind="file")
    said = detail_text.text(Detail(code=Code.FILE, at=Place.LIST, numbers=(2,)), one)
    assert len(said) < detail_text.MAX_OCTETS
    assert "..." in said
    assert detail_text.printable("a\nb\x1b[31mü", 99) == "a?b?[31m?"
    assert detail_text.printable("x" * 20, 10) == "xxxxxxx..."


def test_each_kind_of_number_is_written() -> None:
    assert set(detail_text.WRITTEN) == set(Kind)
