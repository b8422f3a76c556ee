"""`[page]` and the purposes: what is refused, what is warned of, and which lists an address shows."""

import ipaddress
from typing import Any

import pytest

from resolver.config import config
from resolver.config.page import MARKER, PURPOSES, purpose_of, shown_at
from tests.unit.config.test_config import TEXTS, document, fault, listed, read

FIRST, SECOND = "192.0.2.1", "192.0.2.2"
HELP: list[dict[str, object]] = [{"text": "Example line", "phone": "123", "kind": "young"}]
PAGE: dict[str, object] = {"addresses": [FIRST], **TEXTS, "flow_records": "kept", "help": HELP}


def lists(*changes: dict[str, object]) -> dict[str, object]:
    """A production file with a list for each of `changes`."""
    one: dict[str, object] = listed()["list"][0]  # type: ignore[index]  # a list, as built there
    return document(page=PAGE, list=[{**one, "id": f"l{at}", **change} for at, change in enumerate(changes)])


def test_every_default_of_a_page_is_the_promised_one() -> None:
    page = read(document()).page
    assert (page.language, page.leave, page.appeal, page.flow_records, page.help) == ("en", "about:blank", "", "", ())
    one = read(document()).lists[0]
    assert (one.purpose, one.authority, one.complaint, one.appeal) == ("", "", "", "")
    offer = config.Help(text="a")
    assert (offer.kind, offer.chat, offer.who, offer.hours, offer.languages) == ("other", "", "", "", "")


def test_an_offer_of_help_has_a_way_to_reach_it() -> None:
    page = {**PAGE, "help": [{"text": "Help"}]}
    assert fault(document(page=page)) == "resolver.toml: page.help[0]: give a url, a phone or a chat"
    for way in ("url", "phone", "chat"):
        assert read(document(page={**PAGE, "help": [{"text": "Help", way: "1"}]}))
    both = {"text": "Help", "phone": "1", "chat": "https://chat.example/"}
    assert read(document(page={**PAGE, "help": [both]})).page.help[0].chat == "https://chat.example/"


def test_a_purpose_is_one_of_five() -> None:
    for purpose in PURPOSES:
        assert read(lists({"purpose": purpose})).lists[0].purpose == purpose
    assert fault(lists({"purpose": "gambling"})) == (
        "resolver.toml: list[0].purpose: not one of the values that this key accepts: , child-abuse, court-order, "
        "malware, other, sanctions"
    )


@pytest.mark.parametrize("other", ["", "court-order", "malware", "sanctions", "other"])
def test_a_child_abuse_list_shares_its_address_with_no_other_purpose(other: str) -> None:
    shared = f"list[1].addresses: {FIRST} is also the address of a child-abuse list"
    assert fault(lists({"purpose": "child-abuse"}, {"purpose": other})).startswith(f"resolver.toml: {shared}")
    shared = shared.replace("list[1]", "list[0]")
    assert fault(lists({"purpose": other}, {"purpose": "child-abuse"})).startswith(f"resolver.toml: {shared}")
    demonstrations = lists({"purpose": other, "demonstration": True}, {"purpose": "child-abuse"})
    assert shared in fault(demonstrations)
    for apart in ({"addresses": [SECOND]}, {"answer": "nodata"}):
        assert read(lists({"purpose": "child-abuse"}, {"purpose": other, **apart}))


def test_lists_of_one_purpose_and_lists_that_are_no_abuse_may_share() -> None:
    assert read(lists({"purpose": "child-abuse"}, {"purpose": "child-abuse"}))
    assert read(lists({"purpose": "malware"}, {"purpose": "court-order"}, {}))


def test_the_purpose_of_lists_is_the_one_they_share() -> None:
    def of(*purposes: str) -> str:
        return purpose_of(read(lists(*({"purpose": one, "answer": "nodata"} for one in purposes))).lists)

    assert purpose_of(()) == "other"
    assert (of(""), of("malware"), of("malware", "malware")) == ("other", "malware", "malware")
    assert (of("malware", ""), of("malware", "sanctions"), of("child-abuse", "malware")) == ("other",) * 3


def test_an_address_shows_the_lists_whose_answers_give_it() -> None:
    loaded = read(lists({}, {"addresses": [SECOND, "2001:db8::2"]}, {"answer": "nxdomain"}, {}))
    shown = {str(address): [one.id for one in found] for address, found in shown_at(loaded.page, loaded.lists).items()}
    assert shown == {FIRST: ["l0", "l3"], SECOND: ["l1"], "2001:db8::2": ["l1"]}


