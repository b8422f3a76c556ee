"""A plugin of pytest: leaves out the tests of the plain core, in which a sanitizer sees nothing."""

import pytest

LEFT_OUT = ("test_64_kb_cost_a_few_milliseconds_at_most", "test_no_record_is_torn_while_others_overwrite_it")
"""Its bound is on milliseconds, which a sanitizer takes; it reads a thousand million octets one by one."""


def is_of_the_plain_core(item: pytest.Item) -> bool:
    """Whether the test has the plain build as its parameter."""
    chosen = getattr(item, "callspec", None)
    return chosen is not None and "plain" in chosen.id.split("-")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the others."""
    kept = [item for item in items if not is_of_the_plain_core(item) and not item.name.startswith(LEFT_OUT)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept
