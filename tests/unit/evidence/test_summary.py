"""The summary as HTML: whole, escaped, with nothing to fetch; how it prints, tests/peers looks at in a browser."""

import re
from html.parser import HTMLParser

from msgspec.structs import replace

from resolver.evidence import summary
from resolver.evidence.bundle import Bundle

OPEN_ALONE = {"meta"}


class Tags(HTMLParser):
    """Every tag has its end, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.headings += [tag] if tag in ("h1", "h2") else []
        if tag not in OPEN_ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ends where it begins."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_whole_and_fetches_nothing(of_april: Bundle) -> None:
    made = summary.as_html(of_april, "c" * 64, "ab12")
    tags = Tags()
    tags.feed(made)
    assert tags.open == []
    assert tags.headings[0] == "h1"
    assert tags.headings.count("h1") == 1
    assert made.count("<section") == 2
    assert "default-src 'none'" in made
    assert not re.search(r"<script|<link|<img|src=|url\(http", made)
    for said in (of_april.definition.caveat, of_april.definition.attempts_are, *of_april.caveats, "c" * 64):
        assert said in made.replace("&#x27;", "'")
    assert "list is blocked" not in made


def test_text_of_the_bundle_is_data(of_april: Bundle) -> None:
    first = replace(of_april.lists[0], list="<i>", legal_reference="<b>&")
    course = replace(first.course, holds=tuple(replace(one, reasons=("<u>",)) for one in first.course.holds))
    other = replace(of_april, host="<host>", region="<region>", version="<v>", lists=(replace(first, course=course),))
    made = summary.as_html(other, "c" * 64, "ab12")
    assert not re.search("<i>|<b>|<u>|<host>|<region>|<v>", made)
    assert "&lt;host&gt;" in made


def test_a_month_that_is_not_over_is_marked(of_april: Bundle) -> None:
    made = summary.as_html(replace(of_april, complete=False, chain=None, through="2025-04-09"), "c" * 64, "ab12")
    assert "Not evidence of the month: it is not over. Covered until 2025-04-09." in made
    assert "Not evidence" not in summary.as_html(of_april, "c" * 64, "ab12")


def test_a_month_in_which_nothing_happened_says_so(of_april: Bundle) -> None:
    made = summary.as_html(replace(of_april, lists=(), receipts=()), "c" * 64, "ab12")
    assert "No deadline was missed, nothing was held, taken out, suspended or released." in made