@pytest.mark.parametrize(
    ("page", "key"),
    [
        ({"help": []}, "page.help: required with a child-abuse list"),
        ({"help": [{**HELP[0], "kind": "report"}]}, "page.help: required with a child-abuse list"),
        ({"help": [{**HELP[0], "kind": "other"}]}, "page.help: required with a child-abuse list"),
        ({"help": [*HELP, {"text": MARKER, "phone": "1"}]}, f"page.help[1]: still holds {MARKER}"),
        ({"help": [{**HELP[0], "hours": MARKER}]}, f"page.help[0]: still holds {MARKER}"),
        ({"flow_records": ""}, "page.flow_records: required"),
    ],
)
def test_a_production_page_for_a_child_abuse_list_has_help_and_says_what_is_recorded(
    page: dict[str, Any], key: str
) -> None:
    whole = lists({"purpose": "child-abuse"})
    changed = {**whole, "page": {**PAGE, **page}}
    assert fault(changed).startswith(f"resolver.toml: {key}")
    assert read({**changed, "page": {**PAGE, **page, "listen": []}}), "another web server shows it"
    one = {**whole["list"][0], "demonstration": True}  # type: ignore[index]  # a list, as built above
    assert read({**changed, "list": [one]})


def test_a_stated_purpose_asks_what_the_network_records_and_an_old_file_is_still_read() -> None:
    silent = {**PAGE, "flow_records": ""}
    for purpose in PURPOSES:
        refused = fault({**lists({"purpose": purpose}), "page": silent})
        assert refused.startswith("resolver.toml: page.flow_records: required")
    assert read({**lists({}), "page": silent})
    assert read({**lists({"purpose": "malware", "answer": "nodata"}), "page": silent})
    assert fault({**lists({}), "page": {**PAGE, "flow_records": "some"}}).startswith(
        "resolver.toml: page.flow_records: not one"
    )


@pytest.mark.parametrize("key", ["authority", "legal_reference", "complaint", "appeal"])
def test_a_marker_left_in_what_the_page_says_of_a_list_is_refused(key: str) -> None:
    assert fault(lists({key: f"Our {MARKER}"})).startswith(f"resolver.toml: list[0].{key}: still holds {MARKER}")


def warned(whole: dict[str, object]) -> list[str]:
    return [line for line in config.warnings(read(whole)) if "page" in line or "purpose" in line]


def test_what_is_probably_a_mistake_is_warned_of() -> None:
    assert warned(lists({"purpose": "child-abuse"})) == []
    assert warned({**lists({"purpose": "malware"}), "page": {**PAGE, "help": []}}) == []
    assert warned({**lists({}), "page": {**PAGE, "listen": []}}) == [], "another web server shows it"
    old = warned({**lists({}), "page": {**PAGE, "flow_records": ""}})
    assert [line.split(" is ")[0] for line in old] == ["list[0].purpose", "page.flow_records", "page.help"]


def test_a_page_that_may_not_know_its_address_is_warned_of() -> None:
    two = ({"purpose": "child-abuse"}, {"purpose": "malware", "addresses": [SECOND, "2001:db8::2"]})

    def listening(*listen: str) -> list[str]:
        return warned({**lists(*two), "page": {**PAGE, "listen": list(listen)}})

    lines = listening(f"{FIRST}:80")
    assert [line.split(", ")[0] for line in lines] == [
        f"page.listen does not name {SECOND}",
        "page.listen does not name 2001:db8::2",
    ]
    assert listening(f"{FIRST}:80", f"{SECOND}:80", "[2001:db8::2]:80") == []
    assert listening("0.0.0.0:80", "[::]:80") == []
    assert len(listening("0.0.0.0:80")) == 1, "IPv6 does not arrive there"
    assert warned({**lists(two[0]), "page": {**PAGE, "listen": ["127.0.0.1:80"]}}) == []


def test_hosts_that_the_page_names_are_protected() -> None:
    page = {
        **PAGE,
        "leave": "https://weather.example/",
        "appeal": "https://court.example/",
        "help": [{**HELP[0], "url": "https://help.example/", "chat": "https://chat.example/"}],
    }
    one = {"purpose": "child-abuse", "complaint": "a@hotline.example", "appeal": "b@appeals.example"}
    loaded = read({**lists(one), "page": page})
    names = ("appeals", "chat", "court", "help", "hotline", "isp", "weather")
    assert config.protected_names(loaded, loaded.lists[0]) == tuple(f"{name}.example" for name in names)
    assert loaded.page.addresses == (ipaddress.ip_address(FIRST),)
