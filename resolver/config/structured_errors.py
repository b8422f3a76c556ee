"""Builds the texts of extended errors in blocked answers, from the configuration alone.

Rules:
- No octet depends on the name that was asked, nor on the entry that blocked it: a list has one text for every name.
- A structured error (draft-ietf-dnsop-structured-dns-error) is I-JSON (RFC 7493) in EXTRA-TEXT: whom to contact (URIs
  of mailto and tel alone), why (the authority and its law), the organisation that runs the resolver, the language of
  these two, and an incident. There is no sub-error: it may not stand beside Censored.
- The incident is one constant for the programme, whatever its lists hold. An incident for each name, as
  draft-nottingham-public-resolver-errors has it for public lists, would disclose a confidential list.
- A text that does not fit into an answer loses justification, organisation and language first, then all.
- The draft has no option code yet: the operator states the code that the clients in use have, and the keys if they
  differ.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from resolver.config.lists import Fault, List
from resolver.config.page import Page, Part

MAX_TEXT_OCTETS: Final = 120
MAX_STRUCTURED_OCTETS: Final = 640
"""A name of 255 octets, the SOA record and a text of this size fit into 1232 octets (RFC 9715)."""

KNOWN_OPTIONS: Final = 20
"""Option codes up to this one have another meaning (IANA, DNS EDNS0 option codes)."""

KEYS: Final[dict[Part, str]] = {
    "contact": "c",
    "justification": "j",
    "organization": "o",
    "language": "l",
    "incident": "inc",
}
"""The keys of the I-JSON; `page.structured_keys` replaces them."""

_MAX_CODE: Final = 65535


def contact_of(text: str) -> str:
    """Return a contact as a URI of mailto or tel; "" for any other, such as a web address."""
    if text.startswith(("mailto:", "tel:")):
        return text
    if "@" in text and " " not in text and "/" not in text:
        return f"mailto:{text}"
    digits = "".join(one for one in text if one not in " ()-./")
    return f"tel:{digits}" if digits.removeprefix("+").isdecimal() else ""


def texts_of(one: List, page: Page) -> tuple[bytes, bytes]:
    """Return the structured texts of a list: the whole one, and the one without justification and organisation."""
    keys = KEYS | page.structured_keys
    contact = contact_of(one.complaint or page.contact)
    law = one.legal_reference or page.law
    why = f"{one.authority or page.authority}: {law}"
    said: dict[Part, object] = {
        "contact": [contact],
        "justification": why,
        "organization": page.operator,
        "language": page.language,
        "incident": page.incident,
    }

    def as_json(parts: Iterable[Part]) -> bytes:
        stated = {keys[part]: said[part] for part in parts if said[part]}
        return json.dumps(stated, ensure_ascii=False, separators=(",", ":")).encode()

    return as_json(KEYS), as_json(("contact", "incident"))


def faults_of_errors(page: Page, lists: tuple[List, ...]) -> Iterator[Fault]:
    """Yield the faults of `[page] error_text` and of structured errors."""
    if len(page.error_text.encode()) > MAX_TEXT_OCTETS:
        yield "page.error_text", f"longer than {MAX_TEXT_OCTETS} octets in UTF-8"
    if not page.structured_errors:
        return
    if not KNOWN_OPTIONS < page.option_code <= _MAX_CODE:
        yield (
            "page.option_code",
            f"structured errors need the option code of the clients in use, {KNOWN_OPTIONS + 1} to {_MAX_CODE} "
            "(65001 to 65534 are for experiments)",
        )
    if len(set((KEYS | page.structured_keys).values())) < len(KEYS):
        yield "page.structured_keys", "two keys have one name"
    for number, one in enumerate(lists):
        if not contact_of(one.complaint or page.contact):
            yield (
                f"list[{number}].complaint" if one.complaint else "page.contact",
                "structured errors need an e-mail address or a telephone number here",
            )
        if len(texts_of(one, page)[0]) > MAX_STRUCTURED_OCTETS:
            yield (
                f"list[{number}].legal_reference",
                f"the structured error of this list is longer than {MAX_STRUCTURED_OCTETS} octets: shorten it, "
                "authority or page.operator",
            )
