"""Settings of pages, and the elements of what they become."""

import ipaddress
from html.parser import HTMLParser

import msgspec

from resolver.config import config
from resolver.config.page import PURPOSES
from resolver.page.render import render
from resolver.page.rendered import Rendered, Version
from resolver.page.wording import languages

TAGS = tuple(languages())

FILLED = config.Page(
    addresses=(ipaddress.ip_address("192.0.2.1"),),
    operator="Example Internet",
    contact="https://isp.example/blocked or blocked@isp.example",
    authority="Example Police",
    law="Example Act, section 4",
    flow_records="exempted",
    leave="https://weather.example/",
    help=(
        config.Help(text="Example service", url="https://help.example/?a=1&b=2", kind="worried"),
        config.Help(
            text="Example line",
            phone="+00 555 0100",
            chat="https://chat.example/",
            hours="every day, 14:00 to 22:00",
            languages="English, Deutsch",
            kind="young",
        ),
    ),
)
UNFILLED = config.Page()


def filled(**changes: object) -> config.Page:
    """The settings with some of them replaced."""
    return msgspec.structs.replace(FILLED, **changes)


def a_list(**changes: object) -> config.List:
    """A list with some of its keys set."""
    source = config.Source(kind="tuf", url="file:///srv/authority", root="/srv/root.json")
    return msgspec.structs.replace(config.List(id="one", source=source, purpose="child-abuse"), **changes)


LISTS = {purpose: (a_list(purpose=purpose),) for purpose in PURPOSES}
ABUSE = LISTS["child-abuse"]


def made(
    page: config.Page = FILLED, lists: tuple[config.List, ...] = ABUSE, *, demonstration: bool = False
) -> Rendered:
    """The pages by these settings."""
    return render(page, lists, demonstration=demonstration)


def version(
    page: config.Page = FILLED,
    lists: tuple[config.List, ...] = ABUSE,
    tag: str = "en",
    *,
    demonstration: bool = False,
) -> Version:
    """The page that visitors of any address read in one language."""
    return made(page, lists, demonstration=demonstration).elsewhere[tag]


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside of <style>."""

    def __init__(self, one: Version) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(one.body.decode())
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
