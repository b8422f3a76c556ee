"""The page as served: one answer for everyone, and not a word about who came."""

import logging
from dataclasses import replace

import aiohttp
import pytest

from resolver.config import config
from resolver.page.render import render
from resolver.page.show import Page
from resolver.quiet_http.serve import PAGE_BOUNDS, QuietServer, serve_http
from tests.unit.wire import exchange

RENDERED = render(config.Page(), demonstration=True)
BOUNDS = replace(PAGE_BOUNDS, linger_s=0.02, burst=1000)


async def served(page: Page) -> QuietServer:
    return await serve_http(page.respond, [("127.0.0.1", 0)], BOUNDS)


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
    assert answer.endswith(b"\0" + RENDERED.body)
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
    assert f"Content-Length: {len(RENDERED.body)}".encode() in answer
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
        assert await answer.read() == RENDERED.body
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
    page.show(render(config.Page(operator="Another operator"), demonstration=True))
    assert b"Another operator" in await exchange(server.addresses[0], request)
    assert page.views == 2
    await server.stop()


@pytest.mark.asyncio
async def test_who_follows_a_link_to_help_is_sent_on_and_counted_by_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    offers = (
        config.Help(text="a", url="https://a.example/?b=1", kind="worried"),
        config.Help(text="b", url="https://b.example/", kind="young"),
    )
    page = Page(render(config.Page(help=offers), demonstration=True))
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
