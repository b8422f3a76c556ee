"""The page's bytes: what the operator says, escaped; nothing invented; small, and readable for everyone."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.config import config
from resolver.page import render as render_module
from resolver.page.render import (
    MAX_BYTES,
    PageAddressRefused,
    PageNotFilledIn,
    PageTooLarge,
    Rendered,
    render,
)

FILLED = config.Page(
    operator="Example Internet",
    contact="https://isp.example/blocked or blocked@isp.example",
    authority="Example Police",
    law="Example Act, section 4",
    help=(
        config.Help(text="Example line", phone="+00 555 0100"),
        config.Help(text="Example service", url="https://help.example/?a=1&b=2"),
    ),
)


def with_texts(**texts: object) -> config.Page:
    return msgspec.structs.replace(FILLED, **texts)


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside of <style>."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def header(rendered: Rendered, name: str) -> str | None:
    return dict(rendered.headers).get(name)


def test_it_says_who_blocks_who_decides_by_which_law_and_where_to_turn() -> None:
    page = Elements(render(FILLED, demonstration=False).body)
    for text in (
        "Example Internet",
        "Example Police",
        "Example Act, section 4",
        "Example line",
        "+00 555 0100",
    ):
        assert text in page.text
    assert "may be illegal" in page.text
    assert "This visit is not logged" in page.text
    assert "emonstration" not in page.text
    assert {link["href"] for link in page.named("a")} == {
        "https://isp.example/blocked",
        "mailto:blocked@isp.example",
        "tel:+005550100",
        "/blocklist-resolver-help/1",
    }
    assert "https://help.example/?a=1&b=2" in page.text


def test_what_leads_to_help_is_known_by_its_path() -> None:
    offers = (
        config.Help(text="a", phone="123"),
        config.Help(text="b", url="https://help.example/", kind="young"),
        config.Help(text="c", url="https://REPLACE-ME/", kind="young"),
    )
    known = render(with_texts(help=offers), demonstration=True).help
    assert known == {"/blocklist-resolver-help/1": ("young", "https://help.example/")}


def test_it_never_claims_that_visitors_are_traced() -> None:
    text = Elements(render(FILLED, demonstration=False).body).text.lower()
    assert not re.search(r"trace|track|ip address|monitor|identif", text)


@pytest.mark.parametrize("key", ["operator", "contact", "authority", "law"])
def test_a_text_that_is_not_filled_in_stops_the_start(key: str) -> None:
    with pytest.raises(PageNotFilledIn, match=rf"^page\.{key}: ") as refused:
        render(with_texts(**{key: "Our REPLACE-ME"}), demonstration=False)
    assert refused.value.key == f"page.{key}"


@pytest.mark.parametrize(
    "offer",
    [
        config.Help(text="REPLACE-ME", url="https://a.example/"),
        config.Help(text="a", url="https://REPLACE-ME/"),
        config.Help(text="a", phone="REPLACE-ME"),
    ],
)
def test_an_offer_of_help_that_is_not_filled_in_stops_the_start(offer: config.Help) -> None:
    with pytest.raises(PageNotFilledIn, match=r"^page\.help\[0\]: "):
        render(with_texts(help=(offer,)), demonstration=False)
    shown = Elements(render(with_texts(help=(offer,)), demonstration=True).body)
    assert "REPLACE-ME" not in shown.text


def test_the_demonstration_says_so_and_invents_nothing() -> None:
    rendered = render(config.Page(), demonstration=True)
    page = Elements(rendered.body)
    assert "Demonstration." in page.text
    assert config.MARKER not in page.text
    assert len(page.named("mark")) == 5
    assert page.named("a") == []
    assert not re.search(r"\d{3,}", page.text.replace("451", ""))
    assert header(rendered, "Link") is None


def test_help_is_left_out_where_the_operator_names_none() -> None:
    page = Elements(render(with_texts(help=()), demonstration=False).body)
    assert "Help, in confidence" not in page.text


def test_it_is_small_whole_and_stands_alone() -> None:
    body = render(FILLED, demonstration=False).body
    page = Elements(body)
    assert page.open == []
    assert len(body) < 10_000 < MAX_BYTES
    kinds = {tag for tag, _ in page.found}
    assert not kinds & {
        "script",
        "img",
        "link",
        "iframe",
        "form",
        "object",
        "embed",
        "video",
        "audio",
        "svg",
        "base",
    }
    assert not any(name in attributes for _, attributes in page.found for name in ("style", "src", "srcset"))
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    assert b"url(" not in body
    assert b"@import" not in body


def test_headings_and_language_are_set_for_those_who_listen_to_it() -> None:
    page = Elements(render(FILLED, demonstration=False).body)
    assert page.named("html") == [{"lang": "en", "dir": "ltr"}]
    assert len(page.named("h1")) == len(page.named("main")) == len(page.named("title")) == 1
    order = [int(tag[1]) for tag, _ in page.found if re.fullmatch(r"h\d", tag)]
    assert order == [1] + [2] * (len(order) - 1)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.named("meta")


def colours(style: str) -> list[dict[str, str]]:
    """The named colours of the light and of the dark scheme."""
    return [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{[^}]*\}", style)
    ]


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_stands_out_in_both_schemes() -> None:
    schemes = colours(render(FILLED, demonstration=False).body.decode())
    assert len(schemes) == 2
    for scheme in schemes:
        for front, back in [
            ("ink", "paper"),
            ("ink", "card"),
            ("ink", "calm"),
            ("soft", "paper"),
            ("link", "paper"),
            ("link", "card"),
            ("mark-ink", "mark"),
        ]:
            assert contrast(scheme[front], scheme[back]) >= 7, (front, back)
        assert contrast(scheme["calm-line"], scheme["paper"]) >= 3


def test_only_its_own_style_is_allowed() -> None:
    rendered = render(FILLED, demonstration=False)
    style = re.search(rb"<style>(.*?)</style>", rendered.body, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    policy = header(rendered, "Content-Security-Policy")
    assert policy
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")


def test_the_link_names_the_one_who_blocks() -> None:
    assert (
        header(render(FILLED, demonstration=False), "Link")
        == '<https://isp.example/blocked>; rel="blocked-by"'
    )
    named = with_texts(operator="Example Internet, https://isp.example")
    assert header(render(named, demonstration=False), "Link") == '<https://isp.example>; rel="blocked-by"'
    assert header(render(with_texts(contact="by post"), demonstration=False), "Link") is None


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//a.example", 'https://a.example/"', "x"]
)
def test_an_address_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(PageAddressRefused, match=r"^page\.help\[0\]\.url: "):
        render(with_texts(help=(config.Help(text="a", url=url),)), demonstration=False)


@pytest.mark.parametrize("phone", ["call us", "1", '1"2', "00;ext"])
def test_a_number_that_is_no_telephone_number_is_refused(phone: str) -> None:
    with pytest.raises(PageAddressRefused, match=r"^page\.help\[0\]\.phone: "):
        render(with_texts(help=(config.Help(text="a", phone=phone),)), demonstration=False)


def test_texts_that_make_it_too_large_are_refused() -> None:
    with pytest.raises(PageTooLarge):
        render(with_texts(law="x" * MAX_BYTES), demonstration=False)


def skeleton(page: Elements) -> list[str]:
    return [tag for tag, _ in page.found if tag != "a"]


@given(
    st.text(max_size=60)
    | st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "https://a.example/'onmouseover='x",
            "$style ${law} $$",
            "a@b.test\r\nX-Canary: 1",
            "https://a.example/\r\nSet-Cookie: canary=1",
            "https://a.example/>; rel=canary",
            "</dd></dl></main>&amp;&lt;",
        ]
    )
)
def test_no_text_becomes_markup_or_a_header(text: str) -> None:
    rendered = render(with_texts(operator=text, contact=text, authority=text, law=text), demonstration=False)
    page = Elements(rendered.body)
    assert page.open == []
    assert skeleton(page) == skeleton(Elements(render(FILLED, demonstration=False).body))
    for link in page.named("a"):
        assert set(link) == {"href"}
        assert re.match(r"https?://|mailto:|tel:|/blocklist-resolver-help/\d+\Z", str(link["href"]))
    if not set(text) & set("\r\n\0"):
        assert text in page.text
    for _, value in rendered.headers:
        assert re.fullmatch(r"[ -~]*", value)
    link_header = header(rendered, "Link")
    assert link_header is None or re.fullmatch(r'<[^<>"\s]+>; rel="blocked-by"', link_header)


def test_both_files_are_found_beside_the_module() -> None:
    assert render_module.LANGUAGE == "en"
    for name in ("stop.css", "stop.en.html"):
        assert render_module.resource(name).endswith("\n")


def test_a_page_is_made_again_when_the_package_has_gone_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    before = render(FILLED, demonstration=False)

    def gone(_: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(render_module.resources, "files", gone)
    assert render(FILLED, demonstration=False) == before
