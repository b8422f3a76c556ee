"""The texts of extended errors: I-JSON from the configuration alone, and what a configuration may not say."""

import json
from typing import Any

import pytest

from resolver.config.structured_errors import MAX_STRUCTURED_OCTETS, contact_of, texts_of
from tests.unit.config.test_config import TEXTS, document, fault, listed, read

ON: dict[str, object] = {
    "addresses": ["192.0.2.1"],
    **TEXTS,
    "structured_errors": True,
    "option_code": 65100,
    "incident": "programme-1",
}


def said(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both texts of the one list, with keys of the list replaced."""
    found = read({**listed(**changes), "page": ON})
    whole, brief = texts_of(found.lists[0], found.page)
    return json.loads(whole), json.loads(brief)


def test_a_structured_text_has_contact_law_organisation_language_and_incident() -> None:
    whole, brief = said()
    assert whole == {
        "c": ["mailto:help@isp.example"],
        "j": "Example Court: Act 1",
        "o": "Example ISP",
        "l": "en",
        "inc": "programme-1",
    }
    assert brief == {"c": ["mailto:help@isp.example"], "inc": "programme-1"}


def test_what_a_list_says_of_itself_comes_before_what_the_page_says() -> None:
    whole, _ = said(authority="Example Gambling Office", legal_reference="Act 2", complaint="+1 555 0100")
    assert (whole["c"], whole["j"]) == (["tel:+15550100"], "Example Gambling Office: Act 2")


def test_keys_are_those_of_the_clients_in_use() -> None:
    page = {**ON, "structured_keys": {"contact": "contact", "incident": "id"}, "language": "nl"}
    found = read(document(page=page))
    assert list(json.loads(texts_of(found.lists[0], found.page)[0])) == ["contact", "j", "o", "l", "id"]
    assert json.loads(texts_of(found.lists[0], found.page)[0])["l"] == "nl"


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("help@isp.example", "mailto:help@isp.example"),
        ("mailto:help@isp.example", "mailto:help@isp.example"),
        ("tel:+15550100", "tel:+15550100"),
        ("+1 (555) 01-00", "tel:+15550100"),
        ("https://isp.example/contact", ""),
        ("the front desk", ""),
        ("", ""),
    ],
)
def test_a_contact_is_a_uri_of_mail_or_telephone(text: str, uri: str) -> None:
    assert contact_of(text) == uri


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"option_code": 0}, "page.option_code"),
        ({"option_code": 15}, "page.option_code"),
        ({"option_code": 65536}, "page.option_code"),
        ({"contact": "https://isp.example/"}, "page.contact"),
        ({"structured_keys": {"contact": "x", "language": "x"}}, "page.structured_keys"),
        ({"operator": "x" * MAX_STRUCTURED_OCTETS}, "list[0].legal_reference"),
        ({"error_text": "x" * 121}, "page.error_text"),
    ],
)
def test_what_cannot_be_sent_is_refused(change: dict[str, object], key: str) -> None:
    assert fault(document(page={**ON, **change})).startswith(f"resolver.toml: {key}: ")


def test_without_structured_errors_nothing_is_asked_for() -> None:
    page = read(document(page={**ON, "structured_errors": False, "option_code": 0, "contact": "front desk"})).page
    assert (page.structured_errors, page.error_text, page.structured_keys) == (False, "", {})
