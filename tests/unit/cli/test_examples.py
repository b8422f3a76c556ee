"""Each verb's help says what the verb does, with examples that parse."""

import shlex

import pytest

from resolver.cli import examples, main

PARSER = main.parser_of(authority=True)
VERBS = dict(examples.verbs(PARSER))


def test_every_verb_says_what_it_does_and_how_it_is_typed() -> None:
    assert set(examples.SAID) <= set(VERBS)
    bare = sorted(path for path, one in VERBS.items() if not one.description or "examples:" not in (one.epilog or ""))
    assert bare == []


@pytest.mark.parametrize("path", examples.SAID)
def test_an_example_parses_and_names_nothing_that_is_not_reserved(path: str) -> None:
    assert examples.SAID[path].examples
    for line in examples.SAID[path].examples:
        assert line.startswith(path)
        PARSER.parse_args(shlex.split(line))


def test_every_option_and_argument_has_a_help() -> None:
    bare = [(path, one.dest) for path, verb in VERBS.items() for one in examples.shown(verb) if not one.help]
    assert bare == []


def test_the_shared_helps_are_all_used() -> None:
    shown = {one.help for verb in VERBS.values() for one in examples.shown(verb)}
    assert set(examples.OPTIONS.values()) <= shown


def test_help_shows_them_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(["list", "held", "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "Show why a list is held" in said
    assert "\nexamples:\n  blocklist-resolver list held court\n" in said
    assert "{approve" not in said
    assert "--statement ACTION" in said


def test_a_verb_that_is_not_in_the_table_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "SAID", {})
    plain = main.parser_of(authority=False)
    assert all(one.epilog is None for _, one in examples.verbs(plain))
