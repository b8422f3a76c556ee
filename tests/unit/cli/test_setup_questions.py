"""Answers of `setup` are judged by the rules of the configuration, in its own words."""

import re
from typing import Any

import msgspec.inspect as inspect
import pytest

from resolver.cli import setup_file, setup_questions
from resolver.cli.setup_questions import QUESTIONS, STAND_INS, Question, WrongAnswer
from resolver.config import config, explained

BY_FLAG = {one.flag: one for one in QUESTIONS}


def answered(flag: str, *given: str, **so_far: Any) -> Any:
    """The value that is taken; the answers before it by flag, without the dashes."""
    one = BY_FLAG[flag]
    before = {BY_FLAG[f"--{name.replace('_', '-')}"].key: value for name, value in so_far.items()}
    value = setup_questions.value_of(one, list(given))
    setup_questions.judge(one, {**before, one.key: value})
    return value


def test_the_stand_ins_pass_every_check() -> None:
    assert setup_questions.checked(STAND_INS).lists[0].id == "list-1"
    assert config.warnings(setup_questions.checked(STAND_INS)) == ()


def test_every_question_is_a_key_that_the_file_explains_and_a_flag_of_its_own() -> None:
    known = {f"{table.name}.{option.key}" for table in explained.tables(explained.text()) for option in table.options}
    assert {one.key for one in QUESTIONS} <= known
    assert len({one.key for one in QUESTIONS}) == len({one.flag for one in QUESTIONS}) == len(QUESTIONS)


def test_every_key_without_a_default_is_asked() -> None:
    required = {
        f"{table.name}.{option.key}"
        for table in explained.tables(explained.text())
        for option in table.options
        if option.required
    }
    assert required - {one.key for one in QUESTIONS if one.asked} == set()


def test_questions_of_several_values_are_those_whose_key_takes_a_list() -> None:
    for one in QUESTIONS:
        kind = inspect.type_info(config.Config)
        for step in one.key.split("."):
            if isinstance(kind, inspect.VarTupleType):
                kind = kind.item_type
            assert isinstance(kind, inspect.StructType)
            kind = next(field.type for field in kind.fields if field.encode_name == step)
        assert isinstance(kind, inspect.VarTupleType) == one.many, one.key


@pytest.mark.parametrize(
    ("flag", "given", "reason"),
    [
        ("--listen", ["127.0.0.1"], "expected ADDRESS:PORT"),
        ("--listen", ["[fe80::1]:53"], "needs its interface"),
        ("--listen", [], "length >= 1"),
        ("--allow", ["192.0.2.1/24"], "expected a prefix without host bits"),
        ("--upstream", ["192.0.2.53:0"], "expected a port"),
        ("--page-address", ["isp.example"], "expected an address"),
        ("--list-id", ["A list"], "matching regex"),
        ("--purpose", ["abuse"], "child-abuse, court-order"),
        ("--demonstration", ["perhaps"], "expected yes or no"),
        ("--operator", ["REPLACE-ME"], "still holds REPLACE-ME"),
        ("--flow-records", ["all"], "none"),
        ("--expire", ["stop"], "keep, lift"),
        ("--kind", ["ftp"], "tuf"),
        ("--source", ["http://authority.example"], "expected file:///FOLDER or https"),
        ("--protected", ["no name"], "not a domain name"),
        ("--rehearsal", ["example"], "three labels"),
        ("--region", ["a b"], "matching regex"),
        ("--receipts", ["folder"], "expected the absolute path of a folder"),
        ("--metrics", ["here"], "expected ADDRESS:PORT"),
        ("--offer", ["young;Helpline"], "expected KIND;NAME;ADDRESS"),
        ("--offer", ["old;Helpline;https://help.example"], "young"),
        ("--fleet-nodes", ["/srv/nodes"], "set both"),
    ],
)
def test_a_wrong_answer_is_refused_with_the_reason_of_the_configuration(
    flag: str, given: list[str], reason: str
) -> None:
    with pytest.raises(WrongAnswer, match=re.escape(reason)):
        answered(flag, *given)


def test_an_upstream_that_is_this_service_is_refused() -> None:
    with pytest.raises(WrongAnswer, match=r"is one of listen\.dns"):
        answered("--upstream", "192.0.2.53:53", listen=["192.0.2.53:53"])


def test_a_child_abuse_list_needs_an_offer_of_help_that_nobody_makes_up() -> None:
    with pytest.raises(WrongAnswer, match="at least one offer"):
        answered("--offer", "none", purpose="child-abuse")
    assert answered("--offer", "worried;Example Helpline;+44 20 7946 0000", purpose="child-abuse") == [
        {"kind": "worried", "text": "Example Helpline", "phone": "+44 20 7946 0000"}
    ]
    assert answered("--offer", "none", purpose="child-abuse", demonstration=True) == []


def test_good_answers_become_values_of_the_file() -> None:
    assert answered("--listen", "127.0.0.1:53", "[::1]:53") == ["127.0.0.1:53", "[::1]:53"]
    assert answered("--page-listen", "none") == []
    assert answered("--protected", "none") == []
    assert answered("--demonstration", "yes") is True
    assert answered("--operator", " Example Net ") == "Example Net"
    assert answered("--hard-limit", "7d", kind="file") == "7d"


def test_a_line_that_was_typed_is_split_where_several_values_are_meant() -> None:
    def split(flag: str, line: str) -> list[str]:
        return setup_questions.split(BY_FLAG[flag], line)

    assert split("--listen", " 127.0.0.1:53, [::1]:53 ") == ["127.0.0.1:53", "[::1]:53"]
    assert split("--operator", "Example Net") == ["Example Net"]
    assert split("--offer", "young;Example Helpline;1") == ["young;Example Helpline;1"]
    assert [split(flag, " ") for flag in ("--listen", "--operator", "--offer")] == [[], [], []]


def test_the_answers_before_decide_what_is_asked_and_which_default_there_is() -> None:
    def asked(**so_far: Any) -> set[str]:
        return {one.flag for one in setup_questions.left({BY_FLAG[f"--{key}"].key: so_far[key] for key in so_far})}

    assert "--offer" not in asked(purpose="other")
    assert "--offer" in asked(purpose="child-abuse")
    assert "--hard-limit" in asked(kind="zone")
    assert "--hard-limit" not in asked(kind="tuf")
    assert "--listen" not in asked(listen=["127.0.0.1:53"])

    def default(flag: str, **so_far: Any) -> str | None:
        return setup_questions.default_of(BY_FLAG[flag], so_far)

    addresses = {"page.addresses": ["192.0.2.1", "2001:db8::1"]}
    assert default("--page-listen", **addresses) == "192.0.2.1:80 [2001:db8::1]:80"
    assert default("--expire") is None
    assert default("--expire", **{"list.demonstration": True}) == "keep"
    assert default("--identity", **{"list.source.kind": "openpgp"}) is None
    assert default("--identity") == ""
    assert default("--operator") is None


@pytest.mark.parametrize("one", [one for one in QUESTIONS if isinstance(one.default, str)], ids=lambda one: one.key)
def test_every_default_is_accepted(one: Question) -> None:
    value = setup_questions.value_of(one, setup_questions.split(one, str(one.default)))
    setup_questions.judge(one, {one.key: value})
    assert setup_questions.checked({**STAND_INS, one.key: value})
    assert setup_file.text({one.key: value})
