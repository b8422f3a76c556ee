"""The small picture: a bar for each day that is known, hatches for what is not, and all of it in words."""

import re

from msgspec.structs import replace

from resolver.evidence.bundle import Bundle
from resolver.evidence.summary_chart import strip


def test_every_day_is_drawn_or_hatched(of_april: Bundle) -> None:
    drawn = strip(of_april)
    assert drawn.startswith("<svg ")
    # A day without figures, then each list's days: hatched behind what was enforced.
    assert drawn.count('fill="url(#lack)"') == 1 + 2 * 30
    assert "The most attempts were 2,300 on 2025-04-30." in drawn
    assert "demo was enforced all of the day on 28 of 30 days." in drawn
    assert not re.search(r"<script|href|url\(http", drawn)


def test_a_day_that_is_not_known_is_hatched(of_april: Bundle) -> None:
    day = replace(of_april.lists[0].days[0], attempts=None)
    lists = tuple(replace(one, days=(day, *one.days[1:])) for one in of_april.lists)
    assert strip(replace(of_april, lists=lists)).count('fill="url(#lack)"') == 2 * 30 + 2


def test_names_are_escaped_and_long_ones_cut(of_april: Bundle) -> None:
    lists = (replace(of_april.lists[0], list="<b>" + "x" * 29),)
    drawn = strip(replace(of_april, lists=lists))
    assert "<b>" not in drawn
    assert "&lt;b&gt;xxxxxxxxxxxxxxxx…" in drawn


def test_without_a_day_there_is_no_picture(of_april: Bundle) -> None:
    assert strip(replace(of_april, lists=tuple(replace(one, days=()) for one in of_april.lists))) == ""
