"""The shapes of a bundle: what is not one of them is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from resolver.evidence import bundle
from resolver.evidence.bundle import Bundle, NotEvidence

CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another kind": lambda said: said.update(kind="receipt"),
    "another format": lambda said: said.update(format=2),
    "a key too many": lambda said: said.update(note="x"),
    "a key too few": lambda said: said.pop("made"),
    "a key too many inside": lambda said: said["lists"][0].update(note="x"),
    "a count below zero": lambda said: said["totals"].update(attempts=-1),
    "a hash that is none": lambda said: said["audit"]["end"].update(hash="Z" * 64),
    "a month that is none": lambda said: said.update(month="2025-13"),
    "an outcome of no kind": lambda said: said["lists"][0]["course"]["deadlines"][0].update(outcome="fine"),
}


def test_a_bundle_is_the_same_after_it_was_a_statement(of_april: Bundle) -> None:
    assert bundle.bundle_of(bundle.statement_of(of_april)) == of_april


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_another_shape_is_no_evidence(change: Callable[[dict[str, Any]], object], of_april: Bundle) -> None:
    said = bundle.statement_of(of_april)
    change(said)
    with pytest.raises(NotEvidence):
        bundle.bundle_of(said)
