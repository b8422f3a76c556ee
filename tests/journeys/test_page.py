"""The page of the whole process: each list's address has its text, in the visitor's language; and what is refused."""

import html
import http.client
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resolver.page.rendered import CHOOSE, FOLLOW
from resolver.page.wording import languages
from tests.fakes.upstream import in_thread
from tests.journeys import visits
from tests.journeys.processes import Site, asked, hang_up, honest, list_of, wait_for
from tests.journeys.running import HOST, Authority

ABUSE, COURT = "127.0.0.81", "127.0.0.82"
HELP = [
    {"kind": "worried", "text": "Example service", "url": "https://help.example/"},
    {"kind": "young", "text": "Example line", "phone": "+00 555 0100", "chat": "https://chat.example/"},
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A host with a list of each of two purposes; the page listens on the addresses that their answers give."""
    with in_thread(honest) as upstream:
        one = Site(tmp_path, [upstream.address])
        second = Authority(tmp_path / "court", list_id="court")
        second.publish(["=gambling.test"])
        one.publish(["listed.test"])
        one.lists[0] |= {"purpose": "child-abuse", "addresses": [ABUSE]}
        one.lists.append(
            list_of(second.folder, "court", purpose="court-order", addresses=[COURT], authority="Court of the test")
        )
        port = one.ports[1]
        one.sections["page"] |= {
            "listen": [f"{address}:{port}" for address in (ABUSE, COURT, HOST)],
            "flow_records": "exempted",
            "help": HELP,
        }
        yield one


def visit(site: Site, address: str, path: str = "/", **headers: str) -> tuple[int, dict[str, str], str]:
    """What a browser gets at an address: status, headers and text."""
    connection = http.client.HTTPConnection(address, site.ports[1], timeout=5)
    try:
        connection.request("GET", path, headers={"Host": "canary.test", "Accept": "text/html", **headers})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), html.unescape(reply.read().decode())
    finally:
        connection.close()


def test_a_name_of_each_list_leads_to_the_text_of_its_purpose_in_each_language(site: Site) -> None:
    with site.started():
        for name, address, purpose in (("listed.test", ABUSE, "child-abuse"), ("gambling.test", COURT, "court-order")):
            assert asked(site.dns, name) == f"{address} EDE 4"
            for tag, texts in languages().items():
                status, headers, text = visit(site, address, f"/{name}", **{"Accept-Language": f"{texts.tag};q=0.7"})
                assert (status, headers["Content-Language"]) == (451, texts.tag)
                assert texts.purposes[purpose].lead in text
                assert texts.records.exempted in text
                assert ("Example line" in text) == (purpose == "child-abuse"), tag
                assert visit(site, address, f"{CHOOSE}{texts.tag}")[2] == text
        assert "Court of the test" in visit(site, COURT)[2]
        assert "Court of the test" not in visit(site, ABUSE)[2]
        assert languages()["en"].purposes["other"].lead in visit(site, HOST)[2], "an address of no list"


def test_what_a_visitor_sends_changes_nothing_and_is_nowhere(site: Site) -> None:
    canaries = {
        "Host": "canary-host.test",
        "Referer": "http://canary-referer.test/",
        "Cookie": "canary=1",
        "User-Agent": "canary",
        "Accept-Language": "x-canary, nl",
        "X-Forwarded-For": "192.0.2.77",
    }
    with site.started() as service:
        plain = visit(site, ABUSE, **{"Accept-Language": "nl"})
        for path in ("/canary?canary", f"{CHOOSE}nl?canary", f"{FOLLOW}canary"):
            status, headers, text = visit(site, ABUSE, path, **canaries)
            headers["Date"] = plain[1]["Date"]
            assert (status, headers, text) == plain
        status, headers, text = visit(site, ABUSE, f"{FOLLOW}1/chat?canary", **canaries)
        assert (status, headers["Location"], text) == (303, "https://chat.example/", "")
        assert not {"Set-Cookie", "ETag", "Last-Modified"} & set(headers)
        service.until("/metrics", lambda body: service.metric('page_help_total{kind="young"}', body) == 1)
        body = service.get("/metrics")[1]
        assert service.metric("page_views_total", body) == 3, "a chosen language is not another visit"
    logs = b"".join(path.read_bytes() for path in site.folder.iterdir() if path.is_file())
    assert b"canary" not in logs + body
    assert b"192.0.2.77" not in logs + body


def test_a_thousand_visits_leave_nothing_anywhere(tmp_path: Path) -> None:
    done = visits.run(tmp_path, 1000)
    assert done.found == {}
    assert done.served == 1000


def test_texts_are_replaced_by_a_reload_and_a_bad_one_changes_nothing(site: Site) -> None:
    with site.started() as service:
        page = {**site.sections["page"], "flow_records": "kept"}
        site.change("page", **page)
        hang_up(service)
        kept = languages()["en"].records.kept
        wait_for(lambda: kept in visit(site, ABUSE)[2], "the page to be replaced")
        site.change("page", help=[])
        site.lists[0] |= {"addresses": [COURT]}
        site.write()
        hang_up(service)
        service.until("/metrics", lambda body: service.metric("config_reload_success", body) == 0)
        assert kept in visit(site, ABUSE)[2]
        assert "Example line" in visit(site, ABUSE)[2]


def checked(site: Site) -> tuple[int, str]:
    """The outcome of check-config: exit status, and what it says."""
    command = [sys.executable, "-m", "resolver", "check-config", str(site.write())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "one", "said"),
    [
        ({}, {"addresses": [COURT]}, f"list[1].addresses: {COURT} is also the address of a child-abuse list"),
        ({"help": []}, {}, "page.help: required with a child-abuse list"),
        ({"help": [{**HELP[1], "text": "REPLACE-ME"}]}, {}, "page.help[0]: still holds REPLACE-ME"),
        ({"flow_records": ""}, {}, "page.flow_records: required"),
        ({"language": "tlh"}, {}, "page.language: the page has no texts in it"),
        ({"leave": "javascript:1"}, {}, "page.leave: expected http:// or https://"),
    ],
)
def test_what_visitors_should_not_meet_is_refused_before_the_start(
    page: dict[str, Any], one: dict[str, Any], said: str, site: Site
) -> None:
    site.sections["page"] |= page
    site.sections["count"] = {}
    site.sections["rehearsal"] = {}
    for each in site.lists:
        each |= {"demonstration": False, "expire": "keep"}
    site.lists[0] |= one
    status, words = checked(site)
    assert status == 2
    assert said in words


def test_a_page_that_all_may_meet_is_fine(site: Site) -> None:
    status, words = checked(site)
    assert status == 0, words
    assert not re.search("page|purpose", words.replace(str(site.folder), ""))

