"""What deploy/resolver.toml says of each option is read whole, in its order."""

import tomllib
from pathlib import Path

import pytest

from resolver.config import explained

FILE = """# Configuration, in words.
# More words of the file itself.

[listen]
# Addresses.
# Two lines.
#dns = ["127.0.0.1:5300"]

[[list]]
# A word.
id = "one"

# Of the guard.
[list.guard]
# Shares.
#growth = 0.2
#shrink = 0.3
"""


def test_tables_and_options_come_with_what_is_said_of_them() -> None:
    assert explained.tables(FILE) == (
        ("listen", False, "", (("dns", '["127.0.0.1:5300"]', False, "Addresses. Two lines."),)),
        ("list", True, "", (("id", '"one"', True, "A word."),)),
        (
            "list.guard",
            False,
            "Of the guard.",
            (("growth", "0.2", False, "Shares."), ("shrink", "0.3", False, "Shares.")),
        ),
    )


@pytest.mark.parametrize("line", ["#Dns = 1", "words", "#a comment without its space"])
def test_a_line_of_another_form_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="expected a table, an option"):
        explained.tables(f"[listen]\n{line}\n")


def test_the_file_that_is_installed_is_that_of_deploy() -> None:
    deployed = Path(__file__).parents[3] / "deploy" / "resolver.toml"
    assert explained.text() == deployed.read_text()
    set_there = tomllib.loads(explained.text())
    read = explained.tables(explained.text())
    required = {(one.name, option.key) for one in read for option in one.options if option.required}
    assert ("list.source", "kind") in required
    assert {key for table, key in required if table == "page"} == set(set_there["page"])


def test_every_option_is_explained_and_its_value_is_toml() -> None:
    options = [option for one in explained.tables(explained.text()) for option in one.options]
    assert len(options) > 80
    assert [one.key for one in options if len(one.said) < 8] == []
    for one in options:
        tomllib.loads(f"value = {one.value}")
