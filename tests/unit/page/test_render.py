"""The page's bytes: what the operator says, escaped; nothing invented; small, and readable for everyone."""

import base64
import gzip
import hashlib
import ipaddress
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from resolver.config import config
from resolver.config.values import address_octets
from resolver.page import render as render_module
from resolver.page.render import (
    MAX_BYTES,
    PageAddressRefused,
    PageLanguageMissing,
    PageNotFilledIn,
    PageTooLarge,
)
from resolver.page.rendered import CHOOSE
from resolver.page.wording import languages
from tests.unit.page.pages import ABUSE, FILLED, LISTS, TAGS, UNFILLED, Elements, a_list, filled, made, version

OTHER = LISTS["other"]


def test_it_says_who_blocks_who_decides_by_which_law_and_where_to_turn() -> None:
    page = Elements(version())
    for text in ("Example Internet", "Example Police", "Example Act, section 4", "Example line", "+00 555 0100"):
        assert text in page.text
    assert "may be illegal" in page.text
    assert "emonstration" not in page.text
    links = {link["href"] for link in page.named("a") if not str(link["href"]).startswith(CHOOSE)}
    assert links == {
        "https://isp.example/blocked",
        "mailto:blocked@isp.example",
        "tel:+005550100",
        "/blocklist-resolver-help/0",
        "/blocklist-resolver-help/1/chat",
        "https://weather.example/",
    }


def test_what_a_list_says_of_itself_stands_in_the_place_of_what_holds_for_all() -> None:
    one = a_list(
        authority="Example Court", legal_reference="Order 12", complaint="orders@isp.example", appeal="Room 3, Court"
    )
    text = Elements(version(lists=(one,))).text
    for said in ("Example Court", "Order 12", "orders@isp.example", "You can also object to the decision itself: Room"):
        assert said in text
    for said in ("Example Police", "Example Act", "blocked@isp.example"):
        assert said not in text
    assert "object to the decision" not in Elements(version()).text
    assert "object to the decision itself: By post" in Elements(version(filled(appeal="By post"))).text


def test_lists_that_share_an_address_are_all_named_once() -> None:
    lists = (
        a_list(id="a", purpose="court-order", authority="Court A", legal_reference="Order 1"),
        a_list(id="b", purpose="court-order", authority="Court B", legal_reference="Order 2", complaint="b@a.example"),
        a_list(id="c", purpose="court-order", authority="Court A", legal_reference="Order 1"),
    )
    text = Elements(version(lists=lists)).text
    assert [text.count(said) for said in ("Court A", "Court B", "Order 1", "Order 2", "b@a.example")] == [1] * 5
    assert "blocked@isp.example · b@a.example" in text


def test_each_purpose_has_its_text_and_only_one_speaks_of_abuse() -> None:
    for purpose, lists in LISTS.items():
        for tag in TAGS:
            page = Elements(version(lists=lists, tag=tag))
            reason = languages()[tag].purposes[purpose]
            assert reason.lead in page.text, (purpose, tag)
            abuse = languages()[tag].purposes["child-abuse"]
            assert (abuse.strong in page.text) == (purpose == "child-abuse"), (purpose, tag)
            assert ("Example line" in page.text) == (purpose == "child-abuse"), (purpose, tag)


def test_lists_without_a_purpose_or_with_several_get_the_neutral_text() -> None:
    neutral = languages()["en"].purposes["other"].lead
    mixed = (a_list(purpose="court-order"), a_list(id="two", purpose="malware"))
    for lists in ((), (a_list(purpose=""),), mixed, (*ABUSE, *mixed)):
        assert neutral in Elements(version(lists=lists)).text


