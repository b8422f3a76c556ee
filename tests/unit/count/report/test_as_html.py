"""The page: whole in itself, readable aloud, names are text."""

from html.parser import HTMLParser

from resolver.count import definition
from resolver.count.report.as_html import as_html
from resolver.count.report.days import Place
from tests.unit.count.report.test_as_table import broken
from tests.unit.count.spring import RURITANIA, facts, told

VOID = {"meta"}


class Seen(HTMLParser):
    """Every tag with its attributes, and whether all are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_it_is_whole_in_itself() -> None:
    seen = Seen(as_html(told()))
    assert seen.open == []
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in seen.tags}
    assert not [one for _, one in seen.tags if {"src", "href", "onload"} & set(one)]
    assert "url(" not in as_html(told()).replace("url(#chart", "")


def test_it_can_be_read_aloud() -> None:
    seen = Seen(as_html(told()))
    assert seen.all("html") == [{"lang": "en"}]
    assert len(seen.all("h1")) == 1
    assert [tag for tag, _ in seen.tags if tag in {"h1", "h2", "h3"}] == ["h1", "h2", "h3", "h2", "h3", "h2"]
    assert len(seen.all("caption")) == len(seen.all("table")) == len(seen.all("svg")) == 2
    assert {one.get("scope") for one in seen.all("th")} == {"col", "row"}
    ids = [one["id"] for _, one in seen.tags if "id" in one]
    assert len(ids) == len(set(ids))


def test_definition_caveat_gaps_and_reasons_are_in_it() -> None:
    text = as_html(told(broken(), noise=True))
    for said in (definition.CAVEAT, definition.ATTEMPT, "no figures.", "epsilon 1", "fewer than eight weeks before"):
        assert said in text


def test_names_are_text() -> None:
    text = as_html(told({Place("<b>&", "x"): facts()[RURITANIA]}))
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;, list x" in text
