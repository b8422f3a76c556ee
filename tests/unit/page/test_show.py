"""The page as served: one answer for everyone, and not a word about who came."""

import email.utils
import gzip
import ipaddress
import logging
import socket
import time
from dataclasses import replace

import aiohttp
import pytest

from resolver.config import config
from resolver.page.rendered import CHOOSE
from resolver.page.show import Page
from resolver.page.wording import languages
from resolver.quiet_http.bounds import PAGE_BOUNDS
from resolver.quiet_http.connection import MAX_HEAD
from resolver.quiet_http.server import QuietServer, opened, serve_octets
from tests.unit.page.pages import ABUSE, UNFILLED, a_list, filled, made
from tests.unit.quiet_http.test_serve import HOSTILE
from tests.unit.wire import exchange

RENDERED = made(UNFILLED, ABUSE, demonstration=True)
ENGLISH = RENDERED.elsewhere["en"]
# What an HTTP library refuses, and what says nothing to a page that looks at nothing of it.
HARMLESS = {"an unknown method", "a bad authority", "a bad length", "length and chunks"}
BOUNDS = replace(PAGE_BOUNDS, linger_s=0.02, burst=1000)


async def served(page: Page) -> QuietServer:
    return serve_octets(page.respond, opened([("127.0.0.1", 0)]), BOUNDS)


