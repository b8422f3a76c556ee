"""`list standing`: what is printed to sign, what is asked of the service, and what is said then."""

import json
from pathlib import Path
from typing import Any

import pytest

from resolver.cli import list_held, verbs_standing
from resolver.cli.terminal import UsageError
from resolver.control import requests
from tests.unit.cli.test_verbs_decision import DECIDED, config, running, signature, status_of

__all__ = ["config", "running", "signature"]

TERMS = ("--growth-to", "5000", "--until", "2027-01-15T09:00:00Z")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (1, "demo: signature of anna counts; 1 more needed, of another person: list held demo says how to sign"),
        (0, "demo: signature of anna counts: standing approval 3 is given; serial 8 is in force"),
    ],
)
def test_a_signature_goes_to_the_service_with_the_terms(
    missing: int, said: str, config: Path, running: Any, signature: str, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [
        requests.DecideReply(
            principal="anna",
            key="SHA256:a",
            missing=missing,
            carried_out=not missing,
            confirmed=False,
            in_force=8,
            number=3,
        )
    ]
    words = ("list", "standing", "demo", *TERMS, "--refused-to", "9", "--signature", signature)
    assert status_of(*words, "--config", str(config)) == 0
    assert capsys.readouterr().out == f"{said}\n"
    (asked,) = running.asked
    assert isinstance(asked, requests.Stand)
    assert (asked.list, asked.growth_to, asked.refused_to, asked.until) == ("demo", 5000, 9, 1_800_003_600)
    assert DECIDED.number == 0


def test_the_statement_is_printed_as_it_is_signed(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    asked: list[dict[str, Any]] = []

    def statement(_: object, list_id: str, **terms: Any) -> bytes:
        asked.append({"list": list_id, **terms})
        return json.dumps({"number": 1}).encode() + b"\n"

    monkeypatch.setattr(list_held, "standing_statement", statement)
    assert status_of("list", "standing", "demo", *TERMS, "--statement", "--config", str(config)) == 0
    assert capfdbinary.readouterr().out == b'{"number": 1}\n'
    del asked[0]["now"]
    assert asked == [{"list": "demo", "growth_to": 5000, "refused_to": 0, "until": 1_800_003_600}]


def test_terms_that_are_refused_exit_with_3(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "standing", "demo", *TERMS, "--statement", "--config", str(config)) == 3
    assert "no list is in force" in capsys.readouterr().err


def test_the_end_is_a_moment_in_utc() -> None:
    assert verbs_standing.until_of("midnight", 1_800_000_000.5) == 1_800_057_600
    assert verbs_standing.until_of("midnight", 1_800_057_600) == 1_800_144_000
    assert verbs_standing.until_of("2027-01-15T09:00:00Z", 0) == 1_800_003_600
    for text in ("tomorrow", "2027-01-15", "09:00", ""):
        with pytest.raises(UsageError, match="--until"):
            verbs_standing.until_of(text, 0)


@pytest.mark.parametrize("words", [("--growth-to", "-1", "--statement"), ("--growth-to", "x"), (), ("--until", "x")])
def test_what_is_no_term_exits_with_2(words: tuple[str, ...], config: Path) -> None:
    assert status_of("list", "standing", "demo", *words, "--config", str(config)) == 2
