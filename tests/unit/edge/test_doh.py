"""Requests of DoH and what refuses them; fields of responses (RFC 8484)."""

from base64 import urlsafe_b64encode

import pytest

from resolver.edge import bounds, doh

PATH = b"/dns-query"
QUERY = bytes(12) + b"\x03www\x07example\x00\x00\x01\x00\x01"
ENCODED = urlsafe_b64encode(QUERY).rstrip(b"=")


@pytest.mark.parametrize(
    ("method", "target", "kind", "octets", "status"),
    [
        (b"GET", PATH + b"?dns=" + ENCODED, b"", 0, 0),
        (b"POST", PATH, doh.MEDIA_TYPE, 40, 0),
        (b"POST", PATH, b"Application/DNS-Message; x=y", 65535, 0),
        (b"POST", PATH, doh.MEDIA_TYPE, 65536, 413),
        (b"POST", PATH, b"text/plain", 40, 415),
        (b"POST", PATH, b"", 40, 415),
        (b"PUT", PATH, doh.MEDIA_TYPE, 40, 405),
        (b"HEAD", PATH, b"", 0, 405),
        (b"GET", b"/", b"", 0, 404),
        (b"GET", PATH + b"/", b"", 0, 404),
        (b"GET", b"//dns-query", b"", 0, 404),
        (b"DELETE", b"/elsewhere", b"", 0, 404),
        (b"GET", PATH + b"?dns=" + b"A" * doh.TARGET_OCTETS, b"", 0, 414),
        (b"CONNECT", b"", b"", 0, 404),
    ],
)
def test_the_head_of_a_request_refuses_it(method: bytes, target: bytes, kind: bytes, octets: int, status: int) -> None:
    assert doh.refused_by_head(method, target, kind, octets, PATH) == status


@pytest.mark.parametrize(
    ("target", "result"),
    [
        (PATH + b"?dns=" + ENCODED, QUERY),
        (PATH + b"?dns=" + urlsafe_b64encode(QUERY), QUERY),
        (PATH + b"?x=1&dns=" + ENCODED + b"&y", QUERY),
        (PATH, 400),
        (PATH + b"?dns=", 400),
        (PATH + b"?DNS=" + ENCODED, 400),
        (PATH + b"?dns=" + ENCODED + b"&dns=" + ENCODED, 400),
        (PATH + b"?dns=" + ENCODED[:15], 400),
        (PATH + b"?dns=" + ENCODED + b"!", 400),
        (PATH + b"?dns=" + b"A" * 17, 400),
        (PATH + b"?dns=" + b"+///" * 8, 400),
        (PATH + b"?dns=" + ENCODED.replace(b"A", b"%41", 1), 400),
        (PATH + b"?dns=" + b"A" * 87384, 413),
    ],
)
def test_a_get_has_its_query_in_one_variable(target: bytes, result: bytes | int) -> None:
    assert doh.query_of(b"GET", target, b"ignored") == result


def test_the_largest_message_fits_into_a_target() -> None:
    target = PATH + b"?dns=" + urlsafe_b64encode(bytes(65535))
    assert doh.refused_by_head(b"GET", target, b"", 0, PATH) == 0
    assert doh.query_of(b"GET", target, b"") == bytes(65535)


@pytest.mark.parametrize(
    ("content", "result"), [(QUERY, QUERY), (bytes(12), bytes(12)), (bytes(11), 400), (b"", 400), (bytes(65536), 413)]
)
def test_the_content_of_a_post_is_its_query(content: bytes, result: bytes | int) -> None:
    assert doh.query_of(b"POST", PATH, content) == result


def test_a_response_has_the_time_that_caches_may_keep_it() -> None:
    assert doh.answer_fields(b"xyz", 60) == [
        (b"content-type", b"application/dns-message"),
        (b"content-length", b"3"),
        (b"cache-control", b"private, max-age=60"),
    ]
    assert (b"cache-control", b"no-store") in doh.answer_fields(b"xyz", doh.MAX_AGE_NONE)
    assert (b"cache-control", b"private, max-age=0") in doh.answer_fields(b"xyz", 0)


def test_http3_is_named_by_its_port_for_longer_than_a_connection_lives() -> None:
    assert doh.alternative_fields(8443) == [(b"alt-svc", b'h3=":8443"; ma=3600')]
    assert list(doh.alternative_fields(0)) == []
    assert bounds.LIFE_S < doh.ALTERNATIVE_S <= 24 * 3600


def test_a_refusal_has_no_content_and_names_the_methods() -> None:
    assert doh.refusal_fields(404) == [(b"content-length", b"0"), (b"cache-control", b"no-store")]
    assert (b"allow", b"GET, POST") in doh.refusal_fields(405)