def stripped(answer: bytes) -> bytes:
    """The answer without its date."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Date:")) + b"\0" + body


@pytest.mark.asyncio
async def test_every_path_host_and_method_gets_the_same_bytes() -> None:
    page = Page(RENDERED)
    server = await served(page)
    requests = [
        b"GET / HTTP/1.1\r\nHost: canary.example\r\nAccept: text/html, */*;q=0.8\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a.test\r\nAccept: image/webp\r\n\r\n",
        b"GET /canary?q=1 HTTP/1.1\r\nHost: a.test\r\nCookie: canary=1\r\n\r\n",
        b"GET http://canary.example/ HTTP/1.1\r\nHost: canary.example\r\n\r\n",
        b"GET /favicon.ico HTTP/1.1\r\nHost: \r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\ncanary",
        b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"PROPFIND / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"CONNECT canary.example:443 HTTP/1.1\r\nHost: canary.example:443\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ]
    answers = {stripped(await exchange(server.addresses[0], request)) for request in requests}
    await server.stop()
    assert len(answers) == 1
    answer = answers.pop()
    assert answer.startswith(b"HTTP/1.1 451 Unavailable For Legal Reasons\r\n")
    assert answer.endswith(b"\0" + ENGLISH.body)
    assert b"canary" not in answer
    assert b"Set-Cookie" not in answer
    assert b"aiohttp" not in answer
    assert page.views == 1, "one asked for a document"


@pytest.mark.asyncio
async def test_head_has_the_headers_without_the_body() -> None:
    page = Page(RENDERED)
    server = await served(page)
    answer = await exchange(server.addresses[0], b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    await server.stop()
    assert f"Content-Length: {len(ENGLISH.body)}".encode() in answer
    assert answer.endswith(b"\r\n\r\n")
    assert page.views == 0


@pytest.mark.asyncio
async def test_headers_are_those_of_a_page_that_keeps_to_itself() -> None:
    server = await served(Page(RENDERED))
    host, port = server.addresses[0]
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/") as answer:
        assert answer.status == 451
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert answer.headers["Connection"] == "close"
        assert await answer.read() == ENGLISH.body
    await server.stop()


@pytest.mark.asyncio
async def test_a_visit_leaves_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    server = await served(Page(RENDERED))
    with caplog.at_level(logging.DEBUG):
        await exchange(server.addresses[0], b"GET /canary HTTP/1.1\r\nHost: canary.example\r\n\r\n")
        await server.stop()
    assert [record for record in caplog.records if record.name != "asyncio"] == []
    assert "canary" not in caplog.text


@pytest.mark.asyncio
async def test_another_page_is_shown_from_the_next_request_on() -> None:
    page = Page(RENDERED)
    server = await served(page)
    request = b"GET / HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n"
    assert b"Another operator" not in await exchange(server.addresses[0], request)
    page.show(made(filled(operator="Another operator")))
    assert b"Another operator" in await exchange(server.addresses[0], request)
    assert page.views == 2
    await server.stop()


@pytest.mark.asyncio
async def test_who_follows_a_link_to_help_is_sent_on_and_counted_by_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    offers = (
        config.Help(text="a", url="https://a.example/?b=1", kind="worried"),
        config.Help(text="b", url="https://b.example/", kind="young"),
    )
    page = Page(made(filled(help=offers)))
    server = await served(page)

    async def follow(path: str, method: str = "GET", accept: str = "text/html") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: canary.example\r\nCookie: canary=1\r\nAccept: {accept}\r\n\r\n"
        return await exchange(server.addresses[0], head.encode())

    with caplog.at_level(logging.DEBUG):
        answer = await follow("/blocklist-resolver-help/0?canary=1")
        assert answer.startswith(b"HTTP/1.1 303 ")
        assert b"Location: https://a.example/?b=1\r\n" in answer
        assert b"no-referrer" in answer
        assert b"no-store" in answer
        assert b"canary" not in answer
        assert b"Set-Cookie" not in answer
        # What a page takes from there by itself, and what only looks, is nobody who wants help.
        assert b" 303 " in await follow("/blocklist-resolver-help/1", accept="image/webp")
        assert b" 303 " in await follow("/blocklist-resolver-help/1", "HEAD")
        assert b" 451 " in await follow("/blocklist-resolver-help/2")
        assert b" 451 " in await follow("/blocklist-resolver-help/")
    await server.stop()
    assert page.followed == {"worried": 1, "young": 0, "report": 0, "other": 0}
    assert page.views == 2
    assert "canary" not in caplog.text


async def got(server: QuietServer, path: str = "/", at: int = 0, **headers: str) -> bytes:
    """The answer to a document's GET at one of the server's addresses."""
    said = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"GET {path} HTTP/1.1\r\nHost: canary.example\r\nAccept: text/html\r\n{said}\r\n"
    return await exchange(server.addresses[at], head.encode())


@pytest.mark.asyncio
async def test_the_browser_s_language_is_taken_and_a_link_chooses_another() -> None:
    page = Page(RENDERED)
    server = await served(page)
    for tag, texts in languages().items():
        title = texts.purposes["child-abuse"].title.encode()
        answer = await got(server, Accept_Language=f"{texts.tag}, tlh;q=0.9")
        assert title in answer, tag
        assert f"Content-Language: {texts.tag}\r\n".encode() in answer
        assert b"Vary: Accept-Language, Accept-Encoding\r\n" in answer
        chosen = await got(server, f"{CHOOSE}{texts.tag}?canary=1", Accept_Language="tlh", Cookie="canary=1")
        assert stripped(chosen) == stripped(answer)
        assert chosen.startswith(b"HTTP/1.1 451 ")
        assert b"canary" not in chosen
        assert b"Set-Cookie" not in chosen
    assert page.views == len(languages()), "who reads on in another language is no second visitor"
    assert b'<html lang="en"' in await got(server, f"{CHOOSE}tlh", Accept_Language="tlh")
    lines = "nl\r\nAccept-Language: de;q=0.5"
    assert b'<html lang="nl"' in await got(server, Accept_Language=lines), "two lines are one list (RFC 9110 5.3)"
    assert b'<html lang="de"' in await got(server, Accept_Language=lines.replace("nl", "tlh"))
    await server.stop()


@pytest.mark.asyncio
async def test_the_address_that_is_reached_says_which_page_and_a_host_says_nothing() -> None:
    first, second, third = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    lists = (
        a_list(addresses=(ipaddress.ip_address(first),)),
        a_list(id="two", purpose="malware", addresses=(ipaddress.ip_address(second),)),
    )
    sockets = opened([(one, 0) for one in (first, second, third)])
    server = serve_octets(Page(made(lists=lists)).respond, sockets, BOUNDS)
    of = languages()["en"].purposes
    for at, purpose in enumerate(("child-abuse", "malware", "other")):
        answer = await got(server, at=at)
        assert of[purpose].lead.encode() in answer
        hosted = await exchange(server.addresses[at], f"GET http://{first}/ HTTP/1.1\r\nHost: {first}\r\n\r\n".encode())
        assert stripped(hosted) == stripped(answer)
    await server.stop()


@pytest.mark.asyncio
async def test_ipv4_that_arrives_at_a_socket_of_ipv6_is_the_same_address() -> None:
    lists = (a_list(addresses=(ipaddress.ip_address("127.0.0.1"),)), a_list(id="two", purpose="malware"))
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = both.getsockname()[1]
    server = serve_octets(Page(made(lists=lists)).respond, opened([("::", port)], given=[both]), BOUNDS)
    answer = await exchange(("127.0.0.1", port), b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert languages()["en"].purposes["child-abuse"].lead.encode() in answer
    await server.stop()


@pytest.mark.asyncio
async def test_the_page_is_packed_for_those_who_take_it() -> None:
    server = await served(Page(RENDERED))
    head, _, body = (await got(server, Accept_Encoding="br, gzip")).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert gzip.decompress(body) == ENGLISH.body
    assert (await got(server, Accept_Encoding="br")).endswith(b"\r\n\r\n" + ENGLISH.body)
    await server.stop()


@pytest.mark.asyncio
async def test_hostile_bytes_get_a_constant_answer_and_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    page = Page(RENDERED)
    server = await served(page)
    with caplog.at_level(logging.DEBUG):
        for name, octets in HOSTILE.items():
            got = await exchange(server.addresses[0], octets)
            status = got.split(b" ", 2)[1]
            assert status == (b"431" if len(octets) > MAX_HEAD else b"451" if name in HARMLESS else b"400"), name
            assert b"canary" not in got.lower(), name
        await server.stop()
    assert [record for record in caplog.records if record.name != "asyncio"] == []
    assert page.views == 0


@pytest.mark.asyncio
async def test_every_response_is_dated() -> None:
    server = await served(Page(made(filled(help=(config.Help(text="a", url="https://a.example/"),)))))
    for path in ("/", "/blocklist-resolver-help/0"):
        (line,) = [one for one in (await got(server, path)).split(b"\r\n") if one.startswith(b"Date: ")]
        said = email.utils.parsedate_to_datetime(line[6:].decode())
        assert abs(said.timestamp() - time.time()) < 60
    await server.stop()