def test_the_address_that_is_reached_says_which_page() -> None:
    lists = (
        a_list(),
        a_list(id="b", purpose="malware", addresses=(ipaddress.ip_address("2001:db8::2"),)),
        a_list(id="c", purpose="sanctions", answer="nodata"),
    )
    rendered = made(filled(addresses=tuple(map(ipaddress.ip_address, ("192.0.2.1", "2001:db8::1")))), lists)
    titles = {
        address: re.search("<title>(.*)</title>", versions["en"].body.decode())
        for address, versions in rendered.by_address.items()
    }
    said = {address: found and found[1] for address, found in titles.items()}
    of = languages()["en"].purposes
    assert said == {
        address_octets("192.0.2.1"): of["child-abuse"].title,
        address_octets("2001:db8::1"): of["child-abuse"].title,
        address_octets("2001:db8::2"): of["malware"].title,
    }
    assert of["other"].lead in rendered.elsewhere["en"].body.decode()
    assert "sanctions" not in rendered.elsewhere["en"].body.decode()


def test_help_stands_before_the_law_and_offers_for_young_people_come_first() -> None:
    for tag, texts in languages().items():
        text = Elements(version(tag=tag)).text
        reason = texts.purposes["child-abuse"]
        order = [
            reason.lead,
            texts.help.heading,
            texts.help.calm,
            "Example line",
            texts.help.young,
            texts.help.chat,
            texts.help.call,
            "Example service",
            texts.help.worried,
            reason.strong,
            texts.records.heading,
        ]
        places = [text.index(said) for said in order]
        assert places == sorted(places), tag


def test_an_offer_says_for_whom_when_and_in_which_languages() -> None:
    offer = config.Help(text="Line", phone="123", who="boys & girls", hours="by day", languages="English", kind="young")
    text = Elements(version(filled(help=(offer,)))).text
    assert "boys & girls" in text
    assert "Open: by day" in text
    assert "Languages: English" in text
    assert languages()["en"].help.young not in text


def test_what_leads_to_help_is_known_by_its_path() -> None:
    offers = (
        config.Help(text="a", phone="123"),
        config.Help(text="b", url="https://help.example/", kind="young"),
        config.Help(text="c", url="https://REPLACE-ME/", kind="young"),
        config.Help(text="d", chat="https://chat.example/"),
    )
    known = made(filled(help=offers), demonstration=True).help
    assert known == {
        "/blocklist-resolver-help/1": ("young", "https://help.example/"),
        "/blocklist-resolver-help/3/chat": ("other", "https://chat.example/"),
    }


@pytest.mark.parametrize("records", ["none", "exempted", "kept"])
def test_of_the_network_it_says_what_the_operator_states(records: str) -> None:
    for tag, texts in languages().items():
        text = Elements(version(filled(flow_records=records), OTHER, tag)).text
        for one in ("none", "exempted", "kept"):
            assert (getattr(texts.records, one) in text) == (one == records), (tag, one)
        assert texts.records.page in text
        unsaid = Elements(version(filled(flow_records=""), OTHER, tag)).text
        assert not any(getattr(texts.records, one) in unsaid for one in ("none", "exempted", "kept"))


def test_it_never_claims_that_visitors_are_traced() -> None:
    text = Elements(version()).text.lower()
    assert not re.search(r"trace|track|ip address|monitor|identif", text)


@pytest.mark.parametrize("key", ["operator", "contact", "authority", "law"])
def test_a_text_that_is_not_filled_in_stops_the_start(key: str) -> None:
    with pytest.raises(PageNotFilledIn, match=rf"^page\.{key}: ") as refused:
        made(filled(**{key: "Our REPLACE-ME"}))
    assert refused.value.key == f"page.{key}"


@pytest.mark.parametrize(
    "offer",
    [
        config.Help(text="REPLACE-ME", url="https://a.example/"),
        config.Help(text="a", url="https://REPLACE-ME/"),
        config.Help(text="a", phone="REPLACE-ME"),
        config.Help(text="a", phone="1234", hours="REPLACE-ME"),
    ],
)
def test_an_offer_of_help_that_is_not_filled_in_stops_the_start(offer: config.Help) -> None:
    with pytest.raises(PageNotFilledIn, match=r"^page\.help\[0\]: "):
        made(filled(help=(offer,)))
    shown = Elements(version(filled(help=(offer,)), demonstration=True))
    assert "REPLACE-ME" not in shown.text


