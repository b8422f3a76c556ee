"""A screen: rows that wrap, what to do next in order, commands that stay whole, colour where it is asked for."""

import pytest

from resolver.cli import screen
from resolver.cli.screen import Advice, Mark, Row, Urgency

LATER = Advice(Urgency.LATER, "a thing", "do it")
OUT = Advice(Urgency.OUT, "all is out", "run")


def test_the_most_urgent_comes_first_and_nothing_twice() -> None:
    soon = Advice(Urgency.SOON, "one", "x"), Advice(Urgency.SOON, "two", "x")
    assert screen.in_order([LATER, *soon, OUT, soon[0]]) == (OUT, *soon, LATER)


def test_rows_wrap_below_themselves_and_a_command_stays_whole() -> None:
    command = screen.command("list held " + "x" * 32, "/somewhere/" + "y" * 60)
    found = screen.screen([Row("  feed", "word " * 40)], [Advice(Urgency.WAITS, "why " * 30, command)])
    lines = found.splitlines()
    assert [line[:11] for line in lines[:3]] == ["  feed     ", " " * 11, " " * 11]
    assert lines[-1] == f"      {command}"
    assert max(map(len, lines[:-1])) <= screen.WIDTH
    assert sum(line.startswith("next: ") for line in lines) == 1


def test_what_has_nothing_to_do_is_a_sentence() -> None:
    assert screen.screen([], [Advice(Urgency.LATER, "mind this", "")]) == "next: mind this"
    assert screen.screen([], [], nothing=screen.NOTHING) == "next: nothing to do"
    assert screen.screen([], []) == ""
    assert screen.screen([], [LATER], nothing=screen.NOTHING) == "next: a thing: do it"


def test_a_command_names_the_configuration_where_it_is_not_the_usual_one() -> None:
    assert screen.command("status", screen.DEFAULT_CONFIG) == "blocklist-resolver status"
    assert screen.command("status", "x.toml") == "blocklist-resolver status --config x.toml"


def test_colour_is_for_what_is_bad_alone() -> None:
    rows = [Row("a", "b"), Row("c", "d", Mark.BAD), Row("e", "f", Mark.WARN)]
    plain = screen.screen(rows, [OUT, LATER])
    lines = screen.screen(rows, [OUT, LATER], colour=True).splitlines()
    assert [line.startswith("\x1b[") for line in lines] == [False, True, True, True, False]
    assert [line.split("m", 1)[-1].removesuffix("\x1b[0m") for line in lines[1:4]] == plain.splitlines()[1:4]


def test_counts_leave_out_what_is_none() -> None:
    assert screen.counts({"b": 2, "a": 1, "c": 0}) == "a 1, b 2"
    assert screen.counts({}) == "none"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_said_in_two_units(seconds: float, words: str) -> None:
    assert screen.span(seconds) == words
