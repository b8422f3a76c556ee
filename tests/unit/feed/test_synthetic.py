"""The label of the synthetic name."""

import re

from resolver.feed import synthetic


def test_a_label_is_26_base32_characters_of_what_is_drawn() -> None:
    assert synthetic.label(bytes) == b"a" * 26
    assert re.fullmatch(rb"[a-z2-7]{26}", synthetic.label())
    assert synthetic.label() != synthetic.label()