def test_the_demonstration_says_so_and_invents_nothing() -> None:
    for tag, texts in languages().items():
        one = version(UNFILLED, ABUSE, tag, demonstration=True)
        page = Elements(one)
        assert texts.frame.demonstration in page.text
        assert config.MARKER not in page.text
        assert len(page.named("mark")) == 5
        outside = [link["href"] for link in page.named("a") if not str(link["href"]).startswith(CHOOSE)]
        assert outside == ["about:blank"]
        assert not re.search(r"\d{3,}", page.text.replace("451", ""))
        assert "Link" not in one.headers


def test_it_is_small_whole_and_stands_alone() -> None:
    for lists in LISTS.values():
        for tag in TAGS:
            one = version(lists=lists, tag=tag)
            page = Elements(one)
            assert page.open == []
            assert len(one.packed) < len(one.body) < 12_000 < MAX_BYTES
            assert gzip.decompress(one.packed) == one.body
            kinds = {tag for tag, _ in page.found}
            foreign = {"script", "img", "link", "iframe", "form", "object", "embed", "video", "audio", "svg", "base"}
            assert not kinds & foreign
            assert not any(name in attributes for _, attributes in page.found for name in ("style", "src", "srcset"))
            assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
            assert b"url(" not in one.body
            assert b"@import" not in one.body


def test_headings_and_language_are_set_for_those_who_listen_to_it() -> None:
    for tag, texts in languages().items():
        one = version(tag=tag)
        page = Elements(one)
        assert page.named("html") == [{"lang": texts.tag, "dir": texts.direction}]
        assert one.headers["Content-Language"] == texts.tag
        assert len(page.named("h1")) == len(page.named("main")) == len(page.named("title")) == 1
        order = [int(tag[1]) for tag, _ in page.found if re.fullmatch(r"h\d", tag)]
        assert order == [1, 2, 3, 3] + [2] * (len(order) - 4)
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.named("meta")


def test_every_other_language_is_a_plain_link_that_names_itself() -> None:
    for tag in TAGS:
        links = [link for link in Elements(version(tag=tag)).named("a") if str(link["href"]).startswith(CHOOSE)]
        assert {link["hreflang"] for link in links} == {one.tag for key, one in languages().items() if key != tag}
        for link in links:
            assert link["href"] == f"{CHOOSE}{link['hreflang']}"
            assert link["lang"] == link["hreflang"]
            assert link["dir"] == languages()[str(link["lang"]).lower()].direction
    assert made().chosen == {f"{CHOOSE}{one.tag}": key for key, one in languages().items()}


def test_words_of_the_operator_carry_their_own_language_on_a_page_in_another() -> None:
    page = filled(language="nl")
    assert b'<bdi lang="nl">Example Internet</bdi>' in version(page, tag="de").body
    assert b"<bdi>Example Internet</bdi>" in version(page, tag="nl").body
    assert made(page).language == "nl"


def test_a_language_that_has_no_texts_is_refused() -> None:
    with pytest.raises(PageLanguageMissing, match=r"^page\.language: .*: choose one of de, en-simple, en, es,"):
        made(filled(language="tlh"))


def colours(style: str) -> list[dict[str, str]]:
    """The named colours of the light and of the dark scheme."""
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{[^}]*\}", style)]


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_stands_out_in_both_schemes() -> None:
    schemes = colours(version().body.decode())
    assert len(schemes) == 2
    for scheme in schemes:
        for front, back in [
            ("ink", "paper"),
            ("ink", "card"),
            ("ink", "calm"),
            ("soft", "paper"),
            ("soft", "card"),
            ("link", "paper"),
            ("link", "card"),
            ("mark-ink", "mark"),
            ("way-ink", "way"),
        ]:
            assert contrast(scheme[front], scheme[back]) >= 7, (front, back)
        assert contrast(scheme["calm-line"], scheme["paper"]) >= 3


