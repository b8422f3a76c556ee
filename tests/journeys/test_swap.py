"""Lists swapped under load over UDP and TCP: no answer is wrong, none is lost."""

from tests.bench import swap


def test_no_answer_is_wrong_while_lists_are_swapped() -> None:
    found = swap.run(swaps=500, seconds=0.5)
    assert found["answers"] > 100
    assert (found["wrong"], found["lost"]) == (0, 0)


def test_a_wrong_answer_is_found() -> None:
    """Were the judge blind, the test above would pass as well."""
    blocked, passed = "192.0.2.1 EDE 4", "198.51.100.7"
    moments = [(1.0, 1), (1.1, 1), (2.0, 0), (2.1, 0)]

    def wrong(name: str, asked: float, got: float, said: str) -> int:
        return int(swap.judged([[name, 0, asked, got, said]], moments, 1.0, 3.0)["wrong"])

    assert wrong(swap.ALWAYS, 1.5, 1.6, passed) == 1
    assert wrong(swap.NEVER, 1.5, 1.6, blocked) == 1
    assert wrong(swap.SOMETIMES, 1.5, 1.6, passed) == 1
    assert wrong(swap.SOMETIMES, 1.5, 2.05, passed) == 0
    assert wrong(swap.SOMETIMES, 2.05, 2.08, blocked) == 0
    assert wrong(swap.SOMETIMES, 1.05, 1.08, passed) == 0
    assert wrong(swap.SOMETIMES, 2.5, 2.6, blocked) == 1
    assert wrong(swap.SOMETIMES, 0.5, 0.6, blocked) == 1
