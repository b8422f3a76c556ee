"""doctor/report.py: a table whose lines fit, findings with what closes them, and JSON that meets its schema."""

import json
from pathlib import Path

import jsonschema
import pytest

from resolver.doctor import catalogue, report, verdicts
from resolver.doctor.probes import Examined, Result
from resolver.doctor.verdicts import Expected, Verdict

SCHEMA = json.loads((Path(report.__file__).parent / "doctor.schema.json").read_text())
FOUND = {"do": Verdict.LEAKS, "ede": Verdict.WEAK, "dot": Verdict.UNKNOWN, "siblings": Verdict.OVER_BLOCKS}


def found(expected: Expected | None = None) -> Examined:
    results = [Result(one.id, FOUND.get(one.id, Verdict.ENFORCED), "what came") for one in catalogue.PROBES]
    return Examined(server="192.0.2.53:53", expected=expected, results=tuple(results), queries=120, seconds=2.34)


def test_the_table_has_every_probe_and_each_finding_with_its_lines() -> None:
    text = report.table(found())
    lines = text.splitlines()
    assert all(len(line) <= report.WIDTH for line in lines if "    " not in line.strip()), text
    assert "192.0.2.53:53: what blocked answers look like is not known (--expect says it)" in lines[0]
    for one in catalogue.PROBES:
        assert sum(line.startswith(f"{one.what:<50}") for line in lines) == 1, one.what
    assert "leaks 1, over-blocks 1, weak 1, unknown 1" in text
    assert "120 queries in 2.3 s" in text
    heads = [line for line in lines if line.startswith(("LEAKS", "OVER-BLOCKS", "WEAK"))]
    assert heads == [
        "LEAKS: DO=1, a signed name: what came",
        "OVER-BLOCKS: open names beside it: what came",
        "WEAK: an extended error (RFC 8914): what came",
    ]
    assert lines[-1] == "Lines that begin alike are one statement: write their options one behind the other."
    assert "  BIND      response-policy { zone \"POLICY\"; } break-dnssec yes;" in lines
    assert "  systemd-resolved and every validator ask so." in lines


def test_one_product_alone() -> None:
    text = report.table(found(), product="bind")
    assert "  BIND " in text
    assert "  Unbound " not in text


def test_what_blocked_answers_are() -> None:
    said = verdicts.expected_of(["192.0.2.1"])
    assert report.table(found(said)).startswith("192.0.2.53:53: blocked answers are 192.0.2.1, as you said")
    learnt = Expected(3, learnt=True)
    assert "blocked answers are NXDOMAIN, as it answers A and AAAA itself" in report.table(found(learnt))


def test_colours_are_for_terminals() -> None:
    assert "\x1b" not in report.table(found())
    painted = report.table(found(), colour=True)
    assert "\x1b[31mleaks " in painted
    assert "\x1b[0m" in painted


@pytest.mark.parametrize("expected", [None, Expected(3, learnt=True), verdicts.expected_of(["192.0.2.1"])])
def test_the_json_meets_its_schema(expected: Expected | None) -> None:
    said = json.loads(report.as_json(found(expected)))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(said, SCHEMA)
    assert [one["id"] for one in said["probes"]] == [one.id for one in catalogue.PROBES]
    assert {one["id"] for one in said["probes"] if one["closes"]} == {"do", "ede", "siblings"}
    assert said["counts"]["leaks"] == 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(said | {"name": "x"}, SCHEMA)


def test_the_schema_knows_the_verdicts_and_products() -> None:
    probe = SCHEMA["properties"]["probes"]["items"]["properties"]
    assert probe["verdict"]["enum"] == [str(one) for one in verdicts.ORDER]
    assert probe["closes"]["propertyNames"]["enum"] == list(catalogue.PRODUCTS)
