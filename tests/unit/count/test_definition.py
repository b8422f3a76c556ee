"""The definition says the same wherever it is shown."""

from resolver.count import definition
from resolver.count.metrics import METRICS


def test_the_caveat_and_the_version_are_in_the_printed_text() -> None:
    assert definition.CAVEAT in definition.TEXT
    assert f"Definition {definition.VERSION}" in definition.TEXT


def test_counts_of_visits_carry_the_caveat_in_their_help() -> None:
    told = {metric.name for metric in METRICS if definition.CAVEAT in metric.help}
    assert told == {"blocked_attempts_total", "blocked_queries_total", "page_views_total"}


def test_an_attempt_is_called_what_it_is() -> None:
    attempts = next(metric for metric in METRICS if metric.name == "blocked_attempts_total")
    assert definition.IN_PRINT[1:] in attempts.help