def test_only_its_own_style_is_allowed() -> None:
    one = version()
    style = re.search(rb"<style>(.*?)</style>", one.body, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    policy = one.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert one.packed_headers == {**one.headers, "Content-Encoding": "gzip"}
    assert one.headers["Vary"] == "Accept-Language, Accept-Encoding"


def test_the_link_names_the_one_who_blocks() -> None:
    assert version().headers["Link"] == '<https://isp.example/blocked>; rel="blocked-by"'
    named = version(filled(operator="Example Internet, https://isp.example"))
    assert named.headers["Link"] == '<https://isp.example>; rel="blocked-by"'
    assert "Link" not in version(filled(contact="by post")).headers


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "//a.example", 'https://a.example/"', "x", "https://?a", "http://["],
)
def test_an_address_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(PageAddressRefused, match=r"^page\.help\[0\]\.url: "):
        made(filled(help=(config.Help(text="a", url=url),)))
    with pytest.raises(PageAddressRefused, match=r"^page\.help\[0\]\.chat: "):
        made(filled(help=(config.Help(text="a", chat=url),)))
    with pytest.raises(PageAddressRefused, match=r"^page\.leave: "):
        made(filled(leave=url))


@pytest.mark.parametrize("phone", ["call us", "1", '1"2', "00;ext"])
def test_a_number_that_is_no_telephone_number_is_refused(phone: str) -> None:
    with pytest.raises(PageAddressRefused, match=r"^page\.help\[0\]\.phone: "):
        made(filled(help=(config.Help(text="a", phone=phone),)))


def test_texts_that_make_it_too_large_are_refused() -> None:
    with pytest.raises(PageTooLarge):
        made(filled(law="x" * MAX_BYTES))


def skeleton(page: Elements) -> list[str]:
    return [tag for tag, _ in page.found if tag != "a"]


@given(
    st.text(min_size=1, max_size=60)
    | st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "https://a.example/'onmouseover='x",
            "$style ${law} $$ {contact} {0} {{ style }} {% raw %}",
            "a@b.test\r\nX-Canary: 1",
            "https://a.example/\r\nSet-Cookie: canary=1",
            "https://a.example/>; rel=canary",
            "</dd></dl></main>&amp;&lt;",
        ]
    )
)
def test_no_text_becomes_markup_or_a_header(text: str) -> None:
    assume(config.MARKER not in text)
    offer = config.Help(text=text, phone="123", hours=text, languages=text, who=text, kind="young")
    said = filled(operator=text, contact=text, authority=text, law=text, appeal=text, help=(offer,))
    plain = config.Help(text="a", phone="123", hours="b", languages="c", who="d", kind="young")
    one, usual = version(said), version(filled(appeal="e", help=(plain,)))
    page = Elements(one)
    assert page.open == []
    assert skeleton(page) == skeleton(Elements(usual))
    for link in page.named("a"):
        assert set(link) <= {"href", "class", "rel", "lang", "hreflang", "dir"}
        assert re.match(r"https?://|mailto:|tel:|/blocklist-resolver-(?:help|language)/", str(link["href"]))
    if not set(text) & set("\r\n\0"):
        assert page.text.count(text) >= 9
    for value in one.headers.values():
        assert re.fullmatch(r"[ -~]*", value)
    assert re.fullmatch(r'(?:<[^<>"\s]+>; rel="blocked-by")?', one.headers.get("Link", ""))


def test_its_files_are_found_beside_the_module() -> None:
    for name in ("page.css", "page.html"):
        assert render_module.resource(name).endswith("\n")


def test_a_page_is_made_again_when_the_package_has_gone_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made()

    def gone(_: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(render_module.resources, "files", gone)
    assert made(FILLED) == before
