"""JSON: held against the schema that is shipped beside it."""

import json
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from resolver.count import definition
from resolver.count.report.as_json import as_json
from tests.unit.count.report.test_as_table import broken
from tests.unit.count.spring import RURITANIA, told


@pytest.fixture
def schema() -> Draft202012Validator:
    found = json.loads(files("resolver.count.report").joinpath("report.schema.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


@pytest.mark.parametrize("report", [told(), told(noise=True), told(broken())], ids=["plain", "noise", "gaps"])
def test_a_report_is_as_the_schema_says(schema: Draft202012Validator, report: Any) -> None:
    assert list(schema.iter_errors(json.loads(as_json(report)))) == []


def test_it_tells_the_peak_the_return_and_what_the_numbers_are(schema: Draft202012Validator) -> None:
    found = json.loads(as_json(told()))
    place = found["places"][1]
    assert (place["region"], len(place["days"]), len(place["months"])) == (RURITANIA.region, 182, 6)
    (surge,) = place["surges"]
    assert (surge["peak"], surge["back_to_normal"]) == ("2020-03-30", "2020-05-11")
    assert found["caveat"] == definition.CAVEAT
    assert found["definition"]["attempt"] == definition.ATTEMPT
    assert found["noise"] is None


def test_the_schema_refuses_what_is_no_report(schema: Draft202012Validator) -> None:
    found = json.loads(as_json(told()))
    found["places"][0]["days"][0]["attempts"] = -1
    with pytest.raises(ValidationError):
        schema.validate(found)
    del found["caveat"]
    found["places"] = []
    with pytest.raises(ValidationError):
        schema.validate(found)
