"""An answer of a DNS server, and the steps of a query's way through the service: as text and as JSON."""

import json
from collections.abc import Sequence
from typing import Final

from resolver.config.values import utc_text
from resolver.dns_client.client import Reply

Step = tuple[str, str, float]
"""One step, what was found there, and the seconds that it took."""


_OVER: Final = {"tls": "DNS over TLS", "https": "DNS over HTTPS (HTTP/2)", "quic": "DNS over QUIC"}


def screen(answer: Reply) -> str:
    """Return an answer as text: one line of facts, then one a record."""
    lines = [f"{answer.rcode}  flags {' '.join(answer.flags) or 'none'}  {answer.seconds * 1000:.1f} ms"]
    if answer.secured:
        one = answer.secured
        until = utc_text(one.until)
        lines.append(f"{_OVER[one.over]}, {one.version}, certificate verified for {one.name}, until {until}")
    lines += [f"extended error {code} ({words})" for code, words in answer.errors]
    for title, section in (
        ("answer", answer.answers),
        ("authority", answer.authorities),
        ("additional", answer.additionals),
    ):
        lines += [f"{title:<11}{line}" for line in section]
    return "\n".join(lines)


def as_json(answer: Reply) -> str:
    """Return an answer as one JSON object."""
    return json.dumps(_facts(answer))


def walk_screen(steps: Sequence[Step], answer: Reply | None) -> str:
    """Return the steps of a query's way and its answer as text; None: no answer is sent."""
    lines = [f"{step:<11}{said:<60}{seconds * 1000:>9.2f} ms" for step, said, seconds in steps]
    return "\n".join([*lines, "", screen(answer) if answer else "no answer is sent"])


def walk_as_json(steps: Sequence[Step], answer: Reply | None) -> str:
    """Return the steps of a query's way and its answer as one JSON object; `reply` is null if no answer is sent."""
    walked = [{"step": step, "said": said, "milliseconds": round(seconds * 1000, 3)} for step, said, seconds in steps]
    return json.dumps({"steps": walked, "reply": _facts(answer) if answer else None})


def _facts(answer: Reply) -> dict[str, object]:
    one = answer.secured
    secured = (
        {
            "over": one.over,
            "tls": one.version,
            "verified_for": one.name,
            "certificate_until": utc_text(one.until),
        }
        if one
        else {}
    )
    return {
        **secured,
        "rcode": answer.rcode,
        "flags": answer.flags,
        "extended_errors": [{"code": code, "name": words} for code, words in answer.errors],
        "answer": answer.answers,
        "authority": answer.authorities,
        "additional": answer.additionals,
        "milliseconds": round(answer.seconds * 1000, 1),
    }
